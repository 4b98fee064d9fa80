-- SPDX-License-Identifier: Apache-2.0
--
-- ENABLE ELECTRIC: which tables can be opened for sync, and what is done to one. Messages are those that users of the
-- original know, all P0001; label is the table as the caller's search_path shows it.

-- Raises P0001 with the table in its fields.
CREATE OR REPLACE FUNCTION busbar.refuse_electrify(def jsonb, message text, hint text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = message, HINT = hint,
        SCHEMA = def ->> 'schema', TABLE = def ->> 'name';
END
$$;

-- Only ordinary tables: their rows alone are in the write-ahead log as rows of one table.
CREATE OR REPLACE FUNCTION busbar.check_kind(def jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    reason text := CASE
        WHEN def ->> 'kind' = 'p' THEN 'It is partitioned: its rows are in its partitions.'
        WHEN def ->> 'kind' = 'f' THEN 'It is a foreign table: its rows are not in this database.'
        WHEN def ->> 'kind' <> 'r' THEN 'It is not a table.'
        WHEN def ->> 'persistence' = 't' THEN 'It is temporary.'
        WHEN def ->> 'persistence' = 'u' THEN 'It is unlogged: its changes are not in the write-ahead log.'
        WHEN def -> 'children' <> '[]' THEN 'Other tables inherit from it: their rows would be missing.' END;
BEGIN
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', DETAIL = reason,
            MESSAGE = busbar.quoted(def ->> 'schema', def ->> 'name') || ' is not an ordinary table',
            HINT = CASE WHEN def ->> 'kind' = 'r' AND def ->> 'persistence' = 'u'
                THEN format('ALTER TABLE %s SET LOGGED;', busbar.quoted(def ->> 'schema', def ->> 'name'))
                ELSE 'Electrify a table made by CREATE TABLE, without partitions or child tables.' END,
            SCHEMA = def ->> 'schema', TABLE = def ->> 'name';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION busbar.check_schema(def jsonb, label text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF def ->> 'schema' <> 'public' THEN
        PERFORM busbar.refuse_electrify(def, format(
            E'Cannot electrify %s because only tables in the default `public` schema can be electrified.\n\n'
            'See https://electric-sql.com/docs/usage/data-modelling/migrations#limitations\n'
            'to learn more about the current limitations of electrified tables.', label),
            format('ALTER TABLE %s SET SCHEMA public;', busbar.quoted(def ->> 'schema', def ->> 'name')));
    END IF;
END
$$;

-- One line of the list of unsupported types.
CREATE OR REPLACE FUNCTION busbar.type_complaint(col jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('    %I %s', col ->> 'name', busbar.type_sql(col)) || CASE WHEN (col ->> 'enum')::boolean
        THEN format(' (enum type %s contains unsupported values %s)', busbar.type_sql(col),
            (SELECT string_agg(quote_literal(b.label), ', ') FROM busbar.bad_labels(col) b))
        ELSE '' END
$$;

CREATE OR REPLACE FUNCTION busbar.check_types(def jsonb, label text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    bad jsonb[] := ARRAY(SELECT c FROM jsonb_array_elements(def -> 'columns') WITH ORDINALITY AS x(c, n)
        WHERE NOT busbar.is_supported_type(c) ORDER BY n);
    tab text := busbar.quoted(def ->> 'schema', def ->> 'name');
BEGIN
    IF bad <> '{}' THEN
        PERFORM busbar.refuse_electrify(def, format(
            E'Cannot electrify %s because some of its columns have types not supported by Electric:\n\n%s\n\n'
            'See https://electric-sql.com/docs/usage/data-modelling/types#supported-data-types\n'
            'to learn more about data type support in Electric.', label,
            (SELECT string_agg(busbar.type_complaint(c), E'\n' ORDER BY n) FROM unnest(bad) WITH ORDINALITY AS x(c, n))),
            format('Change the types before ENABLE ELECTRIC, for example: %s', CASE WHEN (bad[1] ->> 'enum')::boolean
                THEN format('ALTER TYPE %s RENAME VALUE %L TO ''a_word'';', busbar.type_sql(bad[1]),
                    (SELECT b.label FROM busbar.bad_labels(bad[1]) b LIMIT 1))
                ELSE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s;', tab, bad[1] ->> 'name',
                    busbar.type_instead(busbar.type_label((def ->> 'oid')::oid, bad[1]))) END));
    END IF;
END
$$;

-- DEFAULT, generated and identity columns: values that a client could not make up itself.
CREATE OR REPLACE FUNCTION busbar.check_defaults(def jsonb, label text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    bad jsonb[] := ARRAY(SELECT c FROM jsonb_array_elements(def -> 'columns') WITH ORDINALITY AS x(c, n)
        WHERE c ->> 'default' IS NOT NULL OR c ->> 'generated' <> '' OR c ->> 'identity' <> '' ORDER BY n);
BEGIN
    IF bad <> '{}' THEN
        PERFORM busbar.refuse_electrify(def, format(
            E'Cannot electrify %s because some of its columns have DEFAULT expressions '
            'which are not currently supported by Electric:\n%s', label,
            (SELECT string_agg(format('  %I', c ->> 'name'), E'\n' ORDER BY n) FROM unnest(bad) WITH ORDINALITY AS x(c, n))),
            format('ALTER TABLE %s ALTER COLUMN %I DROP %s;', busbar.quoted(def ->> 'schema', def ->> 'name'),
                bad[1] ->> 'name', CASE WHEN bad[1] ->> 'generated' <> '' THEN 'EXPRESSION'
                    WHEN bad[1] ->> 'identity' <> '' THEN 'IDENTITY' ELSE 'DEFAULT' END));
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION busbar.check_primary_key(def jsonb, label text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF def -> 'primary_key' = 'null' THEN
        PERFORM busbar.refuse_electrify(def, format('Cannot electrify %s because it doesn''t have a PRIMARY KEY.', label),
            format('ALTER TABLE %s ADD PRIMARY KEY (%I);', busbar.quoted(def ->> 'schema', def ->> 'name'),
                coalesce(def #>> '{columns,0,name}', 'id')));
    END IF;
END
$$;

-- Only PRIMARY KEY and FOREIGN KEY: a client could not be held to the others. Each of their columns is listed.
CREATE OR REPLACE FUNCTION busbar.check_constraints(def jsonb, label text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    bad text := (SELECT string_agg(format('  %I', x.name), E'\n' ORDER BY x.type, x.name COLLATE "C")
        FROM (SELECT DISTINCT c ->> 'type' AS type, l AS name
              FROM jsonb_array_elements(def -> 'constraints') c, jsonb_array_elements_text(c -> 'columns') l) x);
BEGIN
    IF def -> 'constraints' <> '[]' THEN
        PERFORM busbar.refuse_electrify(def, format(
            E'Cannot electrify %s because some of its columns have CHECK, UNIQUE, EXCLUDE or user-defined constraints '
            'which are not currently supported by Electric:\n%s',
            label, coalesce(bad, '')),
            format('ALTER TABLE %s DROP CONSTRAINT %I; in place of UNIQUE use CREATE UNIQUE INDEX.',
                busbar.quoted(def ->> 'schema', def ->> 'name'), def #>> '{constraints,0,name}'));
    END IF;
END
$$;

-- NULL for NO ACTION, which is not written.
CREATE OR REPLACE FUNCTION busbar.action_sql(action text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE action WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END
$$;

-- A foreign key as CREATE TABLE writes it; tables of schema public go without the schema.
CREATE OR REPLACE FUNCTION busbar.foreign_key_sql(fk jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('CONSTRAINT %I FOREIGN KEY (%s) REFERENCES %s(%s)%s%s%s%s%s', fk ->> 'name',
        (SELECT string_agg(quote_ident(c), ', ' ORDER BY n) FROM jsonb_array_elements_text(fk -> 'columns') WITH ORDINALITY AS x(c, n)),
        CASE WHEN fk ->> 'ref_schema' = 'public' THEN '' ELSE quote_ident(fk ->> 'ref_schema') || '.' END || quote_ident(fk ->> 'ref_table'),
        (SELECT string_agg(quote_ident(c), ', ' ORDER BY n) FROM jsonb_array_elements_text(fk -> 'ref_columns') WITH ORDINALITY AS x(c, n)),
        CASE fk ->> 'match' WHEN 'f' THEN ' MATCH FULL' ELSE '' END,
        coalesce(' ON UPDATE ' || busbar.action_sql(fk ->> 'on_update'), ''),
        coalesce(' ON DELETE ' || busbar.action_sql(fk ->> 'on_delete'), ''),
        CASE WHEN (fk ->> 'deferrable')::boolean THEN ' DEFERRABLE' ELSE '' END,
        CASE WHEN (fk ->> 'deferred')::boolean THEN ' INITIALLY DEFERRED' ELSE '' END)
$$;

-- A table's name as statements for clients have it: tables of schema public go without the schema.
CREATE OR REPLACE FUNCTION busbar.table_sql(def jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN def ->> 'schema' = 'public' THEN '' ELSE quote_ident(def ->> 'schema') || '.' END || quote_ident(def ->> 'name')
$$;

-- A table and its constraints, in the original's layout: columns, primary key, foreign keys by name.
CREATE OR REPLACE FUNCTION busbar.create_table_sql(def jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format(E'CREATE TABLE %s (\n%s\n)', busbar.table_sql(def), string_agg('    ' || p.line, E',\n' ORDER BY p.part, p.n))
    FROM (SELECT 1 AS part, n, busbar.column_sql(c) AS line
          FROM jsonb_array_elements(def -> 'columns') WITH ORDINALITY AS x(c, n)
          UNION ALL
          SELECT 2, 1, format('CONSTRAINT %I %s', def #>> '{primary_key,name}', def #>> '{primary_key,definition}')
          UNION ALL
          SELECT 3, n, busbar.foreign_key_sql(f)
          FROM jsonb_array_elements(def -> 'foreign_keys') WITH ORDINALITY AS x(f, n)) p
$$;

-- Enum types of a table that clients do not have yet, one operation each, in column order. Two transactions could bring the
-- same enum: the recorder's lock lets the second one see the first one's.
CREATE OR REPLACE FUNCTION busbar.enum_ops(def jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
BEGIN
    IF jsonb_path_exists(def, '$.columns[*] ? (@.enum == true)') THEN
        PERFORM busbar.lock_recorder();
        RETURN QUERY SELECT busbar.enum_op(x.c)
            FROM (SELECT c, n, row_number() OVER (PARTITION BY c -> 'type' ORDER BY n) AS occurrence
                  FROM jsonb_array_elements(def -> 'columns') WITH ORDINALITY AS y(c, n) WHERE (c ->> 'enum')::boolean) x
            WHERE x.occurrence = 1 AND NOT busbar.knows_enum(x.c)
            ORDER BY x.n;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION busbar.table_ops(def jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(jsonb_build_object('op', 'create_table', 'table', def, 'sql', busbar.create_table_sql(def)))
        || (SELECT coalesce(jsonb_agg(busbar.create_index_op(def, i) ORDER BY n), '[]')
            FROM jsonb_array_elements(def -> 'indexes') WITH ORDINALITY AS x(i, n))
$$;

-- The clause of ALTER TABLE that says what replica identity a table has.
CREATE OR REPLACE FUNCTION busbar.replica_identity(table_oid oid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE c.relreplident WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL'
        ELSE coalesce((SELECT format('USING INDEX %I', x.relname) FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
            WHERE i.indrelid = c.oid AND i.indisreplident AND c.relreplident = 'i'), 'NOTHING') END
    FROM pg_class c WHERE c.oid = table_oid
$$;

-- Puts the table into the publication with whole old rows, also those that TRUNCATE takes. The guard protects the publication, hence the setting: put
-- back at the end, and by PostgreSQL itself when an error ends it sooner (set_config with is_local).
CREATE OR REPLACE FUNCTION busbar.publish(table_oid oid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    before text := coalesce(current_setting('busbar.maintenance', true), '');
BEGIN
    PERFORM set_config('busbar.maintenance', 'on', true);
    EXECUTE format('ALTER TABLE ONLY %s REPLICA IDENTITY FULL', table_oid::regclass);
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'electric_publication') THEN
        CREATE PUBLICATION electric_publication;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = table_oid
            WHERE p.pubname = 'electric_publication' AND (p.puballtables OR r.oid IS NOT NULL)) THEN
        EXECUTE format('ALTER PUBLICATION electric_publication ADD TABLE ONLY %s', table_oid::regclass);
    END IF;
    PERFORM busbar.watch_truncate(table_oid);
    PERFORM set_config('busbar.maintenance', before, true);
END
$$;

-- True when clients know the table already; says so.
CREATE OR REPLACE FUNCTION busbar.is_electrified(table_oid oid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    def jsonb := (SELECT e.definition FROM busbar.electrified e WHERE e.relid = table_oid);
BEGIN
    IF def IS NOT NULL THEN
        RAISE NOTICE 'table %.% is already electrified', quote_ident(def ->> 'schema'), quote_ident(def ->> 'name');
    END IF;
    RETURN def IS NOT NULL;
END
$$;

-- The caller must own the table, as for any other ALTER TABLE: the rest runs with Busbar's rights.
CREATE OR REPLACE FUNCTION busbar.require_owner(table_oid oid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (SELECT pg_has_role(busbar.caller(), c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = table_oid) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('must be owner of table %s', table_oid::regclass);
    END IF;
END
$$;

-- Foreign keys must lead to tables that clients have. Tables that refer to each other in a circle cannot be opened one
-- after the other: for those the check is at COMMIT (busbar.check_references).
CREATE OR REPLACE FUNCTION busbar.check_foreign_keys(def jsonb, label text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    table_oid oid := (def ->> 'oid')::oid;
    fk jsonb := (SELECT f FROM jsonb_array_elements(def -> 'foreign_keys') f
        WHERE (f ->> 'ref_oid')::oid = ANY (busbar.closed_parents(table_oid))
          AND NOT table_oid = ANY (busbar.parents((f ->> 'ref_oid')::oid))
        ORDER BY f ->> 'name' LIMIT 1);
BEGIN
    IF fk IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'UB006',
            MESSAGE = format('Cannot electrify %s because it references table %s, which is not electrified', label,
                busbar.quoted(fk ->> 'ref_schema', fk ->> 'ref_table')),
            DETAIL = format('Clients could not keep foreign key %s.', quote_ident(fk ->> 'name')),
            HINT = busbar.enable_hint(table_oid),
            SCHEMA = def ->> 'schema', TABLE = def ->> 'name', CONSTRAINT = fk ->> 'name';
    END IF;
END
$$;

-- All validations, in the order of the rules.
CREATE OR REPLACE FUNCTION busbar.check_electrifiable(def jsonb, label text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM busbar.check_schema(def, label);
    PERFORM busbar.check_types(def, label);
    PERFORM busbar.check_defaults(def, label);
    PERFORM busbar.check_primary_key(def, label);
    PERFORM busbar.check_constraints(def, label);
    PERFORM busbar.check_foreign_keys(def, label);
END
$$;

-- Keeps the operations: one row per enum type, one for the table with its indexes.
CREATE OR REPLACE FUNCTION busbar.capture_table(def jsonb, ours boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    ops jsonb;
    pending_id bigint;
BEGIN
    FOR ops IN SELECT jsonb_build_array(e) FROM busbar.enum_ops(def) e UNION ALL SELECT busbar.table_ops(def) LOOP
        pending_id := busbar.add_pending((def ->> 'oid')::oid, NULL, ops);
        IF ours THEN
            PERFORM busbar.signal(pending_id, false, def ->> 'schema', def ->> 'name');
        END IF;
    END LOOP;
END
$$;

-- What could stop SQLite from taking a table. Only the proxy can try it out; a session that is not the proxy's may open
-- those tables alone of which it is certain. SQLite ignores the case of names, and tables and indexes share them.
CREATE OR REPLACE FUNCTION busbar.doubt(def jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    WITH columns AS (
        SELECT c ->> 'name' AS name FROM jsonb_array_elements(def -> 'columns') c
    ), names AS (
        SELECT def ->> 'name' AS name
        UNION ALL SELECT i ->> 'name' FROM jsonb_array_elements(def -> 'indexes') i
    ), taken AS (
        SELECT e.table_name AS name FROM busbar.electrified e
        UNION ALL SELECT i ->> 'name' FROM busbar.electrified e, jsonb_array_elements(e.definition -> 'indexes') i
    )
    SELECT reason FROM (
        SELECT format('columns %s have one name at the clients', string_agg(quote_ident(name), ' and ')) AS reason
        FROM columns GROUP BY lower(name COLLATE "C") HAVING count(*) > 1
        UNION ALL
        SELECT format('name %s is taken at the clients', quote_ident(min(name)))
        FROM (SELECT name, true AS fresh FROM names UNION ALL SELECT name, false FROM taken) n
        GROUP BY lower(name COLLATE "C") HAVING bool_or(fresh) AND count(*) > 1
        UNION ALL
        SELECT format('name %s is reserved at the clients', quote_ident(name))
        FROM names WHERE name ILIKE E'sqlite\\_%' OR name ILIKE E'\\_electric\\_%'
        UNION ALL
        SELECT format('foreign key %s does not refer to a primary key', quote_ident(f ->> 'name'))
        FROM jsonb_array_elements(def -> 'foreign_keys') f
        WHERE f -> 'ref_columns' IS DISTINCT FROM busbar.describe((f ->> 'ref_oid')::oid) -> 'primary_key' -> 'columns'
    ) d LIMIT 1
$$;

-- Opens a table for sync in the caller's transaction. Outside the proxy nobody else would record it, so this does.
CREATE OR REPLACE FUNCTION busbar.electrify_table(table_oid oid, label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    def jsonb := busbar.describe(table_oid);
    ours boolean := busbar.is_proxy();
    identity_before text;
BEGIN
    PERFORM busbar.check_kind(def);
    PERFORM busbar.require_owner(table_oid);
    IF busbar.is_electrified(table_oid) THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', table_oid::regclass);
    IF busbar.is_electrified(table_oid) THEN
        RETURN;
    END IF;
    IF NOT ours THEN
        RAISE NOTICE 'Electrify table %.%', quote_ident(def ->> 'schema'), quote_ident(def ->> 'name');
    END IF;
    def := busbar.describe(table_oid);
    PERFORM busbar.check_kind(def);
    PERFORM busbar.check_electrifiable(def, label);
    identity_before := busbar.replica_identity(table_oid);
    PERFORM busbar.publish(table_oid);
    def := busbar.describe(table_oid);
    IF NOT ours AND busbar.doubt(def) IS NOT NULL THEN
        PERFORM busbar.refuse_outside(def, busbar.doubt(def));
    END IF;
    PERFORM busbar.capture_table(def, ours);
    INSERT INTO busbar.electrified (relid, schema_name, table_name, definition, watch, index_names, replica_identity)
    VALUES (table_oid, def ->> 'schema', def ->> 'name', def, busbar.watched(table_oid), busbar.index_names(def), identity_before);
    IF NOT ours THEN
        PERFORM busbar.record_pending('[]');
    END IF;
END
$$;

-- Refuses what leaves a foreign key without its table at the clients: of the given tables, or to them.
CREATE OR REPLACE FUNCTION busbar.check_references(relids oid[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    missing record;
BEGIN
    SELECT e.definition AS child, f AS fk INTO missing
    FROM busbar.electrified e CROSS JOIN jsonb_array_elements(e.definition -> 'foreign_keys') f
    WHERE e.watch && relids AND (e.relid = ANY (relids) OR (f ->> 'ref_oid')::oid = ANY (relids))
      AND NOT EXISTS (SELECT FROM busbar.electrified p WHERE p.relid = (f ->> 'ref_oid')::oid)
    ORDER BY e.id, f ->> 'name' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'UB006',
            MESSAGE = format('Electrified table %s references table %s, which is not electrified',
                busbar.quoted(missing.child ->> 'schema', missing.child ->> 'name'),
                busbar.quoted(missing.fk ->> 'ref_schema', missing.fk ->> 'ref_table')),
            DETAIL = format('Clients could not keep foreign key %s.', quote_ident(missing.fk ->> 'name')),
            HINT = 'In one migration: ' || busbar.enable_hint((missing.child ->> 'oid')::oid),
            SCHEMA = missing.child ->> 'schema', TABLE = missing.child ->> 'name', CONSTRAINT = missing.fk ->> 'name';
    END IF;
END
$$;

-- The same at COMMIT of a session that is not the proxy's; the proxy asks earlier, by busbar.pending().
CREATE OR REPLACE FUNCTION busbar.check_new_table() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT busbar.is_proxy() THEN
        PERFORM busbar.check_references(ARRAY[NEW.relid]);
    END IF;
    RETURN NULL;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'references_electrified' AND tgrelid = 'busbar.electrified'::regclass) THEN
        CREATE CONSTRAINT TRIGGER references_electrified AFTER INSERT ON busbar.electrified
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION busbar.check_new_table();
        ALTER TABLE busbar.electrified ENABLE ALWAYS TRIGGER references_electrified;
    END IF;
END
$$;
