-- SPDX-License-Identifier: Apache-2.0
--
-- Changes that come to a COMMIT which the proxy could not foresee: SELECT f() outside a transaction block, a procedure that
-- commits. By then nobody can try them out in SQLite. Those that SQLite takes without doubt are recorded all the same;
-- of the others the COMMIT is refused (ADR 9).

-- Names that clients were ever given for tables and indexes, this transaction's among them; SQLite ignores their case.
CREATE OR REPLACE FUNCTION busbar.names_given() RETURNS TABLE (name text)
LANGUAGE sql STABLE AS $$
    SELECT lower(x.name #>> '{}' COLLATE "C")
    FROM (SELECT c.ops FROM busbar.command c
          UNION ALL SELECT p.ops FROM busbar.pending p WHERE p.xid = pg_current_xact_id()) o
    CROSS JOIN LATERAL (
        SELECT jsonb_path_query(o.ops, '$[*] ? (@.op == "create_table").table.name') AS name
        UNION ALL SELECT jsonb_path_query(o.ops, '$[*] ? (@.op == "create_index").index.name')) x
$$;

-- A new column: its name is new to the table whatever its case, and clients' rows need no value for it.
CREATE OR REPLACE FUNCTION busbar.is_certain_column(op jsonb) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT (op #>> '{column,not_null}')::boolean AND (
        SELECT count(*) = 1
        FROM busbar.electrified e CROSS JOIN jsonb_array_elements(e.definition -> 'columns') c
        WHERE e.schema_name = op ->> 'schema' AND e.table_name = op ->> 'table'
          AND lower(c ->> 'name' COLLATE "C") = lower(op #>> '{column,name}' COLLATE "C"))
$$;

-- A new index: on columns alone, under a name that was never used.
CREATE OR REPLACE FUNCTION busbar.is_certain_index(op jsonb) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT op #>> '{index,predicate}' IS NULL
        AND NOT EXISTS (SELECT FROM jsonb_array_elements(op #> '{index,columns}') c WHERE c ->> 'name' IS NULL)
        AND op #>> '{index,name}' !~* '^(sqlite|_electric)_'
        AND (SELECT count(*) = 1 FROM busbar.names_given() g WHERE g.name = lower(op #>> '{index,name}' COLLATE "C"))
$$;

CREATE OR REPLACE FUNCTION busbar.is_certain(op jsonb) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(CASE op ->> 'op'
        WHEN 'create_enum' THEN true -- its columns are text at the clients
        WHEN 'drop_index' THEN true
        WHEN 'add_column' THEN busbar.is_certain_column(op)
        WHEN 'create_index' THEN busbar.is_certain_index(op) END, false)
$$;

-- Records what this transaction captured when all of it is certain; true when it did.
CREATE OR REPLACE FUNCTION busbar.record_certain() RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT busbar.is_proxy() THEN
        RETURN false;
    END IF;
    PERFORM busbar.lock_recorder();
    IF EXISTS (SELECT FROM busbar.pending p CROSS JOIN jsonb_array_elements(p.ops) o
            WHERE p.xid = pg_current_xact_id() AND NOT busbar.is_certain(o)) THEN
        RETURN false;
    END IF;
    PERFORM busbar.check_references(ARRAY(SELECT DISTINCT p.relid FROM busbar.pending p WHERE p.xid = pg_current_xact_id()));
    PERFORM busbar.check_usable();
    PERFORM busbar.record_pending('[]');
    RETURN true;
END
$$;
