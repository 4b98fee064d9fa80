-- SPDX-License-Identifier: Apache-2.0
--
-- Without event triggers the proxy itself asks, before each COMMIT of a transaction that may have held DDL: what the guard
-- would have compared command by command is compared once, at the end. Only what this transaction can have changed counts;
-- what others changed where nobody looked is drift (85_drift.sql).

-- The oids of what the open transaction may have changed. DDL holds a lock on the relation until the end of the
-- transaction, stronger than any INSERT's; types and schemas show by the rows it wrote. Too many do no harm.
CREATE OR REPLACE FUNCTION busbar.touched_here() RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT array_agg(x.oid) FROM (
        SELECT l.relation AS oid FROM pg_locks l
            WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.database <> 0
              AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
        UNION SELECT t.oid FROM pg_type t WHERE age(t.xmin) <= 0
        UNION SELECT e.enumtypid FROM pg_enum e WHERE age(e.xmin) <= 0
        UNION SELECT c.oid FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid WHERE age(n.xmin) <= 0) x);
END
$$;

-- For the proxy: captures what the open transaction changed, or refuses it.
CREATE OR REPLACE FUNCTION busbar.find_changes() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    touched oid[] := busbar.touched_here();
    lost jsonb := (SELECT e.definition FROM busbar.electrified e
        WHERE e.relid = ANY (touched) AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = e.relid) ORDER BY e.id LIMIT 1);
BEGIN
    PERFORM busbar.require_proxy();
    IF busbar.has_old_snapshot() THEN
        PERFORM busbar.require_fresh_snapshot();
    END IF;
    IF lost IS NOT NULL THEN
        PERFORM busbar.refuse_change('drop_table', lost, NULL, NULL);
    END IF;
    PERFORM busbar.compare(ARRAY(SELECT e.relid FROM busbar.electrified e WHERE e.watch && touched), touched, 'commit');
END
$$;
