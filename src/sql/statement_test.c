/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/statement.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sql/lex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>
#include <pg_query.h>

static struct arena arena = ARENA_INIT;

static int tear_down(void **state)
{
    arena_deinit(&arena);
    return 0;
}

/* ---- statement_is_plain ---- */

static void passes_plain_statements(void **state)
{
    static const char *const plain[] = {
        "",
        " \n",
        ";",
        " ; -- nothing\n;",
        ";; SELECT 1",
        "-- a",
        "SELECT 1",
        "select 1;",
        "SELECT 1 ; \n",
        "SELECT 1; -- done; really",
        "SELECT ';' FROM \"a;b\" /* ; */ WHERE $$;$$ = $1;",
        "(SELECT 1) UNION SELECT 2",
        "/* x */ -- y\n SELECT 1",
        "INSERT INTO t VALUES (1)",
        "update t set a = 1",
        "DELETE FROM t",
        "MERGE INTO t USING s ON true",
        "VALUES (1)",
        "TABLE t",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "SHOW all",
        "SET x = 1",
        "SET CONSTRAINTS ALL DEFERRED",
        "RESET ALL",
        "DISCARD ALL",
        "FETCH c",
        "MOVE c",
        "CLOSE c",
        "DECLARE c CURSOR FOR SELECT 1",
        "COPY t FROM STDIN",
        "EXPLAIN SELECT 1",
        "EXECUTE p",
        "PREPARE p AS SELECT 1",
        "LISTEN a",
        "UNLISTEN a",
        "NOTIFY a",
        "LOCK t",
        "ANALYZE",
        "analyse t",
        "VACUUM",
        "CHECKPOINT",
        "LOAD 'x'",
        "GRANT SELECT ON t TO a",
        "REVOKE ALL ON t FROM a",
        "TRUNCATE t",
        "REFRESH MATERIALIZED VIEW v",
        "SELECT(1)",
        "SELECT'a'",
    };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (!statement_is_plain(str_c(plain[i]), true, true)) {
            fail_msg("not plain: %s", plain[i]);
        }
    }
}

static void stops_the_others(void **state)
{
    static const char *const others[] = {
        "BEGIN",
        "START TRANSACTION",
        "COMMIT",
        "END",
        "ROLLBACK",
        "ABORT",
        "SAVEPOINT a",
        "RELEASE a",
        "DEALLOCATE p",
        "PREPARE TRANSACTION 'a'",
        "prepare/**/transaction 'a'",
        "CREATE TABLE t ()",
        "ALTER TABLE t ADD a int",
        "DROP TABLE t",
        "COMMENT ON TABLE t IS ''",
        "SECURITY LABEL ON TABLE t IS ''",
        "REINDEX TABLE t",
        "CLUSTER",
        "DO $$$$",
        "CALL p()",
        "ELECTRIC ENABLE t",
        "REASSIGN OWNED BY a TO b",
        "IMPORT FOREIGN SCHEMA s",
        "SELECT 1; DROP TABLE t",
        "SELECT 1;;SELECT 2",
        "SELECT ';'; DROP TABLE t",
        ";DROP TABLE t",
        "SELECT 1; 'x",
        "SELECT 1; /* x",
        "/* SELECT 1",
        "SELECTED",
        "SELECT1",
        "SETS",
        "nonsense",
        "'a'",
        "SELECT$ 1",
        "\"select\" 1",
        "SELECT E'\\'; DROP TABLE t; --'; DROP TABLE t",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (statement_is_plain(str_c(others[i]), true, true)) {
            fail_msg("plain: %s", others[i]);
        }
    }
}

static void reads_backslashes_as_the_session_does(void **state)
{
    struct str text = STR("SELECT '\\'; DROP TABLE t; --'");
    assert_false(statement_is_plain(text, true, true));
    assert_true(statement_is_plain(text, true, false));
}

