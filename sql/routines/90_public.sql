-- SPDX-License-Identifier: Apache-2.0
--
-- The public face, with the names that users and tools of the original know, and who may do what. The procedures run
-- with the caller's rights and search_path: there names are resolved; everything they use is qualified.

-- Resolves what ENABLE ELECTRIC was given: two names are taken as they are; a single one without a dot first as it is,
-- then as SQL would read it; one with a dot as SQL reads it.
CREATE OR REPLACE FUNCTION busbar.resolve_table(name1 text, name2 text) RETURNS pg_catalog.oid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    given text := pg_catalog.concat_ws('.', name1, name2);
    parts text[];
    found_oid pg_catalog.oid;
BEGIN
    IF name1 IS NULL OR name1 OPERATOR(pg_catalog.=) '' THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = 'no valid table name given',
            HINT = 'CALL electric.electrify(''my_table'');';
    ELSIF name2 IS NOT NULL THEN
        found_oid := pg_catalog.to_regclass(pg_catalog.format('%I.%I', name1, name2))::pg_catalog.oid;
    ELSE
        IF pg_catalog.strpos(name1, '.') OPERATOR(pg_catalog.=) 0 THEN
            found_oid := pg_catalog.to_regclass(pg_catalog.quote_ident(name1))::pg_catalog.oid;
        END IF;
        BEGIN
            parts := pg_catalog.parse_ident(name1);
        EXCEPTION
            WHEN invalid_parameter_value THEN
                parts := ARRAY[name1];
        END;
        IF pg_catalog.cardinality(parts) OPERATOR(pg_catalog.>) 2 THEN
            RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = pg_catalog.format('invalid table name given %s', name1),
                HINT = 'CALL electric.electrify(''my_schema'', ''my_table'');';
        ELSIF found_oid IS NULL THEN
            SELECT pg_catalog.to_regclass(pg_catalog.string_agg(pg_catalog.quote_ident(p), '.'))::pg_catalog.oid
            INTO found_oid FROM pg_catalog.unnest(parts) p;
        END IF;
    END IF;
    IF found_oid IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_table', MESSAGE = pg_catalog.format('relation "%s" does not exist', given),
            HINT = 'Check the name, its schema and the search_path.';
    END IF;
    RETURN found_oid;
END
$$;

CREATE OR REPLACE PROCEDURE electric.electrify(name1 text, name2 text DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    table_oid pg_catalog.oid := busbar.resolve_table(name1, name2);
BEGIN
    PERFORM busbar.electrify_table(table_oid, table_oid::pg_catalog.regclass::text);
END
$$;

CREATE OR REPLACE PROCEDURE electric.enable(table_name text)
LANGUAGE plpgsql AS $$
BEGIN
    CALL electric.electrify(table_name);
END
$$;

-- For the proxy: the name as ALTER TABLE … ENABLE ELECTRIC has it, so folded and quoted as SQL reads it.
CREATE OR REPLACE FUNCTION busbar.require_relation(relation text) RETURNS pg_catalog.oid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    table_oid pg_catalog.oid := pg_catalog.to_regclass(relation)::pg_catalog.oid;
BEGIN
    IF table_oid IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_table',
            MESSAGE = pg_catalog.format('relation "%s" does not exist',
                pg_catalog.array_to_string(pg_catalog.parse_ident(relation), '.')),
            HINT = 'Check the name, its schema and the search_path.';
    END IF;
    RETURN table_oid;
END
$$;

CREATE OR REPLACE PROCEDURE busbar.enable_electric(relation text)
LANGUAGE plpgsql AS $$
DECLARE
    table_oid pg_catalog.oid := busbar.require_relation(relation);
BEGIN
    PERFORM busbar.electrify_table(table_oid, table_oid::pg_catalog.regclass::text);
END
$$;

CREATE OR REPLACE PROCEDURE electric.disable(table_name text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM busbar.disable_table(busbar.resolve_table(table_name, NULL));
END
$$;

CREATE OR REPLACE PROCEDURE busbar.disable_electric(relation text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM busbar.disable_table(busbar.require_relation(relation));
END
$$;

CREATE OR REPLACE PROCEDURE electric.assign_migration_version(_version text, _priority integer)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM busbar.claim_version(_version, _priority);
END
$$;

CREATE OR REPLACE PROCEDURE electric.migration_version(_version text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM busbar.claim_version(_version, 32767);
END
$$;

CREATE OR REPLACE VIEW electric.electrified AS
    SELECT e.id, e.schema_name, e.table_name, e.relid AS oid, e.created_at FROM busbar.electrified e;

CREATE OR REPLACE VIEW electric.migration_versions AS
    SELECT m.xid AS txid, m.txts, m.version, m.inserted_at, m.priority FROM busbar.migration m;

-- What migration tools call the migrations of a transaction, in the order in which they ran; tool_version is the tool's own.
CREATE OR REPLACE VIEW electric.migration_sources AS
    SELECT m.version, s."position", s.framework, s.version AS tool_version, s.name
    FROM busbar.migration_source s JOIN busbar.migration m ON m.seq = s.seq ORDER BY m.seq, s."position";

CREATE OR REPLACE VIEW electric.ddl_commands AS
    SELECT c.id, m.xid AS txid, m.txts, c.query, c.query_hash
    FROM busbar.command c JOIN busbar.migration m ON m.seq = c.seq ORDER BY c.seq, c.id;

-- Everybody's DDL meets the guard, and the proxy may run as a lesser role (BUSBAR_PROXY_ROLE): so the functions that check
-- for themselves who calls are open, and nothing else is.
REVOKE ALL ON ALL TABLES IN SCHEMA busbar FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA busbar FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA electric FROM PUBLIC;
GRANT USAGE ON SCHEMA busbar, electric TO PUBLIC;
GRANT SELECT ON electric.electrified, electric.migration_versions, electric.migration_sources, electric.ddl_commands TO PUBLIC;
GRANT EXECUTE ON PROCEDURE electric.electrify(text, text), electric.enable(text), electric.disable(text),
    electric.assign_migration_version(text, integer), electric.migration_version(text),
    busbar.enable_electric(text), busbar.disable_electric(text), busbar.refuse(text, text, text, text) TO PUBLIC;
GRANT EXECUTE ON FUNCTION busbar.resolve_table(text, text), busbar.require_relation(text), busbar.electrify_table(oid, text),
    busbar.disable_table(oid),
    busbar.claim_version(text, integer), busbar.precheck(text, text, text), busbar.precheck_table(text, oid, text),
    busbar.precheck_event_trigger(text),
    busbar.pending(), busbar.record(jsonb, jsonb), busbar.reconcile(), busbar.find_changes(),
    busbar.concurrent_target(text), busbar.refuse_concurrent(oid, text), busbar.refuse_drop_schemas(text) TO PUBLIC;
