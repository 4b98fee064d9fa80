-- SPDX-License-Identifier: Apache-2.0
--
-- What a session that only looks at the schema sees of it: the electrified tables and what belongs to them, as if nothing else
-- were there. Its catalogs are temporary views, which PostgreSQL finds before pg_catalog; the proxy leads names with a schema in
-- front there as well (src/sql/redirect.c has the same names). Views of the session's own, and not views that are installed: they
-- have the columns of this version of PostgreSQL, and pg_upgrade meets none of them. See docs/adr/0017-introspection.md.

CREATE OR REPLACE FUNCTION busbar.shown_tables() RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT busbar.table_now(e.relid, e.schema_name, e.table_name) FROM busbar.electrified e
$$;

-- Relations: those tables, their indexes, and PostgreSQL's own.
CREATE OR REPLACE FUNCTION busbar.shown_relations() RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT busbar.shown_tables()
    UNION ALL SELECT i.indexrelid FROM pg_index i WHERE i.indrelid IN (SELECT busbar.shown_tables())
    UNION ALL SELECT c.oid FROM pg_class c WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
$$;

CREATE OR REPLACE FUNCTION busbar.shown_names(OUT schema_name name, OUT relation_name name) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid IN (SELECT busbar.shown_relations())
$$;

-- Schemas: public as well when it is empty, for it is there.
CREATE OR REPLACE FUNCTION busbar.shown_schemas() RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT n.schema_name FROM busbar.shown_names() n UNION SELECT 'public'
$$;

-- Types: PostgreSQL's own, rows of those relations, and those of the tables' columns, with what they are made of.
CREATE OR REPLACE FUNCTION busbar.shown_types() RETURNS SETOF oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE used AS (
        SELECT a.atttypid AS oid FROM pg_attribute a WHERE a.attrelid IN (SELECT busbar.shown_tables()) AND NOT a.attisdropped
        UNION SELECT made_of.oid FROM used JOIN pg_type t ON t.oid = used.oid, unnest(ARRAY[t.typbasetype, t.typelem, t.typarray]) made_of (oid)
        WHERE made_of.oid <> 0)
    SELECT u.oid FROM used u
    UNION SELECT t.oid FROM pg_type t WHERE t.typrelid IN (SELECT busbar.shown_relations())
        OR t.typnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
$$;

-- Each catalog with the condition for its rows.
CREATE OR REPLACE FUNCTION busbar.hidden_catalogs(OUT catalog text, OUT name text, OUT condition text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'pg_catalog', n, format('x.%I IN (SELECT busbar.shown_relations())', c) FROM (VALUES
        ('pg_class', 'oid'), ('pg_attribute', 'attrelid'), ('pg_attrdef', 'adrelid'), ('pg_index', 'indrelid'), ('pg_inherits', 'inhrelid'),
        ('pg_policy', 'polrelid'), ('pg_partitioned_table', 'partrelid'), ('pg_stat_all_tables', 'relid'),
        ('pg_stat_user_tables', 'relid')) v (n, c)
    UNION ALL SELECT 'pg_catalog', n, format('(x.schemaname, x.tablename) IN (SELECT * FROM busbar.shown_names())')
    FROM (VALUES ('pg_tables'), ('pg_indexes'), ('pg_policies'), ('pg_rules'), ('pg_stats')) v (n)
    UNION ALL SELECT 'pg_catalog', n, c FROM (VALUES
        ('pg_constraint', 'CASE WHEN x.conrelid = 0 THEN x.contypid IN (SELECT busbar.shown_types()) ELSE x.conrelid IN'
            ' (SELECT busbar.shown_relations()) AND (x.confrelid = 0 OR x.confrelid IN (SELECT busbar.shown_relations())) END'),
        ('pg_description', 'x.classoid <> ''pg_catalog.pg_class''::pg_catalog.regclass OR x.objoid IN (SELECT busbar.shown_relations())'),
        ('pg_enum', 'x.enumtypid IN (SELECT busbar.shown_types())'),
        ('pg_type', 'x.oid IN (SELECT busbar.shown_types())'),
        ('pg_namespace', 'x.nspname IN (SELECT busbar.shown_schemas())'),
        ('pg_trigger', 'x.tgrelid IN (SELECT busbar.shown_relations()) AND x.tgname <> ''busbar_truncate'''),
        ('pg_proc', 'x.pronamespace IN (''pg_catalog''::pg_catalog.regnamespace, ''information_schema''::pg_catalog.regnamespace)'),
        ('pg_views', 'x.schemaname IN (''pg_catalog'', ''information_schema'')'),
        ('pg_extension', 'false'), ('pg_matviews', 'false'), ('pg_sequence', 'false'), ('pg_sequences', 'false')) v (n, c)
    UNION ALL SELECT 'information_schema', n, format('(x.%I::pg_catalog.name, x.%I::pg_catalog.name) IN (SELECT * FROM busbar.shown_names())', s, t)
    FROM (VALUES ('columns', 'table_schema', 'table_name'), ('tables', 'table_schema', 'table_name'), ('table_constraints', 'table_schema', 'table_name'),
        ('key_column_usage', 'table_schema', 'table_name'), ('table_privileges', 'table_schema', 'table_name'),
        ('column_privileges', 'table_schema', 'table_name'), ('views', 'table_schema', 'table_name'),
        ('triggers', 'event_object_schema', 'event_object_table')) v (n, s, t)
    UNION ALL SELECT 'information_schema', n, '(x.constraint_schema, x.constraint_name) IN (SELECT c.constraint_schema, c.constraint_name'
        ' FROM information_schema.table_constraints c WHERE (c.table_schema::pg_catalog.name, c.table_name::pg_catalog.name) IN'
        ' (SELECT * FROM busbar.shown_names()))'
    FROM (VALUES ('check_constraints'), ('constraint_column_usage'), ('constraint_table_usage'), ('referential_constraints')) v (n)
    UNION ALL VALUES ('information_schema', 'schemata', 'x.schema_name IN (SELECT busbar.shown_schemas())'),
        ('information_schema', 'routines', 'x.routine_schema IN (''pg_catalog'', ''information_schema'')'),
        ('information_schema', 'sequences', 'false')
$$;

-- What a view may not have: columns of type anyarray are shown as text.
CREATE OR REPLACE FUNCTION busbar.catalog_columns(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(CASE WHEN a.atttypid = 'anyarray'::regtype THEN format('x.%1$I::text AS %1$I', a.attname) ELSE format('x.%I', a.attname) END,
        ', ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- Makes this session one that sees no more, and changes nothing.
CREATE OR REPLACE FUNCTION busbar.hide_catalogs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hidden record;
BEGIN
    PERFORM set_config('busbar.maintenance', 'on', true); -- it concerns nobody: the guard need not look
    FOR hidden IN SELECT h.*, format('%I.%I', h.catalog, h.name)::regclass AS relation FROM busbar.hidden_catalogs() h LOOP
        EXECUTE format('CREATE TEMP VIEW %I AS SELECT %s FROM %s x WHERE %s', hidden.name, busbar.catalog_columns(hidden.relation),
            format('%I.%I', hidden.catalog, hidden.name), hidden.condition);
    END LOOP;
    PERFORM set_config('default_transaction_read_only', 'on', false);
END
$$;
