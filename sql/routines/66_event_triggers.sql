-- SPDX-License-Identifier: Apache-2.0
--
-- Which event triggers the guard needs, and the statements that make those that are missing. They take a superuser on most
-- servers: event_triggers.sql tries them, busbar check shows them.

CREATE OR REPLACE FUNCTION busbar.guard_statements() RETURNS TABLE (statement text)
LANGUAGE sql STABLE AS $$
    WITH wanted (name, event, tags, routine, n) AS (VALUES
        ('busbar_guard_start', 'ddl_command_start',
            ' WHEN TAG IN (''CREATE INDEX'', ''DROP INDEX'', ''DROP SCHEMA'')', 'busbar.guard_start', 1),
        ('busbar_guard_end', 'ddl_command_end', '', 'busbar.guard_end', 2),
        ('busbar_guard_drop', 'sql_drop', '', 'busbar.guard_drop', 3),
        ('busbar_guard_rewrite', 'table_rewrite', '', 'busbar.guard_rewrite', 4),
        ('busbar_protect', 'sql_drop', '', 'electric.protect_busbar', 5)
    ), missing AS (
        SELECT * FROM wanted w WHERE NOT EXISTS (SELECT FROM pg_event_trigger t WHERE t.evtname = w.name)
    )
    SELECT s.statement FROM (
        SELECT 1 AS part, n, format('CREATE EVENT TRIGGER %I ON %s%s EXECUTE FUNCTION %s();', name, event, tags, routine) AS statement
        FROM missing
        UNION ALL
        -- ALWAYS: they work under session_replication_role = replica too
        SELECT 2, n, format('ALTER EVENT TRIGGER %I ENABLE ALWAYS;', name) FROM wanted w
        WHERE NOT EXISTS (SELECT FROM pg_event_trigger t WHERE t.evtname = w.name AND t.evtenabled = 'A')) s
    ORDER BY s.part, s.n
$$;
