/* SPDX-License-Identifier: Apache-2.0 */
/* The model: what ops do to it, what they may not do, and that it keeps copies. */
#include "schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static struct column make_column(const char *name)
{
    return (struct column){.name = str_c(name),
                           .type = STR("text"),
                           .type_name = STR("text"),
                           .type_schema = STR("pg_catalog"),
                           .typmod = -1};
}

static int create_table(struct schema *s, const char *name, struct err *err)
{
    struct column columns[] = {make_column("id"), make_column("value")};
    struct str key[] = {STR("id")};
    struct table t = {.schema = STR("public"), .name = str_c(name), .columns = columns, .n_columns = 2};
    t.primary_key.columns = (struct names){key, 1};
    struct op op = {.kind = OP_CREATE_TABLE, .schema = t.schema, .name = t.name, .table = &t};
    return schema_apply(s, &op, err);
}

static int add_column(struct schema *s, const char *table, const char *name, struct err *err)
{
    struct column c = make_column(name);
    struct op op = {.kind = OP_ADD_COLUMN, .schema = STR("public"), .name = str_c(table), .column = &c};
    return schema_apply(s, &op, err);
}

static int change_index(struct schema *s, enum op_kind kind, const char *name, const char *column,
                        struct err *err)
{
    struct index_column key = {.name = str_c(column)};
    struct index x = {.name = str_c(name), .columns = &key, .n_columns = 1};
    struct op op = {.kind = kind, .schema = STR("public"), .name = STR("items"), .index = &x};
    return schema_apply(s, &op, err);
}

static int create_enum(struct schema *s, const char *name, const char *label, struct err *err)
{
    struct str labels[] = {str_c(label)};
    struct enum_type e = {.schema = STR("public"), .name = str_c(name), .labels = {labels, 1}};
    struct op op = {.kind = OP_CREATE_ENUM, .schema = e.schema, .name = e.name, .type = &e};
    return schema_apply(s, &op, err);
}

static void keeps_copies_of_tables(void **state)
{
    CLEANUP(schema_deinit) struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    char name[] = "items";
    assert_int_equal(create_table(&s, name, &err), SCHEMA_CHANGED);
    name[0] = 'X';
    const struct table *t = schema_table(&s, STR("public"), STR("items"));
    assert_non_null(t);
    assert_true(table_in_primary_key(t, STR("id")));
    assert_false(table_in_primary_key(t, STR("value")));
    assert_null(schema_table(&s, STR("other"), STR("items")));
    assert_null(schema_table(&s, STR("public"), STR("Items")));
}

static void finds_each_of_many(void **state)
{
    CLEANUP(schema_deinit) struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    char name[16];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "t%u", i * 7919 % 1000);
        assert_int_equal(create_table(&s, name, &err), SCHEMA_CHANGED);
        assert_int_equal(create_enum(&s, name, "a", &err), SCHEMA_CHANGED);
    }
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "t%u", i);
        assert_non_null(schema_table(&s, STR("public"), str_c(name)));
        assert_non_null(schema_enum(&s, STR("public"), str_c(name)));
    }
    assert_int_equal(s.n_tables, 1000);
}

