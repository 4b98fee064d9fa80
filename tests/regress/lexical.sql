-- SPDX-License-Identifier: Apache-2.0
-- Quotes, escapes, comments, empty and enormous statements: where one ends and the next begins.
SELECT 'it''s', E'a\tb\\n\x41\u00e9\U0001F600', U&'d\0061t\+000061', U&'d!0061t' UESCAPE '!', N'national', B'101', X'ff';
SELECT 'two'
  ' pieces', 'with'  -- a comment between
  ' comment';
SELECT 'two' ' on a line';
SELECT $$dollar ; $ 'quoted'$$, $tag$ with $$ inside; -- no comment
/* nor here */ $tag$, $a1$x$a$y$a1$;
SELECT "quoted ""name""" FROM (SELECT 1 AS "quoted ""name""") x;
SELECT U&"\0061b" FROM (SELECT 1 AS ab) x;
SELECT /* nested /* comments; */ still ; */ 1, -- to the end; of the line
  2;
/* only a comment */;
-- nothing
;
;;
SELECT 1;; SELECT 2;
   SELECT 3   ;SELECT 4;/* x */SELECT 5;--y
SELECT 6 /**/;
/**/CREATE/**/TABLE/**/spaced/**/(/**/id/**/int/**/)/**/;
DROP
  TABLE -- what
  /* else */ spaced;
/* CREATE TABLE hidden (id int); */ SELECT 'no DDL';
SELECT 'CREATE TABLE quoted (id int);' AS "DROP TABLE quoted;";
(SELECT 1) UNION (SELECT 2) ORDER BY 1;
((SELECT 1));
TABLE pg_am LIMIT 0;
VALUES (1, 'a'), (2, NULL);
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT * FROM a, b;
SELECT 1.5e3, .5, 5., 1e-2, 0x1F;
SELECT 1 AS "select", 2 AS select;
SELECT a.b.c.d.e;
SELECT 5 !;
SELECT @ -5, |/ 25, 2 ^ 3 ^ 2, -2 ^ 2, 7 % 3, 5 # 3, ~1, 1 << 3, 'a' ~* 'A', 'abc' ~~ 'a%', NOT true <> false;
SELECT 1 OPERATOR(pg_catalog.+) 2;
SELECT :'unset', :unset;
\set set 'va''lue'
SELECT :'set', :"set";
SELECT :'set' AS "quoted" \gset
\echo :quoted
-- Standard strings off: a backslash escapes, and decides where a statement ends.
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT 'a\'; CREATE TABLE never (id int); --b', 'back\\slash';
SELECT 'it\'s';
CREATE TABLE "odd\" (t text DEFAULT 'a\'b;c');
INSERT INTO "odd\" DEFAULT VALUES;
SELECT t, E't\\', $$\'$$ FROM "odd\";
SET escape_string_warning = on;
SELECT 'warned\\';
SET backslash_quote = off;
SELECT 'it\'s';
RESET backslash_quote;
SELECT U&'\0061';
SET escape_string_warning = off;
BEGIN \; CREATE TABLE cut (t text DEFAULT 'x\';y') \; COMMIT \; SELECT 'z\';';
SELECT * FROM cut;
RESET standard_conforming_strings;
RESET escape_string_warning;
SELECT 'a\', 'b';
BEGIN;
SET LOCAL standard_conforming_strings = off;
SELECT 'a\'b';
ROLLBACK;
SELECT 'a\';
DROP TABLE "odd\", cut;
-- Errors of lexer and grammar; psql sends what follows an unclosed quote as one statement.
SELECT 1 FROM;
SELEC 1;
CREATE TABEL x (id int);
CREATE TABLE x (id int;
CREATE TABLE x (id int,);
ALTER TABLE;
DROP;
SELECT 'é', 'ü' FROM missing_table WHERE "ä" = 1;
SELECT 'é' AS "naïve", nonsense;
SELECT 1
  + 2
  + nonsense
  + 3;
SELECT E'\xZZ', U&'\00';
SELECT $1;
SELECT $1::int + $2;
SELECT ''::int AS x, "" FROM y;
SELECT 1; SELECT 2 SELECT; SELECT 3;
CREATE TABLE t1 (id int) \; CREATE TABEL t2 (id int);
SELECT 1 \; SELECT 2 \; SELECT nonsense \; SELECT 3;
CREATE TABLE t3 (id int) \; SELECT 'ü' \; SELECT nonsense;
SELECT to_regclass('t1'), to_regclass('t3');
BEGIN \; CREATE TABLE t4 (id int) \; SELECT 'ü', nonsense \; COMMIT;
ROLLBACK;
-- Semicolons inside statements.
CREATE TABLE base (id int);
CREATE RULE two AS ON INSERT TO base DO ALSO (SELECT 1; SELECT 2);
CREATE FUNCTION atomic(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT 1; SELECT CASE WHEN n > 1 THEN n ELSE -n END; END;
SELECT atomic(5), atomic(-1);
CREATE OR REPLACE PROCEDURE atomic_procedure() BEGIN ATOMIC INSERT INTO base VALUES (1); INSERT INTO base VALUES (2); END;
CALL atomic_procedure();
TABLE base;
CREATE SCHEMA lexical_sub CREATE TABLE a (id int) CREATE VIEW b AS SELECT * FROM a;
TABLE lexical_sub.b;
DROP SCHEMA lexical_sub CASCADE;
DROP RULE two ON base;
-- Long ones.
SELECT length(string_agg(x, '')) FROM (SELECT repeat('long', 1000) x FROM generate_series(1, 10)) y;
SELECT 'SELECT ''' || repeat('x', 200000) || ''' = repeat(''x'', 200000)' \gexec
SELECT 'CREATE TABLE wide (' || string_agg('c' || g || ' int', ', ') || ')' FROM generate_series(1, 400) g \gexec
SELECT count(*) FROM information_schema.columns WHERE table_name = 'wide' AND table_schema = current_schema;
SELECT 'CREATE TABLE commented (id int); /* ' || repeat('y', 150000) || ' */' \gexec
SELECT format('INSERT INTO base SELECT 1 WHERE %L <> ''''', repeat('z', 300000)) \gexec
-- Another client encoding.
SET client_encoding = 'LATIN1';
SELECT convert_to('é', 'UTF8'), length('abc');
SELECT U&'\00e9' = 'x', U&'\20ac' AS euro;
CREATE TABLE latin (t text DEFAULT 'plain');
SET client_encoding = 'SQL_ASCII';
SELECT 'plain';
RESET client_encoding;
SET client_encoding = 'NO_SUCH';
SHOW client_encoding;
\encoding LATIN9
\encoding
SELECT nonsense;
\encoding UTF8
SELECT E'\xff';
SELECT E'\u0000';
