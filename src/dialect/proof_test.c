/* SPDX-License-Identifier: Apache-2.0 */
/* What SQLite clients can follow passes; what they cannot is refused in words that say what to change. */
#include "dialect/proof.h"

#include "base/buf.h"
#include "schema/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static struct arena arena;

static int tear_down(void **state)
{
    arena_deinit(&arena);
    return 0;
}

static const char *column(const char *name, int not_null)
{
    return fx_column(&arena, name, "text", "text", not_null);
}

static const char *add(const char *table, const char *name, int not_null)
{
    return fx_add_column(&arena, table, column(name, not_null), "");
}

static const char *create(const char *name, const char *columns, const char *key, const char *foreign_keys)
{
    return fx_create_table(&arena, (struct fx_table){name, columns, key, foreign_keys, NULL, NULL});
}

static const char *two(const char *x, const char *y)
{
    return arena_printf(&arena, "%s,%s", x, y);
}

/* Each op a command; the first n_recorded are recorded. */
static int prove(const char *const *ops, size_t n, size_t n_recorded, struct err *err)
{
    struct str *commands = arena_alloc_array(&arena, n, sizeof *commands);
    for (size_t i = 0; i < n; i++) {
        commands[i] = fx_command(&arena, ops[i], NULL);
    }
    return proof_run(commands, n, n_recorded, err);
}

#define PROVE(n_recorded, err, ...)                                                                        \
    prove((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), \
          n_recorded, err)

static void check_ok(int rc, const struct err *err)
{
    if (rc) {
        fail_msg("%s", err->msg);
    }
}

static void check_refused(int rc, const struct err *err, const char *message)
{
    assert_int_equal(rc, -1);
    assert_string_equal(err->msg, message);
    assert_int_equal(err->kind, ERR_INPUT);
    assert_string_equal(err->sqlstate, "UB004");
}

static void nothing_is_fine(void **state)
{
    struct err err = ERR_INIT;
    assert_int_equal(proof_run(NULL, 0, 0, &err), 0);
}

static void passes_what_clients_can_follow(void **state)
{
    struct err err = ERR_INIT;
    const char *types =
        two(fx_column(&arena, "n", "numeric(12,6)", "numeric", NULLABLE),
            two(fx_column(&arena, "x", "bytea", "bytea", NOT_NULL),
                two(fx_column(&arena, "v", "character varying(20)", "varchar", NULLABLE),
                    two(fx_column(&arena, "l", "integer[]", "_int4", NULLABLE), column("id", NULLABLE)))));
    const char *ref = fx_foreign_key(&arena, "f", "\"id\"", "items", "\"id\"", "ca");
    int rc = PROVE(2, &err, fx_create_enum(&arena, "states", "\"a\""), fx_items(&arena),
                   add("items", "amount", NULLABLE),
                   fx_create_index(&arena, "items", "i", true, fx_key(&arena, NULL, "lower(value)", true),
                                   "(id IS NULL)"),
                   fx_drop_index(&arena, "items", "i"), create("parts", types, "\"id\",\"v\"", ref));
    check_ok(rc, &err);
}

/* Scenario 116 once more: an index left out for SQLite does not stop the migration. */
static void passes_indexes_that_are_left_out(void **state)
{
    struct err err = ERR_INIT;
    check_ok(
        PROVE(1, &err, fx_items(&arena),
              fx_create_index(&arena, "items", "i", false, fx_key(&arena, NULL, "md5(value)", false), NULL),
              fx_drop_index(&arena, "items", "i")),
        &err);
}

static void refuses_a_required_column_for_rows_that_lack_it(void **state)
{
    struct err err = ERR_INIT;
    check_refused(
        PROVE(1, &err, fx_items(&arena), add("items", "qty", NOT_NULL)), &err,
        "SQLite cannot apply \"ALTER TABLE \"items\" ADD COLUMN \"qty\" TEXT NOT NULL;\": "
        "Cannot add a NOT NULL column with default value NULL (clients hold rows that have no value for it: "
        "add the column without NOT NULL)");
}

/* A table made in the same migration has no rows anywhere yet. */
static void passes_a_required_column_of_a_new_table(void **state)
{
    struct err err = ERR_INIT;
    check_ok(PROVE(0, &err, fx_items(&arena), add("items", "qty", NOT_NULL)), &err);
    check_ok(PROVE(2, &err, fx_items(&arena), add("items", "qty", NOT_NULL)), &err);
}

