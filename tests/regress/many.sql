-- SPDX-License-Identifier: Apache-2.0
-- Very many statements in one query; what they print is long and the same.
CREATE TABLE base (id int);
SET client_min_messages = warning;
\o /dev/null
\set ECHO none
SELECT 'DO $$ BEGIN ' || repeat('PERFORM 1; ', 20000) || 'END $$' \gexec
SELECT repeat('SELECT 1; ', 10000) AS many \gset
:many;
SELECT repeat('CREATE TABLE IF NOT EXISTS many_times (id int); ', 300) AS many \gset
:many;
SELECT 'BEGIN; ' || repeat('INSERT INTO base VALUES (3); ', 1000) || 'CREATE TABLE at_the_end (id int); COMMIT' AS many \gset
:many;
SELECT repeat('INSERT INTO base VALUES (4); ', 1000) || 'CREATE TABLE nothing_of_it (id int); SELECT 1/0' AS many \gset
:many;
\set ECHO all
\o
SELECT id, count(*) FROM base GROUP BY id ORDER BY id;
SELECT to_regclass('many_times'), to_regclass('at_the_end'), to_regclass('nothing_of_it');
RESET client_min_messages;
