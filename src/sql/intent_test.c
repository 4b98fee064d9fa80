/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/intent.h"

#include "base/limits.h"
#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct arena arena = ARENA_INIT;

static int tear_down(void **state)
{
    arena_deinit(&arena);
    return 0;
}

/* `expected`: "rule relation object@word-at-position", joined with '; '. */
static void check(const char *statement, const char *expected)
{
    struct intent *list;
    size_t n, used = 0;
    char seen[2048] = "";
    assert_int_equal(intent_list(&arena, str_c(statement), &list, &n), 0);
    for (size_t i = 0; i < n; i++) {
        const char *word = list[i].position ? statement + list[i].position - 1 : "";
        used +=
            (size_t)snprintf(seen + used, sizeof seen - used, "%s%s %s %s@%.*s", i ? "; " : "", list[i].rule,
                             list[i].relation, list[i].object, (int)strcspn(word, " ,;("), word);
    }
    assert_string_equal(seen, expected);
}

static void lists_column_changes(void **state)
{
    check("ALTER TABLE t DROP COLUMN a", "drop_column \"t\" a@a");
    check("ALTER TABLE IF EXISTS ONLY s.\"T\" DROP IF EXISTS \"A\" CASCADE",
          "drop_column \"s\".\"T\" A@\"A\"");
    check("ALTER TABLE t ALTER a TYPE int USING a::int", "alter_type \"t\" a@a");
    check("ALTER TABLE t ALTER COLUMN a SET DATA TYPE text", "alter_type \"t\" a@a");
    check("ALTER TABLE d.s.t DROP drop", "drop_column \"d\".\"s\".\"t\" drop@drop");
}

static void lists_other_actions(void **state)
{
    static const char *const named[] = {
        "ALTER a SET DEFAULT 1",
        "ALTER a DROP DEFAULT",
        "ALTER a SET NOT NULL",
        "ALTER a DROP NOT NULL",
        "ALTER a ADD GENERATED ALWAYS AS IDENTITY",
        "ALTER a SET GENERATED ALWAYS",
        "ALTER a DROP IDENTITY",
        "ALTER a DROP EXPRESSION",
        "DROP CONSTRAINT a",
        "VALIDATE CONSTRAINT a",
        "CLUSTER ON a",
        "SET TABLESPACE a",
        "ENABLE RULE a",
        "DISABLE RULE a",
    };
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        check(arena_printf(&arena, "ALTER TABLE t %s", named[i]), "alter_column \"t\" a@a");
    }
    static const char *const unnamed[] = {
        "ADD CHECK (a > 0)",
        "ADD EXCLUDE (a WITH =)",
        "ADD PRIMARY KEY (a)",
        "ADD FOREIGN KEY (a) REFERENCES u",
        "ALTER CONSTRAINT a DEFERRABLE",
        "ENABLE ROW LEVEL SECURITY",
        "DISABLE ROW LEVEL SECURITY",
        "FORCE ROW LEVEL SECURITY",
        "INHERIT a",
        "NO INHERIT a",
        "ATTACH PARTITION a DEFAULT",
        "DETACH PARTITION a",
        "REPLICA IDENTITY FULL",
        "DISABLE TRIGGER ALL",
        "DISABLE TRIGGER USER",
        "ENABLE TRIGGER ALL",
        "SET LOGGED",
        "SET UNLOGGED",
        "SET WITHOUT CLUSTER",
    };
    for (size_t i = 0; i < ARRAY_LEN(unnamed); i++) {
        const char *first = arena_str(&arena, (struct str){unnamed[i], strcspn(unnamed[i], " ")}).p;
        check(arena_printf(&arena, "ALTER TABLE t %s", unnamed[i]),
              arena_printf(&arena, "alter_column \"t\" @%s", first));
    }
}

/* The columns are for the hint: a unique index over them does. */
static void lists_keys(void **state)
{
    check("ALTER TABLE t ADD CONSTRAINT a UNIQUE (b, \"C\")", "add_unique \"t\" \"b\", \"C\"@ADD");
    check("ALTER TABLE t ADD CONSTRAINT a UNIQUE USING INDEX b", "add_unique \"t\" @ADD");
    check("ALTER TABLE t ADD COLUMN k int CHECK (k > 0) PRIMARY KEY", "add_primary_key \"t\" k@k");
}

