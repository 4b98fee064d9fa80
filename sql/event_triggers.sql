-- SPDX-License-Identifier: Apache-2.0
--
-- The event triggers of the guard. Creating them takes a superuser on most servers (42501 otherwise); the
-- caller then goes on without them. Made once and left alone, so that a later start needs no superuser.
DO $$
DECLARE
    missing text;
BEGIN
    FOR missing IN SELECT g.statement FROM busbar.guard_statements() g LOOP
        EXECUTE missing;
    END LOOP;
END
$$;
