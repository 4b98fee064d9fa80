/* SPDX-License-Identifier: Apache-2.0 */
/* A whole version: text and messages, both dialects. */
#include "sync/migration.h"

#include "schema/fixture.h"
#include "sync/satellite.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static const char *create_d(struct arena *a)
{
    const char *columns = arena_printf(a, "%s,%s", fx_column(a, "id", "uuid", "uuid", NOT_NULL),
                                       fx_column(a, "value", "text", "text", NOT_NULL));
    return fx_create_table(
        a, (struct fx_table){.name = "d",
                             .columns = columns,
                             .primary_key = "\"id\"",
                             .sql = "CREATE TABLE d (id uuid PRIMARY KEY, value text NOT NULL)"});
}

static const char *add_is_valid(struct arena *a)
{
    return fx_add_column(a, "d", fx_column(a, "is_valid", "boolean", "bool", NULLABLE),
                         "ALTER TABLE d ADD COLUMN is_valid boolean");
}

/* Version 0003 of docs: two commands, the table in both messages as it is at the end. */
static void version_of_two_commands(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(schema_deinit) struct schema schema = SCHEMA_INIT;
    struct err err = ERR_INIT;
    struct str commands[] = {fx_command(&a, create_d(&a), NULL), fx_command(&a, add_is_valid(&a), NULL)};
    struct migration_text out;
    assert_int_equal(migration_render(&a, DIALECT_SQLITE, &schema, STR("0003"), commands, 2, &out, &err), 0);
    assert_string_equal(out.sql.p,
                        "CREATE TABLE \"d\" (\n  \"id\" TEXT NOT NULL,\n  \"value\" TEXT NOT NULL,\n"
                        "  CONSTRAINT \"d_pkey\" PRIMARY KEY (\"id\")\n);\n\n"
                        "ALTER TABLE \"d\" ADD COLUMN \"is_valid\" INTEGER;");
    assert_int_equal(out.n_messages, 2);
    assert_int_equal(out.n_notes, 0);
    Electric__Satellite__SatOpMigrate *m = electric__satellite__sat_op_migrate__unpack(
        NULL, out.messages[0].n, (const uint8_t *)out.messages[0].p);
    assert_non_null(m);
    assert_string_equal(m->version, "0003");
    assert_int_equal(m->n_stmts, 1);
    assert_int_equal(m->table->n_columns, 3);
    electric__satellite__sat_op_migrate__free_unpacked(m, NULL);
}

static void postgres_text(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(schema_deinit) struct schema schema = SCHEMA_INIT;
    struct err err = ERR_INIT;
    struct str commands[] = {fx_command(&a, fx_create_enum(&a, "s", "\"x\""), create_d(&a)),
                             fx_command(&a, add_is_valid(&a), NULL)};
    struct migration_text out;
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("0003"), commands, 2, &out, &err),
                     0);
    assert_string_equal(out.sql.p, "CREATE TYPE s AS ENUM ();\n\n"
                                   "CREATE TABLE d (id uuid PRIMARY KEY, value text NOT NULL);\n\n"
                                   "ALTER TABLE d ADD COLUMN is_valid boolean;");
    assert_int_equal(out.n_messages, 3);
}

/* The model carries over from version to version; an enum told of twice reaches clients once. */
static void versions_follow_each_other(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(schema_deinit) struct schema schema = SCHEMA_INIT;
    struct err err = ERR_INIT;
    struct str first = fx_command(&a, create_d(&a), fx_create_enum(&a, "s", "\"x\""));
    struct str second = fx_command(&a, fx_create_enum(&a, "s", "\"x\""), add_is_valid(&a));
    struct migration_text out;
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("1"), &first, 1, &out, &err), 0);
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("2"), &second, 1, &out, &err), 0);
    assert_string_equal(out.sql.p, "ALTER TABLE d ADD COLUMN is_valid boolean;");
    assert_int_equal(out.n_messages, 1);
}

