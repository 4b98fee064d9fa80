-- SPDX-License-Identifier: Apache-2.0
--
-- The publication holds the electrified tables and the history of migrations. It is looked at whenever the service starts: what
-- somebody took out comes back, and so does the replica identity.

CREATE OR REPLACE FUNCTION busbar.followed() RETURNS TABLE (relid oid, place bigint)
LANGUAGE sql STABLE AS $$
    SELECT c.oid, t.place FROM (
        SELECT busbar.table_now(e.relid, e.schema_name, e.table_name) AS oid, e.id AS place FROM busbar.electrified e
        UNION ALL VALUES ('busbar.migration'::regclass::oid, -2), ('busbar.command'::regclass::oid, -1)) t
    JOIN pg_class c ON c.oid = t.oid
$$;

CREATE OR REPLACE FUNCTION busbar.unpublished() RETURNS TABLE (relid oid)
LANGUAGE sql STABLE AS $$
    SELECT f.relid FROM busbar.followed() f
    WHERE NOT EXISTS (SELECT FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = f.relid
        WHERE p.pubname = 'electric_publication' AND (p.puballtables OR r.oid IS NOT NULL))
    ORDER BY f.place
$$;

CREATE OR REPLACE FUNCTION busbar.without_old_rows() RETURNS TABLE (relid oid)
LANGUAGE sql STABLE AS $$
    SELECT f.relid FROM busbar.followed() f JOIN pg_class c ON c.oid = f.relid WHERE c.relreplident <> 'f' ORDER BY f.place
$$;

-- Changes of a table that was not in the publication are not in the stream. The message tells the sync service, which then
-- begins its log anew; one that comes before the service's slot was made concerns nobody. A change without its old row tells by itself.
CREATE OR REPLACE FUNCTION busbar.publish_all() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    missing oid[] := ARRAY(SELECT u.relid FROM busbar.unpublished() u);
    table_oid oid;
BEGIN
    PERFORM busbar.watch_truncates();
    FOREACH table_oid IN ARRAY missing || ARRAY(SELECT w.relid FROM busbar.without_old_rows() w) LOOP
        PERFORM busbar.publish(table_oid);
    END LOOP;
    IF cardinality(missing) > 0 THEN
        PERFORM pg_logical_emit_message(true, 'busbar.published', missing::text);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING USING MESSAGE = 'publication electric_publication does not hold all tables: ' || SQLERRM,
            HINT = format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user);
END
$$;

DO $$
BEGIN
    PERFORM busbar.publish_all();
END
$$;
