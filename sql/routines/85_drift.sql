-- SPDX-License-Identifier: Apache-2.0
--
-- Drift: electrified tables whose definition in the catalog is not the one that clients have, because they were changed
-- where the guard did not look (no event triggers, maintenance, a restored dump). Found and put into words here; adopted
-- by busbar check --adopt, in a session that proves itself the proxy's.

-- The table that an entry of busbar.electrified is about now. After a dump was restored its oid is another one: then the
-- name counts. A table renamed is the one with the oid, unless another has taken the name.
CREATE OR REPLACE FUNCTION busbar.table_now(table_oid oid, wanted_schema text, wanted_name text) RETURNS oid
LANGUAGE sql STABLE AS $$
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (c.oid = table_oid OR n.nspname = wanted_schema AND c.relname = wanted_name)
    ORDER BY (n.nspname = wanted_schema AND c.relname = wanted_name) DESC LIMIT 1
$$;

-- Objects of a definition with the identities that equally named ones have now; those that are gone keep none.
CREATE OR REPLACE FUNCTION busbar.rebind_list(was jsonb, now jsonb, identity text, same_table boolean) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(a || jsonb_build_object(identity, CASE
            WHEN same_table AND EXISTS (SELECT FROM jsonb_array_elements(now) b WHERE b -> identity = a -> identity)
                THEN a -> identity
            ELSE coalesce((SELECT b -> identity FROM jsonb_array_elements(now) b WHERE b -> 'name' = a -> 'name'),
                to_jsonb(-abs((a ->> identity)::bigint))) END) ORDER BY n), '[]')
    FROM jsonb_array_elements(was) WITH ORDINALITY AS x(a, n)
$$;

-- Foreign keys, besides, with the oid of the table that they refer to.
CREATE OR REPLACE FUNCTION busbar.rebind_references(was jsonb, now jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(a || jsonb_build_object('ref_oid', coalesce((SELECT b -> 'ref_oid'
            FROM jsonb_array_elements(now) b WHERE b -> 'name' = a -> 'name' AND b -> 'ref_schema' = a -> 'ref_schema'
            AND b -> 'ref_table' = a -> 'ref_table'), a -> 'ref_oid')) ORDER BY n), '[]')
    FROM jsonb_array_elements(was) WITH ORDINALITY AS x(a, n)
$$;

