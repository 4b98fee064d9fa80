-- SPDX-License-Identifier: Apache-2.0
--
-- What the proof of a migration needs of the history: the tables concerned, as the recorded migrations leave them. Their
-- definitions stand for the history as long as it comes to busbar.electrified (busbar.recorder.in_step, ADR 16).

-- Names of the given tables and indexes as SQLite compares them: tables and indexes share one space, the case of ASCII
-- letters does not count.
CREATE OR REPLACE FUNCTION busbar.sqlite_names(names text[]) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT lower(names::text COLLATE "C")::text[]
$$;

-- The names that this transaction gives to tables and indexes.
CREATE OR REPLACE FUNCTION busbar.new_names() RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT busbar.sqlite_names(array_agg(coalesce(o #>> '{table,name}', o #>> '{index,name}')))
    FROM busbar.pending p CROSS JOIN jsonb_array_elements(p.ops) o
    WHERE p.xid = pg_current_xact_id() AND o ->> 'op' IN ('create_table', 'create_index')
$$;

-- The oids of what a definition refers to.
CREATE OR REPLACE FUNCTION busbar.referenced(def jsonb) RETURNS SETOF oid
LANGUAGE sql IMMUTABLE AS $$
    SELECT (f ->> 'ref_oid')::oid FROM jsonb_array_elements(def -> 'foreign_keys') f
$$;

-- The tables that this transaction changes, as they were before it.
CREATE OR REPLACE FUNCTION busbar.changed_tables() RETURNS TABLE (definition jsonb)
LANGUAGE sql STABLE AS $$
    SELECT b.was FROM (SELECT DISTINCT ON (p.relid) p.was FROM busbar.pending p
        WHERE p.xid = pg_current_xact_id() ORDER BY p.relid, p.id) b
    WHERE b.was IS NOT NULL
$$;

-- Other tables that are concerned: those that they refer to; those that refer to them, when something of them is dropped; and
-- those that have a name which is given anew. Foreign keys between two tables that do not change are left out: they hold as before, and the tables that they lead to
-- are not here.
CREATE OR REPLACE FUNCTION busbar.neighbours() RETURNS TABLE (definition jsonb)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    changing oid[] := ARRAY(SELECT DISTINCT p.relid FROM busbar.pending p WHERE p.xid = pg_current_xact_id());
    referenced oid[] := ARRAY(
        SELECT busbar.referenced(p.was) FROM busbar.pending p WHERE p.xid = pg_current_xact_id()
        UNION SELECT busbar.referenced(t) FROM busbar.pending p CROSS JOIN jsonb_path_query(p.ops, '$[*].table ? (@.name != null)') t
        WHERE p.xid = pg_current_xact_id());
    given text[] := busbar.new_names();
    losing oid[] := ARRAY(SELECT DISTINCT p.relid FROM busbar.pending p WHERE p.xid = pg_current_xact_id()
        AND jsonb_path_exists(p.ops, '$[*] ? (@.op == "drop_table" || @.op == "drop_index")'));
BEGIN
    RETURN QUERY SELECT jsonb_set(e.definition, '{foreign_keys}', (
            SELECT coalesce(jsonb_agg(f), '[]') FROM jsonb_array_elements(e.definition -> 'foreign_keys') f
            WHERE (f ->> 'ref_oid')::oid = ANY (changing)))
        FROM busbar.electrified e
        WHERE e.relid <> ALL (changing) AND (e.relid = ANY (referenced) OR e.watch && losing
            OR busbar.sqlite_names(e.table_name || e.index_names) && given);
END
$$;

-- The enum types that clients had before: of the given definitions, and, as an index may use that of another table, of all
-- tables that are electrified now.
CREATE OR REPLACE FUNCTION busbar.known_enums(definitions jsonb[]) RETURNS TABLE (op jsonb)
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (k.schema_name, k.name) jsonb_build_object('op', 'create_enum', 'schema', k.schema_name, 'name', k.name,
        'values', k.labels, 'sql', '')
    FROM (SELECT 1 AS part, c ->> 'type_schema' AS schema_name, c ->> 'type_name' AS name, c -> 'values' AS labels
          FROM unnest(definitions) d CROSS JOIN jsonb_array_elements(d -> 'columns') c WHERE (c ->> 'enum')::boolean
          UNION ALL
          SELECT 2, n.nspname, t.typname, (SELECT jsonb_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = t.oid)
          FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
          WHERE t.typtype = 'e' AND t.oid IN (SELECT unnest(e.watch) FROM busbar.electrified e)
            AND NOT EXISTS (SELECT FROM busbar.pending p WHERE p.xid = pg_current_xact_id() AND p.ops @> jsonb_build_array(
                jsonb_build_object('op', 'create_enum', 'schema', n.nspname, 'name', t.typname)))) k
    ORDER BY k.schema_name, k.name, k.part
$$;

-- The tables concerned as operations, a row each; before them, where an expression may use them, the enum types.
CREATE OR REPLACE FUNCTION busbar.concerned() RETURNS TABLE (id bigint, ops jsonb)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    definitions jsonb[] := ARRAY(SELECT c.definition FROM busbar.changed_tables() c UNION ALL SELECT n.definition FROM busbar.neighbours() n);
BEGIN
    IF definitions::text LIKE '%::%' OR EXISTS (SELECT FROM busbar.pending p
            WHERE p.xid = pg_current_xact_id() AND p.ops::text LIKE '%::%') THEN
        RETURN QUERY SELECT 0::bigint, jsonb_build_array(k.op) FROM busbar.known_enums(definitions) k;
    END IF;
    RETURN QUERY SELECT (d ->> 'oid')::bigint, busbar.table_ops(d) FROM unnest(definitions) d;
END
$$;

-- What of a definition clients have. The order of columns does not count: one that was mended is the last in PostgreSQL.
CREATE OR REPLACE FUNCTION busbar.essence(def jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('primary_key', def #> '{primary_key,columns}',
        'columns', (SELECT jsonb_agg(jsonb_build_array(c -> 'name', c -> 'type_schema', c -> 'type', c -> 'not_null')
                ORDER BY c ->> 'name' COLLATE "C")
            FROM jsonb_array_elements(def -> 'columns') c),
        'foreign_keys', (SELECT jsonb_agg(jsonb_build_array(f -> 'columns', f -> 'ref_schema', f -> 'ref_table', f -> 'ref_columns',
                f -> 'on_delete', f -> 'on_update', f -> 'deferrable') ORDER BY f ->> 'name' COLLATE "C")
            FROM jsonb_array_elements(def -> 'foreign_keys') f),
        'indexes', (SELECT jsonb_agg(jsonb_build_array(i -> 'name', i -> 'unique', i -> 'columns', i -> 'predicate')
                ORDER BY i ->> 'name' COLLATE "C")
            FROM jsonb_array_elements(def -> 'indexes') i))
$$;

-- What the history comes to that clients get: the last CREATE of each table that stands, the columns and indexes since.
CREATE OR REPLACE FUNCTION busbar.history_tables() RETURNS TABLE (schema_name text, table_name text, definition jsonb)
LANGUAGE sql STABLE AS $$
    WITH op AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY c.seq, c.id, x.n) AS at, x.o ->> 'op' AS kind, x.o,
            coalesce(x.o #>> '{table,schema}', x.o ->> 'schema') AS schema_name,
            coalesce(x.o #>> '{table,name}', x.o ->> 'table') AS table_name
        FROM busbar.command c JOIN busbar.migration m ON m.seq = c.seq
        CROSS JOIN LATERAL jsonb_array_elements(c.ops) WITH ORDINALITY AS x(o, n)
        WHERE m.unusable IS NULL
    ), last AS (
        SELECT DISTINCT ON (schema_name, table_name) * FROM op WHERE kind IN ('create_table', 'drop_table')
        ORDER BY schema_name, table_name, at DESC
    ), since AS (
        SELECT op.*, coalesce(op.o #>> '{index,name}', op.o ->> 'name') AS index_name
        FROM op JOIN last USING (schema_name, table_name) WHERE op.at > last.at AND last.kind = 'create_table'
    ), columns AS (
        SELECT schema_name, table_name, jsonb_agg(o -> 'column' ORDER BY at) AS added FROM since WHERE kind = 'add_column'
        GROUP BY schema_name, table_name
    ), indexes AS (
        SELECT schema_name, table_name, jsonb_agg(o -> 'index') AS made
        FROM (SELECT DISTINCT ON (schema_name, table_name, index_name) * FROM since WHERE kind IN ('create_index', 'drop_index')
              ORDER BY schema_name, table_name, index_name, at DESC) i
        WHERE kind = 'create_index' GROUP BY schema_name, table_name
    )
    SELECT schema_name, table_name, o -> 'table' || jsonb_build_object(
        'columns', (o #> '{table,columns}') || coalesce(added, '[]'), 'indexes', coalesce(made, '[]'))
    FROM last LEFT JOIN columns USING (schema_name, table_name) LEFT JOIN indexes USING (schema_name, table_name)
    WHERE kind = 'create_table'
$$;

-- Whether that is what is remembered of the electrified tables.
CREATE OR REPLACE FUNCTION busbar.history_agrees() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (
        SELECT FROM (SELECT h.schema_name, h.table_name, busbar.essence(h.definition) AS essence FROM busbar.history_tables() h) a
        FULL JOIN (SELECT e.schema_name, e.table_name, busbar.essence(e.definition) AS essence FROM busbar.electrified e) b
            USING (schema_name, table_name)
        WHERE a.essence IS DISTINCT FROM b.essence)
$$;

-- On every write to busbar.command; who records puts it right again.
CREATE OR REPLACE FUNCTION busbar.note_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE busbar.recorder r SET in_step = false WHERE r.in_step;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'command_written' AND tgrelid = 'busbar.command'::regclass) THEN
        CREATE TRIGGER command_written AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON busbar.command
            FOR EACH STATEMENT EXECUTE FUNCTION busbar.note_written();
        ALTER TABLE busbar.command ENABLE ALWAYS TRIGGER command_written;
    END IF;
END
$$;