static void refuses_names_that_differ_in_case_only(void **state)
{
    struct err err = ERR_INIT;
    check_refused(
        PROVE(0, &err, create("t", two(column("a", 0), column("A", 0)), NULL, NULL)), &err,
        "SQLite cannot apply \"CREATE TABLE \"t\" ( \"a\" TEXT, \"A\" TEXT );\": duplicate column name: A "
        "(columns \"a\" and \"A\" have one name to SQLite, which ignores case)");
    check_refused(PROVE(1, &err, fx_items(&arena), add("items", "VALUE", 0)), &err,
                  "SQLite cannot apply \"ALTER TABLE \"items\" ADD COLUMN \"VALUE\" TEXT;\": duplicate "
                  "column name: VALUE "
                  "(columns \"VALUE\" and \"value\" have one name to SQLite, which ignores case)");
    check_refused(
        PROVE(1, &err, fx_items(&arena), create("Items", column("id", 0), NULL, NULL)), &err,
        "SQLite cannot apply \"CREATE TABLE \"Items\" ( \"id\" TEXT );\": table \"Items\" already exists "
        "(tables \"Items\" and \"items\" have one name to SQLite, which ignores case)");
}

static void refuses_reserved_names(void **state)
{
    struct err err = ERR_INIT;
    check_refused(PROVE(0, &err, create("sqlite_x", column("id", 0), NULL, NULL)), &err,
                  "SQLite cannot apply \"CREATE TABLE \"sqlite_x\" ( \"id\" TEXT );\": "
                  "object name reserved for internal use: sqlite_x");
    check_refused(PROVE(0, &err, create("_electric_oplog", column("id", 0), NULL, NULL)), &err,
                  "SQLite cannot apply \"CREATE TABLE \"_electric_oplog\" ( \"id\" TEXT );\": table "
                  "\"_electric_oplog\" "
                  "already exists (clients keep their own data under this name)");
    check_refused(
        PROVE(1, &err, fx_items(&arena),
              fx_create_index(&arena, "items", "items", false, fx_key(&arena, "id", NULL, false), NULL)),
        &err,
        "SQLite cannot apply \"CREATE INDEX \"items\" ON \"items\" (\"id\" ASC);\": "
        "there is already a table named items");
}

static void refuses_foreign_keys_that_sqlite_cannot_enforce(void **state)
{
    struct err err = ERR_INIT;
    const char *missing = fx_foreign_key(&arena, "f", "\"id\"", "nope", "\"id\"", "aa");
    check_refused(PROVE(0, &err, create("t", column("id", 0), NULL, missing)), &err,
                  "table \"t\" references table \"nope\", which clients do not have");
    const char *no_key = fx_foreign_key(&arena, "f", "\"id\"", "items", "\"value\"", "aa");
    check_refused(PROVE(1, &err, fx_items(&arena), create("t", column("id", 0), NULL, no_key)), &err,
                  "SQLite cannot enforce a foreign key: foreign key mismatch - \"t\" referencing \"items\"");
    check_ok(PROVE(1, &err, fx_items(&arena), create("t", column("id", 0), NULL, no_key),
                   fx_create_index(&arena, "items", "u", true, fx_key(&arena, "value", NULL, false), NULL)),
             &err);
}

/* Of two tables that were fine together. */
static void refuses_to_take_a_key_from_a_table_that_refers_to_it(void **state)
{
    struct err err = ERR_INIT;
    const char *fk = fx_foreign_key(&arena, "f", "\"id\"", "items", "\"value\"", "aa");
    const char *key = fx_create_index(&arena, "items", "u", true, fx_key(&arena, "value", NULL, false), NULL);
    const char *t = create("t", column("id", 0), NULL, fk);
    check_ok(PROVE(3, &err, fx_items(&arena), key, t, add("t", "more", 0)), &err);
    check_refused(PROVE(3, &err, fx_items(&arena), key, t, fx_drop_index(&arena, "items", "u")), &err,
                  "SQLite cannot enforce a foreign key: foreign key mismatch - \"t\" referencing \"items\"");
}

