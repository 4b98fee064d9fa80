/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to ops: what a well-formed command becomes, and what each kind of fault is called. */
#include "schema/ops.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define COLUMN(name, type, type_name, rest)                                             \
    "{\"num\":1,\"name\":\"" name "\",\"type\":\"" type "\",\"type_name\":\"" type_name \
    "\",\"type_schema\":\"pg_catalog\",\"typmod\":-1,\"default\":null," rest "}"
#define PLAIN    "\"not_null\":false,\"enum\":false"
#define REQUIRED "\"not_null\":true,\"enum\":false"

static const char table_op[] =
    "[{\"op\":\"create_table\",\"sql\":\"CREATE TABLE items "
    "()\",\"table\":{\"oid\":16400,\"schema\":\"public\","
    "\"name\":\"items\",\"kind\":\"r\",\"columns\":[" COLUMN("id", "text", "text", REQUIRED) "," COLUMN(
        "owner", "bigint", "int8",
        PLAIN) "],\"primary_key\":{\"name\":\"items_pkey\",\"columns\":[\"id\"]},"
               "\"foreign_keys\":[{\"oid\":1,\"name\":\"f\",\"columns\":[\"owner\"],\"ref_oid\":2,\"ref_"
               "schema\":\"public\","
               "\"ref_table\":\"users\",\"ref_columns\":[\"id\"],\"on_delete\":\"c\",\"on_update\":\"a\","
               "\"deferrable\":true}],"
               "\"constraints\":[{\"oid\":1,\"name\":\"k\",\"type\":\"c\",\"columns\":[\"owner\"],"
               "\"definition\":\"CHECK ((owner > 0))\"}],\"indexes\":[\"not looked at\"]}}]";

