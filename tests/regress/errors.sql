-- SPDX-License-Identifier: Apache-2.0
-- Errors of every phase and notices of every level, with all their fields.
\set VERBOSITY verbose
CREATE TABLE strict (id int PRIMARY KEY, positive int NOT NULL CONSTRAINT over_zero CHECK (positive > 0), name text UNIQUE, EXCLUDE (positive WITH =));
INSERT INTO strict VALUES (1, 1, 'a');
INSERT INTO strict VALUES (1, 2, 'b');
INSERT INTO strict VALUES (2, 0, 'b');
INSERT INTO strict VALUES (2, NULL, 'b');
INSERT INTO strict VALUES (2, 2, 'a');
INSERT INTO strict VALUES (2, 1, 'b');
CREATE TABLE refers (id int REFERENCES strict);
INSERT INTO refers VALUES (99);
INSERT INTO refers VALUES (1);
DELETE FROM strict;
TRUNCATE strict;
DROP TABLE strict;
SELECT nonsense FROM strict;
SELECT * FROM missing;
SELECT strict.missing FROM strict;
SELECT id, count(*) FROM strict;
SELECT * FROM strict s JOIN refers r ON s.id = r.idd;
SELECT id FROM strict, refers;
SELECT 1/0;
SELECT 1/(g - 2) FROM generate_series(1, 3) g;
SELECT (SELECT g FROM generate_series(1, 2) g);
CREATE TABLE strict (id int);
CREATE TABLE IF NOT EXISTS strict (id int);
DROP TABLE IF EXISTS missing, missing_too;
CREATE TABLE bad (id int PRIMARY KEY, id2 int PRIMARY KEY);
CREATE TABLE bad (id int, id int);
CREATE TABLE bad (id missing_type);
CREATE TABLE bad (id int REFERENCES missing);
CREATE TABLE bad (id int CHECK (nonsense > 0));
CREATE TABLE bad (id int DEFAULT 'x');
ALTER TABLE missing ADD COLUMN a int;
ALTER TABLE IF EXISTS missing ADD COLUMN a int;
ALTER TABLE strict ADD COLUMN id int;
ALTER TABLE strict DROP COLUMN missing;
ALTER TABLE strict ALTER COLUMN name TYPE int USING name::int;
ALTER TABLE strict ADD CHECK (positive > 5);
CREATE INDEX ON strict (missing);
CREATE VIEW bad AS SELECT nonsense;
CREATE FUNCTION bad() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN; END $$;
CREATE FUNCTION bad() RETURNS int LANGUAGE plpgsql AS $$ BEGI RETURN 1; END $$;
CREATE FUNCTION bad() RETURNS int LANGUAGE sql AS 'SELECT nonsense';
CREATE FUNCTION bad() RETURNS int LANGUAGE missing AS '';
CREATE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF n = 0 THEN
        RAISE EXCEPTION 'at the bottom' USING ERRCODE = 'XX999', DETAIL = 'a detail', HINT = 'a hint', TABLE = 't', COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 'd', SCHEMA = 's';
    END IF;
    RETURN deep(n - 1);
END $$;
SELECT deep(2);
\errverbose
DO $$ BEGIN PERFORM deep(1); END $$;
DO $$ BEGIN EXECUTE 'CREATE TABLE strict (id int)'; END $$;
DO $$ BEGIN EXECUTE 'SELEC 1'; END $$;
DO $$ BEGIN CREATE TABLE half (id int); PERFORM 1/0; END $$;
SELECT to_regclass('half');
CREATE FUNCTION in_sql(n int) RETURNS int LANGUAGE sql AS 'SELECT 1/n';
SELECT in_sql(0);
CREATE TABLE made AS SELECT in_sql(0);
CREATE MATERIALIZED VIEW made AS SELECT deep(1);
SELECT set_config('work_mem', 'nonsense', false);
SET work_mem = '1';
SET nonsense = 1;
SET statement_timeout = '30ms';
SELECT pg_sleep(0.4);
DO $$ BEGIN PERFORM pg_sleep(0.4); EXECUTE 'CREATE TABLE late (id int)'; END $$;
CREATE TABLE late AS SELECT pg_sleep(0.4);
RESET statement_timeout;
SET lock_timeout = 1;
RESET lock_timeout;
SET ROLE missing;
SET SESSION AUTHORIZATION missing;
RAISE NOTICE 'not SQL';
\set VERBOSITY default
SELECT deep(0);
\set VERBOSITY terse
SELECT deep(0);
\set VERBOSITY sqlstate
SELECT deep(0);
\set VERBOSITY default
\set SHOW_CONTEXT always
CREATE FUNCTION talk() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE DEBUG 'debug %', 1;
    RAISE LOG 'log';
    RAISE INFO 'info';
    RAISE NOTICE 'notice' USING DETAIL = 'detail', HINT = 'hint';
    RAISE WARNING 'warning' USING ERRCODE = '01234';
END $$;
SELECT talk();
SET client_min_messages = debug1;
SELECT talk();
SET client_min_messages = log;
SELECT talk();
CREATE TABLE implicit (id serial PRIMARY KEY);
SET client_min_messages = error;
SELECT talk();
DROP TABLE IF EXISTS missing;
RESET client_min_messages;
SELECT talk() \; CREATE TABLE between (id int) \; SELECT talk();
BEGIN;
SELECT talk();
CREATE TABLE talked AS SELECT talk();
COMMIT;
DO $$ BEGIN RAISE NOTICE 'before'; EXECUTE 'DROP TABLE IF EXISTS missing'; RAISE NOTICE 'after'; END $$;
\set SHOW_CONTEXT errors
CREATE FUNCTION marked() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'not a mark' USING ERRCODE = 'UB003', DETAIL = 'busbar.pending'; END $$;
SELECT marked();
CREATE TABLE cascaded (id int PRIMARY KEY);
CREATE TABLE cascades (id int REFERENCES cascaded);
CREATE VIEW seen AS SELECT * FROM cascaded;
DROP TABLE cascaded;
DROP TABLE cascaded CASCADE;
TRUNCATE strict CASCADE;
