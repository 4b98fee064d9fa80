-- SPDX-License-Identifier: Apache-2.0
--
-- The event triggers of the guard. Creating them takes a superuser on most servers (42501 otherwise); the
-- caller then goes on without them. Made once and left alone, so that a later start needs no superuser.
-- ENABLE ALWAYS: they work under session_replication_role = replica too.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN VALUES
        ('busbar_guard_start', 'ddl_command_start',
            'WHEN TAG IN (''CREATE INDEX'', ''DROP INDEX'', ''DROP SCHEMA'')', 'busbar.guard_start'),
        ('busbar_guard_end', 'ddl_command_end', '', 'busbar.guard_end'),
        ('busbar_guard_drop', 'sql_drop', '', 'busbar.guard_drop'),
        ('busbar_guard_rewrite', 'table_rewrite', '', 'busbar.guard_rewrite'),
        ('busbar_protect', 'sql_drop', '', 'electric.protect_busbar')
    LOOP
        IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = wanted.column1) THEN
            EXECUTE format('CREATE EVENT TRIGGER %I ON %s %s EXECUTE FUNCTION %s()',
                wanted.column1, wanted.column2, wanted.column3, wanted.column4);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = wanted.column1 AND evtenabled = 'A') THEN
            EXECUTE format('ALTER EVENT TRIGGER %I ENABLE ALWAYS', wanted.column1);
        END IF;
    END LOOP;
END
$$;
