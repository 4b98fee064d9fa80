-- SPDX-License-Identifier: Apache-2.0
--
-- Versions, and from pending rows to recorded migrations. All of it happens in the transaction of the migration itself,
-- so a rollback leaves no trace.

-- 23505 as the unique constraint itself would raise it, with a word on what to do.
CREATE OR REPLACE FUNCTION busbar.refuse_version(version text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'unique_violation',
        MESSAGE = 'duplicate key value violates unique constraint "migration_unique_version"',
        DETAIL = format('Key (version)=(%s) already exists.', version),
        HINT = 'Another migration was recorded with this version: give this one a version of its own.',
        SCHEMA = 'busbar', TABLE = 'migration', CONSTRAINT = 'migration_unique_version';
END
$$;

-- True when a migration of another transaction has the version.
CREATE OR REPLACE FUNCTION busbar.is_taken(wanted text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM busbar.migration m WHERE m.version = wanted AND m.xid <> pg_current_xact_id())
$$;

-- Asks for a version for this transaction; of several the one with the strictly highest priority counts, also when
-- part of the migration is recorded already. Claims of transactions that have ended are swept out by the way.
CREATE OR REPLACE FUNCTION busbar.claim_version(wanted text, wanted_priority integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(wanted, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the version of a migration must not be empty',
            HINT = 'CALL electric.migration_version(''20230504114018'');';
    ELSIF length(wanted) > 255 THEN
        RAISE EXCEPTION USING ERRCODE = 'string_data_right_truncation',
            MESSAGE = 'the version of a migration can have 255 characters at most', HINT = 'Use a shorter version.';
    ELSIF busbar.is_taken(wanted) THEN
        PERFORM busbar.refuse_version(wanted);
    END IF;
    DELETE FROM busbar.version_claim c WHERE c.xid < pg_snapshot_xmin(pg_current_snapshot());
    INSERT INTO busbar.version_claim AS c (xid, version, priority) VALUES (pg_current_xact_id(), wanted, wanted_priority)
    ON CONFLICT (xid) DO UPDATE SET version = excluded.version, priority = excluded.priority WHERE excluded.priority > c.priority;
    UPDATE busbar.migration m SET version = wanted, priority = wanted_priority
    WHERE m.xid = pg_current_xact_id() AND wanted_priority > m.priority;
END
$$;

-- The tables that frameworks keep their versions in, wherever they are. Only what is safe and possible to read with the
-- owner's rights: no row security (its expressions would run), no column types but PostgreSQL's own.
CREATE OR REPLACE FUNCTION busbar.framework_tables() RETURNS TABLE (relation regclass, version_column text)
LANGUAGE sql STABLE AS $$
    SELECT c.oid::regclass, f.version_column
    FROM busbar.framework f
    JOIN pg_class c ON c.relname = f.table_name AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
        AND NOT c.relrowsecurity AND has_table_privilege(c.oid, 'SELECT')
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = f.version_column
    JOIN pg_type t ON t.oid = a.atttypid AND t.typnamespace = 'pg_catalog'::regnamespace
    WHERE f.required_columns::name[] <@ ARRAY(
        SELECT x.attname FROM pg_attribute x WHERE x.attrelid = c.oid AND x.attnum > 0 AND NOT x.attisdropped)
    ORDER BY c.oid
$$;

-- The version that the open transaction wrote into a framework's table, whatever statement it used; the greatest of several.
CREATE OR REPLACE FUNCTION busbar.framework_version() RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    candidate record;
    found_version text;
BEGIN
    FOR candidate IN SELECT * FROM busbar.framework_tables() LOOP
        EXECUTE format('SELECT t.%1$I::text FROM %2$s t '
            'WHERE busbar.made_here(t.xmin) AND t.%1$I IS NOT NULL ORDER BY t.%1$I DESC LIMIT 1', candidate.version_column, candidate.relation) INTO found_version;
        IF found_version <> '' THEN
            RETURN found_version;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- A version for those who gave none: UTC, microseconds, unlike any other.
CREATE OR REPLACE FUNCTION busbar.generated_version() RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    instant timestamp := clock_timestamp() AT TIME ZONE 'UTC';
BEGIN
    WHILE EXISTS (SELECT FROM busbar.migration m WHERE m.version = to_char(instant, 'YYYYMMDDHH24MISS_US')) LOOP
        instant := instant + interval '1 microsecond';
    END LOOP;
    RETURN to_char(instant, 'YYYYMMDDHH24MISS_US');
END
$$;

-- Decides this transaction's version: asked for explicitly (any priority from 4 on), a framework's (4), asked for with
-- a lower priority, generated (0).
CREATE OR REPLACE FUNCTION busbar.decide_version(OUT version text, OUT priority integer)
LANGUAGE plpgsql AS $$
DECLARE
    from_framework text;
BEGIN
    SELECT c.version, c.priority INTO version, priority FROM busbar.version_claim c WHERE c.xid = pg_current_xact_id();
    IF coalesce(priority, 0) < 4 THEN
        from_framework := busbar.framework_version();
    END IF;
    IF from_framework IS NOT NULL THEN
        version := from_framework;
        priority := 4;
    ELSIF version IS NULL THEN
        version := busbar.generated_version();
        priority := 0;
    END IF;
END
$$;

-- The migration row of this transaction: made now, or, when part of it was recorded before, the same one with a
-- version of higher priority if there is one by now.
CREATE OR REPLACE FUNCTION busbar.open_migration(OUT seq bigint, OUT version text)
LANGUAGE plpgsql AS $$
DECLARE
    wanted record := busbar.decide_version();
BEGIN
    UPDATE busbar.migration m
    SET version = CASE WHEN wanted.priority > m.priority THEN wanted.version ELSE m.version END,
        priority = greatest(wanted.priority, m.priority)
    WHERE m.xid = pg_current_xact_id()
    RETURNING m.seq, m.version INTO seq, version;
    IF FOUND THEN
        RETURN;
    END IF;
    IF busbar.is_taken(wanted.version) THEN
        PERFORM busbar.refuse_version(wanted.version);
    END IF;
    UPDATE busbar.recorder r SET last_seq = r.last_seq + 1 RETURNING r.last_seq INTO seq;
    version := wanted.version;
    INSERT INTO busbar.migration (seq, version, priority, xid, txts)
    VALUES (seq, version, wanted.priority, pg_current_xact_id(),
        (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint);
END
$$;

-- The text of a command: what the client wrote, except for tables and types, whose own text says more than ENABLE ELECTRIC.
CREATE OR REPLACE FUNCTION busbar.query_text(ops jsonb, given text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN coalesce(given, '') <> ''
            AND NOT jsonb_path_exists(ops, '$[0] ? (@.op == "create_table" || @.op == "create_enum")')
        THEN given
        ELSE (SELECT string_agg(o ->> 'sql', E';\n' ORDER BY n) FROM jsonb_array_elements(ops) WITH ORDINALITY AS x(o, n)) END
$$;

-- Moves this transaction's pending rows into its migration. Returns the version; NULL when there was nothing. Commands
-- are numbered anew: pending rows were numbered as they came, in transactions that commit in another order.
CREATE OR REPLACE FUNCTION busbar.record_pending(queries jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    migration record;
BEGIN
    PERFORM busbar.lock_recorder();
    IF NOT EXISTS (SELECT FROM busbar.pending p WHERE p.xid = pg_current_xact_id()) THEN
        RETURN (SELECT m.version FROM busbar.migration m WHERE m.xid = pg_current_xact_id());
    END IF;
    migration := busbar.open_migration();
    INSERT INTO busbar.command (id, seq, query, ops)
    SELECT (SELECT coalesce(max(c.id), 0) FROM busbar.command c) + row_number() OVER (ORDER BY p.id), migration.seq,
        busbar.query_text(p.ops,
            (SELECT q ->> 'query' FROM jsonb_array_elements(queries) q WHERE q -> 'id' = to_jsonb(p.id) LIMIT 1)), p.ops
    FROM busbar.pending p WHERE p.xid = pg_current_xact_id() ORDER BY p.id;
    DELETE FROM busbar.pending p WHERE p.xid = pg_current_xact_id();
    DELETE FROM busbar.version_claim c WHERE c.xid = pg_current_xact_id();
    RETURN migration.version;
END
$$;

-- For the proxy, after the SQLite proof: [{"id":17,"query":"ALTER TABLE …"}, …] → version.
CREATE OR REPLACE FUNCTION busbar.record(queries jsonb) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM busbar.require_proxy();
    RETURN busbar.record_pending(coalesce(queries, '[]'));
END
$$;

-- For the proof: all recorded commands in order, then this transaction's. Nobody else records until this transaction ends.
-- ops is the JSON in UTF-8 as hexadecimal digits: it arrives whole whatever client_encoding is.
CREATE OR REPLACE FUNCTION busbar.pending() RETURNS TABLE (kind text, id bigint, version text, ops text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM busbar.require_proxy();
    PERFORM busbar.lock_recorder();
    PERFORM busbar.check_references(ARRAY(SELECT DISTINCT p.relid FROM busbar.pending p WHERE p.xid = pg_current_xact_id()));
    RETURN QUERY SELECT 'recorded', c.id, m.version, encode(convert_to(c.ops::text, 'UTF8'), 'hex')
        FROM busbar.command c JOIN busbar.migration m ON m.seq = c.seq ORDER BY c.seq, c.id;
    RETURN QUERY SELECT 'pending', p.id, NULL::text, encode(convert_to(p.ops::text, 'UTF8'), 'hex')
        FROM busbar.pending p WHERE p.xid = pg_current_xact_id() ORDER BY p.id;
END
$$;

-- Recorded commands after a version: all for NULL or '', none for an unknown one.
CREATE OR REPLACE FUNCTION busbar.history(after text)
RETURNS TABLE (seq bigint, version text, priority integer, id bigint, query text, ops text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.seq, m.version, m.priority, c.id, c.query, c.ops::text
    FROM busbar.migration m JOIN busbar.command c ON c.seq = m.seq
    WHERE coalesce(after, '') = '' OR m.seq > (SELECT x.seq FROM busbar.migration x WHERE x.version = after)
    ORDER BY m.seq, c.id
$$;