static void decides_a_beginning_by_its_keyword(void **state)
{
    assert_true(statement_is_plain(STR("INSERT INTO t VALUES ('a; b"), false, true));
    assert_true(statement_is_plain(STR("SELECT 1; DROP TABLE"), false, true));
    assert_true(statement_is_plain(STR("(SELECT"), false, true));
    assert_true(statement_is_plain(STR("PREPARE a "), false, true));
    assert_false(statement_is_plain(STR("SELECT"), false, true));
    assert_false(statement_is_plain(STR("PREPARE trans"), false, true));
    assert_false(statement_is_plain(STR("PREPARE "), false, true));
    assert_false(statement_is_plain(STR("/* a long comm"), false, true));
    assert_false(statement_is_plain(STR("-- a long comm"), false, true));
    assert_false(statement_is_plain(STR(""), false, true));
    assert_false(statement_is_plain(STR("CREATE TABLE t ("), false, true));
}

/* ---- kinds ---- */

static struct statement only(const char *text)
{
    struct statement *list;
    size_t n;
    struct err err = ERR_INIT;
    assert_int_equal(statement_split(&arena, str_c(text), true, &list, &n, &err), 0);
    if (n != 1) {
        fail_msg("%zu statements: %s", n, text);
    }
    return list[0];
}

struct kind_row {
    const char *text;
    enum statement_kind kind;
};

