-- SPDX-License-Identifier: Apache-2.0
--
-- The guard: event triggers that look at what a DDL statement did. They run in every session and act with the owner's
-- rights, so what concerns nobody must leave early:
--   1. Busbar's own objects change only under busbar.maintenance;
--   2. without electrified tables there is nothing to guard;
--   3. the objects that a command touched, and all that depends on them (pg_depend), lead to the tables that it can
--      have changed: those that watch one of them (busbar.electrified.watch). Only these are compared.

-- Refuses a change of Busbar's own objects.
CREATE OR REPLACE FUNCTION busbar.refuse_own(object text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'UB005', MESSAGE = 'Busbar''s own objects are protected',
        DETAIL = format('The statement concerns %s.', object),
        HINT = 'Busbar changes them itself when it starts. To remove Busbar from this database: SET busbar.maintenance = ''on''; '
            'DROP SCHEMA electric, busbar CASCADE; DROP PUBLICATION electric_publication;';
END
$$;

-- True for an object in schema busbar or electric, the schemas and the publication. Triggers, rules and policies have
-- no schema of their own; their identity ends in "on schema.table".
CREATE OR REPLACE FUNCTION busbar.is_own(class oid, schema_name text, identity text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(schema_name IN ('busbar', 'electric')
        OR class = 'pg_namespace'::regclass AND identity IN ('busbar', 'electric')
        OR class = 'pg_publication'::regclass AND identity = 'electric_publication'
        OR class IN (to_regclass('pg_publication_rel'), to_regclass('pg_publication_namespace'))
            AND identity LIKE '% in publication electric_publication'
        OR class IN ('pg_trigger'::regclass, 'pg_rewrite'::regclass, 'pg_policy'::regclass)
            AND identity ~ E' on (busbar|electric)\\.[a-z_]+$', false)
$$;

-- True for the publication under another name: that of the electrified tables when ours is gone.
CREATE OR REPLACE FUNCTION busbar.is_renamed_publication(class oid, publication oid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT class = 'pg_publication'::regclass
        AND NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'electric_publication')
        AND EXISTS (SELECT FROM pg_publication_rel r JOIN busbar.electrified e ON e.relid = r.prrelid WHERE r.prpubid = publication)
$$;

-- True for what cannot change the definition of a table that exists: rights, comments, new objects, triggers, ….
-- For all else busbar.touched() finds out what depends on it.
CREATE OR REPLACE FUNCTION busbar.is_harmless(tag text, class oid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT tag IN ('GRANT', 'REVOKE', 'COMMENT', 'SECURITY LABEL', 'ALTER DEFAULT PRIVILEGES')
        OR class IN ('pg_trigger'::regclass, 'pg_policy'::regclass, 'pg_publication'::regclass,
            'pg_publication_rel'::regclass, 'pg_subscription'::regclass, 'pg_statistic_ext'::regclass)
        OR tag LIKE 'CREATE %' AND class NOT IN ('pg_class'::regclass, 'pg_rewrite'::regclass)
$$;

-- True for a trigger that is a constraint of its table too.
CREATE OR REPLACE FUNCTION busbar.is_constraint_trigger(class oid, object oid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT class = 'pg_trigger'::regclass AND EXISTS (SELECT FROM pg_trigger t WHERE t.oid = object AND t.tgconstraint <> 0)
$$;

-- The oids of the given objects and of all that depends on them (indexes and foreign keys of a table, what is in a
-- schema, what uses a function, children of a parent), and besides: the tables of given indexes, rules and
-- triggers, the parents of given tables, and what depends on the type of a given composite.
CREATE OR REPLACE FUNCTION busbar.touched(classes oid[], oids oid[]) RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (WITH RECURSIVE dependents(class, oid) AS (
            SELECT s.class, s.oid FROM (SELECT g.class, g.oid FROM unnest(classes, oids) AS g(class, oid)
                UNION ALL SELECT 'pg_type'::regclass::oid, c.reltype FROM pg_class c WHERE c.oid = ANY (oids) AND c.relkind = 'c') s
            UNION SELECT d.classid, d.objid
                FROM dependents r JOIN pg_depend d ON d.refclassid = r.class AND d.refobjid = r.oid
        )
        SELECT array_agg(a.oid) FROM (
            SELECT r.oid FROM dependents r
            UNION SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = ANY (oids)
            UNION SELECT w.ev_class FROM pg_rewrite w WHERE w.oid = ANY (oids)
            UNION SELECT t.tgrelid FROM pg_trigger t WHERE t.oid = ANY (oids)
            UNION SELECT h.inhparent FROM pg_inherits h WHERE h.inhrelid = ANY (oids)) a);
END
$$;

-- CREATE or DROP INDEX CONCURRENTLY as the client wrote it, comments removed; NULL when it is something else. These
-- commands can only be a client's whole message, so current_query() is the command itself. Quoted names are kept as they
-- are; comments nested in comments go from the inside out.
CREATE OR REPLACE FUNCTION busbar.concurrent_command(query text) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    stripped text := query;
BEGIN
    IF query !~* 'concurrently' THEN
        RETURN NULL;
    END IF;
    FOR depth IN 1..4 LOOP
        stripped := regexp_replace(stripped,
            E'("(?:[^"]|"")*")|--[^\\n\\r]*|/\\*(?:[^*/]|\\*(?!/)|/(?!\\*))*\\*/', E'\\1 ', 'g');
    END LOOP;
    RETURN CASE WHEN stripped ~* E'^[\\s;]*(create\\s+(unique\\s+)?|drop\\s+)index\\s+concurrently\\M' THEN stripped END;
END
$$;

-- The name of the relation that such a command is about: the table of CREATE, the index of DROP. NULL when in doubt.
CREATE OR REPLACE FUNCTION busbar.concurrent_target(query text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command text := busbar.concurrent_command(query);
    ident constant text := E'(?:"(?:[^"]|"")+"|[^\\s".,;()]+)';
BEGIN
    RETURN coalesce(
        (regexp_match(command, format(E'^[\\s;]*create\\s.*?concurrently\\s+(?:if\\s+not\\s+exists\\s+)?(?:%s\\s+)?'
            'on\\s+(?:only\\s+)?(%s(?:\\s*\\.\\s*%s)?)', ident, ident, ident), 'i'))[1],
        (regexp_match(command, format(E'^[\\s;]*drop\\s.*?concurrently\\s+(?:if\\s+exists\\s+)?(%s(?:\\s*\\.\\s*%s)?)'
            '\\s*(?:cascade|restrict)?\\s*;?\\s*$', ident, ident), 'i'))[1]);
END
$$;

-- Refuses CONCURRENTLY on an electrified table outside the proxy; relation is the table or one of its indexes.
CREATE OR REPLACE FUNCTION busbar.refuse_concurrent(relation oid, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    def jsonb := (SELECT e.definition FROM busbar.electrified e
        WHERE e.relid = coalesce((SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = relation), relation));
BEGIN
    IF def IS NOT NULL AND NOT busbar.is_proxy() THEN
        PERFORM busbar.refuse_outside(def, tag || ' CONCURRENTLY');
    END IF;
END
$$;

-- Refuses DROP SCHEMA that names both of Busbar's schemas: it takes all event triggers along, so none would see it.
-- Either one alone is seen by the trigger whose function is in the other.
CREATE OR REPLACE FUNCTION busbar.refuse_drop_schemas(query text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF query ~* E'\\mbusbar\\M' AND query ~* E'\\melectric\\M' AND NOT busbar.in_maintenance() THEN
        PERFORM busbar.refuse_own('schema busbar');
    END IF;
END
$$;

-- ddl_command_start, of CREATE INDEX, DROP INDEX and DROP SCHEMA. Outside the proxy CONCURRENTLY must be refused before it
-- begins, since at its end an error leaves an invalid index. With the caller's rights: names resolve as in the command.
CREATE OR REPLACE FUNCTION busbar.guard_start() RETURNS event_trigger
LANGUAGE plpgsql AS $$
BEGIN
    CASE tg_tag
    WHEN 'DROP SCHEMA' THEN
        PERFORM busbar.refuse_drop_schemas(pg_catalog.current_query());
    ELSE
        PERFORM busbar.refuse_concurrent(
            pg_catalog.to_regclass(busbar.concurrent_target(pg_catalog.current_query()))::pg_catalog.oid, tg_tag);
    END CASE;
END
$$;

-- True when a proxy session ran CREATE or DROP INDEX CONCURRENTLY: nothing may be captured in its last transaction,
-- where the proxy cannot record; it calls busbar.reconcile() afterwards.
CREATE OR REPLACE FUNCTION busbar.is_reconciled_later(tag text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT tag IN ('CREATE INDEX', 'DROP INDEX') AND busbar.concurrent_command(current_query()) IS NOT NULL AND busbar.is_proxy()
$$;

-- True when a command of a REPEATABLE READ transaction may concern a table that was electrified after its snapshot:
-- not for temporary tables, nor for new relations without parents.
CREATE OR REPLACE FUNCTION busbar.may_miss(oids oid[], tag text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM unnest(oids) o
        WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = o AND c.relpersistence = 't')
          AND (tag NOT LIKE 'CREATE %' AND tag <> 'SELECT INTO' OR tag = 'CREATE INDEX'
               OR EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = o)))
$$;

-- Sums up what a command created or altered: an object of Busbar's own, and all objects that are not harmless.
CREATE OR REPLACE FUNCTION busbar.commands(OUT own text, OUT classes oid[], OUT oids oid[])
LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT min(c.object_type || ' ' || c.object_identity)
            FILTER (WHERE (busbar.is_own(c.classid, c.schema_name, c.object_identity)
                    OR c.command_tag = 'ALTER PUBLICATION' AND busbar.is_renamed_publication(c.classid, c.objid))
                AND c.command_tag NOT IN ('GRANT', 'REVOKE', 'COMMENT', 'SECURITY LABEL')),
        array_agg(c.classid) FILTER (WHERE NOT h.harmless), array_agg(c.objid) FILTER (WHERE NOT h.harmless)
    INTO own, classes, oids
    FROM pg_event_trigger_ddl_commands() c
    CROSS JOIN LATERAL (SELECT coalesce(busbar.is_harmless(c.command_tag, c.classid)
        AND NOT busbar.is_constraint_trigger(c.classid, c.objid), false) AS harmless) h;
END
$$;

-- The electrified tables that a command can have changed. PostgreSQL keeps no dependencies on its own objects (a
-- superuser can rename those): then all tables.
CREATE OR REPLACE FUNCTION busbar.suspects(touched oid[], oids oid[]) RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(array_agg(e.relid), '{}') FROM busbar.electrified e
        WHERE e.watch && touched OR EXISTS (SELECT FROM unnest(oids) o WHERE o < 16384 AND o IS DISTINCT FROM to_regnamespace('public')));
END
$$;

-- False when a table was moved out of the schema: the command then shows the new place alone.
CREATE OR REPLACE FUNCTION busbar.has_its_tables() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT busbar.in_maintenance() OR bool_and(to_regclass('busbar.' || t) IS NOT NULL)
    FROM unnest(ARRAY['settings', 'electrified', 'pending', 'recorder', 'migration', 'command', 'version_claim', 'framework',
        'migration_source']) t
$$;

-- ddl_command_end: what the command created or altered.
CREATE OR REPLACE FUNCTION busbar.guard_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    done record;
    touched oid[];
BEGIN
    IF to_regnamespace('busbar') IS NULL OR to_regnamespace('electric') IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'UB005', MESSAGE = 'Busbar''s own objects are protected',
            DETAIL = 'The statement concerns schema busbar or electric.', HINT = 'Leave these schemas as they are.';
    END IF;
    IF tg_tag = 'ALTER TABLE' AND NOT busbar.has_its_tables() THEN
        PERFORM busbar.refuse_own('a table of schema busbar');
    END IF;
    done := busbar.commands();
    IF done.own IS NOT NULL AND NOT busbar.in_maintenance() THEN
        PERFORM busbar.refuse_own(done.own);
    END IF;
    IF done.oids IS NULL OR busbar.is_reconciled_later(tg_tag) THEN
        RETURN;
    END IF;
    IF busbar.has_old_snapshot() AND busbar.may_miss(done.oids, tg_tag) THEN
        PERFORM busbar.require_fresh_snapshot();
    END IF;
    IF EXISTS (SELECT FROM busbar.electrified) THEN
        touched := busbar.touched(done.classes, done.oids);
        PERFORM busbar.compare(busbar.suspects(touched, done.oids), touched, tg_event);
    END IF;
END
$$;

-- The electrified tables that lost something: by oid, or by an index's name, as REINDEX CONCURRENTLY changes its oid.
CREATE OR REPLACE FUNCTION busbar.bereft_tables() RETURNS oid[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    oids oid[];
    names text[];
BEGIN
    SELECT array_agg(d.objid), coalesce(array_agg(d.object_name) FILTER (WHERE d.object_type = 'index'), '{}')
    INTO oids, names FROM pg_event_trigger_dropped_objects() d;
    RETURN (SELECT coalesce(array_agg(e.relid), '{}') FROM busbar.electrified e
        WHERE e.watch && oids OR e.index_names && names);
END
$$;

-- Refuses DROP of an electrified table itself; of several, the one that was electrified first is named.
CREATE OR REPLACE FUNCTION busbar.refuse_drop_table() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    def jsonb := (SELECT e.definition FROM busbar.electrified e
        JOIN pg_event_trigger_dropped_objects() d ON d.objid = e.relid
        WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0 ORDER BY e.id LIMIT 1);
BEGIN
    IF def IS NOT NULL AND busbar.is_proxy() THEN
        PERFORM busbar.refuse_change('drop_table', def, NULL, NULL);
    ELSIF def IS NOT NULL THEN
        PERFORM busbar.refuse_outside(def, 'it was dropped');
    END IF;
END
$$;

-- sql_drop: what the command dropped, also by CASCADE.
CREATE OR REPLACE FUNCTION busbar.guard_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    own text;
    lasting boolean;
    bereft boolean;
BEGIN
    SELECT coalesce(min(o.label) FILTER (WHERE o.own AND o.original), min(o.label) FILTER (WHERE o.own)),
        bool_or(o.original AND NOT o.is_temporary), bool_or(o.own AND o.schema_name = 'busbar')
    INTO own, lasting, bereft
    FROM (SELECT d.original, d.is_temporary, d.schema_name, d.object_type || ' ' || d.object_identity AS label,
              busbar.is_own(d.classid, d.schema_name, d.object_identity) AS own
          FROM pg_event_trigger_dropped_objects() d) o;
    IF bereft AND NOT busbar.in_maintenance() THEN
        PERFORM busbar.refuse_own(own); -- what follows may read what is just being dropped
    END IF;
    IF lasting AND busbar.has_old_snapshot() THEN
        PERFORM busbar.require_fresh_snapshot();
    END IF;
    PERFORM busbar.refuse_drop_table();
    IF own IS NOT NULL AND NOT busbar.in_maintenance() THEN
        PERFORM busbar.refuse_own(own);
    END IF;
    IF NOT busbar.is_reconciled_later(tg_tag) THEN
        PERFORM busbar.compare(busbar.bereft_tables(), '{}', tg_event);
    END IF;
END
$$;

-- table_rewrite: refuses before the table's rows are copied, not after.
CREATE OR REPLACE FUNCTION busbar.guard_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    rewritten oid[] := ARRAY[pg_event_trigger_table_rewrite_oid()];
    touched oid[] := busbar.touched(ARRAY['pg_class'::regclass::oid], rewritten);
BEGIN
    PERFORM busbar.compare(busbar.suspects(touched, rewritten), touched, tg_event);
END
$$;

-- sql_drop again, for schema busbar itself: DROP SCHEMA busbar CASCADE takes the guard along before it could object.
-- So this one lives in the other schema and uses nothing of busbar.
CREATE OR REPLACE FUNCTION electric.protect_busbar() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regnamespace('busbar') IS NULL AND coalesce(current_setting('busbar.maintenance', true), '') <> 'on' THEN
        RAISE EXCEPTION USING ERRCODE = 'UB005', MESSAGE = 'Busbar''s own objects are protected',
            DETAIL = 'The statement concerns schema busbar.',
            HINT = 'To remove Busbar from this database: SET busbar.maintenance = ''on''; '
                'DROP SCHEMA electric, busbar CASCADE; DROP PUBLICATION electric_publication;';
    END IF;
END
$$;