static void parses_a_table(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct op *ops;
    size_t n;
    struct err err = ERR_INIT;
    assert_int_equal(ops_parse(&a, str_c(table_op), &ops, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(ops[0].kind, OP_CREATE_TABLE);
    assert_string_equal(ops[0].sql.p, "CREATE TABLE items ()");
    const struct table *t = ops[0].table;
    assert_string_equal(t->name.p, "items");
    assert_int_equal(t->n_columns, 2);
    assert_true(t->columns[0].not_null);
    assert_string_equal(t->columns[1].type_name.p, "int8");
    assert_true(table_in_primary_key(t, STR("id")));
    assert_int_equal(t->n_foreign_keys, 1);
    assert_int_equal(t->foreign_keys[0].on_delete, 'c');
    assert_true(t->foreign_keys[0].deferrable);
    assert_string_equal(t->constraints[0].definition.p, "CHECK ((owner > 0))");
    assert_int_equal(t->n_indexes, 0);
}

static void parses_the_other_kinds(void **state)
{
    static const char json[] =
        "[{\"op\":\"create_enum\",\"schema\":\"public\",\"name\":\"states\",\"values\":[\"foo\",\"\"],"
        "\"sql\":\"s\"},"
        "{\"op\":\"create_index\",\"schema\":\"public\",\"table\":\"items\",\"sql\":\"s\",\"index\":{"
        "\"name\":\"i\","
        "\"unique\":true,\"predicate\":\"(a > "
        "1)\",\"columns\":[{\"name\":\"v\",\"expression\":null,\"descending\":true},"
        "{\"name\":\"lower\",\"expression\":\"lower(v)\",\"descending\":false}]}},"
        "{\"op\":\"drop_index\",\"schema\":\"public\",\"table\":\"items\",\"name\":\"i\",\"sql\":\"s\"},"
        "{\"op\":\"add_column\",\"schema\":\"public\",\"table\":\"items\",\"sql\":\"s\",\"column\":" COLUMN(
            "c", "integer", "int4", PLAIN) "}]";
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct op *ops;
    size_t n;
    struct err err = ERR_INIT;
    assert_int_equal(ops_parse(&a, str_c(json), &ops, &n, &err), 0);
    assert_int_equal(n, 4);
    assert_int_equal(ops[0].type->labels.n, 2);
    assert_true(ops[1].index->unique);
    assert_true(ops[1].index->columns[0].descending);
    assert_null(ops[1].index->columns[0].expression.p);
    assert_null(ops[1].index->columns[1].name.p); /* the expression is what counts */
    assert_string_equal(ops[1].index->columns[1].expression.p, "lower(v)");
    assert_string_equal(ops[2].index->name.p, "i");
    assert_string_equal(ops[3].column->name.p, "c");
}

static void check_fault(const char *json, enum err_kind kind, const char *message)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct op *ops = NULL;
    size_t n = 77;
    struct err err = ERR_INIT;
    assert_int_equal(ops_parse(&a, str_c(json), &ops, &n, &err), -1);
    assert_int_equal(err.kind, kind);
    assert_string_equal(err.msg, message);
    assert_null(ops);
    assert_int_equal(n, 77);
}

static void names_the_place_of_a_fault(void **state)
{
    check_fault("", ERR_INTERNAL, "ops: not JSON: '[' or '{' expected near end of file");
    check_fault("{}", ERR_INTERNAL, "ops: not an array");
    check_fault("[7]", ERR_INTERNAL, "ops[0]: not an object");
    check_fault("[{}]", ERR_INTERNAL, "ops[0].op: missing");
    check_fault("[{\"op\":\"drop_table\",\"sql\":\"\",\"schema\":\"s\"}]", ERR_INTERNAL,
                "ops[0].table: missing");
    check_fault("[{\"op\":\"drop_enum\",\"sql\":\"\",\"schema\":\"s\"}]", ERR_INTERNAL,
                "ops[0].name: missing");
    check_fault("[{\"op\":\"rename_table\",\"sql\":\"\"}]", ERR_INTERNAL,
                "ops[0].op: unknown kind of change");
    check_fault("[{\"op\":\"drop_index\"}]", ERR_INTERNAL, "ops[0].sql: missing");
    check_fault("[{\"op\":\"drop_index\",\"sql\":\"\",\"schema\":\"p\",\"table\":\"t\",\"name\":\"\"}]",
                ERR_INTERNAL, "ops[0].name: empty");
    check_fault("[{\"op\":\"create_table\",\"sql\":\"\"}]", ERR_INTERNAL, "ops[0].table: missing");
    check_fault("[{\"op\":\"create_table\",\"sql\":\"\",\"table\":{\"schema\":\"s\",\"name\":\"t\","
                "\"columns\":[1]}}]",
                ERR_INTERNAL, "ops[0].table.columns[0]: not an object");
    check_fault(
        "[{\"op\":\"add_column\",\"sql\":\"\",\"schema\":\"s\",\"table\":\"t\",\"column\":{\"num\":\"1\"}}]",
        ERR_INTERNAL, "ops[0].column.num: not an integer");
    check_fault("[{\"op\":\"add_column\",\"sql\":\"\",\"schema\":\"s\",\"table\":\"t\",\"column\":{\"num\":"
                "99999999999}}]",
                ERR_INTERNAL, "ops[0].column.num: out of range");
    check_fault(
        "[{\"op\":\"create_index\",\"sql\":\"\",\"schema\":\"s\",\"table\":\"t\",\"index\":{\"name\":\"i\","
        "\"unique\":0}}]",
        ERR_INTERNAL, "ops[0].index.unique: not a boolean");
}

/* table_op with one piece of text replaced. */
static void check_changed(const char *from, const char *to, const char *message)
{
    const char *at = strstr(table_op, from);
    assert_non_null(at);
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(64 * 1024);
    buf_put(&json, table_op, (size_t)(at - table_op));
    buf_put_c(&json, to);
    buf_put_c(&json, at + strlen(from));
    check_fault(buf_cstr(&json), ERR_INTERNAL, message);
}

static void refuses_tables_that_contradict_themselves(void **state)
{
    check_changed("\"owner\"", "\"id\"", "ops[0].table.columns[1]: a column of this name was there before");
    check_changed("[\"id\"]", "[\"nope\"]",
                  "ops[0].table.primary_key: a key over a column that is not there");
    check_changed("[\"id\"]", "[]", "ops[0].table.primary_key: a key without columns");
    check_changed("\"columns\":[\"owner\"]", "\"columns\":[\"owner\",\"id\"]",
                  "ops[0].table.foreign_keys[0]: columns and ref_columns differ in number");
    check_changed("\"columns\":[\"owner\"]", "\"columns\":[\"x\"]",
                  "ops[0].table.foreign_keys[0]: a key over a column that is not there");
    check_changed("\"on_delete\":\"c\"", "\"on_delete\":\"z\"",
                  "ops[0].table.foreign_keys[0].on_delete: unknown code");
    check_changed("\"on_delete\":\"c\"", "\"on_delete\":\"\"",
                  "ops[0].table.foreign_keys[0].on_delete: unknown code");
    check_changed("\"type\":\"c\"", "\"type\":\"\\u00e9\"", "ops[0].table.constraints[0].type: unknown code");
    check_changed("\"name\":\"items\"", "\"name\":\"a\\u0000b\"",
                  "ops: not JSON: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"a\\u0000b\"'");
}

static void repeats(struct buf *b, const char *head, const char *item, size_t n, const char *tail)
{
    buf_put_c(b, head);
    for (size_t i = 0; i < n; i++) {
        buf_put_c(b, i ? "," : "");
        buf_put_c(b, item);
    }
    buf_put_c(b, tail);
}

static void holds_counts_to_their_limits(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(OPS_MAX_JSON + 100);
    repeats(&b, "[", "0", OPS_MAX + 1, "]");
    check_fault(buf_cstr(&b), ERR_LIMIT, "ops: more than 10000");
    buf_reset(&b);
    repeats(&b,
            "[{\"op\":\"create_table\",\"sql\":\"\",\"table\":{\"schema\":\"s\",\"name\":\"t\",\"columns\":[",
            "0", SCHEMA_MAX_COLUMNS + 1, "]}}]");
    check_fault(buf_cstr(&b), ERR_LIMIT, "ops[0].table.columns: more than 1600");
    buf_reset(&b);
    repeats(&b, "[{\"op\":\"create_enum\",\"sql\":\"\",\"schema\":\"s\",\"name\":\"t\",\"values\":[", "\"\"",
            SCHEMA_MAX_LABELS + 1, "]}]");
    check_fault(buf_cstr(&b), ERR_LIMIT, "ops[0].values: more than 10000");
    buf_reset(&b);
    buf_put_c(&b, "[{\"op\":\"create_enum\",\"sql\":\"\",\"schema\":\"");
    for (size_t i = 0; i <= SCHEMA_MAX_NAME; i++) {
        buf_put_byte(&b, 'x');
    }
    buf_put_c(&b, "\"}]");
    check_fault(buf_cstr(&b), ERR_LIMIT, "ops[0].schema: more than 1024");
    buf_reset(&b);
    repeats(&b, "[", "0", OPS_MAX_JSON / 2, "]");
    check_fault(buf_cstr(&b), ERR_LIMIT, "ops: more than 16777216 bytes");
}

/* Deep nesting must not cost the stack; jansson counts it. */
static void refuses_deep_nesting(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1024 * 1024);
    for (size_t i = 0; i < 100000; i++) {
        buf_put_byte(&b, '[');
    }
    check_fault(buf_cstr(&b), ERR_INTERNAL, "ops: not JSON: maximum parsing depth reached near '['");
}

/* Every prefix of a valid text fails, none crashes. */
static void survives_every_cut(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    for (size_t n = 0; n < sizeof table_op - 1; n++) {
        char *cut = malloc(n ? n : 1); /* exact size: the sanitizer sees an overrun */
        memcpy(cut, table_op, n);
        struct op *ops;
        size_t count;
        struct err err = ERR_INIT;
        assert_int_equal(ops_parse(&a, (struct str){cut, n}, &ops, &count, &err), -1);
        free(cut);
        arena_reset(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_a_table),
        cmocka_unit_test(parses_the_other_kinds),
        cmocka_unit_test(names_the_place_of_a_fault),
        cmocka_unit_test(refuses_tables_that_contradict_themselves),
        cmocka_unit_test(holds_counts_to_their_limits),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(survives_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