static void accepts_tables_that_reference_each_other(void **state)
{
    struct err err = ERR_INIT;
    const char *ab = fx_foreign_key(&arena, "ab", "\"b\"", "b", "\"id\"", "aa");
    const char *ba = fx_foreign_key(&arena, "ba", "\"a\"", "a", "\"id\"", "aa");
    check_ok(PROVE(2, &err, create("a", two(column("id", 1), column("b", 1)), "\"id\"", ab),
                   create("b", two(column("id", 1), column("a", 1)), "\"id\"", ba), add("a", "c", 0)),
             &err);
}

static void blames_recorded_commands_on_itself(void **state)
{
    struct err err = ERR_INIT;
    assert_int_equal(PROVE(2, &err, fx_items(&arena), fx_items(&arena), add("items", "c", 0)), -1);
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_string_equal(err.msg, "recorded migration command 2 of 2: table \"items\" is created twice");
    err = (struct err)ERR_INIT;
    assert_int_equal(PROVE(1, &err, create("sqlite_x", column("id", 0), NULL, NULL)), -1);
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_string_equal(err.sqlstate, "");
    assert_true(
        str_starts_with(str_c(err.msg), STR("recorded migration command 1 of 1: SQLite cannot apply")));
}

static void survives_hostile_ops(void **state)
{
    struct err err = ERR_INIT;
    struct str rubbish[] = {STR("[{]"), STR("[[[[")};
    assert_int_equal(proof_run(rubbish, 2, 1, &err), -1);
    assert_int_equal(err.kind, ERR_INTERNAL);
    /* A name cannot break out of its quotes. */
    check_ok(PROVE(0, &err, create("x\\\"); DROP TABLE y; --", column("a\\\" TEXT, \\\"b", 0), NULL, NULL)),
             &err);
}

