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

-- The tables of frameworks that this transaction wrote to (whoever writes holds ROW EXCLUSIVE until the end), or, with written false,
-- those that announce what they run; and the framework that fits each best. Only what is safe and possible to read with the owner's
-- rights: no row security (its expressions would run), no column types but PostgreSQL's own.
CREATE OR REPLACE FUNCTION busbar.framework_tables(written boolean) RETURNS TABLE (relation regclass, framework busbar.framework)
LANGUAGE sql STABLE AS $$
    WITH candidate AS (
        SELECT c.oid, c.relname::text AS relname, c.relnatts, ARRAY(
            SELECT a.attname::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND t.typnamespace = 'pg_catalog'::regnamespace) AS columns
        FROM pg_class c
        WHERE (written AND c.oid IN (SELECT l.relation FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
                    AND l.mode = 'RowExclusiveLock')
                OR NOT written AND c.relname IN (SELECT f.table_name FROM busbar.framework f WHERE f.running IS NOT NULL))
            AND c.relkind = 'r' AND c.relpersistence <> 't' AND NOT c.relrowsecurity
            AND c.relnamespace NOT IN ('busbar'::regnamespace, 'electric'::regnamespace, 'pg_catalog'::regnamespace)
            AND has_table_privilege(c.oid, 'SELECT')
    )
    SELECT DISTINCT ON (c.oid) c.oid::regclass, f
    FROM candidate c JOIN busbar.framework f ON f.columns <@ c.columns AND (written OR f.running IS NOT NULL)
        AND (f.table_name = c.relname OR f.any_name AND c.columns <@ f.columns AND cardinality(c.columns) = c.relnatts)
    ORDER BY c.oid, f.table_name = c.relname DESC, cardinality(f.columns) DESC, f.name
$$;