-- The remembered definition with the identities of what is there now, so that a restored table, or a column made again,
-- differs in what it is and not in its number.
CREATE OR REPLACE FUNCTION busbar.rebind(was jsonb, now jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT was || jsonb_build_object('oid', now -> 'oid',
        'columns', busbar.rebind_list(was -> 'columns', now -> 'columns', 'num', s.same),
        'primary_key', CASE WHEN was -> 'primary_key' = 'null' OR now -> 'primary_key' = 'null' THEN was -> 'primary_key'
            ELSE busbar.rebind_list(jsonb_build_array(was -> 'primary_key'), jsonb_build_array(now -> 'primary_key'),
                'oid', s.same) -> 0 END,
        'foreign_keys', busbar.rebind_references(
            busbar.rebind_list(was -> 'foreign_keys', now -> 'foreign_keys', 'oid', s.same), now -> 'foreign_keys'),
        'constraints', busbar.rebind_list(was -> 'constraints', now -> 'constraints', 'oid', s.same))
    FROM (SELECT was -> 'oid' = now -> 'oid' AS same) s
$$;

-- Electrified tables (NULL: all) beside what is there now (NULL: nothing), identities put right.
CREATE OR REPLACE FUNCTION busbar.compare_all(ids bigint[]) RETURNS TABLE (id bigint, was jsonb, now jsonb, same boolean)
LANGUAGE sql STABLE AS $$
    WITH current AS MATERIALIZED (
        SELECT e.id, e.definition, busbar.table_now(e.relid, e.schema_name, e.table_name) AS oid FROM busbar.electrified e
        WHERE ids IS NULL OR e.id = ANY (ids)
    )
    SELECT c.id, CASE WHEN d.definition = c.definition OR d.definition IS NULL THEN c.definition
            ELSE busbar.rebind(c.definition, d.definition) END,
        d.definition, coalesce(d.definition = c.definition, false)
    FROM current c
    LEFT JOIN busbar.describe_tables(ARRAY(SELECT x.oid FROM current x)) d ON d.relid = c.oid
$$;

-- ALTER TABLE clauses that bring columns back.
CREATE OR REPLACE FUNCTION busbar.mend_columns(o jsonb, n jsonb) RETURNS TABLE (statement text)
LANGUAGE sql STABLE AS $$
    WITH pair AS (
        SELECT a, b, a ->> 'name' AS name FROM jsonb_array_elements(o -> 'columns') a
        LEFT JOIN jsonb_array_elements(n -> 'columns') b ON a -> 'num' = b -> 'num'
    )
    SELECT format('RENAME COLUMN %I TO %I', b ->> 'name', name) FROM pair WHERE a -> 'name' <> b -> 'name'
    UNION ALL SELECT 'ADD COLUMN ' || busbar.column_sql(a) FROM pair WHERE b IS NULL
    UNION ALL SELECT format('ALTER COLUMN %I DROP EXPRESSION', name) FROM pair WHERE b ->> 'generated' <> ''
    UNION ALL SELECT format('ALTER COLUMN %I DROP IDENTITY', name) FROM pair WHERE b ->> 'identity' <> ''
    UNION ALL SELECT format('ALTER COLUMN %I DROP DEFAULT', name) FROM pair
        WHERE b ->> 'default' IS NOT NULL AND b ->> 'generated' = ''
    UNION ALL SELECT format('ALTER COLUMN %1$I TYPE %2$s%3$s USING %1$I::%2$s', name, busbar.type_sql(a),
            coalesce(' COLLATE ' || (a ->> 'collation'), '')) FROM pair
        WHERE b IS NOT NULL AND ARRAY[a -> 'type', a -> 'collation'] <> ARRAY[b -> 'type', b -> 'collation']
    UNION ALL SELECT format('ALTER COLUMN %I %s NOT NULL', name,
            CASE WHEN (a ->> 'not_null')::boolean THEN 'SET' ELSE 'DROP' END) FROM pair
        WHERE a -> 'not_null' <> b -> 'not_null'
$$;

-- The same for columns that are new and that clients cannot have as they are.
CREATE OR REPLACE FUNCTION busbar.mend_new_columns(o jsonb, n jsonb) RETURNS TABLE (statement text)
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN d.rule = 'column_default' THEN format('ALTER COLUMN %I DROP DEFAULT', d.column_name)
            ELSE format('DROP COLUMN %I', d.column_name) END
    FROM busbar.diff_new_columns(o, n) d WHERE d.rule IS NOT NULL
$$;

CREATE OR REPLACE FUNCTION busbar.constraint_sql(def jsonb, constraint_oid text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT busbar.foreign_key_sql(f) FROM jsonb_array_elements(def -> 'foreign_keys') f WHERE f ->> 'oid' = constraint_oid),
        (SELECT format('CONSTRAINT %I %s', c ->> 'name', c ->> 'definition')
         FROM jsonb_array_elements((def -> 'constraints') || (def -> 'primary_key')) c WHERE c ->> 'oid' = constraint_oid))
$$;

CREATE OR REPLACE FUNCTION busbar.mend_constraints(o jsonb, n jsonb) RETURNS TABLE (statement text)
LANGUAGE sql STABLE AS $$
    WITH pair AS (
        SELECT a.oid AS old_oid, a.name AS old_name, a.body AS old_body, b.oid AS new_oid, b.name AS new_name, b.body AS new_body
        FROM busbar.all_constraints(o) a FULL JOIN busbar.all_constraints(n) b ON a.oid = b.oid
        WHERE (a.name, a.body) IS DISTINCT FROM (b.name, b.body)
    )
    SELECT format('RENAME CONSTRAINT %I TO %I', new_name, old_name) FROM pair WHERE old_body = new_body
    UNION ALL SELECT format('DROP CONSTRAINT %I', new_name) FROM pair
        WHERE new_oid IS NOT NULL AND old_body IS DISTINCT FROM new_body
    UNION ALL SELECT 'ADD ' || busbar.constraint_sql(o, old_oid) FROM pair
        WHERE old_oid IS NOT NULL AND old_body IS DISTINCT FROM new_body
$$;

CREATE OR REPLACE FUNCTION busbar.mend_properties(o jsonb, n jsonb) RETURNS TABLE (statement text)
LANGUAGE sql STABLE AS $$
    SELECT p.statement FROM (VALUES
        ('replica_identity', 'REPLICA IDENTITY FULL'),
        ('persistence', CASE o ->> 'persistence' WHEN 'u' THEN 'SET UNLOGGED' ELSE 'SET LOGGED' END),
        ('row_security', CASE WHEN (o ->> 'row_security')::boolean THEN 'ENABLE' ELSE 'DISABLE' END || ' ROW LEVEL SECURITY'),
        ('force_row_security', CASE WHEN (o ->> 'force_row_security')::boolean THEN '' ELSE 'NO ' END
            || 'FORCE ROW LEVEL SECURITY')) AS p(key, statement)
    WHERE o -> p.key <> n -> p.key
    UNION ALL SELECT 'NO INHERIT ' || p::oid::regclass::text FROM jsonb_array_elements_text(n -> 'parents') p
        WHERE NOT o -> 'parents' @> to_jsonb(p::bigint)
    UNION ALL SELECT 'INHERIT ' || p::oid::regclass::text FROM jsonb_array_elements_text(o -> 'parents') p
        WHERE NOT n -> 'parents' @> to_jsonb(p::bigint)
