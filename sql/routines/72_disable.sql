-- SPDX-License-Identifier: Apache-2.0
--
-- DISABLE ELECTRIC: the table stays with its rows, and nothing of ours on it. Clients drop their copy.

-- Refuses to close a table that other electrified ones refer to: clients could not drop it.
CREATE OR REPLACE FUNCTION busbar.check_unreferenced(def jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    children text := (SELECT string_agg(format('Foreign key %s of table %s refers to it.', quote_ident(f ->> 'name'),
            busbar.quoted(e.schema_name, e.table_name)), ' ' ORDER BY e.id, f ->> 'name')
        FROM busbar.electrified e, jsonb_array_elements(e.definition -> 'foreign_keys') f
        WHERE f -> 'ref_oid' = def -> 'oid' AND e.relid <> (def ->> 'oid')::oid);
BEGIN
    IF children IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'UB006', DETAIL = children,
            MESSAGE = format('Cannot disable electrified table %s because other electrified tables refer to it',
                busbar.quoted(def ->> 'schema', def ->> 'name')),
            HINT = busbar.disable_hint(def), SCHEMA = def ->> 'schema', TABLE = def ->> 'name';
    END IF;
END
$$;

-- The statements whose permissions a table is part of. None yet: GRANT and ASSIGN are not carried out.
CREATE OR REPLACE FUNCTION busbar.permissions_on(table_oid oid) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT NULL::text WHERE false
$$;

CREATE OR REPLACE FUNCTION busbar.check_permissions(def jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    statements text := (SELECT string_agg(p, '; ') FROM busbar.permissions_on((def ->> 'oid')::oid) p);
BEGIN
    IF statements IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist', DETAIL = statements,
            MESSAGE = format('Cannot disable electrified table %s because permissions refer to it',
                busbar.quoted(def ->> 'schema', def ->> 'name')),
            HINT = 'Take the permissions back first: ELECTRIC REVOKE, ELECTRIC UNASSIGN.',
            SCHEMA = def ->> 'schema', TABLE = def ->> 'name';
    END IF;
END
$$;

-- The operations that take a table and the enums that only it used from clients. Two tables with one enum could be
-- closed at once: the recorder's lock lets the second one see that it was the last.
CREATE OR REPLACE FUNCTION busbar.drop_ops(def jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM busbar.lock_recorder();
    RETURN jsonb_build_array(jsonb_build_object('op', 'drop_table', 'schema', def ->> 'schema', 'table', def ->> 'name',
            'sql', 'DROP TABLE ' || busbar.table_sql(def)))
        || (SELECT coalesce(jsonb_agg(jsonb_build_object('op', 'drop_enum', 'schema', c ->> 'type_schema',
                'name', c ->> 'type_name', 'sql', 'DROP TYPE ' || busbar.type_sql(c))), '[]')
            FROM (SELECT DISTINCT ON (y.c -> 'type') y.c FROM jsonb_array_elements(def -> 'columns') AS y(c)
                  WHERE (y.c ->> 'enum')::boolean AND NOT busbar.knows_enum(y.c)) x);
END
$$;

-- Takes the table out of the publication and gives it the replica identity of before; of an index that is gone, the default.
CREATE OR REPLACE FUNCTION busbar.unpublish(table_oid oid, replica_identity text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    before text := coalesce(current_setting('busbar.maintenance', true), '');
BEGIN
    PERFORM set_config('busbar.maintenance', 'on', true);
    IF EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
            WHERE p.pubname = 'electric_publication' AND r.prrelid = table_oid) THEN
        EXECUTE format('ALTER PUBLICATION electric_publication DROP TABLE ONLY %s', table_oid::regclass);
    END IF;
    PERFORM busbar.unwatch_truncate(table_oid);
    IF replica_identity LIKE 'USING INDEX %' AND NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = table_oid AND i.indisunique AND i.indisvalid
              AND replica_identity = format('USING INDEX %I', c.relname)) THEN
        replica_identity := 'DEFAULT';
    END IF;
    EXECUTE format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', table_oid::regclass, replica_identity);
    PERFORM set_config('busbar.maintenance', before, true);
END
$$;

-- Closes a table in the caller's transaction. Outside the proxy nobody else would record it, so this does.
CREATE OR REPLACE FUNCTION busbar.disable_table(table_oid oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    was busbar.electrified;
    pending_id bigint;
BEGIN
    PERFORM busbar.require_owner(table_oid);
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', table_oid::regclass);
    SELECT * INTO was FROM busbar.electrified e WHERE e.relid = table_oid FOR UPDATE;
    IF NOT FOUND THEN
        RAISE NOTICE 'table % is not electrified', table_oid::regclass;
        RETURN;
    END IF;
    PERFORM busbar.check_permissions(was.definition);
    PERFORM busbar.check_unreferenced(was.definition);
    DELETE FROM busbar.electrified e WHERE e.relid = table_oid;
    PERFORM busbar.unpublish(table_oid, was.replica_identity);
    pending_id := busbar.add_pending(table_oid, was.definition, busbar.drop_ops(was.definition));
    IF busbar.is_proxy() THEN
        PERFORM busbar.signal(pending_id, false, was.schema_name, was.table_name);
        RETURN;
    END IF;
    PERFORM busbar.record_pending('[]');
    PERFORM busbar.check_references(ARRAY[table_oid]);
END
$$;
