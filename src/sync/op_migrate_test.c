/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a command, read back with the generated decoder. */
#include "sync/op_migrate.h"

#include "schema/fixture.h"
#include "schema/ops.h"
#include "sync/satellite.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

typedef Electric__Satellite__SatOpMigrate sat_migrate;

struct fixture {
    struct arena a;
    struct schema schema;
    struct messages out;
    sat_migrate *decoded[8];
};

static int set_up(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(f->decoded); i++) {
        electric__satellite__sat_op_migrate__free_unpacked(f->decoded[i], NULL);
    }
    schema_deinit(&f->schema);
    arena_deinit(&f->a);
    return 0;
}

/* Applies, renders for SQLite, encodes and decodes a command of one or two ops. */
static void encode(struct fixture *f, const char *first, const char *second)
{
    struct err err = ERR_INIT;
    struct op *ops;
    size_t n;
    struct notes notes = {0};
    struct rendered_op rendered[2] = {0};
    assert_int_equal(ops_parse(&f->a, fx_command(&f->a, first, second), &ops, &n, &err), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(schema_apply(&f->schema, &ops[i], &err), SCHEMA_CHANGED);
    }
    for (size_t i = 0; i < n; i++) {
        rendered[i].op = &ops[i];
        int rc = render_op(&f->a, DIALECT_SQLITE, &f->schema, &ops[i], &rendered[i].statement, &notes, &err);
        assert_true(rc >= 0);
        rendered[i].has_statement = rc == RENDER_STATEMENT;
    }
    struct op_migrate command = {.version = STR("0001"), .schema = &f->schema, .ops = rendered, .n = n};
    size_t before = f->out.n;
    assert_int_equal(op_migrate_encode(&f->a, &command, &f->out, &err), 0);
    for (size_t i = before; i < f->out.n; i++) {
        f->decoded[i] = electric__satellite__sat_op_migrate__unpack(NULL, f->out.items[i].n,
                                                                    (const uint8_t *)f->out.items[i].p);
        assert_non_null(f->decoded[i]);
        assert_string_equal(f->decoded[i]->version, "0001");
    }
}

static void tables_are_described(void **state)
{
    struct fixture *f = *state;
    const char *columns = arena_printf(&f->a, "%s,%s,%s,%s", fx_column(&f->a, "id", "uuid", "uuid", NOT_NULL),
                                       fx_column(&f->a, "v", "character varying(256)", "varchar", NULLABLE),
                                       fx_column(&f->a, "n", "numeric(12,6)", "numeric", NULLABLE),
                                       fx_column(&f->a, "l", "integer[]", "_int4", NULLABLE));
    const char *key = fx_foreign_key(&f->a, "f", "\"v\",\"n\"", "p", "\"x\",\"y\"", "aa");
    encode(f, fx_create_table(&f->a, (struct fx_table){"t", columns, "\"v\",\"id\"", key, NULL, NULL}), NULL);
    assert_int_equal(f->out.n, 1);
    const sat_migrate *m = f->decoded[0];
    assert_int_equal(m->n_stmts, 1);
    assert_int_equal(m->stmts[0]->type, ELECTRIC__SATELLITE__SAT_OP_MIGRATE__TYPE__CREATE_TABLE);
    assert_true(str_starts_with(str_c(m->stmts[0]->sql), STR("CREATE TABLE \"t\" (\n")));
    assert_int_equal(m->affected_entity_case, ELECTRIC__SATELLITE__SAT_OP_MIGRATE__AFFECTED_ENTITY_TABLE);
    const Electric__Satellite__SatOpMigrate__Table *t = m->table;
    assert_string_equal(t->name, "t");
    assert_int_equal(t->n_columns, 4);
    assert_string_equal(t->columns[0]->sqlite_type, "TEXT");
    assert_string_equal(t->columns[0]->pg_type->name, "uuid");
    assert_int_equal(t->columns[0]->pg_type->n_array + t->columns[0]->pg_type->n_size, 0);
    assert_string_equal(t->columns[1]->sqlite_type, "TEXT(256)");
    assert_int_equal(t->columns[1]->pg_type->n_size, 1);
    assert_int_equal(t->columns[1]->pg_type->size[0], 256);
    assert_int_equal(t->columns[2]->pg_type->n_size, 2);
    assert_int_equal(t->columns[2]->pg_type->size[1], 6);
    assert_string_equal(t->columns[3]->sqlite_type, "TEXT_JSON");
    assert_string_equal(t->columns[3]->pg_type->name, "int4");
    assert_int_equal(t->columns[3]->pg_type->n_array, 1);
    assert_int_equal(t->columns[3]->pg_type->array[0], -1);
    assert_int_equal(t->n_pks, 2);
    assert_string_equal(t->pks[0], "v");
    assert_int_equal(t->n_fks, 1);
    assert_string_equal(t->fks[0]->pk_table, "p");
    assert_string_equal(t->fks[0]->fk_cols[1], "n");
    assert_string_equal(t->fks[0]->pk_cols[1], "y");
}