static void bounds_text(void **state)
{
    struct err err = ERR_INIT;
    enum { COLUMNS = 1500, NAME = 1000, TABLES = 12 };
    CLEANUP(buf_deinit) struct buf columns = BUF_INIT(4 * 1024 * 1024);
    char name[NAME + 1];
    for (int i = 0; i < COLUMNS; i++) {
        memset(name, 'x', NAME);
        name[NAME] = '\0';
        snprintf(name, 8, "%07d", i);
        name[7] = 'x';
        buf_put_c(&columns, i ? "," : "");
        buf_put_c(&columns, column(name, 0));
    }
    struct str commands[TABLES];
    for (int i = 0; i < TABLES; i++) {
        snprintf(name, sizeof name, "t%d", i);
        commands[i] = fx_command(&arena, create(name, buf_cstr(&columns), NULL, NULL), NULL);
    }
    assert_int_equal(proof_run(commands, TABLES, 0, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_string_equal(err.msg, "the migration history is longer than 16777216 bytes");
}

/* A history of some years, 200 tables and 2,000 commands, past what is replayed: new commands are tried as
 * ever. */
static void proves_a_long_history(void **state)
{
    enum { TABLES = 200, COMMANDS = 2000 };
    struct str *commands = arena_alloc_array(&arena, COMMANDS, sizeof *commands);
    char table[16], name[16];
    for (unsigned i = 0; i < COMMANDS; i++) {
        snprintf(table, sizeof table, "t%u", i % TABLES);
        snprintf(name, sizeof name, "c%u", i);
        const char *op = i < TABLES ? create(table, column("id", 1), "\"id\"", NULL) : add(table, name, 0);
        commands[i] = fx_command(&arena, op, NULL);
    }
    struct err err = ERR_INIT;
    check_ok(proof_run(commands, COMMANDS, COMMANDS - 1, &err), &err);
    commands[COMMANDS - 1] = fx_command(&arena, add("t7", "C207", 0), NULL);
    assert_int_equal(proof_run(commands, COMMANDS, COMMANDS - 1, &err), -1);
    assert_true(str_starts_with(str_c(err.msg), STR("SQLite cannot apply \"ALTER TABLE \"t7\"")));
    commands[COMMANDS - 1] = fx_command(&arena, add("t7", "required", 1), NULL);
    assert_int_equal(proof_run(commands, COMMANDS, COMMANDS - 1, &err), -1);
    assert_non_null(strstr(err.msg, "add the column without NOT NULL"));
}

/* Every form the translator prints is one SQLite takes for an index. */
static void sqlite_takes_every_translated_form(void **state)
{
    static const char *const keys[] = {
        "lower(value)",
        "(value || id)",
        "COALESCE(value, ''::text)",
        "NULLIF(value, id)",
        "CASE WHEN (value IS NULL) THEN 1 ELSE 2 END",
        "CASE value WHEN 'a'::text THEN true END",
        "\\\"substring\\\"(value, 1, 3)",
        "substr(value, 2)",
        "TRIM(BOTH FROM value)",
        "ltrim(value, 'x'::text)",
        "abs((length(value) - '-5'::integer))",
        "round((length(value))::numeric, 2)",
        "((length(value) % 7) / 2)",
        "(- length(value))",
        "((length(value))::text || 'x'::text)",
        "1",
    };
    static const char *const predicates[] = {
        "((value IS NULL) OR (NOT (id = 'x'::text)) OR (length(value) > 5))",
        "(value = ANY (ARRAY['a'::text, 'b'::text]))",
        "(value <> ALL (ARRAY['a'::text]))",
        "(length(value) BETWEEN 1 AND 5)",
        "((value = 'a'::text) IS NOT TRUE)",
        "((value = 'a'::text) IS UNKNOWN)",
        "(value IS DISTINCT FROM id)",
        "(length(value) > 1e3)",
        "true",
    };
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(keys) + ARRAY_LEN(predicates); i++) {
        bool key = i < ARRAY_LEN(keys);
        const char *column = fx_key(&arena, key ? NULL : "id", key ? keys[i] : NULL, false);
        const char *where = key ? NULL : predicates[i - ARRAY_LEN(keys)];
        check_ok(PROVE(1, &err, fx_items(&arena), fx_create_index(&arena, "items", "i", true, column, where)),
                 &err);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

/* A table that is closed: with its rows, also when it refers to itself; not while another one refers to it.
 */
static void drops_tables(void **state)
{
    struct err err = ERR_INIT;
    const char *up = fx_foreign_key(&arena, "up_fkey", "\"up\"", "t", "\"id\"", "aa");
    const char *t = create("t", two(column("id", NOT_NULL), column("up", NULLABLE)), "\"id\"", up);
    const char *fk = fx_foreign_key(&arena, "u_fkey", "\"t\"", "t", "\"id\"", "aa");
    const char *u = create("u", two(column("id", NOT_NULL), column("t", NULLABLE)), "\"id\"", fk);
    const char *drop_t = fx_drop_table(&arena, "t"), *drop_u = fx_drop_table(&arena, "u");
    check_ok(PROVE(1, &err, t, drop_t), &err);
    check_ok(PROVE(3, &err, t, u, drop_u, drop_t, t), &err);
    assert_int_equal(PROVE(2, &err, t, u, drop_t), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_string_equal(err.sqlstate, "UB004");
}

static void notes_what_is_left_out(void **state)
{
    struct err err = ERR_INIT;
    struct notes notes = {0};
    const char *t = create("t", column("id", NOT_NULL), "\"id\"", NULL);
    const char *key = fx_key(&arena, NULL, "md5(id)", false);
    struct str ops[] = {
        fx_command(&arena, t, fx_create_index(&arena, "t", "old", false, key, NULL)),
        fx_command(&arena, fx_create_index(&arena, "t", "new", false, key, NULL), NULL),
    };
    struct proof_commands c = {.ops = ops, .n = 2, .n_recorded = 1};
    check_ok(proof_run_noting(&c, &arena, &notes, &err), &err);
    assert_int_equal(notes.n, 1);
    assert_string_equal(notes.items[0].p, "index \"new\" is left out for SQLite clients: function md5()");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(drops_tables),
        TEST(notes_what_is_left_out),
        TEST(nothing_is_fine),
        TEST(passes_what_clients_can_follow),
        TEST(passes_indexes_that_are_left_out),
        TEST(refuses_a_required_column_for_rows_that_lack_it),
        TEST(passes_a_required_column_of_a_new_table),
        TEST(refuses_names_that_differ_in_case_only),
        TEST(refuses_reserved_names),
        TEST(refuses_foreign_keys_that_sqlite_cannot_enforce),
        TEST(refuses_to_take_a_key_from_a_table_that_refers_to_it),
        TEST(accepts_tables_that_reference_each_other),
        TEST(blames_recorded_commands_on_itself),
        TEST(survives_hostile_ops),
        TEST(bounds_text),
        TEST(proves_a_long_history),
        TEST(sqlite_takes_every_translated_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
