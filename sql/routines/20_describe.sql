-- SPDX-License-Identifier: Apache-2.0
--
-- What a table looks like, as JSON: the definition that is remembered for each electrified table and compared with
-- the catalog. Objects are sorted, so equal tables give equal JSON. The parts rely on the search_path of
-- busbar.describe_tables() (pg_catalog first): names of other schemas come out qualified whatever the session's path.

-- Columns in position order; num is a column's identity across renames. values: labels of an enum type.
CREATE OR REPLACE FUNCTION busbar.describe_columns(table_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object(
            'num', a.attnum, 'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
            'type_name', t.typname, 'type_schema', n.nspname, 'typmod', a.atttypmod, 'not_null', a.attnotnull,
            'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity, 'generated', a.attgenerated,
            'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
            'enum', t.typtype = 'e',
            'values', CASE WHEN t.typtype = 'e' THEN (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder)
                                                      FROM pg_enum e WHERE e.enumtypid = t.oid) END)
            ORDER BY a.attnum), '[]')
        FROM pg_attribute a
        JOIN pg_type t ON t.oid = a.atttypid
        JOIN pg_namespace n ON n.oid = t.typnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = table_oid AND a.attnum > 0 AND NOT a.attisdropped);
END
$$;

-- The names of key columns, in key order.
CREATE OR REPLACE FUNCTION busbar.key_names(table_oid oid, nums smallint[]) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(a.attname ORDER BY k.position), '[]')
        FROM unnest(nums) WITH ORDINALITY AS k(num, position)
        JOIN pg_attribute a ON a.attrelid = table_oid AND a.attnum = k.num);
END
$$;

-- {"name","columns"} of the primary key, or JSON null.
CREATE OR REPLACE FUNCTION busbar.describe_primary_key(table_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((SELECT jsonb_build_object('oid', c.oid::bigint, 'name', c.conname,
            'columns', busbar.key_names(c.conrelid, c.conkey), 'definition', pg_get_constraintdef(c.oid))
        FROM pg_constraint c WHERE c.conrelid = table_oid AND c.contype = 'p'), 'null');
END
$$;

CREATE OR REPLACE FUNCTION busbar.describe_foreign_keys(table_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'name', c.conname,
            'columns', busbar.key_names(c.conrelid, c.conkey), 'ref_oid', c.confrelid::bigint,
            'ref_schema', n.nspname, 'ref_table', r.relname, 'ref_columns', busbar.key_names(c.confrelid, c.confkey),
            'on_delete', c.confdeltype, 'on_update', c.confupdtype, 'match', c.confmatchtype,
            'deferrable', c.condeferrable, 'deferred', c.condeferred) ORDER BY c.conname), '[]')
        FROM pg_constraint c
        JOIN pg_class r ON r.oid = c.confrelid
        JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE c.conrelid = table_oid AND c.contype = 'f');
END
$$;

-- CHECK, UNIQUE, EXCLUDE and constraint triggers. NOT NULL, which PostgreSQL 18 also lists ('n'), belongs to its column.
CREATE OR REPLACE FUNCTION busbar.describe_constraints(table_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'name', c.conname, 'type', c.contype,
            'columns', busbar.key_names(c.conrelid, c.conkey), 'definition', pg_get_constraintdef(c.oid))
            ORDER BY c.conname), '[]')
        FROM pg_constraint c WHERE c.conrelid = table_oid AND c.contype NOT IN ('p', 'f', 'n'));
END
$$;

-- The key columns of an index: a name, or an expression.
CREATE OR REPLACE FUNCTION busbar.describe_index_columns(index_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT jsonb_agg(jsonb_build_object('name', a.attname,
            'expression', CASE WHEN a.attname IS NULL THEN pg_get_indexdef(i.indexrelid, k.position::int, true) END,
            'descending', (i.indoption[k.position - 1] & 1) = 1) ORDER BY k.position)
        FROM pg_index i
        CROSS JOIN unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(num, position)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num
        WHERE i.indexrelid = index_oid AND k.position <= i.indnkeyatts);
END
$$;

-- Valid indexes besides the primary key's: one that CREATE INDEX CONCURRENTLY still builds does not exist for clients.
CREATE OR REPLACE FUNCTION busbar.describe_indexes(table_oid oid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('oid', c.oid::bigint, 'name', c.relname,
            'unique', i.indisunique, 'method', m.amname, 'valid', true, 'definition', pg_get_indexdef(c.oid),
            'columns', busbar.describe_index_columns(c.oid), 'predicate', pg_get_expr(i.indpred, i.indrelid))
            ORDER BY c.relname), '[]')
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_am m ON m.oid = c.relam
        WHERE i.indrelid = table_oid AND NOT i.indisprimary AND i.indisvalid);
END
$$;

