-- SPDX-License-Identifier: Apache-2.0
--
-- Takes away the routines of the version that was here before, so that the files that follow need not care what it left:
-- CREATE OR REPLACE cannot change a result type, and a routine that is no longer wanted would stay. The triggers that use
-- them go first and come back with 50_capture.sql, 70_electrify.sql and event_triggers.sql; all of it is one transaction. Those
-- on users' tables stay, as they could be had only when nobody uses the table.
DO $$
DECLARE
    ours CONSTANT oid[] := ARRAY['busbar'::regnamespace, 'electric'::regnamespace];
    doomed record;
BEGIN
    FOR doomed IN SELECT e.evtname FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid WHERE p.pronamespace = ANY (ours) LOOP
        EXECUTE format('DROP EVENT TRIGGER %I', doomed.evtname);
    END LOOP;
    FOR doomed IN
        SELECT t.tgname, t.tgrelid::regclass AS relation FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE p.pronamespace = ANY (ours) AND NOT t.tgisinternal AND t.tgname <> 'busbar_truncate'
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', doomed.tgname, doomed.relation);
    END LOOP;
    FOR doomed IN SELECT p.oid::regprocedure AS routine FROM pg_proc p WHERE p.pronamespace = ANY (ours) LOOP
        BEGIN
            EXECUTE format('DROP ROUTINE %s', doomed.routine);
        EXCEPTION
            WHEN dependent_objects_still_exist THEN
                NULL; -- a view stands on it, perhaps somebody's own, or a table's trigger: CREATE OR REPLACE must do
        END;
    END LOOP;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING USING MESSAGE = 'the earlier version''s routines could not be removed: ' || SQLERRM;
END
$$;
