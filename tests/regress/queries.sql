-- SPDX-License-Identifier: Apache-2.0
-- Queries and changes of data: joins, aggregates, windows, recursion, MERGE, prepared statements, EXPLAIN, psql's own ways.
CREATE TABLE people (id int PRIMARY KEY, name text, boss int REFERENCES people, salary numeric);
INSERT INTO people VALUES (1, 'Ada', NULL, 100), (2, 'Bob', 1, 80), (3, 'Cid', 1, 70), (4, 'Dee', 2, 60) RETURNING id, upper(name);
CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY, owner int, label text);
INSERT INTO things (owner, label) SELECT g % 5, 'thing ' || g FROM generate_series(1, 12) g;
SELECT p.name, count(t.id) FROM people p LEFT JOIN things t ON t.owner = p.id GROUP BY p.name ORDER BY 1;
SELECT * FROM people NATURAL JOIN (VALUES (1, 'x'), (9, 'y')) v(id, extra);
SELECT p.name, t.label FROM people p FULL JOIN things t ON t.owner = p.id AND t.id < 4 ORDER BY 1 NULLS FIRST, 2;
SELECT p.name, b.name AS boss FROM people p CROSS JOIN LATERAL (SELECT name FROM people b WHERE b.id = p.boss) b ORDER BY 1;
SELECT boss, sum(salary), avg(salary)::numeric(6,2), grouping(boss) FROM people GROUP BY ROLLUP (boss) ORDER BY 1 NULLS LAST, 4;
SELECT name, rank() OVER (ORDER BY salary DESC), sum(salary) OVER w FROM people WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) ORDER BY 1;
SELECT count(*) FILTER (WHERE salary > 65), percentile_cont(0.5) WITHIN GROUP (ORDER BY salary), string_agg(name, ',' ORDER BY id) FROM people;
WITH RECURSIVE tree AS (SELECT id, name, 0 AS depth FROM people WHERE boss IS NULL UNION ALL SELECT p.id, p.name, depth + 1 FROM people p JOIN tree ON p.boss = tree.id)
    SEARCH DEPTH FIRST BY id SET way CYCLE id SET looped USING path SELECT id, name, depth, way, looped FROM tree ORDER BY way;
WITH moved AS (DELETE FROM things WHERE owner = 0 RETURNING *) INSERT INTO things (owner, label) SELECT 1, label || ' moved' FROM moved RETURNING id, label;
SELECT DISTINCT ON (owner) owner, label FROM things ORDER BY owner, id DESC;
SELECT owner FROM things INTERSECT SELECT id FROM people EXCEPT SELECT 1 ORDER BY 1;
SELECT * FROM people ORDER BY salary FETCH FIRST 2 ROWS WITH TIES;
SELECT id FROM people ORDER BY id LIMIT 2 OFFSET 1 FOR UPDATE SKIP LOCKED;
SELECT id FROM people FOR SHARE OF nothing;
SELECT * FROM people TABLESAMPLE BERNOULLI (100) REPEATABLE (1) ORDER BY id;
SELECT g, x FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a', 'b', 'c'])) WITH ORDINALITY AS f(g, x, n);
SELECT * FROM json_to_recordset('[{"a": 1, "b": "x"}, {"a": 2}]') AS r(a int, b text);
SELECT x, regexp_matches(x, '(\w)(\d)') FROM (VALUES ('a1'), ('bb')) v(x);
UPDATE people SET salary = salary * 1.1, name = name || '!' FROM things t WHERE t.owner = people.id AND t.id = 1 RETURNING people.*, t.label;
UPDATE people SET (name, salary) = (SELECT 'Eve', 1) WHERE id = 4;
UPDATE people SET id = 1 WHERE id = 2;
DELETE FROM people WHERE id = 1;
DELETE FROM people p USING things t WHERE p.id = 4 AND t.owner = p.id RETURNING p.name, t.id;
INSERT INTO people VALUES (1, 'again', NULL, 1) ON CONFLICT (id) DO UPDATE SET name = excluded.name || ' ' || people.name WHERE people.id = 1 RETURNING *;
INSERT INTO people VALUES (1, 'never', NULL, 1) ON CONFLICT DO NOTHING;
INSERT INTO things (id, owner) VALUES (1, 1);
INSERT INTO things (id, owner) OVERRIDING SYSTEM VALUE VALUES (100, 1) RETURNING id;
INSERT INTO things DEFAULT VALUES RETURNING *;
MERGE INTO people p USING (VALUES (2, 'Bo'), (7, 'Gus')) v(id, name) ON p.id = v.id
    WHEN MATCHED AND p.salary > 1000 THEN DELETE WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.name, 1, 10);