static void what_is_left_out_is_noted(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(schema_deinit) struct schema schema = SCHEMA_INIT;
    struct err err = ERR_INIT;
    const char *index = fx_create_index(&a, "d", "i", false, fx_key(&a, NULL, "md5(value)", false), NULL);
    struct str first = fx_command(&a, create_d(&a), NULL), second = fx_command(&a, index, NULL);
    struct migration_text out;
    assert_int_equal(migration_render(&a, DIALECT_SQLITE, &schema, STR("1"), &first, 1, &out, &err), 0);
    assert_int_equal(migration_render(&a, DIALECT_SQLITE, &schema, STR("2"), &second, 1, &out, &err), 0);
    assert_int_equal(out.sql.n, 0);
    assert_int_equal(out.n_messages, 0);
    assert_int_equal(out.n_notes, 1);
    assert_string_equal(out.notes[0].p, "index \"i\" is left out for SQLite clients: function md5()");
}

/* A table that is closed again: clients drop it, and a later version may bring it back. */
static void dropped_tables(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(schema_deinit) struct schema schema = SCHEMA_INIT;
    struct err err = ERR_INIT;
    struct str first = fx_command(&a, fx_create_enum(&a, "s", "\"x\""), create_d(&a));
    struct str second[] = {fx_command(&a, add_is_valid(&a), NULL),
                           fx_command(&a, fx_drop_table(&a, "d"), fx_drop_enum(&a, "s"))};
    struct str third = fx_command(&a, fx_create_enum(&a, "s", "\"x\",\"y\""), create_d(&a));
    struct migration_text out;
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("1"), &first, 1, &out, &err), 0);
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("2"), second, 2, &out, &err), 0);
    assert_string_equal(out.sql.p, "DROP TABLE d;\n\nDROP TYPE s;");
    assert_int_equal(out.n_messages, 2);
    Electric__Satellite__SatOpMigrate *m = electric__satellite__sat_op_migrate__unpack(
        NULL, out.messages[0].n, (const uint8_t *)out.messages[0].p);
    assert_non_null(m);
    assert_int_equal(m->affected_entity_case, 0);
    electric__satellite__sat_op_migrate__free_unpacked(m, NULL);
    assert_int_equal(migration_render(&a, DIALECT_SQLITE, &schema, STR("3"), &third, 1, &out, &err), 0);
    assert_int_equal(out.n_messages, 2);
    second[1] = fx_command(&a, fx_drop_table(&a, "d"), NULL);
    assert_int_equal(migration_render(&a, DIALECT_SQLITE, &schema, STR("4"), second, 2, &out, &err), 0);
    assert_string_equal(out.sql.p, "DROP TABLE IF EXISTS \"d\";");
}

/* What one version makes and drops again never gets to clients; what it drops and makes again does. */
static void made_and_dropped_in_one_version(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(schema_deinit) struct schema schema = SCHEMA_INIT;
    struct err err = ERR_INIT;
    struct str brief[] = {fx_command(&a, create_d(&a), NULL),
                          fx_command(&a, add_is_valid(&a), fx_drop_table(&a, "d"))};
    struct str drop = fx_command(&a, fx_drop_table(&a, "d"), NULL), again[3] = {drop, brief[0], brief[1]};
    struct migration_text out;
    assert_int_equal(migration_render(&a, DIALECT_SQLITE, &schema, STR("1"), brief, 2, &out, &err), 0);
    assert_int_equal(out.sql.n, 0);
    assert_int_equal(out.n_messages, 0);
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("2"), brief, 1, &out, &err), 0);
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("3"), again, 2, &out, &err), 0);
    assert_string_equal(out.sql.p,
                        "DROP TABLE d;\n\nCREATE TABLE d (id uuid PRIMARY KEY, value text NOT NULL);");
    assert_int_equal(migration_render(&a, DIALECT_POSTGRES, &schema, STR("4"), again, 3, &out, &err), 0);
    assert_string_equal(out.sql.p, "DROP TABLE d;");
}

static void faults_name_the_version(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(schema_deinit) struct schema schema = SCHEMA_INIT;
    struct err err = ERR_INIT;
    struct str command = fx_command(&a, add_is_valid(&a), NULL);
    struct migration_text out;
    assert_int_equal(migration_render(&a, DIALECT_SQLITE, &schema, STR("7"), &command, 1, &out, &err), -1);
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_string_equal(err.msg,
                        "migration 7: a change of table \"public\".\"d\", which was never electrified");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_of_two_commands),
        cmocka_unit_test(postgres_text),
        cmocka_unit_test(versions_follow_each_other),
        cmocka_unit_test(what_is_left_out_is_noted),
        cmocka_unit_test(dropped_tables),
        cmocka_unit_test(made_and_dropped_in_one_version),
        cmocka_unit_test(faults_name_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
