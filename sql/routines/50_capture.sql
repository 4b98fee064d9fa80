-- SPDX-License-Identifier: Apache-2.0
--
-- From a difference to a captured migration: compare the remembered definitions with the catalog, refuse what breaks
-- a rule or comes from a session that is not the proxy's, keep the rest in busbar.pending and tell the proxy.

-- Serialises whoever records, until the end of the transaction; see busbar.recorder.
CREATE OR REPLACE FUNCTION busbar.lock_recorder() RETURNS bigint
LANGUAGE sql AS $$
    SELECT r.last_seq FROM busbar.recorder r FOR UPDATE
$$;

-- A REPEATABLE READ transaction sees the electrified tables as they were when it began.
CREATE OR REPLACE FUNCTION busbar.has_old_snapshot() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT current_setting('transaction_isolation') IN ('repeatable read', 'serializable')
$$;

-- For those: fails with 40001 when a migration was recorded since, and holds the next one off until this transaction ends.
CREATE OR REPLACE FUNCTION busbar.require_fresh_snapshot() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM busbar.recorder r FOR SHARE;
END
$$;

-- Tells the proxy, by a message that reaches it whatever client_min_messages is. notify says whether the client would
-- see a notice; ENABLE ELECTRIC never shows one.
CREATE OR REPLACE FUNCTION busbar.signal(pending_id bigint, notify boolean, schema_name text, object_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO USING ERRCODE = 'UB001', MESSAGE = 'Busbar captured a migration',
        DETAIL = jsonb_build_object('id', pending_id, 'notify',
            notify AND current_setting('client_min_messages') NOT IN ('warning', 'error', 'fatal', 'panic'))::text,
        SCHEMA = schema_name, TABLE = object_name;
END
$$;

-- True for a statement that a hint can repeat: short, alone, without parameters.
CREATE OR REPLACE FUNCTION busbar.can_be_shown(query text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT length(query) < 500 AND query !~ '\$[0-9]|--|;'
$$;

-- Keeps operations until they are recorded. The check at COMMIT is put back to COMMIT first, in case the client has
-- said SET CONSTRAINTS ALL IMMEDIATE. was: what clients have of the table; NULL for one that is new to them.
CREATE OR REPLACE FUNCTION busbar.add_pending(table_oid oid, was jsonb, ops jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    pending_id bigint;
BEGIN
    SET CONSTRAINTS busbar.pending_recorded DEFERRED;
    INSERT INTO busbar.pending (relid, was, ops, query)
    VALUES (table_oid, was, ops, CASE WHEN busbar.can_be_shown(current_query()) THEN current_query() END)
    RETURNING id INTO pending_id;
    RETURN pending_id;
END
$$;

CREATE OR REPLACE FUNCTION busbar.index_names(def jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg(i ->> 'name'), '{}') FROM jsonb_array_elements(def -> 'indexes') i
$$;

-- Remembers what clients have from now on.
CREATE OR REPLACE FUNCTION busbar.remember(def jsonb) RETURNS void
LANGUAGE sql AS $$
    UPDATE busbar.electrified e
    SET definition = def, watch = busbar.watched(e.relid), index_names = busbar.index_names(def)
    WHERE e.relid = (def ->> 'oid')::oid
$$;

-- Captures the operations of one table as one row.
CREATE OR REPLACE FUNCTION busbar.capture(was jsonb, now jsonb, ops jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    only_drops boolean := NOT jsonb_path_exists(ops, '$[*] ? (@.op != "drop_index")');
BEGIN
    PERFORM busbar.remember(now);
    PERFORM busbar.signal(busbar.add_pending((now ->> 'oid')::oid, was, ops), true, now ->> 'schema',
        CASE WHEN only_drops THEN ops #>> '{0,name}' ELSE now ->> 'name' END);
END
$$;

-- Refuses DDL that does not come through the proxy.
CREATE OR REPLACE FUNCTION busbar.refuse_outside(def jsonb, what text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'UB002',
        MESSAGE = 'Migrations affecting electrified tables must be applied through the Busbar migrations proxy',
        DETAIL = format('Table %s: %s.', busbar.quoted(def ->> 'schema', def ->> 'name'), what),
        HINT = busbar.proxy_hint(), SCHEMA = def ->> 'schema', TABLE = def ->> 'name';
END
$$;

-- True for a difference that this session did not make: an index that CREATE or DROP INDEX CONCURRENTLY left for
-- busbar.reconcile() when the proxy was cut off in between. An index dropped here shows in event sql_drop; a new one is
-- a row of this transaction or among this command's objects; one that was there before and looks different is neither.
CREATE OR REPLACE FUNCTION busbar.is_left_over(was jsonb, op jsonb, event text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE op ->> 'op'
        WHEN 'create_index' THEN NOT was @> jsonb_build_object('indexes', jsonb_build_array(
                jsonb_build_object('oid', op #> '{index,oid}')))
            AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = (op #>> '{index,oid}')::oid AND busbar.made_here(c.xmin))
            AND NOT CASE WHEN event = 'ddl_command_end'
                THEN EXISTS (SELECT FROM pg_event_trigger_ddl_commands() d WHERE d.objid = (op #>> '{index,oid}')::oid)
                ELSE false END
        WHEN 'drop_index' THEN event <> 'sql_drop'
        ELSE false END
$$;

-- Judges one table whose definition differs. In a proxy session: refuse the first change that breaks a rule, else
-- capture. In any other session: refuse, save under busbar.maintenance. event table_rewrite comes before the command's
-- end and only refuses.
CREATE OR REPLACE FUNCTION busbar.judge(was jsonb, now jsonb, event text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    change record;
    ops jsonb := '[]';
    broken text[] := '{}';
    whats text[] := '{}';
    ours boolean := busbar.is_proxy();
BEGIN
    IF NOT ours AND busbar.in_maintenance() THEN
        RETURN; -- an administrator who means it: what he leaves different is drift
    END IF;
    FOR change IN SELECT d.* FROM busbar.diff(was, now) d LOOP
        IF ours AND change.rule IS NOT NULL THEN
            PERFORM busbar.refuse_change(change.rule, CASE WHEN change.rule LIKE E'column\\_%' THEN now ELSE was END,
                change.object, change.column_name);
        ELSIF ours THEN
            ops := ops || change.op;
        ELSIF change.rule IS NOT NULL THEN
            broken := broken || change.what;
        ELSIF NOT busbar.is_left_over(was, change.op, event) THEN
            whats := whats || change.what;
        END IF;
    END LOOP;
    IF broken <> '{}' OR whats <> '{}' THEN
        -- a renamed table's indexes read differently too: that would only distract from the cause
        PERFORM busbar.refuse_outside(was, array_to_string(CASE WHEN broken <> '{}' THEN broken ELSE whats END, '; '));
    ELSIF event = 'table_rewrite' THEN
        RETURN;
    ELSIF ops <> '[]' THEN
        PERFORM busbar.capture(was, now, ops);
    ELSIF NOT EXISTS (SELECT FROM busbar.diff(was, now)) THEN
        PERFORM busbar.remember(now);
    END IF;
END
$$;

-- Keeps other sessions from changing a table while it is looked at, else text that PostgreSQL makes from the catalog
-- (pg_get_indexdef) would be newer than our snapshot or missing. Without the right to lock, go on: a table that this
-- command changed is locked anyway.
CREATE OR REPLACE FUNCTION busbar.hold_still(table_oid oid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS SHARE MODE', table_oid::regclass);
EXCEPTION
    WHEN insufficient_privilege THEN
        RETURN;
END
$$;

-- Compares electrified tables with the catalog, those that the command touched first. A difference counts only if it is
-- still there when nobody else can be about to record it.
CREATE OR REPLACE FUNCTION busbar.compare(relids oid[], touched oid[], event text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    table_oid oid;
    was jsonb;
    now jsonb;
BEGIN
    FOR table_oid IN SELECT c.oid FROM pg_class c WHERE c.oid = ANY (relids) ORDER BY c.oid = ANY (touched) DESC, c.oid LOOP
        PERFORM busbar.hold_still(table_oid);
        SELECT e.definition, d.definition INTO was, now
        FROM busbar.electrified e, busbar.describe_tables(ARRAY[table_oid]) d WHERE e.relid = table_oid;
        CONTINUE WHEN was = now;
        PERFORM FROM busbar.electrified e WHERE e.relid = table_oid FOR UPDATE;
        SELECT e.definition, d.definition INTO was, now
        FROM busbar.electrified e, busbar.describe_tables(ARRAY[table_oid]) d WHERE e.relid = table_oid;
        IF was <> now THEN
            PERFORM busbar.judge(was, now, event);
        END IF;
    END LOOP;
END
$$;

-- The tables whose valid indexes are not those that clients have.
CREATE OR REPLACE FUNCTION busbar.tables_with_other_indexes() RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(array_agg(e.relid), '{}') FROM busbar.electrified e
        WHERE ARRAY(SELECT n FROM unnest(e.index_names) n ORDER BY n) <> ARRAY(SELECT c.relname::text
            FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = e.relid AND i.indisvalid AND NOT i.indisprimary ORDER BY c.relname::text));
END
$$;

-- After CREATE or DROP INDEX CONCURRENTLY: captures what the guard had to let pass, in a transaction of the proxy's own.
-- Returns the number of pending rows of this transaction.
CREATE OR REPLACE FUNCTION busbar.reconcile() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    PERFORM busbar.require_proxy();
    PERFORM busbar.compare(busbar.tables_with_other_indexes(), '{}', 'reconcile');
    RETURN (SELECT count(*) FROM busbar.pending p WHERE p.xid = pg_current_xact_id());
END
$$;

-- Refuses a COMMIT that would lose a captured change, unless the change is so simple that it can be recorded here. It
-- runs early when the client says SET CONSTRAINTS ALL IMMEDIATE: then it queues itself again, once per statement of the
-- client, so that COMMIT still finds it.
CREATE OR REPLACE FUNCTION busbar.check_recorded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept busbar.pending;
BEGIN
    SELECT * INTO kept FROM busbar.pending p WHERE p.id = NEW.id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF current_query() ~* E'\\mset\\s+constraints\\M' AND kept.spared_at IS DISTINCT FROM statement_timestamp() THEN
        SET CONSTRAINTS busbar.pending_recorded DEFERRED;
        UPDATE busbar.pending SET spared_at = statement_timestamp() WHERE id = NEW.id;
        RETURN NULL;
    END IF;
    IF busbar.record_certain() THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'UB003', MESSAGE = 'A captured migration was not recorded',
        DETAIL = format('Not recorded: %s', kept.ops #>> '{0,sql}'),
        HINT = 'Run the migration through the Busbar migrations proxy, statement by statement, between BEGIN and COMMIT'
            || coalesce(': BEGIN; ' || kept.query || '; COMMIT;', '.');
END
$$;

-- Created here because it needs the function; only once, because it locks the table.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'pending_recorded' AND tgrelid = 'busbar.pending'::regclass) THEN
        CREATE CONSTRAINT TRIGGER pending_recorded AFTER INSERT OR UPDATE ON busbar.pending
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION busbar.check_recorded();
        ALTER TABLE busbar.pending ENABLE ALWAYS TRIGGER pending_recorded;
    END IF;
END
$$;
