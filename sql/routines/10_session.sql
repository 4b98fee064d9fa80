-- SPDX-License-Identifier: Apache-2.0
--
-- Who is asking, how errors are raised, and small helpers that everything else uses.
-- All functions that act with the owner's rights pin search_path; those are the only ones that read schema busbar.
-- Those that a migration calls do without JIT too: with no statistics the planner takes a few rows for millions, and
-- compiling costs 100 ms.

-- True when the session was opened by the proxy: busbar.session = nonce (32) || sha256hex(secret || nonce).
CREATE OR REPLACE FUNCTION busbar.is_proxy() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    token text := coalesce(current_setting('busbar.session', true), '');
    secret text;
BEGIN
    IF length(token) <> 96 THEN
        RETURN false;
    END IF;
    SELECT s.value INTO STRICT secret FROM busbar.settings s WHERE s.name = 'secret';
    -- hashed once more, so that the time a comparison takes says nothing about the digits
    RETURN sha256(convert_to(right(token, 64), 'UTF8'))
        = sha256(convert_to(encode(sha256(convert_to(secret || left(token, 32), 'UTF8')), 'hex'), 'UTF8'));
END
$$;

-- True when Busbar itself, or an administrator who means it, changes Busbar's own objects.
CREATE OR REPLACE FUNCTION busbar.in_maintenance() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('busbar.maintenance', true), '') = 'on'
$$;

-- The role whose rights count: within SECURITY DEFINER functions current_user is the owner.
CREATE OR REPLACE FUNCTION busbar.caller() RETURNS name
LANGUAGE sql STABLE AS $$
    SELECT CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END
$$;

-- A qualified name the way messages print it: always quoted.
CREATE OR REPLACE FUNCTION busbar.quoted(schema_name text, object_name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT '"' || replace(schema_name, '"', '""') || '"."' || replace(object_name, '"', '""') || '"'
$$;

-- True when the row version with this xmin was written by the open transaction or one of its savepoints.
-- xid is 32 bits wide and wraps: it is taken as the nearest one to our own; ours are never older than our top xid,
-- and a frozen row of long ago may look like one of the future, which pg_xact_status() answers with an error.
CREATE OR REPLACE FUNCTION busbar.made_here(row_xmin xid) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    top numeric := pg_current_xact_id()::text::numeric;
    distance numeric := mod(row_xmin::text::numeric - mod(top, 4294967296) + 4294967296, 4294967296);
BEGIN
    IF distance >= 2147483648 THEN
        RETURN false;
    END IF;
    BEGIN
        RETURN pg_xact_status((top + distance)::text::xid8) = 'in progress';
    EXCEPTION
        WHEN invalid_parameter_value THEN
            RETURN false;
    END;
END
$$;

-- Raises an error for the proxy; an absent detail or hint is left out, since RAISE would send an empty field.
CREATE OR REPLACE PROCEDURE busbar.refuse(sqlstate text, message text, detail text, hint text)
LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(detail, '') <> '' AND coalesce(hint, '') <> '' THEN
        RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, DETAIL = detail, HINT = hint;
    ELSIF coalesce(detail, '') <> '' THEN
        RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, DETAIL = detail;
    ELSIF coalesce(hint, '') <> '' THEN
        RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message, HINT = hint;
    END IF;
    RAISE EXCEPTION USING ERRCODE = sqlstate, MESSAGE = message;
END
$$;

-- How to reach the proxy, for hints; settings may say where it listens.
CREATE OR REPLACE FUNCTION busbar.proxy_hint() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('Connect to the Busbar migrations proxy (port %s of the host that runs Busbar) and run the statement there.',
        coalesce((SELECT s.value FROM busbar.settings s WHERE s.name = 'proxy_port'), '65432'))
$$;

-- Refuses a function that only the proxy may call.
CREATE OR REPLACE FUNCTION busbar.require_proxy() RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT busbar.is_proxy() THEN
        RAISE EXCEPTION USING ERRCODE = 'UB002',
            MESSAGE = 'Only sessions of the Busbar migrations proxy can record migrations',
            DETAIL = 'The setting busbar.session of this session does not come from the proxy.',
            HINT = busbar.proxy_hint();
    END IF;
END
$$;
