-- SPDX-License-Identifier: Apache-2.0
--
-- Recorded migrations that clients cannot apply: written by hand, or by an older version. The service tries the history out
-- and marks them; they are served to nobody, and the tables that they change wait until somebody puts them right (ADR 10).

-- The tables that operations change, and for new tables those that they refer to. Operations may be anything here.
CREATE OR REPLACE FUNCTION busbar.tables_of(ops jsonb, references_too boolean) RETURNS TABLE (schema_name text, table_name text)
LANGUAGE sql STABLE AS $$
    WITH op AS (
        SELECT o FROM jsonb_array_elements(CASE jsonb_typeof(ops) WHEN 'array' THEN ops ELSE '[]' END) o
    )
    SELECT coalesce(o #>> '{table,schema}', o ->> 'schema'), coalesce(o #>> '{table,name}', o ->> 'table') FROM op
    UNION
    SELECT f ->> 'ref_schema', f ->> 'ref_table' FROM op
    CROSS JOIN jsonb_path_query(o, 'lax $.table.foreign_keys[*]') f WHERE references_too
$$;

-- Whether operations take the table from clients: whatever they had of it does not matter any more.
CREATE OR REPLACE FUNCTION busbar.drops(ops jsonb, schema_name text, table_name text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT ops @> jsonb_build_array(jsonb_build_object('op', 'drop_table', 'schema', schema_name, 'table', table_name))
$$;

-- Refuses a migration of tables that wait for one that clients cannot apply. A table that is closed waits no more: the history knows
-- that from a later migration, and of this one what it does to the table first counts.
CREATE OR REPLACE FUNCTION busbar.check_usable() RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    held record;
BEGIN
    IF NOT EXISTS (SELECT FROM busbar.migration m WHERE m.unusable IS NOT NULL) THEN
        RETURN; -- the planner would read every command to find that out
    END IF;
    WITH concerned AS (
        SELECT DISTINCT ON (n.schema_name, n.table_name) n.schema_name, n.table_name, p.ops
        FROM busbar.pending p CROSS JOIN LATERAL busbar.tables_of(p.ops, true) n
        WHERE p.xid = pg_current_xact_id() ORDER BY n.schema_name, n.table_name, p.id
    )
    SELECT m.version, m.unusable, t.schema_name, t.table_name INTO held
    FROM busbar.migration m JOIN busbar.command c ON c.seq = m.seq
    CROSS JOIN LATERAL busbar.tables_of(c.ops, false) t
    JOIN concerned n ON (n.schema_name, n.table_name) = (t.schema_name, t.table_name)
    WHERE m.unusable IS NOT NULL AND NOT busbar.drops(n.ops, t.schema_name, t.table_name) AND NOT EXISTS (
        SELECT FROM busbar.migration l JOIN busbar.command d ON d.seq = l.seq
        WHERE l.seq > m.seq AND l.unusable IS NULL AND busbar.drops(d.ops, t.schema_name, t.table_name))
    ORDER BY m.seq LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'UB007',
            MESSAGE = format('Table %s waits for a migration that client apps cannot apply',
                busbar.quoted(held.schema_name, held.table_name)),
            DETAIL = format('Migration %s: %s', held.version, held.unusable),
            HINT = format('Give clients the table anew: ALTER TABLE %1$s DISABLE ELECTRIC; ALTER TABLE %1$s ENABLE ELECTRIC; or put that '
                'migration right in busbar.command, or delete it, and restart Busbar. Other tables are not concerned.',
                busbar.quoted(held.schema_name, held.table_name)),
            SCHEMA = held.schema_name, TABLE = held.table_name;
    END IF;
END
$$;

-- For the service: [{"version": "…", "reason": "…"}, …] are the recorded migrations that clients cannot apply, of those up to
-- the given one; all others of them can be applied. Where there is none, the history may be found in step again.
CREATE OR REPLACE FUNCTION busbar.mark_unusable(last_seq bigint, faults jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM busbar.lock_recorder();
    UPDATE busbar.migration m SET unusable = f.reason
    FROM busbar.migration x LEFT JOIN jsonb_to_recordset(faults) AS f(version text, reason text) ON f.version = x.version
    WHERE x.seq = m.seq AND m.seq <= last_seq AND m.unusable IS DISTINCT FROM f.reason;
    IF faults = '[]' AND NOT EXISTS (SELECT FROM busbar.migration m WHERE m.seq > mark_unusable.last_seq) THEN
        UPDATE busbar.recorder r SET in_step = true WHERE NOT r.in_step AND busbar.history_agrees();
    END IF;
END
$$;