static const struct kind_row kinds[] = {
    {"SELECT 1", STATEMENT_PLAIN},
    {"SELECT 1 INTO t", STATEMENT_PLAIN},
    {"nonsense", STATEMENT_PLAIN},
    {"'alter'", STATEMENT_PLAIN},
    {"\"alter\" table t", STATEMENT_PLAIN},
    {"begin", STATEMENT_BEGIN},
    {"BEGIN WORK ISOLATION LEVEL SERIALIZABLE", STATEMENT_BEGIN},
    {"/* a */ START TRANSACTION READ ONLY", STATEMENT_BEGIN},
    {"START REPLICATION", STATEMENT_PLAIN},
    {"COMMIT", STATEMENT_COMMIT},
    {"END TRANSACTION", STATEMENT_COMMIT},
    {"COMMIT PREPARED 'a'", STATEMENT_ALONE},
    {"ROLLBACK", STATEMENT_ROLLBACK},
    {"ABORT WORK", STATEMENT_ROLLBACK},
    {"ROLLBACK PREPARED 'a'", STATEMENT_ALONE},
    {"ROLLBACK TO a", STATEMENT_SAVEPOINT},
    {"ROLLBACK WORK TO SAVEPOINT a", STATEMENT_SAVEPOINT},
    {"ROLLBACK TRANSACTION TO a", STATEMENT_SAVEPOINT},
    {"SAVEPOINT a", STATEMENT_SAVEPOINT},
    {"RELEASE SAVEPOINT a", STATEMENT_SAVEPOINT},
    {"PREPARE TRANSACTION 'a'", STATEMENT_PREPARE_TRANSACTION},
    {"DEALLOCATE p", STATEMENT_DEALLOCATE},
    {"deallocate prepare /**/ \"all\"", STATEMENT_DEALLOCATE},
    {"DEALLOCATE ALL", STATEMENT_PLAIN},
    {"DEALLOCATE PREPARE all", STATEMENT_PLAIN},
    {"DEALLOCATE 'p'", STATEMENT_PLAIN},
    {"PREPARE transaction AS SELECT 1", STATEMENT_PLAIN},
    {"PREPARE transaction (int) AS SELECT 1", STATEMENT_PLAIN},
    {"PREPARE p AS SELECT 1", STATEMENT_PLAIN},
    {"CREATE TABLE t ()", STATEMENT_DDL},
    {"CREATE UNIQUE INDEX i ON t (a)", STATEMENT_DDL},
    {"ALTER TABLE t ADD a int", STATEMENT_DDL},
    {"ALTER TYPE t ADD VALUE 'a'", STATEMENT_DDL},
    {"DROP TABLE t", STATEMENT_DDL},
    {"DROP INDEX i", STATEMENT_DDL},
    {"COMMENT ON TABLE t IS 'x'", STATEMENT_DDL},
    {"SECURITY LABEL ON TABLE t IS 'x'", STATEMENT_DDL},
    {"REASSIGN OWNED BY a TO b", STATEMENT_DDL},
    {"IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", STATEMENT_DDL},
    {"ALTER TABLE p DETACH PARTITION q", STATEMENT_DDL},
    {"ALTER TABLE p DETACH PARTITION q FINALIZE", STATEMENT_DDL},
    {"ALTER TABLE p DETACH PARTITION q.CONCURRENTLY", STATEMENT_DDL},
    {"ALTER TABLE p DETACH PARTITION q . concurrently", STATEMENT_DDL},
    {"CREATE INDEX CONCURRENTLY i ON t (a)", STATEMENT_DDL_INDEX_CONCURRENTLY},
    {"create unique index concurrently on t (a)", STATEMENT_DDL_INDEX_CONCURRENTLY},
    {"DROP INDEX CONCURRENTLY IF EXISTS i", STATEMENT_DDL_INDEX_CONCURRENTLY},
    {"REINDEX TABLE CONCURRENTLY t", STATEMENT_DDL_INDEX_CONCURRENTLY},
    {"REINDEX (VERBOSE, CONCURRENTLY) INDEX i", STATEMENT_DDL_INDEX_CONCURRENTLY},
    {"REINDEX (CONCURRENTLY off) INDEX i", STATEMENT_PLAIN},
    {"REINDEX (concurrently 'OFF') INDEX i", STATEMENT_PLAIN},
    {"REINDEX (concurrently 0, verbose) INDEX i", STATEMENT_PLAIN},
    {"REINDEX (\"concurrently\" on) INDEX i", STATEMENT_DDL_INDEX_CONCURRENTLY},
    {"REINDEX (n concurrently) INDEX i", STATEMENT_PLAIN},
    {"REINDEX TABLE t", STATEMENT_PLAIN},
    {"REINDEX SCHEMA s", STATEMENT_ALONE},
    {"REINDEX DATABASE d", STATEMENT_ALONE},
    {"REINDEX (VERBOSE) SYSTEM d", STATEMENT_ALONE},
    {"CREATE DATABASE d", STATEMENT_ALONE},
    {"DROP DATABASE d", STATEMENT_ALONE},
    {"ALTER DATABASE d SET TABLESPACE s", STATEMENT_ALONE},
    {"ALTER DATABASE d SET a = 1", STATEMENT_PLAIN},
    {"CREATE TABLESPACE s LOCATION '/x'", STATEMENT_ALONE},
    {"DROP TABLESPACE s", STATEMENT_ALONE},
    {"ALTER SYSTEM SET a = 1", STATEMENT_ALONE},
    {"CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", STATEMENT_ALONE},
    {"ALTER SUBSCRIPTION s REFRESH PUBLICATION", STATEMENT_ALONE},
    {"DROP SUBSCRIPTION s", STATEMENT_ALONE},
    {"CLUSTER", STATEMENT_ALONE},
    {"CLUSTER VERBOSE", STATEMENT_ALONE},
    {"CLUSTER (VERBOSE)", STATEMENT_ALONE},
    {"CLUSTER t USING i", STATEMENT_PLAIN},
    {"CLUSTER (VERBOSE) t", STATEMENT_PLAIN},
    {"ALTER TABLE s.p DETACH PARTITION q.r CONCURRENTLY", STATEMENT_ALONE},
    {"ALTER TABLE U&\"!0070\" UESCAPE '!' DETACH PARTITION q CONCURRENTLY", STATEMENT_ALONE},
    {"ALTER TABLE s.p DETACH PARTITION q.concurrently CONCURRENTLY", STATEMENT_ALONE},
    {"VACUUM", STATEMENT_PLAIN},
    {"CALL p(1)", STATEMENT_CALL},
    {"CALL electric.migration_version('1')", STATEMENT_CALL},
    {"CALL electrify('a')", STATEMENT_CALL},
    {"CALL electric.electrify('a')", STATEMENT_ELECTRIFY},
    {"call ELECTRIC.\"electrify\" ('a', 'b')", STATEMENT_ELECTRIFY},
    {"CALL /* */ \"electric\" . Enable('a')", STATEMENT_ELECTRIFY},
    {"CALL electric.disable('a')", STATEMENT_ELECTRIFY},
    {"CALL \"Electric\".enable('a')", STATEMENT_CALL},
    {"ELECTRIC ENABLE t", STATEMENT_DDLX},
    {"-- a\nelectric", STATEMENT_DDLX},
    {"\"electric\" enable t", STATEMENT_PLAIN},
    {"ALTER TABLE t ENABLE ELECTRIC", STATEMENT_DDLX},
    {"alter table if exists only s.\"T\" * disable electric", STATEMENT_DDLX},
    {"ALTER TABLE only ENABLE ELECTRIC", STATEMENT_DDLX},
    {"ALTER TABLE ONLY (t) ENABLE ELECTRIC", STATEMENT_DDLX},
    {"ALTER TABLE t ENABLE/* x */ELECTRICITY", STATEMENT_DDLX},
    {"ALTER TABLE t ADD a numeric(1, 2), ENABLE ELECTRIC", STATEMENT_DDLX},
    {"ALTER TABLE t ENABLE ELECTRIC, ADD a int", STATEMENT_DDLX},
    {"ALTER TABLE ENABLE ELECTRIC", STATEMENT_DDLX},
    {"ALTER TABLE t ENABLE TRIGGER electric", STATEMENT_DDL},
    {"ALTER TABLE t ADD COLUMN enable electric", STATEMENT_DDL},
    {"ALTER TABLE t ADD CHECK (a IN ('x', enable electric))", STATEMENT_DDL},
    {"ALTER VIEW t ENABLE ELECTRIC", STATEMENT_DDL},
    {"ALTER TABLE", STATEMENT_DDL},
    {"ALTER", STATEMENT_DDL},
    {"CREATE", STATEMENT_DDL},
    {"DO", STATEMENT_DO},
    {"CALL", STATEMENT_CALL},
    {"REINDEX (", STATEMENT_PLAIN},
    {"CLUSTER (", STATEMENT_ALONE},
};