static void lists_event_triggers(void **state)
{
    check("DROP EVENT TRIGGER a", "event_trigger  a@a");
    check("DROP EVENT TRIGGER IF EXISTS a, \"B\" CASCADE", "event_trigger  a@a; event_trigger  B@\"B\"");
    check("ALTER EVENT TRIGGER trigger DISABLE", "event_trigger  trigger@trigger");
    check("ALTER EVENT TRIGGER a RENAME TO b", "event_trigger  a@a");
}

static void passes_what_clients_do_not_notice(void **state)
{
    static const char *const harmless[] = {
        "ADD a int",
        "ADD COLUMN IF NOT EXISTS a int DEFAULT 1 CHECK (a > 0)",
        "ENABLE TRIGGER a",
        "ENABLE ALWAYS TRIGGER a",
        "ENABLE REPLICA TRIGGER a",
        "DISABLE TRIGGER a",
        "OWNER TO a",
        "ALTER a SET STORAGE PLAIN",
        "ALTER a SET STATISTICS 1",
        "ALTER a SET (n_distinct = 1)",
        "ALTER a RESET (n_distinct)",
        "ALTER a SET COMPRESSION lz4",
        "SET (fillfactor = 70)",
        "RESET (fillfactor)",
        "SET ACCESS METHOD heap",
    };
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++) {
        check(arena_printf(&arena, "ALTER TABLE t %s", harmless[i]), "");
    }
}

static void lists_renames(void **state)
{
    check("ALTER TABLE t RENAME a TO b", "rename_column \"t\" a@a");
    check("ALTER TABLE s.t RENAME COLUMN \"A\" TO b", "rename_column \"s\".\"t\" A@\"A\"");
    check("ALTER TABLE a RENAME a TO b", "rename_column \"a\" a@a");
    check("ALTER TABLE t RENAME CONSTRAINT c TO d", "rename_constraint \"t\" c@c");
    check("ALTER TABLE t RENAME TO u", "rename_table \"t\" u@t");
    check("ALTER INDEX t RENAME TO u", "rename_table \"t\" u@t");
    check("ALTER TRIGGER g ON t RENAME TO h", "rename_other \"t\" g@g");
    check("ALTER POLICY p ON t RENAME TO q", "rename_other \"t\" p@p");
    check("ALTER RULE r ON t RENAME TO q", "rename_other \"t\" r@r");
    check("ALTER TYPE y RENAME TO z", "");
    check("ALTER TYPE y RENAME ATTRIBUTE a TO b", "");
    check("ALTER VIEW v RENAME TO w", "");
    check("ALTER FUNCTION f() RENAME TO g", "");
    check("ALTER SCHEMA s RENAME TO r", "");
}

static void lists_moves_and_drops(void **state)
{
    check("ALTER TABLE s.t SET SCHEMA u", "set_schema \"s\".\"t\" u@s.t");
    check("ALTER VIEW v SET SCHEMA u", "");
    check("DROP TABLE t", "drop_table \"t\" @t");
    check("DROP TABLE IF EXISTS a, s.\"B\"\"\" , c CASCADE",
          "drop_table \"a\" @a; drop_table \"s\".\"B\"\"\" @s.\"B\"\"\"; drop_table \"c\" @c");
    check("DROP INDEX i", "");
    check("DROP SCHEMA s CASCADE", "");
}

static void keeps_statement_order(void **state)
{
    check("ALTER TABLE t ADD b numeric(1, 2), DROP b, ALTER c TYPE int, ALTER d SET DEFAULT f(1, 2), ADD "
          "UNIQUE (e)",
          "drop_column \"t\" b@b; alter_type \"t\" c@c; alter_column \"t\" d@d; add_unique \"t\" \"e\"@ADD");
}

/* Positions are in characters, not bytes, and comments count. */
static void points_at_characters(void **state)
{
    struct intent *list;
    size_t n;
    intent_list(&arena, STR("/* ä */ ALTER TABLE \"ö\" DROP COLUMN a, DROP ü"), &list, &n);
    assert_int_equal(n, 2);
    assert_int_equal(list[0].position, 37);
    assert_int_equal(list[1].position, 45);
}

static void ignores_everything_else(void **state)
{
    check("", "");
    check("CREATE TABLE t (a int)", "");
    check("ALTER TABLE t DROP COLUMN", "");
    check("ALTER TABLE t FROB a", "");
    check("ALTER TABLE t DROP a; DROP TABLE t", "");
    check("ALTER SEQUENCE s OWNED BY NONE", "");
    check("ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b", "");
    check("SELECT 1", "");
}