-- Rows of a framework's table. The condition is SQL of ours, or of who wrote it into busbar.framework: a mistake there is reported
-- and passed over, as it must not stop a migration. at is the number of the command that wrote the row in its transaction.
CREATE OR REPLACE FUNCTION busbar.framework_rows(relation regclass, framework busbar.framework, condition text)
RETURNS TABLE (at bigint, n bigint, framework_name text, version text, name text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT t.cmin::text::bigint, row_number() OVER (ORDER BY t.cmin::text::bigint, t.ctid), %L::text, '
        'left((%s)::text, 200), left((%s)::text, 1000) FROM ONLY %s t WHERE (%s) AND (%s)::text <> ''''',
        framework.name, framework.version, coalesce(framework.label, 'NULL'), relation, condition, framework.version);
EXCEPTION
    WHEN OTHERS THEN
        RAISE WARNING USING MESSAGE = format('versions of %s cannot be read from table %s: %s', framework.name, relation, SQLERRM),
            HINT = 'Correct the row in busbar.framework.';
END
$$;

-- What frameworks call this transaction's migrations, in the order in which they wrote it, whatever statement they used.
CREATE OR REPLACE FUNCTION busbar.framework_versions() RETURNS TABLE ("position" bigint, framework text, version text, name text)
LANGUAGE sql STABLE AS $$
    SELECT row_number() OVER (ORDER BY r.at, r.n), r.framework_name, r.version, r.name
    FROM busbar.framework_tables(true) t, busbar.framework_rows(t.relation, t.framework,
        -- age() leaves out at once what is older than this transaction
        format('(%s) AND age(t.xmin) <= 0 AND busbar.made_here(t.xmin)', (t.framework).counts)) r
$$;

-- The migration that a tool announced in an earlier transaction (Prisma, golang-migrate) and is running now. These tools hold an
-- advisory lock while they run: when others hold one and this session does not, the row is not this session's.
CREATE OR REPLACE FUNCTION busbar.running_version() RETURNS TABLE ("position" bigint, framework text, version text, name text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT (SELECT coalesce(bool_or(l.pid = pg_backend_pid()), true) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
            AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT 1::bigint, r.framework_name, r.version, r.name
    FROM busbar.framework_tables(false) t, busbar.framework_rows(t.relation, t.framework,
        format('(%s) AND (%s)', (t.framework).counts, (t.framework).running)) r
    ORDER BY r.n DESC LIMIT 1;
END
$$;

-- The version that the session was told of (SET busbar.migration_version = '…'): for tools whose own row comes too late.
CREATE OR REPLACE FUNCTION busbar.announced_version() RETURNS TABLE ("position" bigint, framework text, version text, name text)
LANGUAGE sql STABLE AS $$
    SELECT 1::bigint, 'session', left(s.setting, 200), NULL::text
    FROM (SELECT current_setting('busbar.migration_version', true) AS setting) s WHERE s.setting <> ''
$$;

-- A version that no other migration has: as it is, or with _2, _3, …. A tool gives the same version twice when a migration was undone
-- and is run again, or takes several transactions, and two tools may both begin with 1: nothing of it may stop a migration.
CREATE OR REPLACE FUNCTION busbar.unused_version(wanted text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    candidate text := wanted;
    n integer := 1;
BEGIN
    WHILE busbar.is_taken(candidate) LOOP
        n := n + 1;
        candidate := wanted || '_' || n;
    END LOOP;
    RETURN candidate;
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

-- Decides this transaction's version: asked for explicitly (any priority from 4 on), the last of a framework's or that of the session
-- (4), that of a migration announced before (2), asked for with a lower priority, generated (0). sources: what the frameworks call
-- it, a JSON array.
CREATE OR REPLACE FUNCTION busbar.decide_version(OUT version text, OUT priority integer, OUT sources jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    found_priority integer := 4;
BEGIN
    SELECT c.version, c.priority INTO version, priority FROM busbar.version_claim c WHERE c.xid = pg_current_xact_id();
    SELECT jsonb_agg(f ORDER BY f."position") INTO sources FROM busbar.framework_versions() f;
    IF sources IS NULL THEN
        SELECT jsonb_agg(f) INTO sources FROM busbar.announced_version() f;
    END IF;
    IF sources IS NULL THEN
        found_priority := 2;
        SELECT jsonb_agg(f) INTO sources FROM busbar.running_version() f;
    END IF;
    IF sources IS NOT NULL AND coalesce(priority, -1) < found_priority THEN
        version := busbar.unused_version(sources -> -1 ->> 'version');
        priority := found_priority;
    ELSIF version IS NULL THEN
        version := busbar.generated_version();
        priority := 0;
    END IF;
END
$$;

-- Keeps what the frameworks call a migration; anew when more of it is recorded later in the same transaction.
CREATE OR REPLACE FUNCTION busbar.keep_sources(of_migration bigint, sources jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM busbar.migration_source s WHERE s.seq = of_migration;
    INSERT INTO busbar.migration_source (seq, "position", framework, version, name)
    SELECT of_migration, f."position", f.framework, f.version, f.name
    FROM jsonb_to_recordset(coalesce(sources, '[]')) AS f("position" integer, framework text, version text, name text);
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
        PERFORM busbar.keep_sources(seq, wanted.sources);
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
    PERFORM busbar.keep_sources(seq, wanted.sources);
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
    in_step_before boolean;
BEGIN
    PERFORM busbar.lock_recorder();
    IF NOT EXISTS (SELECT FROM busbar.pending p WHERE p.xid = pg_current_xact_id()) THEN
        RETURN (SELECT m.version FROM busbar.migration m WHERE m.xid = pg_current_xact_id());
    END IF;
    migration := busbar.open_migration();
    in_step_before := (SELECT r.in_step FROM busbar.recorder r);
    INSERT INTO busbar.command (id, seq, query, ops)
    SELECT (SELECT coalesce(max(c.id), 0) FROM busbar.command c) + row_number() OVER (ORDER BY p.id), migration.seq,
        busbar.query_text(p.ops,
            (SELECT q ->> 'query' FROM jsonb_array_elements(queries) q WHERE q -> 'id' = to_jsonb(p.id) LIMIT 1)), p.ops
    FROM busbar.pending p WHERE p.xid = pg_current_xact_id() ORDER BY p.id;
    UPDATE busbar.recorder r SET in_step = in_step_before WHERE r.in_step <> in_step_before;
    DELETE FROM busbar.pending p WHERE p.xid = pg_current_xact_id();
    DELETE FROM busbar.version_claim c WHERE c.xid = pg_current_xact_id();
    RETURN migration.version;
END
$$;

-- For the proxy, after the SQLite proof: [{"id":17,"query":"ALTER TABLE …"}, …] → version. notes: texts about what the proof
-- left out for SQLite clients, passed on as notices.
CREATE OR REPLACE FUNCTION busbar.record(queries jsonb, notes jsonb DEFAULT '[]') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    note text;
BEGIN
    PERFORM busbar.require_proxy();
    FOR note IN SELECT n FROM jsonb_array_elements_text(notes) n LOOP
        RAISE NOTICE '%', note;
    END LOOP;
    RETURN busbar.record_pending(coalesce(queries, '[]'));
END
$$;

-- True when the tables concerned may stand for the history.
CREATE OR REPLACE FUNCTION busbar.is_in_step() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT (SELECT r.in_step FROM busbar.recorder r) AND NOT EXISTS (SELECT FROM busbar.migration m WHERE m.unusable IS NOT NULL)
$$;

-- For the proof: what is recorded, as the tables concerned, or, when that is in doubt, as all commands that clients have, in
-- order; then this transaction's commands. Nobody else records until this transaction ends. ops is the JSON in UTF-8 as hexadecimal digits: it arrives whole whatever client_encoding is.
CREATE OR REPLACE FUNCTION busbar.pending() RETURNS TABLE (kind text, id bigint, version text, ops text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    PERFORM busbar.require_proxy();
    PERFORM busbar.lock_recorder();
    PERFORM busbar.check_references(ARRAY(SELECT DISTINCT p.relid FROM busbar.pending p WHERE p.xid = pg_current_xact_id()));
    PERFORM busbar.check_usable();
    IF busbar.is_in_step() THEN
        RETURN QUERY SELECT 'recorded', c.id, NULL::text, encode(convert_to(c.ops::text, 'UTF8'), 'hex') FROM busbar.concerned() c;
    ELSE
        RETURN QUERY SELECT 'recorded', c.id, m.version, encode(convert_to(c.ops::text, 'UTF8'), 'hex')
            FROM busbar.command c JOIN busbar.migration m ON m.seq = c.seq
            WHERE m.unusable IS NULL ORDER BY c.seq, c.id;
    END IF;
    RETURN QUERY SELECT 'pending', p.id, NULL::text, encode(convert_to(p.ops::text, 'UTF8'), 'hex')
        FROM busbar.pending p WHERE p.xid = pg_current_xact_id() ORDER BY p.id;
END
$$;

-- Recorded commands that clients can apply, after a version: all for NULL or '', none for an unknown one.
CREATE OR REPLACE FUNCTION busbar.history(after text)
RETURNS TABLE (seq bigint, version text, priority integer, id bigint, query text, ops text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.seq, m.version, m.priority, c.id, c.query, c.ops::text
    FROM busbar.migration m JOIN busbar.command c ON c.seq = m.seq
    WHERE m.unusable IS NULL
      AND (coalesce(after, '') = '' OR m.seq > (SELECT x.seq FROM busbar.migration x WHERE x.version = after))
    ORDER BY m.seq, c.id
$$;