static void tells_kinds(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct statement s = only(kinds[i].text);
        if (s.kind != kinds[i].kind) {
            fail_msg("%s: is %s, not %s", kinds[i].text, statement_kind_name(s.kind),
                     statement_kind_name(kinds[i].kind));
        }
    }
}

/* What the filter lets through must be what the splitter calls plain. */
static void filter_agrees_with_kinds(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (statement_is_plain(str_c(kinds[i].text), true, true)) {
            assert_int_equal(kinds[i].kind, STATEMENT_PLAIN);
        }
    }
}

static void sees_chains(void **state)
{
    assert_true(only("COMMIT AND CHAIN").chain);
    assert_true(only("ROLLBACK TRANSACTION AND CHAIN").chain);
    assert_true(only("END WORK AND CHAIN").chain);
    assert_false(only("COMMIT AND NO CHAIN").chain);
    assert_false(only("ABORT").chain);
}

static void wraps_do_blocks_that_may_do_ddl(void **state)
{
    static const struct {
        const char *text;
        bool wrap;
    } rows[] = {
        {"DO $$ BEGIN ALTER TABLE t ADD a int; END $$", true},
        {"DO LANGUAGE plpgsql 'BEGIN create table t (); END'", true},
        {"DO $$ BEGIN EXECUTE x; END $$ LANGUAGE plpgsql", true},
        {"DO E'BEGIN\\nDROP TABLE t; END'", true},
        {"DO $$ BEGIN PERFORM $q$ALTER$q$; END $$", true},
        {"DO $$ BEGIN CALL electric.enable('t'); END $$", true},
        {"DO $$ BEGIN DROP TABLE t; COMMIT; END $$", false},
        {"DO $$ BEGIN DROP TABLE t; CALL p(); END $$", false},
        {"DO $$ BEGIN EXECUTE 'call p()'; END $$", false},
        {"DO $$ BEGIN DROP TABLE t; CALL electric.migration_version('1', 0); END $$", true},
        {"DO $$ BEGIN DROP TABLE t; rollback; END $$", false},
        {"DO $$ BEGIN PERFORM dropped, alter_it(); END $$", false},
        {"DO $$ BEGIN NULL; END $$", false},
        {"DO drop", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct statement s = only(rows[i].text);
        assert_int_equal(s.kind, STATEMENT_DO);
        if (s.wrap != rows[i].wrap) {
            fail_msg("wrap is %d: %s", s.wrap, rows[i].text);
        }
    }
}

/* ---- splitting ---- */

/* `expected` joins the texts with '|'. */
static void check_split(const char *text, const char *expected)
{
    struct statement *list;
    size_t n, used = 0;
    struct err err = ERR_INIT;
    char seen[2048] = "";
    assert_int_equal(statement_split(&arena, str_c(text), true, &list, &n, &err), 0);
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(list[i].text.p, text + list[i].offset, list[i].text.n);
        used +=
            (size_t)snprintf(seen + used, sizeof seen - used, "%s%.*s", i ? "|" : "", STR_ARG(list[i].text));
    }
    assert_string_equal(seen, expected);
}