static char *repeated(const char *head, const char *unit, size_t times, const char *tail)
{
    size_t h = strlen(head), u = strlen(unit), t = strlen(tail);
    char *text = mem_alloc(h + u * times + t + 1);
    memcpy(text, head, h);
    for (size_t i = 0; i < times; i++) {
        memcpy(text + h + i * u, unit, u);
    }
    memcpy(text + h + u * times, tail, t + 1);
    return text;
}

static size_t count(const char *text)
{
    struct intent *list;
    size_t n;
    assert_int_equal(intent_list(&arena, str_c(text), &list, &n), 0);
    arena_reset(&arena);
    return n;
}

static void parses_no_long_text(void **state)
{
    CLEANUP(mem_free_p) char *fits = repeated("ALTER TABLE t DROP a", " ", LIMIT_INSPECTED - 20, "");
    CLEANUP(mem_free_p) char *exceeds = repeated("ALTER TABLE t DROP a", " ", LIMIT_INSPECTED, "");
    assert_int_equal(count(fits), 1);
    assert_int_equal(count(exceeds), 0);
}

static void lists_many(void **state)
{
    enum { NAMES = LIMIT_INSPECTED / 2 - 10, ACTIONS = LIMIT_INSPECTED / 7 - 10 };
    CLEANUP(mem_free_p) char *names = repeated("DROP TABLE a", ",a", NAMES, "");
    CLEANUP(mem_free_p) char *actions = repeated("ALTER TABLE t DROP a", ",DROP a", ACTIONS, "");
    clock_t from = clock();
    assert_int_equal(count(names), NAMES + 1);
    assert_int_equal(count(actions), ACTIONS + 1);
    assert_true((double)(clock() - from) / CLOCKS_PER_SEC < 3);
}

struct deep {
    const char *head;
    const char *unit;
};

static void *parse_deep(void *arg)
{
    const struct deep *d = arg;
    static const size_t times[] = {10, 300, 900, 2000, 8000, 20000};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        CLEANUP(mem_free_p) char *text = repeated(d->head, d->unit, times[i], "a)");
        struct intent *list;
        size_t n;
        intent_list(&a, str_c(text), &list, &n);
    }
    return NULL;
}

/* The parse tree is unpacked by recursion: an expression of some thousand operators must not reach it. */
static void survives_deep_expressions(void **state)
{
    static const struct deep rows[] = {
        {"ALTER TABLE t ADD CHECK (", "NOT "},     {"ALTER TABLE t ADD CHECK (", "- "},
        {"ALTER TABLE t ADD CHECK (", "a+"},       {"ALTER TABLE t ADD CHECK (", "("},
        {"ALTER DOMAIN d ADD CHECK (", "NOT "},    {"ALTER POLICY p ON t USING (", "NOT "},
        {"ALTER TABLE t ADD CHECK (", "a::b::"},   {"ALTER TABLE t ADD CHECK (", "CASE WHEN a THEN 1 ELSE "},
        {"ALTER TABLE t ADD a ", "int CHECK ((("}, {"ALTER FOREIGN TABLE t ADD CHECK (", "- "},
    };
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 2 * 1024 * 1024);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        pthread_t thread;
        struct deep row = rows[i];
        assert_int_equal(pthread_create(&thread, &attr, parse_deep, &row), 0);
        pthread_join(thread, NULL);
    }
    pthread_attr_destroy(&attr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(lists_column_changes, tear_down),
        cmocka_unit_test_teardown(lists_other_actions, tear_down),
        cmocka_unit_test_teardown(lists_keys, tear_down),
        cmocka_unit_test_teardown(lists_event_triggers, tear_down),
        cmocka_unit_test_teardown(passes_what_clients_do_not_notice, tear_down),
        cmocka_unit_test_teardown(lists_renames, tear_down),
        cmocka_unit_test_teardown(lists_moves_and_drops, tear_down),
        cmocka_unit_test_teardown(keeps_statement_order, tear_down),
        cmocka_unit_test_teardown(points_at_characters, tear_down),
        cmocka_unit_test_teardown(ignores_everything_else, tear_down),
        cmocka_unit_test_teardown(parses_no_long_text, tear_down),
        cmocka_unit_test_teardown(lists_many, tear_down),
        cmocka_unit_test_teardown(survives_deep_expressions, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