/* CREATE TABLE; CREATE INDEX: two statements, one table. */
static void a_table_and_its_index_share_a_message(void **state)
{
    struct fixture *f = *state;
    encode(f, fx_items(&f->a),
           fx_create_index(&f->a, "items", "i", false, fx_key(&f->a, "value", NULL, false), NULL));
    assert_int_equal(f->out.n, 1);
    assert_int_equal(f->decoded[0]->n_stmts, 2);
    assert_int_equal(f->decoded[0]->stmts[1]->type, ELECTRIC__SATELLITE__SAT_OP_MIGRATE__TYPE__CREATE_INDEX);
    assert_string_equal(f->decoded[0]->table->name, "items");
}

static void indexes_alone_name_no_table(void **state)
{
    struct fixture *f = *state;
    encode(f, fx_items(&f->a), NULL);
    encode(f, fx_create_index(&f->a, "items", "i", false, fx_key(&f->a, "value", NULL, false), NULL),
           fx_drop_index(&f->a, "items", "i"));
    assert_int_equal(f->out.n, 2);
    assert_int_equal(f->decoded[1]->n_stmts, 2);
    assert_int_equal(f->decoded[1]->affected_entity_case,
                     ELECTRIC__SATELLITE__SAT_OP_MIGRATE__AFFECTED_ENTITY__NOT_SET);
}

static void an_index_left_out_yields_no_message(void **state)
{
    struct fixture *f = *state;
    encode(f, fx_items(&f->a), NULL);
    encode(f, fx_create_index(&f->a, "items", "i", false, fx_key(&f->a, NULL, "md5(value)", false), NULL),
           NULL);
    assert_int_equal(f->out.n, 1);
}

/* An enum has a message without statements for SQLite; the table behind it has its own. */
static void enums_have_a_message_of_their_own(void **state)
{
    struct fixture *f = *state;
    encode(f, fx_create_enum(&f->a, "states", "\"foo\",\"bar\""), fx_items(&f->a));
    assert_int_equal(f->out.n, 2);
    assert_int_equal(f->decoded[0]->n_stmts, 0);
    assert_int_equal(f->decoded[0]->affected_entity_case,
                     ELECTRIC__SATELLITE__SAT_OP_MIGRATE__AFFECTED_ENTITY_ENUM_TYPE);
    assert_string_equal(f->decoded[0]->enum_type->name, "states");
    assert_int_equal(f->decoded[0]->enum_type->n_values, 2);
    assert_string_equal(f->decoded[0]->enum_type->values[1], "bar");
    assert_string_equal(f->decoded[1]->table->name, "items");
}

static void two_tables_have_two_messages(void **state)
{
    struct fixture *f = *state;
    const struct fx_table other = {
        "other", fx_column(&f->a, "id", "text", "text", NOT_NULL), "\"id\"", NULL, NULL, NULL};
    encode(f, fx_items(&f->a), fx_create_table(&f->a, other));
    assert_int_equal(f->out.n, 2);
    assert_string_equal(f->decoded[0]->table->name, "items");
    assert_string_equal(f->decoded[1]->table->name, "other");
    assert_int_equal(f->decoded[1]->n_stmts, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tables_are_described),
        TEST(a_table_and_its_index_share_a_message),
        TEST(indexes_alone_name_no_table),
        TEST(an_index_left_out_yields_no_message),
        TEST(enums_have_a_message_of_their_own),
        TEST(two_tables_have_two_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