static void adds_columns_up_to_the_limit(void **state)
{
    CLEANUP(schema_deinit) struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(create_table(&s, "items", &err), SCHEMA_CHANGED);
    char name[16];
    for (int i = 2; i < SCHEMA_MAX_COLUMNS; i++) {
        snprintf(name, sizeof name, "c%d", i);
        assert_int_equal(add_column(&s, "items", name, &err), SCHEMA_CHANGED);
    }
    assert_int_equal(add_column(&s, "items", "one_too_many", &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_string_equal(err.msg, "table \"items\" has more than 1600 columns");
    assert_non_null(table_column(schema_table(&s, STR("public"), STR("items")), STR("c1599")));
}

static void drops_tables_and_enums(void **state)
{
    CLEANUP(schema_deinit) struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(create_table(&s, names[i], &err), SCHEMA_CHANGED);
        assert_int_equal(create_enum(&s, names[i], "x", &err), SCHEMA_CHANGED);
    }
    struct op table = {.kind = OP_DROP_TABLE, .schema = STR("public"), .name = STR("b")};
    struct op type = {.kind = OP_DROP_ENUM, .schema = STR("public"), .name = STR("b")};
    assert_int_equal(schema_apply(&s, &table, &err), SCHEMA_CHANGED);
    assert_int_equal(schema_apply(&s, &table, &err), SCHEMA_UNCHANGED);
    assert_int_equal(schema_apply(&s, &type, &err), SCHEMA_CHANGED);
    assert_int_equal(schema_apply(&s, &type, &err), SCHEMA_UNCHANGED);
    assert_null(schema_table(&s, STR("public"), STR("b")));
    assert_non_null(schema_table(&s, STR("public"), STR("a")));
    assert_non_null(schema_table(&s, STR("public"), STR("c")));
    assert_non_null(schema_enum(&s, STR("public"), STR("c")));
    assert_int_equal(create_table(&s, "b", &err), SCHEMA_CHANGED);
    assert_int_equal(create_enum(&s, "b", "other labels", &err), SCHEMA_CHANGED);
}

static void refuses_what_contradicts_it(void **state)
{
    CLEANUP(schema_deinit) struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(create_table(&s, "items", &err), SCHEMA_CHANGED);
    assert_int_equal(create_table(&s, "items", &err), -1);
    assert_string_equal(err.msg, "table \"items\" is created twice");
    assert_int_equal(add_column(&s, "items", "value", &err), -1);
    assert_string_equal(err.msg, "column \"value\" of table \"items\" is created twice");
    assert_int_equal(add_column(&s, "nope", "value", &err), -1);
    assert_string_equal(err.msg, "a change of table \"public\".\"nope\", which was never electrified");
    assert_int_equal(change_index(&s, OP_CREATE_INDEX, "i", "nope", &err), -1);
    assert_string_equal(err.msg, "index \"i\": table \"items\" has no column \"nope\"");
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_int_equal(schema_table(&s, STR("public"), STR("items"))->n_columns, 2);
}

static void creates_and_drops_indexes(void **state)
{
    CLEANUP(schema_deinit) struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(create_table(&s, "items", &err), SCHEMA_CHANGED);
    const struct table *t = schema_table(&s, STR("public"), STR("items"));
    assert_int_equal(change_index(&s, OP_CREATE_INDEX, "i", "value", &err), SCHEMA_CHANGED);
    assert_int_equal(change_index(&s, OP_CREATE_INDEX, "j", "id", &err), SCHEMA_CHANGED);
    assert_int_equal(change_index(&s, OP_CREATE_INDEX, "i", "id", &err), -1);
    assert_int_equal(change_index(&s, OP_DROP_INDEX, "i", "", &err), SCHEMA_CHANGED);
    assert_int_equal(change_index(&s, OP_DROP_INDEX, "i", "", &err), SCHEMA_UNCHANGED);
    assert_int_equal(t->n_indexes, 1);
    assert_string_equal(t->indexes[0].name.p, "j");
}

static void knows_an_enum_told_of_again(void **state)
{
    CLEANUP(schema_deinit) struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(create_enum(&s, "states", "foo", &err), SCHEMA_CHANGED);
    assert_int_equal(create_enum(&s, "states", "foo", &err), SCHEMA_UNCHANGED);
    assert_int_equal(create_enum(&s, "states", "bar", &err), -1);
    assert_string_equal(err.msg, "type \"states\" is created twice, with other labels");
}

static void is_empty_after_deinit(void **state)
{
    struct schema s = SCHEMA_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(create_table(&s, "items", &err), SCHEMA_CHANGED);
    schema_deinit(&s);
    schema_deinit(&s);
    assert_null(schema_table(&s, STR("public"), STR("items")));
    assert_int_equal(create_table(&s, "items", &err), SCHEMA_CHANGED);
    schema_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_copies_of_tables),       cmocka_unit_test(finds_each_of_many),
        cmocka_unit_test(adds_columns_up_to_the_limit), cmocka_unit_test(refuses_what_contradicts_it),
        cmocka_unit_test(creates_and_drops_indexes),    cmocka_unit_test(knows_an_enum_told_of_again),
        cmocka_unit_test(is_empty_after_deinit),        cmocka_unit_test(drops_tables_and_enums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