static void splits_at_semicolons(void **state)
{
    check_split("", "");
    check_split(" ;; -- a\n ; /* b */", "");
    check_split("SELECT 1", "SELECT 1");
    check_split("a;b ; c", "a|b|c");
    check_split("SELECT ';', \";\", $$;$$, E'\\';' -- ;\n; b", "SELECT ';', \";\", $$;$$, E'\\';' -- ;|b");
    check_split("a; /* lead; */ -- x\n b /* tail; */;", "a|/* lead; */ -- x\n b /* tail; */");
    check_split("CREATE RULE r AS ON INSERT TO t DO (a; b); c",
                "CREATE RULE r AS ON INSERT TO t DO (a; b)|c");
    check_split("a); b", "a)|b");
    check_split("a; 'b; c", "a|'b; c");
    check_split("a; /* b; c", "a|/* b; c");
    check_split("a; $x$b; c", "a|$x$b; c");
}

static void keeps_atomic_bodies_whole(void **state)
{
#define BODY(head) head " FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END"
    check_split(BODY("CREATE") "; x", BODY("CREATE") "|x");
    check_split(BODY("create or replace") "; x", BODY("create or replace") "|x");
    check_split("CREATE PROCEDURE p() BEGIN ATOMIC END; x", "CREATE PROCEDURE p() BEGIN ATOMIC END|x");
    check_split(
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END END; END; x",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END END; END|x");
    check_split(
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT (CASE WHEN a THEN 1 END) AS end, t.end, 2 end; END; x",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT (CASE WHEN a THEN 1 END) AS end, t.end, 2 end; END|x");
    check_split("CREATE FUNCTION f() RETURNS int RETURN 1; x", "CREATE FUNCTION f() RETURNS int RETURN 1|x");
    check_split("CREATE FUNCTION f() AS 'begin atomic'; x", "CREATE FUNCTION f() AS 'begin atomic'|x");
    check_split("CREATE TABLE t (); BEGIN; ATOMIC; x", "CREATE TABLE t ()|BEGIN|ATOMIC|x");
    check_split("BEGIN ATOMIC; x", "BEGIN ATOMIC|x");
}

static void mixes_electric_statements(void **state)
{
    struct statement *list;
    size_t n;
    struct err err = ERR_INIT;
    struct str text = STR("CREATE TABLE a (id text); alter table a enable electric;\n-- ours;\nELECTRIC "
                          "GRANT ALL ON a TO 'x;y'; SELECT 1");
    static const enum statement_kind expected[] = {STATEMENT_DDL, STATEMENT_DDLX, STATEMENT_DDLX,
                                                   STATEMENT_PLAIN};
    assert_int_equal(statement_split(&arena, text, true, &list, &n, &err), 0);
    assert_int_equal(n, ARRAY_LEN(expected));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list[i].kind, expected[i]);
    }
    assert_true(str_eq(list[2].text, STR("-- ours;\nELECTRIC GRANT ALL ON a TO 'x;y'")));
}

