-- SPDX-License-Identifier: Apache-2.0
--
-- TRUNCATE does not say in the WAL which rows there were, so clients could only load everything anew. A trigger deletes the
-- rows first, and says by a message that the TRUNCATE which follows took nothing more. Where it cannot be sure, or should not,
-- it leaves them to TRUNCATE.

-- False when rows may be there that this transaction does not see, when there are so many that TRUNCATE was chosen for it
-- (their deletion is one transaction in the memory of whoever reads the WAL), and when nobody reads it.
CREATE OR REPLACE FUNCTION busbar.should_delete(table_oid oid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT busbar.has_old_snapshot() AND pg_table_size(table_oid) <= 64 * 1024 * 1024
        AND EXISTS (SELECT FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = table_oid
            WHERE p.pubname = 'electric_publication' AND (p.puballtables OR r.oid IS NOT NULL))
$$;

-- As a replica would: TRUNCATE fires no triggers of rows either, has its own check of foreign keys, and empties the tables that
-- refer to this one with their own triggers.
CREATE OR REPLACE FUNCTION busbar.delete_all(table_oid oid) RETURNS void
LANGUAGE plpgsql SET row_security = off AS $$
DECLARE
    before text := current_setting('session_replication_role');
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    EXECUTE format('DELETE FROM ONLY %s', table_oid::regclass);
    PERFORM set_config('session_replication_role', before, true);
    PERFORM pg_logical_emit_message(true, 'busbar.emptied', table_oid::text);
EXCEPTION
    WHEN insufficient_privilege THEN
        RETURN; -- not a role's that may be a replica
END
$$;

CREATE OR REPLACE FUNCTION busbar.before_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF busbar.should_delete(TG_RELID) THEN
        PERFORM busbar.delete_all(TG_RELID);
    END IF;
    RETURN NULL;
END
$$;

-- Installed with ENABLE ELECTRIC. ALWAYS: also under session_replication_role = replica.
CREATE OR REPLACE FUNCTION busbar.watch_truncate(table_oid oid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = table_oid AND t.tgname = 'busbar_truncate') THEN
        EXECUTE format('CREATE TRIGGER busbar_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION busbar.before_truncate()',
            table_oid::regclass);
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER busbar_truncate', table_oid::regclass);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION busbar.unwatch_truncate(table_oid oid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS busbar_truncate ON %s', table_oid::regclass);
END
$$;

-- Tables that were electrified before there was the trigger, or that somebody took it from. A table that is in use waits for
-- the next start.
CREATE OR REPLACE FUNCTION busbar.watch_truncates() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
    table_oid oid;
BEGIN
    FOR table_oid IN SELECT c.oid FROM busbar.electrified e JOIN pg_class c ON c.oid = e.relid LOOP
        BEGIN
            PERFORM busbar.watch_truncate(table_oid);
        EXCEPTION
            WHEN insufficient_privilege OR lock_not_available THEN
                RAISE WARNING USING MESSAGE = format('clients load everything anew after a TRUNCATE of %s: %s', table_oid::regclass, SQLERRM);
        END;
    END LOOP;
END
$$;
