-- SPDX-License-Identifier: Apache-2.0
--
-- The difference between two definitions of a table. Every change is one row: either it breaks a rule (rule, object,
-- column_name) or it is an operation for clients (op); what says it in words. No row: nothing that clients would notice.

-- A column as CREATE TABLE and ADD COLUMN write it.
CREATE OR REPLACE FUNCTION busbar.column_sql(col jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT quote_ident(col ->> 'name') || ' ' || busbar.type_sql(col)
        || coalesce(' COLLATE ' || (col ->> 'collation'), '')
        || CASE WHEN (col ->> 'not_null')::boolean THEN ' NOT NULL' ELSE '' END
$$;

-- True when clients have an enum already: some electrified table uses it, and columns never go away.
CREATE OR REPLACE FUNCTION busbar.knows_enum(col jsonb) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM busbar.electrified e
        WHERE e.definition @> jsonb_build_object('columns', jsonb_build_array(jsonb_build_object(
            'enum', true, 'type_schema', col ->> 'type_schema', 'type_name', col ->> 'type_name'))))
$$;

CREATE OR REPLACE FUNCTION busbar.enum_op(col jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('op', 'create_enum', 'schema', col ->> 'type_schema', 'name', col ->> 'type_name',
        'values', col -> 'values', 'sql', format('CREATE TYPE %s AS ENUM (%s)', busbar.type_sql(col),
            (SELECT string_agg(quote_literal(l), ', ' ORDER BY n)
             FROM jsonb_array_elements_text(col -> 'values') WITH ORDINALITY AS v(l, n))))
$$;

CREATE OR REPLACE FUNCTION busbar.add_column_op(def jsonb, col jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('op', 'add_column', 'schema', def ->> 'schema', 'table', def ->> 'name', 'column', col,
        'sql', format('ALTER TABLE %I.%I ADD COLUMN %s', def ->> 'schema', def ->> 'name', busbar.column_sql(col)))
$$;

CREATE OR REPLACE FUNCTION busbar.create_index_op(def jsonb, idx jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('op', 'create_index', 'schema', def ->> 'schema', 'table', def ->> 'name',
        'index', idx, 'sql', idx ->> 'definition')
$$;

CREATE OR REPLACE FUNCTION busbar.drop_index_op(def jsonb, idx jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('op', 'drop_index', 'schema', def ->> 'schema', 'table', def ->> 'name',
        'name', idx ->> 'name', 'sql', format('DROP INDEX %I.%I', def ->> 'schema', idx ->> 'name'))
$$;

-- Changes of the table as a whole.
CREATE OR REPLACE FUNCTION busbar.diff_table(o jsonb, n jsonb)
RETURNS TABLE (rule text, object text, column_name text, what text, op jsonb)
LANGUAGE sql STABLE AS $$
    SELECT 'set_schema', n ->> 'schema', NULL, format('it is now in schema %I', n ->> 'schema'), NULL::jsonb
    WHERE o -> 'schema' <> n -> 'schema'
    UNION ALL
    SELECT 'rename_table', n ->> 'name', NULL, format('it was renamed to %I', n ->> 'name'), NULL
    WHERE o -> 'name' <> n -> 'name'
    UNION ALL
    SELECT 'alter_column', '', NULL, p.what, NULL
    FROM (VALUES ('kind', 'its kind was changed'), ('persistence', 'it was made LOGGED or UNLOGGED'),
        ('replica_identity', 'its REPLICA IDENTITY was changed'), ('row_security', 'row level security was switched'),
        ('force_row_security', 'row level security was switched'), ('parents', 'its parent tables were changed'),
        ('children', 'its child tables were changed')) AS p(key, what)
    WHERE o -> p.key <> n -> p.key
$$;

-- Changes of columns that were there before; a column is the same one when its number is.
CREATE OR REPLACE FUNCTION busbar.diff_columns(o jsonb, n jsonb)
RETURNS TABLE (rule text, object text, column_name text, what text, op jsonb)
LANGUAGE sql STABLE AS $$
    WITH pair AS (
        SELECT a AS was, b AS now, a ->> 'name' AS name
        FROM jsonb_array_elements(o -> 'columns') a
        LEFT JOIN jsonb_array_elements(n -> 'columns') b ON a -> 'num' = b -> 'num'
    ), found AS (
        SELECT 1 AS rank, 'drop_column' AS rule, name, format('column %I was dropped', name) AS what
        FROM pair WHERE now IS NULL
        UNION ALL
        SELECT 2, 'rename_column', name, format('column %I was renamed to %I', name, now ->> 'name')
        FROM pair WHERE was -> 'name' <> now -> 'name'
        UNION ALL
        SELECT 3, 'alter_type', name, format('the type of column %I was changed from %s to %s', name,
            busbar.type_sql(was), busbar.type_sql(now))
        FROM pair WHERE now IS NOT NULL AND ARRAY[was -> 'type', was -> 'type_schema', was -> 'type_name', was -> 'collation']
            <> ARRAY[now -> 'type', now -> 'type_schema', now -> 'type_name', now -> 'collation']
        UNION ALL
        SELECT 4, 'alter_enum', name, format('the values of enum type %s, the type of column %I, were changed',
            busbar.type_sql(was), name)
        FROM pair WHERE was -> 'type_name' = now -> 'type_name' AND was -> 'values' <> now -> 'values'
        UNION ALL
        SELECT 5, 'alter_column', name, format('%s of column %I was changed', p.what, name)
        FROM pair CROSS JOIN (VALUES ('not_null', 'NOT NULL'), ('default', 'DEFAULT'), ('identity', 'identity'),
            ('generated', 'the generation expression')) AS p(key, what)
        WHERE was -> p.key <> now -> p.key
    )
    SELECT rule, name, name, what, NULL::jsonb FROM found ORDER BY rank, name
$$;

-- The kind of the constraint that a new column came with, if any.
CREATE OR REPLACE FUNCTION busbar.new_constraint_kind(o jsonb, n jsonb, column_name text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT k.kind FROM (
        SELECT 1 AS rank, 'PRIMARY KEY' AS kind WHERE n #> '{primary_key,columns}' ? column_name
        UNION ALL
        SELECT 2, CASE c ->> 'type' WHEN 'u' THEN 'UNIQUE' WHEN 'x' THEN 'EXCLUDE' ELSE 'CHECK' END
        FROM jsonb_array_elements(n -> 'constraints') c WHERE c -> 'columns' ? column_name
        UNION ALL
        SELECT 3, 'FOREIGN KEY' FROM jsonb_array_elements(n -> 'foreign_keys') f WHERE f -> 'columns' ? column_name) k
    ORDER BY k.rank LIMIT 1
$$;

-- True when clients can hold rows of the table: it was not opened in this very transaction.
CREATE OR REPLACE FUNCTION busbar.has_clients(def jsonb) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM busbar.electrified e WHERE e.relid = (def ->> 'oid')::oid AND e.created_at < now())
$$;

-- New columns: what ADD COLUMN may not bring along, else the operation; an enum unknown to clients comes first.
CREATE OR REPLACE FUNCTION busbar.diff_new_columns(o jsonb, n jsonb)
RETURNS TABLE (rule text, object text, column_name text, what text, op jsonb)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    col jsonb;
    sent text[] := '{}';
BEGIN
    FOR col IN SELECT b FROM jsonb_array_elements(n -> 'columns') b
            WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(o -> 'columns') a WHERE a -> 'num' = b -> 'num') LOOP
        column_name := col ->> 'name';
        what := format('column %I was added', column_name);
        object := busbar.type_label((n ->> 'oid')::oid, col);
        op := NULL;
        rule := CASE
            WHEN NOT busbar.is_supported_type(col) OR busbar.is_serial((n ->> 'oid')::oid, col) THEN 'column_type'
            WHEN col ->> 'generated' <> '' OR col ->> 'identity' <> '' THEN 'column_constraint'
            WHEN col ->> 'default' IS NOT NULL THEN 'column_default'
            WHEN busbar.new_constraint_kind(o, n, column_name) IS NOT NULL THEN 'column_constraint'
            WHEN (col ->> 'not_null')::boolean AND busbar.has_clients(n) THEN 'column_not_null' END;
        IF rule = 'column_constraint' THEN
            object := CASE WHEN col ->> 'generated' <> '' OR col ->> 'identity' <> '' THEN 'GENERATED'
                ELSE busbar.new_constraint_kind(o, n, column_name) END;
        END IF;
        IF rule = 'column_not_null' THEN
            object := column_name;
        END IF;
        IF rule IS NULL AND (col ->> 'enum')::boolean AND col ->> 'type' <> ALL (sent) AND NOT busbar.knows_enum(col) THEN
            sent := sent || (col ->> 'type');
            op := busbar.enum_op(col);
            RETURN NEXT;
        END IF;
        IF rule IS NULL THEN
            op := busbar.add_column_op(n, col);
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

-- All constraints of a definition in one list, primary and foreign keys too.
CREATE OR REPLACE FUNCTION busbar.all_constraints(def jsonb) RETURNS TABLE (oid text, name text, body jsonb)
LANGUAGE sql STABLE AS $$
    SELECT c ->> 'oid', c ->> 'name', c - 'oid' - 'name'
    FROM jsonb_path_query(def, '$.primary_key ? (@ != null)') c
    UNION ALL
    SELECT c ->> 'oid', c ->> 'name', c - 'oid' - 'name'
    FROM jsonb_array_elements((def -> 'foreign_keys') || (def -> 'constraints')) c
$$;

-- Constraints added, dropped, renamed or altered. New ones on new columns are diff_new_columns()' to report.
CREATE OR REPLACE FUNCTION busbar.diff_constraints(o jsonb, n jsonb)
RETURNS TABLE (rule text, object text, column_name text, what text, op jsonb)
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN a.body = b.body THEN 'rename_constraint'
            WHEN a.oid IS NULL AND b.body ->> 'type' = 'u' THEN 'add_unique' ELSE 'alter_column' END,
        coalesce(a.name, (SELECT string_agg(quote_ident(c), ', ' ORDER BY k)
            FROM jsonb_array_elements_text(b.body -> 'columns') WITH ORDINALITY AS x(c, k) WHERE b.body ->> 'type' = 'u'), ''), NULL,
        CASE WHEN a.oid IS NULL THEN format('constraint %I was added', b.name)
            WHEN b.oid IS NULL THEN format('constraint %I was dropped', a.name)
            WHEN a.name <> b.name THEN format('constraint %I was renamed to %I', a.name, b.name)
            ELSE format('constraint %I was changed', a.name) END, NULL::jsonb
    FROM busbar.all_constraints(o) a
    FULL JOIN busbar.all_constraints(n) b ON a.oid = b.oid
    WHERE (a.name, a.body) IS DISTINCT FROM (b.name, b.body)
    ORDER BY a.name, b.name
$$;

-- An index as far as clients are concerned: without its oid and storage parameters.
CREATE OR REPLACE FUNCTION busbar.index_essence(idx jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_set(idx - 'oid', '{definition}', to_jsonb(regexp_replace(idx ->> 'definition', E' WITH \\([^()]*\\)', '')))
$$;

-- Indexes dropped, created or changed (a changed or renamed one is dropped and created). The name identifies an index,
-- not its oid: REINDEX CONCURRENTLY gives it a new one.
CREATE OR REPLACE FUNCTION busbar.diff_indexes(o jsonb, n jsonb)
RETURNS TABLE (rule text, object text, column_name text, what text, op jsonb)
LANGUAGE sql STABLE AS $$
    WITH pair AS (
        SELECT a AS was, b AS now
        FROM jsonb_array_elements(o -> 'indexes') a
        FULL JOIN jsonb_array_elements(n -> 'indexes') b ON a -> 'name' = b -> 'name'
        WHERE busbar.index_essence(a) IS DISTINCT FROM busbar.index_essence(b)
    )
    SELECT NULL, was ->> 'name', NULL, format('index %I was dropped', was ->> 'name'), busbar.drop_index_op(n, was)
    FROM pair WHERE was IS NOT NULL
    UNION ALL
    SELECT NULL, now ->> 'name', NULL, format('index %I was created', now ->> 'name'), busbar.create_index_op(n, now)
    FROM pair WHERE now IS NOT NULL
$$;

-- Everything together, the gravest first, operations in the order in which they must run.
CREATE OR REPLACE FUNCTION busbar.diff(o jsonb, n jsonb)
RETURNS TABLE (rule text, object text, column_name text, what text, op jsonb)
LANGUAGE sql STABLE AS $$
    SELECT * FROM busbar.diff_table(o, n)
    UNION ALL SELECT * FROM busbar.diff_columns(o, n)
    UNION ALL SELECT * FROM busbar.diff_new_columns(o, n)
    UNION ALL SELECT * FROM busbar.diff_constraints(o, n)
    UNION ALL SELECT * FROM busbar.diff_indexes(o, n)
$$;