MERGE INTO people p USING (VALUES (2), (2)) v(id) ON p.id = v.id WHEN MATCHED THEN DELETE;
SELECT * FROM people ORDER BY id;
SELECT id, owner INTO copied FROM things WHERE id < 3;
CREATE TABLE copied_too (a, b) AS TABLE copied WITH NO DATA;
CREATE TEMP TABLE copied_temp ON COMMIT DROP AS SELECT 1;
SELECT * FROM copied_temp;
TRUNCATE copied, copied_too RESTART IDENTITY;
-- Prepared statements of SQL.
PREPARE plain AS SELECT 1 AS one;
PREPARE typed(int, text) AS INSERT INTO things (owner, label) VALUES ($1, $2) RETURNING owner, label;
PREPARE plain AS SELECT 2;
EXECUTE plain;
EXECUTE typed(3, 'three');
EXECUTE typed(3);
EXECUTE typed('x', 'y');
EXECUTE missing;
SELECT name, statement, parameter_types FROM pg_prepared_statements WHERE from_sql ORDER BY name;
CREATE TABLE from_prepared AS EXECUTE plain;
EXPLAIN (COSTS OFF) EXECUTE typed(1, 'x');
PREPARE ddl AS CREATE TABLE never (id int);
PREPARE transaction AS SELECT 'a name like another';
EXECUTE transaction;
DEALLOCATE transaction;
DEALLOCATE PREPARE plain;
EXECUTE plain;
DEALLOCATE missing;
DEALLOCATE ALL;
EXECUTE typed(1, 'x');
-- Plans.
EXPLAIN (COSTS OFF) SELECT * FROM people WHERE id = 1;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) UPDATE people SET salary = 5 WHERE id = 3;
EXPLAIN (COSTS OFF, FORMAT json) SELECT 1;
EXPLAIN (COSTS OFF, FORMAT yaml) SELECT 1;
EXPLAIN (COSTS OFF, VERBOSE) CREATE TABLE planned AS SELECT 1 AS a;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE planned AS SELECT 1 AS a;
TABLE planned;
EXPLAIN CREATE TABLE x (id int);
EXPLAIN (NONSENSE) SELECT 1;
-- Ways of psql.
SELECT 'SELECT ' || g || ' AS n' FROM generate_series(1, 3) g \gexec
SELECT 'CREATE TABLE made_' || g || ' (id int)' FROM generate_series(1, 2) g UNION ALL SELECT 'SELECT 1/0' UNION ALL SELECT 'DROP TABLE made_1' \gexec
SELECT 1 AS a, 'two' AS b \gset p_
\echo :p_a :p_b
SELECT 1 AS a WHERE false \gset
SELECT 1 UNION SELECT 2 \gset
SELECT name, boss, salary FROM people \crosstabview
SELECT id, name FROM people ORDER BY id \gx
\pset null '<null>'
SELECT NULL, boss FROM people WHERE id = 1;
\pset format csv
SELECT * FROM people ORDER BY id;
\pset format aligned
\x on
SELECT * FROM people WHERE id = 1;
\x off
\t on
SELECT 1;
\t off
\set FETCH_COUNT 2
SELECT id FROM people ORDER BY id;
SELECT 1/(3 - g) FROM generate_series(1, 5) g;
CREATE TABLE with_fetch_count (id int);
\unset FETCH_COUNT
\if :{?p_a}
SELECT 'taken';
\else
SELECT 'not taken';
\endif
SELECT 1/0;
\echo :ERROR :SQLSTATE :ROW_COUNT :LAST_ERROR_MESSAGE
SELECT 1 FROM people;
\echo :ERROR :SQLSTATE :ROW_COUNT
\set SHOW_ALL_RESULTS off
SELECT 'not shown' \; SELECT 'shown';
\set SHOW_ALL_RESULTS on
\set SINGLELINE on
\set SINGLELINE off
\set QUIET on
CREATE TABLE quiet (id int);
\set QUIET off
SELECT 'p' \p
SELECT 1 \r
SELECT 2;
\conninfo_is_not_here