static char *repeat(const char *unit, size_t times)
{
    size_t n = strlen(unit);
    char *text = mem_alloc(n * times + 1);
    for (size_t i = 0; i < times; i++) {
        memcpy(text + i * n, unit, n);
    }
    text[n * times] = '\0';
    return text;
}

/* ---- arriving in pieces ---- */

static void check_cut_at(struct str text, size_t at, const struct statement *list, size_t n)
{
    struct splitter s;
    struct err err = ERR_INIT;
    splitter_init(&s, &arena, true, false);
    assert_int_equal(splitter_feed(&s, (struct str){text.p, at}, false, &err), 0);
    assert_int_equal(splitter_feed(&s, text, true, &err), 0);
    assert_int_equal(s.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s.items[i].offset, list[i].offset);
        assert_true(str_eq(s.items[i].text, list[i].text));
        assert_int_equal(s.items[i].kind, list[i].kind);
    }
}

static void cuts_the_same_wherever_it_arrives(void **state)
{
    static const char *const texts[] = {
        "SELECT 'a;b'';', \"c;\"\";\", E'a\\'; b' ; SELECT E'a'  \n '\\'; x'; ALTER TABLE t ADD a int",
        "SELECT E'a'   \n  -- c\n '\\'; x'; SELECT E'a' -- c\n  --\n-- \n'\\'; y' /* */; SELECT 'a'  - 1",
        "SELECT $a$;$b$;$a$, $$;$$; SELECT 1 -- ;\n; SELECT 2 /* ; /* ; */ ; */; DROP TABLE t",
        "SELECT U&'a;', U&\"b;\", 1.5e+5, a.b:=c; SELECT $tag$ ; $tag$; SELECT a$b$; SELECT $b$;$b$",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; COMMIT",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str text = str_c(texts[i]);
        struct statement *list;
        size_t n;
        struct err err = ERR_INIT;
        assert_int_equal(statement_split(&arena, text, true, &list, &n, &err), 0);
        for (size_t at = 0; at <= text.n; at++) {
            check_cut_at(text, at, list, n);
        }
    }
}

static void joins_plain_neighbours(void **state)
{
    struct splitter s;
    struct err err = ERR_INIT;
    splitter_init(&s, &arena, true, true);
    struct str text = STR(" SELECT 1; SELECT 2 ;; DROP TABLE t; SELECT 3; BEGIN; COMMIT");
    assert_int_equal(splitter_feed(&s, text, true, &err), 0);
    assert_int_equal(s.n, 5);
    assert_true(str_eq(s.items[0].text, STR("SELECT 1; SELECT 2")));
    assert_int_equal(s.items[0].count, 2);
    assert_int_equal(s.items[1].kind, STATEMENT_DDL);
    assert_true(str_eq(s.items[2].text, STR("SELECT 3")));
    assert_int_equal(s.items[2].count, 1);
}

