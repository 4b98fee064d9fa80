-- SPDX-License-Identifier: Apache-2.0
-- COPY both ways, every format, errors in the middle, and what comes behind.
CREATE TABLE rows (id int PRIMARY KEY, t text, n numeric DEFAULT 7, CHECK (id < 100));
COPY rows FROM STDIN;
1	one	1.5
2	\N	\N
3	tab\there	-1
\.
COPY rows (id, t) FROM STDIN WITH (FORMAT csv, HEADER true, NULL 'nil', QUOTE '''', DELIMITER ';');
id;t
4;'quoted; with ''quotes'' and
a line'
5;nil
\.
COPY rows FROM STDIN (DELIMITER '|', NULL '') WHERE id <> 7;
6|six|6
7|seven|7
8||
\.
TABLE rows ORDER BY id;
COPY rows TO STDOUT;
COPY rows (t, id) TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE (t));
COPY (SELECT id, n FROM rows WHERE id < 3 ORDER BY id) TO STDOUT WITH DELIMITER ',' NULL AS 'null';
COPY (INSERT INTO rows VALUES (9, 'returned') RETURNING *) TO STDOUT;
COPY rows FROM STDIN;
10	ten	10
x	bad	1
11	eleven	11
\.
COPY rows FROM STDIN;
12	too few
\.
COPY rows FROM STDIN;
13	too	1	many
\.
COPY rows FROM STDIN;
14	ok	1
14	duplicate	1
\.
COPY rows FROM STDIN;
100	check	1
\.
COPY rows FROM STDIN (FORMAT csv);
15,"unterminated
\.
COPY rows FROM STDIN WITH (FORMAT csv, HEADER match);
id,wrong,n
16,x,1
\.
COPY rows FROM STDIN;
\.
COPY missing FROM STDIN;
COPY rows (missing) FROM STDIN;
COPY rows FROM STDIN WITH (FORMAT nonsense);
COPY rows FROM STDIN WITH (NONSENSE);
COPY missing TO STDOUT;
COPY rows FROM '/nonexistent/file';
COPY rows TO PROGRAM 'exit 3';
COPY (SELECT 1/(g - 2) FROM generate_series(1, 3) g) TO STDOUT;
COPY rows TO STDOUT WITH (FORMAT binary, HEADER);
\copy rows (id, t) FROM PROGRAM 'printf "20\ttwenty\n21\ttwenty-one\n"'
\copy rows FROM PROGRAM 'printf "22\tx\ty\n"'
\copy rows FROM '/nonexistent/file'
\copy (SELECT * FROM rows WHERE id > 19 ORDER BY id) TO STDOUT WITH CSV
\copy rows TO PROGRAM 'cat >/dev/null' WITH (FORMAT binary)
SELECT count(*) FROM rows;
BEGIN;
COPY rows (id) FROM STDIN;
30
\.
SAVEPOINT s;
COPY rows (id) FROM STDIN;
30
\.
ROLLBACK TO s;
CREATE TABLE copied (LIKE rows);
COPY copied FROM STDIN WITH (FREEZE);
1	x	1
\.
COMMIT;
COPY copied TO STDOUT;
SELECT 1 \; COPY rows (id) FROM STDIN \; SELECT 2;
40
\.
CREATE TABLE among (id int) \; COPY among FROM STDIN \; SELECT count(*) FROM among;
1
2
\.
CREATE TABLE among2 (id int) \; COPY among2 FROM STDIN \; SELECT count(*) FROM among2;
1
x
\.
COPY among TO STDOUT \; COPY among TO STDOUT \; CREATE TABLE among3 (id int);
BEGIN \; CREATE TABLE among4 (id int) \; COPY among4 FROM STDIN \; COMMIT \; TABLE among4;
7
\.
SELECT to_regclass('among'), to_regclass('among2'), to_regclass('among3'), to_regclass('among4');
CREATE VIEW viewed AS SELECT * FROM rows;
COPY viewed TO STDOUT;
COPY viewed FROM STDIN;
CREATE FUNCTION noisy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'row %', NEW.id; RETURN NEW; END $$;
CREATE TRIGGER noisy BEFORE INSERT ON rows FOR EACH ROW EXECUTE FUNCTION noisy();
COPY rows (id) FROM STDIN;
50
51
\.
SET client_encoding = 'LATIN1';
COPY rows (id, t) TO STDOUT WITH (ENCODING 'UTF8');
RESET client_encoding;
COPY rows (id, t) FROM STDIN WITH (ENCODING 'SQL_ASCII');
60	ascii
\.
SELECT 'still here', count(*) FROM rows;
