-- SPDX-License-Identifier: Apache-2.0
--
-- Internal migration 1: the tables that hold Busbar's state, its secret and the publication.
-- Run once. What can be replaced at any time (functions, procedures, views, grants) is in routines/.
-- The transaction that installs has busbar.maintenance = 'on', so that the guard lets Busbar's own DDL through.

-- A database set up by Electric 0.12 keeps its state in tables of schema electric; adopting it is not built yet.
DO $$
BEGIN
    IF to_regclass('electric.ddl_commands') IS NOT NULL OR to_regclass('electric.transaction_marker') IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'This database was set up by Electric',
            DETAIL = 'Schema electric holds the tables of Electric 0.12. Busbar cannot adopt them yet.',
            HINT = 'Use another database, or, if nothing of Electric is needed any more: '
                'DROP SCHEMA electric CASCADE; DROP PUBLICATION IF EXISTS electric_publication;';
    END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS busbar;
CREATE SCHEMA IF NOT EXISTS electric;

CREATE TABLE busbar.settings (
    name text PRIMARY KEY,
    value text NOT NULL
);

-- 'secret' is what proxy sessions prove that they are ours with; hashing three uuids gives 256 well mixed bits.
INSERT INTO busbar.settings (name, value) VALUES
    ('secret', encode(sha256(convert_to(
        gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), 'hex')),
    ('cluster_id', gen_random_uuid()::text);

-- The tables opened for sync, each with the definition that clients have. watch holds the oids of everything a
-- definition depends on (the table, its indexes, constraints, types, relatives, referenced tables) and
-- index_names the indexes' names: what a DDL command touched is compared with these first.
CREATE TABLE busbar.electrified (
    relid oid PRIMARY KEY,
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    definition jsonb NOT NULL,
    watch oid[] NOT NULL,
    index_names text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (schema_name, table_name)
);

-- Captured changes of transactions that are still open. A row that is left at COMMIT refuses the COMMIT.
CREATE TABLE busbar.pending (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    relid oid NOT NULL,
    ops jsonb NOT NULL,
    spared_at timestamptz
);
CREATE INDEX pending_xid_idx ON busbar.pending (xid);

-- One row. Whoever records a migration holds its lock until the end of the transaction: seq then grows in commit
-- order, and a REPEATABLE READ transaction that has not seen the newest migration gets 40001 instead of a wrong answer.
CREATE TABLE busbar.recorder (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_seq bigint NOT NULL
);
INSERT INTO busbar.recorder (last_seq) VALUES (0);

CREATE TABLE busbar.migration (
    seq bigint PRIMARY KEY,
    version text NOT NULL CONSTRAINT migration_unique_version UNIQUE,
    priority integer NOT NULL,
    xid xid8 NOT NULL UNIQUE,
    txts bigint NOT NULL,
    inserted_at timestamptz NOT NULL DEFAULT transaction_timestamp()
);

-- decode(…, 'escape') is the immutable way from text to bytea, which a generated column needs.
CREATE TABLE busbar.command (
    id bigint PRIMARY KEY,
    seq bigint NOT NULL REFERENCES busbar.migration (seq),
    query text NOT NULL,
    ops jsonb NOT NULL,
    query_hash bytea NOT NULL GENERATED ALWAYS AS (sha256(decode(replace(query, '\', '\\'), 'escape'))) STORED
);
CREATE INDEX command_seq_idx ON busbar.command (seq, id);

-- Versions asked for by transactions that have not recorded yet (CALL electric.migration_version).
CREATE TABLE busbar.version_claim (
    xid xid8 PRIMARY KEY,
    version text NOT NULL,
    priority integer NOT NULL
);

-- Migration frameworks by the table they keep their versions in; a table counts when it has all required columns.
CREATE TABLE busbar.framework (
    name text PRIMARY KEY,
    table_name text NOT NULL,
    version_column text NOT NULL,
    required_columns text[] NOT NULL
);
INSERT INTO busbar.framework VALUES ('Ecto', 'schema_migrations', 'version', ARRAY['version', 'inserted_at']);

-- The publication needs CREATE on the database; without it, ENABLE ELECTRIC says so when it comes to that.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'electric_publication') THEN
        CREATE PUBLICATION electric_publication;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING USING MESSAGE = 'publication electric_publication could not be created: ' || SQLERRM,
            HINT = format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user);
END
$$;