-- The definitions of many tables in one statement, so that all come from one snapshot.
CREATE OR REPLACE FUNCTION busbar.describe_tables(table_oids oid[]) RETURNS TABLE (relid oid, definition jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT c.oid, jsonb_build_object(
            'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
            'persistence', c.relpersistence, 'replica_identity', c.relreplident,
            'row_security', c.relrowsecurity, 'force_row_security', c.relforcerowsecurity,
            'parents', (SELECT coalesce(jsonb_agg(h.inhparent::bigint ORDER BY h.inhseqno), '[]')
                        FROM pg_inherits h WHERE h.inhrelid = c.oid),
            'children', (SELECT coalesce(jsonb_agg(h.inhrelid::bigint ORDER BY h.inhrelid), '[]')
                         FROM pg_inherits h WHERE h.inhparent = c.oid),
            'columns', busbar.describe_columns(c.oid), 'primary_key', busbar.describe_primary_key(c.oid),
            'foreign_keys', busbar.describe_foreign_keys(c.oid), 'constraints', busbar.describe_constraints(c.oid),
            'indexes', busbar.describe_indexes(c.oid))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = ANY (table_oids);
END
$$;

CREATE OR REPLACE FUNCTION busbar.describe(table_oid oid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT d.definition FROM busbar.describe_tables(ARRAY[table_oid]) d
$$;

-- The oids of all that a table's definition depends on; see busbar.electrified.watch.
CREATE OR REPLACE FUNCTION busbar.watched(table_oid oid) RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT array_agg(DISTINCT o.oid) FROM (
        SELECT table_oid AS oid
        UNION ALL SELECT c.reloftype FROM pg_class c WHERE c.oid = table_oid AND c.reloftype <> 0
        UNION ALL SELECT a.atttypid FROM pg_attribute a
            WHERE a.attrelid = table_oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
        UNION ALL SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = table_oid
        UNION ALL SELECT k.oid FROM pg_constraint k WHERE k.conrelid = table_oid
        UNION ALL SELECT k.confrelid FROM pg_constraint k WHERE k.conrelid = table_oid AND k.contype = 'f'
        UNION ALL SELECT h.inhparent FROM pg_inherits h WHERE h.inhrelid = table_oid
        UNION ALL SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = table_oid) o);
END
$$;

-- Which table refers to which, itself left out: by the catalog, and by what is remembered of electrified tables, as DROP has
-- removed the former when the guard looks.
CREATE OR REPLACE FUNCTION busbar.all_references() RETURNS TABLE (child oid, parent oid)
LANGUAGE sql STABLE AS $$
    SELECT c.conrelid, c.confrelid FROM pg_constraint c WHERE c.contype = 'f' AND c.conrelid <> c.confrelid
    UNION
    SELECT e.relid, (f ->> 'ref_oid')::oid FROM busbar.electrified e, jsonb_array_elements(e.definition -> 'foreign_keys') f
    WHERE e.relid <> (f ->> 'ref_oid')::oid
$$;

-- All tables that a table refers to, by way of others too; itself when it is part of a circle.
CREATE OR REPLACE FUNCTION busbar.parents(table_oid oid) RETURNS oid[]
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE above(oid) AS (
        SELECT r.parent FROM busbar.all_references() r WHERE r.child = table_oid
        UNION SELECT r.parent FROM above a JOIN busbar.all_references() r ON r.child = a.oid
    )
    SELECT coalesce(array_agg(a.oid), '{}') FROM above a
$$;

-- Those of them that are not electrified.
CREATE OR REPLACE FUNCTION busbar.closed_parents(table_oid oid) RETURNS oid[]
LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(p), '{}') FROM unnest(busbar.parents(table_oid)) p
    WHERE NOT EXISTS (SELECT FROM busbar.electrified e WHERE e.relid = p)
$$;

-- The electrified tables that refer to a table, by way of others too; without itself.
CREATE OR REPLACE FUNCTION busbar.open_children(table_oid oid) RETURNS oid[]
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE below(oid) AS (
        SELECT r.child FROM busbar.all_references() r WHERE r.parent = table_oid
        UNION SELECT r.child FROM below b JOIN busbar.all_references() r ON r.parent = b.oid
    )
    SELECT coalesce(array_agg(e.relid), '{}') FROM busbar.electrified e JOIN below b ON b.oid = e.relid WHERE e.relid <> table_oid
$$;

-- The given tables, each behind those that it refers to; where they refer to each other in a circle, as good as it gets.
CREATE OR REPLACE FUNCTION busbar.parents_first(relids oid[]) RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    next_oid oid;
    ordered oid[] := '{}';
BEGIN
    WHILE relids <> '{}' LOOP
        next_oid := (SELECT min(r) FROM unnest(relids) r
            WHERE NOT EXISTS (SELECT FROM busbar.all_references() a WHERE a.child = r AND a.parent = ANY (relids)));
        next_oid := coalesce(next_oid, relids[1]);
        ordered := ordered || next_oid;
        relids := array_remove(relids, next_oid);
    END LOOP;
    RETURN ordered;
END
$$;

-- The statements that open a table together with all that it refers to.
CREATE OR REPLACE FUNCTION busbar.enable_hint(table_oid oid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg(format('ALTER TABLE %s ENABLE ELECTRIC;', busbar.quoted(n.nspname, c.relname)), ' ' ORDER BY o.position)
    FROM unnest(busbar.parents_first(array_remove(busbar.closed_parents(table_oid), table_oid) || table_oid))
        WITH ORDINALITY AS o(oid, position)
    JOIN pg_class c ON c.oid = o.oid JOIN pg_namespace n ON n.oid = c.relnamespace
$$;

-- The statements that close an electrified table together with all that refer to it.
CREATE OR REPLACE FUNCTION busbar.disable_hint(def jsonb) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN (def ->> 'oid')::oid = ANY (busbar.parents((def ->> 'oid')::oid))
        THEN 'Tables that refer to each other in a circle stay electrified: clients could drop none of them first.'
        ELSE (SELECT string_agg(format('ALTER TABLE %s DISABLE ELECTRIC;', busbar.quoted(e.schema_name, e.table_name)), ' '
                  ORDER BY o.position DESC)
              FROM unnest(busbar.parents_first(busbar.open_children((def ->> 'oid')::oid) || (def ->> 'oid')::oid))
                  WITH ORDINALITY AS o(oid, position)
              JOIN busbar.electrified e ON e.relid = o.oid) END
$$;