static void limits_the_number_of_statements(void **state)
{
    struct statement *list = NULL;
    size_t n = 0;
    struct err err = ERR_INIT;
    CLEANUP(mem_free_p) char *text = repeat("a;", LIMIT_SEGMENTS + 1);
    assert_int_equal(statement_split(&arena, (struct str){text, 2 * LIMIT_SEGMENTS}, true, &list, &n, &err),
                     0);
    assert_int_equal(n, LIMIT_SEGMENTS);
    assert_int_equal(statement_split(&arena, str_c(text), true, &list, &n, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_string_equal(err.sqlstate, "54000");
}

/* ---- properties ---- */

static const char *const whole[] = {
    "SELECT 1",
    "SELECT 'a;b', \"c;\", $$ ; $$, E'\\';' FROM t",
    "CREATE TABLE t (a int, b text DEFAULT ';')",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $f$ SELECT 1; SELECT 2 $f$",
    "CREATE FUNCTION g() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 ELSE 2 END; END",
    "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES ((SELECT 1)); SELECT 1 AS end; END",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM u; DELETE FROM v)",
    "BEGIN",
    "COMMIT AND CHAIN",
    "ALTER TABLE t ADD COLUMN c numeric(10, 2), DROP COLUMN d",
    "DO $$ BEGIN NULL; END $$",
    "INSERT INTO t VALUES ('it''s', U&'\\0041', B'01', x'1f')",
    "UPDATE t SET a = a - -1 WHERE b @> '{}' AND c <> ALL (ARRAY[1])",
    "",
};

static const char *const glue[] = {";", "; ", ";\n", ";;", " ; -- a;b\n", ";/* x; /* y */ ' */", "\n;\t"};

static const char *const bits[] = {
    ";",        "'",           "''",    "\"",       "$$",        "$a$",          "/*",       "*/",
    "--",       "\n",          "(",     ")",        "E'",        "U&'",          "\\",       " ",
    "CREATE",   "FUNCTION",    "BEGIN", "ATOMIC",   "END",       "CASE",         "OR",       "REPLACE",
    "SELECT",   "1",           "a",     ".",        "AS",        "ALTER",        "TABLE",    "ENABLE",
    "ELECTRIC", "DO",          "CALL",  "electric", "electrify", "COMMIT",       "AND",      "CHAIN",
    "REINDEX",  ",",           "ä",     "DROP",     "INDEX",     "CONCURRENTLY", "ROLLBACK", "TO",
    "PREPARE",  "TRANSACTION", "ONLY",  "*",        "DETACH",    "CLUSTER",
};

static const char *pick(unsigned *seed, const char *const list[], size_t n)
{
    return list[(size_t)rand_r(seed) % n];
}

static size_t append(char *text, size_t n, size_t cap, const char *piece)
{
    return n + (size_t)snprintf(text + n, cap - n, "%s", piece);
}

/* Between two statements, before the first and after the last stand only ';', white space and comments. */
static void check_rejoins(struct str text, const struct statement *list, size_t n)
{
    size_t from = 0;
    for (size_t i = 0; i <= n; i++) {
        size_t to = i < n ? list[i].offset : text.n;
        assert_true(from <= to);
        struct lex gap = lex_init((struct str){text.p + from, to - from}, true);
        struct token t;
        while ((t = lex_next(&gap)).kind != TOKEN_END) {
            if (!token_is_punct(&t, ';')) {
                fail_msg("lost before statement %zu: %.*s", i, STR_ARG(text));
            }
        }
        from = i < n ? list[i].offset + list[i].text.n : 0;
    }
}

/* Returns whether the grammar took the text; then it must have cut it as we did. */
static bool check_against_grammar(struct str text, const struct statement *list, size_t n)
{
    PgQuerySplitResult r = pg_query_split_with_parser(text.p);
    bool parsed = !r.error;
    if (parsed) {
        if ((size_t)r.n_stmts != n) {
            fail_msg("%zu statements, the grammar has %d: %.*s", n, r.n_stmts, STR_ARG(text));
        }
        for (size_t i = 0; i < n; i++) {
            struct str theirs = {text.p + r.stmts[i]->stmt_location, (size_t)r.stmts[i]->stmt_len};
            /* They leave out white space in front; comments only behind the first statement. */
            struct str ours = list[i].text;
            theirs = str_trim(theirs);
            if (theirs.p + theirs.n != ours.p + ours.n || !str_eq(theirs, ours)) {
                fail_msg("statement %zu is <%.*s>, the grammar's <%.*s>", i, STR_ARG(ours), STR_ARG(theirs));
            }
        }
    }
    pg_query_free_split_result(r);
    return parsed;
}

static bool check_random(struct str text)
{
    struct statement *list;
    size_t n;
    struct err err = ERR_INIT;
    assert_int_equal(statement_split(&arena, text, true, &list, &n, &err), 0);
    check_rejoins(text, list, n);
    if (statement_is_plain(text, true, true)) {
        assert_true(n <= 1 && (n == 0 || list[0].kind == STATEMENT_PLAIN));
    }
    bool parsed = check_against_grammar(text, list, n);
    assert_int_equal(statement_split(&arena, text, false, &list, &n, &err), 0);
    arena_reset(&arena);
    return parsed;
}

static void splits_as_the_grammar_does(void **state)
{
    unsigned seed = 11;
    for (int i = 0; i < 3000; i++) {
        char text[2048];
        size_t n = 0;
        for (int k = rand_r(&seed) % 6; k >= 0; k--) {
            n = append(text, n, sizeof text, pick(&seed, whole, ARRAY_LEN(whole)));
            n = append(text, n, sizeof text, pick(&seed, glue, ARRAY_LEN(glue)));
        }
        if (!check_random((struct str){text, n})) {
            fail_msg("the grammar refuses %s", text);
        }
    }
}

static void survives_any_text(void **state)
{
    unsigned seed = 23;
    int parsed = 0;
    for (int i = 0; i < 30000; i++) {
        char text[1024];
        size_t n = 0;
        for (int k = rand_r(&seed) % 24; k >= 0; k--) {
            bool some = rand_r(&seed) % 8 == 0;
            n = append(text, n, sizeof text,
                       some ? pick(&seed, whole, ARRAY_LEN(whole)) : pick(&seed, bits, ARRAY_LEN(bits)));
            n = append(text, n, sizeof text, rand_r(&seed) % 3 ? " " : "");
            n = n < sizeof text ? n : sizeof text - 1;
        }
        parsed += check_random((struct str){text, n});
    }
    assert_true(parsed > 100);
}

static void takes_linear_time(void **state)
{
    static const char *const units[] = {
        "(",
        ")",
        "/*",
        "'",
        "$a$",
        "CASE ",
        "END ",
        "a;",
        "CREATE FUNCTION f() BEGIN ATOMIC ",
        "ALTER TABLE t ENABLE ",
        ",",
        "ALTER TABLE t a,",
        "DO $$ drop $$ ",
        "SELECT ';' ;",
        "-- ;\n",
        "a.",
        "REINDEX (",
        "'a'\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        CLEANUP(mem_free_p) char *text = repeat(units[i], (1 << 20) / strlen(units[i]));
        struct statement *list;
        size_t n;
        struct err err = ERR_INIT;
        clock_t from = clock();
        ignore_result(statement_split(&arena, str_c(text), true, &list, &n, &err)); /* some pass the limit */
        statement_is_plain(str_c(text), true, true);
        double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
        arena_reset(&arena);
        if (seconds > 3) {
            fail_msg("1 MB of %s took %.2f s", units[i], seconds);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_plain_statements),
        cmocka_unit_test(stops_the_others),
        cmocka_unit_test(reads_backslashes_as_the_session_does),
        cmocka_unit_test(decides_a_beginning_by_its_keyword),
        cmocka_unit_test_teardown(tells_kinds, tear_down),
        cmocka_unit_test(filter_agrees_with_kinds),
        cmocka_unit_test_teardown(sees_chains, tear_down),
        cmocka_unit_test_teardown(wraps_do_blocks_that_may_do_ddl, tear_down),
        cmocka_unit_test_teardown(splits_at_semicolons, tear_down),
        cmocka_unit_test_teardown(keeps_atomic_bodies_whole, tear_down),
        cmocka_unit_test_teardown(mixes_electric_statements, tear_down),
        cmocka_unit_test_teardown(cuts_the_same_wherever_it_arrives, tear_down),
        cmocka_unit_test_teardown(joins_plain_neighbours, tear_down),
        cmocka_unit_test_teardown(limits_the_number_of_statements, tear_down),
        cmocka_unit_test_teardown(splits_as_the_grammar_does, tear_down),
        cmocka_unit_test_teardown(survives_any_text, tear_down),
        cmocka_unit_test_teardown(takes_linear_time, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