$$;

-- Enum types: a label renamed can be named back; PostgreSQL takes no label away.
CREATE OR REPLACE FUNCTION busbar.mend_enums(o jsonb, n jsonb) RETURNS TABLE (statement text)
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT CASE WHEN x.was <> x.now THEN format('-- no statement takes labels from enum type %s', busbar.type_sql(x.b))
        WHEN x.label <> y.label THEN format('ALTER TYPE %s RENAME VALUE %L TO %L;', busbar.type_sql(x.b), y.label, x.label) END
    FROM (SELECT b, l.label, l.n, jsonb_array_length(a -> 'values') AS was, jsonb_array_length(b -> 'values') AS now
          FROM jsonb_array_elements(o -> 'columns') a
          JOIN jsonb_array_elements(n -> 'columns') b ON a -> 'num' = b -> 'num' AND a -> 'type' = b -> 'type'
          CROSS JOIN jsonb_array_elements_text(a -> 'values') WITH ORDINALITY AS l(label, n)
          WHERE a -> 'values' <> b -> 'values') x
    JOIN LATERAL (SELECT v.label FROM jsonb_array_elements_text(x.b -> 'values') WITH ORDINALITY AS v(label, n)
                  WHERE v.n = x.n) y ON true
$$;

-- The statements that bring a table back to what clients have, in order; what clients can follow stays.
CREATE OR REPLACE FUNCTION busbar.mends(o jsonb, n jsonb) RETURNS TABLE (statement text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    tab text := format('%I.%I', o ->> 'schema', o ->> 'name');
BEGIN
    IF n IS NULL THEN
        RETURN QUERY SELECT busbar.create_table_sql(o) || ';';
        RETURN QUERY SELECT (i ->> 'definition') || ';' FROM jsonb_array_elements(o -> 'indexes') i;
        RETURN QUERY SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL;', tab);
        RETURN;
    END IF;
    IF o -> 'schema' <> n -> 'schema' THEN
        RETURN QUERY SELECT format('ALTER TABLE %I.%I SET SCHEMA %I;', n ->> 'schema', n ->> 'name', o ->> 'schema');
    END IF;
    IF o -> 'name' <> n -> 'name' THEN
        RETURN QUERY SELECT format('ALTER TABLE %I.%I RENAME TO %I;', o ->> 'schema', n ->> 'name', o ->> 'name');
    END IF;
    RETURN QUERY SELECT format('ALTER TABLE %s %s;', tab, c.statement) FROM (
        SELECT * FROM busbar.mend_columns(o, n) UNION ALL SELECT * FROM busbar.mend_new_columns(o, n)
        UNION ALL SELECT * FROM busbar.mend_constraints(o, n) UNION ALL SELECT * FROM busbar.mend_properties(o, n)) c;
    RETURN QUERY SELECT m.statement FROM busbar.mend_enums(o, n) m WHERE m.statement IS NOT NULL;
END
$$;

-- All of them in one text; where the guard is, it must be told.
CREATE OR REPLACE FUNCTION busbar.mend(o jsonb, n jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM pg_event_trigger t WHERE t.evtname = 'busbar_guard_end' AND t.evtenabled <> 'D')
            THEN 'SET busbar.maintenance = ''on''; ' ELSE '' END
        || (SELECT string_agg(m.statement, ' ') FROM busbar.mends(o, n) m)
$$;

-- What differs in one table, the gravest first.
CREATE OR REPLACE FUNCTION busbar.differences(o jsonb, n jsonb)
RETURNS TABLE (rule text, object text, column_name text, what text, op jsonb)
LANGUAGE sql STABLE AS $$
    SELECT 'drop_table', NULL::text, NULL::text, 'it does not exist', NULL::jsonb WHERE n IS NULL
    UNION ALL
    SELECT d.* FROM busbar.diff(o, n) d WHERE n IS NOT NULL
$$;

-- Tables that only have other identities (a restored dump): remembered anew. In two steps, for oids may have changed places.
CREATE OR REPLACE FUNCTION busbar.refresh(ids bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE busbar.electrified e SET relid = (4294967295 - e.id)::oid WHERE e.id = ANY (ids);
    UPDATE busbar.electrified e SET relid = (c.now ->> 'oid')::oid, definition = c.now, index_names = busbar.index_names(c.now)
    FROM busbar.compare_all(ids) c WHERE c.id = e.id AND c.now IS NOT NULL;
    UPDATE busbar.electrified e SET watch = busbar.watched(e.relid) WHERE e.id = ANY (ids);
END
$$;

-- The tables that have drifted: each with what differs, the statements that would mend it, and whether clients could
-- follow. Indexes are passed over when there is more: a renamed table's read differently too. A difference counts when two looks
-- show it: a migration may be committed during one.
CREATE OR REPLACE FUNCTION busbar.drift()
RETURNS TABLE (schema_name text, table_name text, what text, mend text, can_follow boolean, only_indexes boolean)
LANGUAGE plpgsql AS $$
DECLARE
    other bigint[] := ARRAY(SELECT c.id FROM busbar.compare_all(NULL) c WHERE NOT c.same);
    identities bigint[];
BEGIN
    IF other = '{}' THEN
        RETURN;
    END IF;
    identities := ARRAY(SELECT c.id FROM busbar.compare_all(other) c
        WHERE NOT c.same AND NOT EXISTS (SELECT FROM busbar.differences(c.was, c.now)));
    IF identities <> '{}' THEN
        PERFORM busbar.refresh(identities);
    END IF;
    RETURN QUERY SELECT c.was ->> 'schema', c.was ->> 'name', d.what, CASE WHEN d.broken THEN busbar.mend(c.was, c.now) END,
            NOT d.broken, d.indexes
        FROM busbar.compare_all(other) c
        CROSS JOIN LATERAL (SELECT coalesce(string_agg(x.what, '; ') FILTER (WHERE x.op ->> 'op' IS DISTINCT FROM 'create_index'
                    AND x.op ->> 'op' IS DISTINCT FROM 'drop_index'), string_agg(x.what, '; ')) AS what, bool_or(x.rule IS NOT NULL) AS broken,
                bool_and(coalesce(x.op ->> 'op' IN ('create_index', 'drop_index'), false)) AS indexes
            FROM busbar.differences(c.was, c.now) x) d
        WHERE d.what IS NOT NULL ORDER BY c.id;
END
$$;

-- Refuses to adopt what clients cannot follow.
CREATE OR REPLACE FUNCTION busbar.refuse_drift(was jsonb, now jsonb, change record) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    r record := busbar.rule_message(change.rule, busbar.quoted(was ->> 'schema', was ->> 'name'), change.object);
BEGIN
    RAISE EXCEPTION USING ERRCODE = r.code,
        MESSAGE = format('Clients cannot follow the change of table %s: %s', busbar.quoted(was ->> 'schema', was ->> 'name'), change.what),
        DETAIL = r.message, HINT = 'To bring the table back: ' || coalesce(busbar.mend(was, now), '-'),
        SCHEMA = was ->> 'schema', TABLE = was ->> 'name';
END
$$;

-- Captures the drift of one table, or refuses it.
CREATE OR REPLACE FUNCTION busbar.adopt_table(table_id bigint, was jsonb, now jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    change record;
    ops jsonb := '[]';
BEGIN
    FOR change IN SELECT d.* FROM busbar.differences(was, now) d LOOP
        IF change.rule IS NOT NULL THEN
            PERFORM busbar.refuse_drift(was, now, change);
        END IF;
        ops := ops || change.op;
    END LOOP;
    PERFORM busbar.refresh(ARRAY[table_id]);
    PERFORM busbar.capture(was, now, ops);
END
$$;

-- For busbar check --adopt: captures all drift; for a start: that of indexes alone, which CREATE INDEX CONCURRENTLY leaves
-- when the proxy is cut off before it could record it. Returns the number of tables.
CREATE OR REPLACE FUNCTION busbar.adopt(indexes_only boolean) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    drifted record;
    n bigint := 0;
BEGIN
    PERFORM busbar.require_proxy();
    PERFORM FROM busbar.electrified e ORDER BY e.id FOR UPDATE;
    FOR drifted IN SELECT c.* FROM busbar.compare_all(NULL) c
            WHERE NOT c.same AND EXISTS (SELECT FROM busbar.differences(c.was, c.now))
              AND (NOT indexes_only OR NOT EXISTS (SELECT FROM busbar.differences(c.was, c.now) d
                   WHERE coalesce(d.op ->> 'op' NOT IN ('create_index', 'drop_index'), true)))
            ORDER BY c.id LOOP
        PERFORM busbar.adopt_table(drifted.id, drifted.was, drifted.now);
        n := n + 1;
    END LOOP;
    RETURN n;
END
$$;
