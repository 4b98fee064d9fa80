/* SPDX-License-Identifier: Apache-2.0 */
#include "http/migrations.h"

#include "schema/fixture.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zip.h>

#include <cmocka.h>

/* Versions 1 (two commands) and 2 (one), as in the documents. */
struct history {
    struct arena arena;
    struct history_row rows[3];
};

static struct history make_history(const char *first, const char *second)
{
    struct history h = {.arena = ARENA_INIT};
    struct arena *a = &h.arena;
    const char *columns = arena_printf(a, "%s,%s", fx_column(a, "id", "uuid", "uuid", NOT_NULL),
                                       fx_column(a, "value", "text", "text", NOT_NULL));
    const char *create = fx_create_table(
        a, (struct fx_table){.name = "d",
                             .columns = columns,
                             .primary_key = "\"id\"",
                             .sql = "CREATE TABLE d (id uuid PRIMARY KEY, value text NOT NULL)"});
    const char *add = fx_add_column(a, "d", fx_column(a, "is_valid", "boolean", "bool", NULLABLE),
                                    "ALTER TABLE d ADD COLUMN is_valid boolean");
    const char *more = fx_add_column(a, "d", fx_column(a, "n", "integer", "int4", NULLABLE),
                                     "ALTER TABLE d ADD COLUMN n integer");
    h.rows[0] = (struct history_row){str_c(first), fx_command(a, create, NULL)};
    h.rows[1] = (struct history_row){str_c(first), fx_command(a, add, NULL)};
    h.rows[2] = (struct history_row){str_c(second), fx_command(a, more, NULL)};
    return h;
}

static int render(struct history *h, enum dialect d, const char *after, struct buf *out)
{
    struct err err = ERR_INIT;
    int rc = migrations_zip(h->rows, 3, d, str_c(after), out, &err);
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
    return rc;
}

static zip_t *open_archive(const struct buf *bytes)
{
    zip_error_t error;
    zip_t *z =
        zip_open_from_source(zip_source_buffer_create(bytes->p, bytes->n, 0, &error), ZIP_RDONLY, &error);
    assert_non_null(z);
    return z;
}

static const char *read_entry(zip_t *z, const char *name, char *text, size_t size)
{
    zip_file_t *f = zip_fopen(z, name, 0);
    if (!f) {
        fail_msg("no entry %s", name);
    }
    zip_int64_t n = zip_fread(f, text, size - 1);
    assert_true(n >= 0);
    text[n] = '\0';
    zip_fclose(f);
    return text;
}

static void each_version_has_text_and_metadata(void **state)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(1 << 20);
    struct history h = make_history("0003", "0004");
    char text[8192];
    assert_int_equal(render(&h, DIALECT_SQLITE, "", &bytes), MIGRATIONS_SOME);
    zip_t *z = open_archive(&bytes);
    assert_int_equal(zip_get_num_entries(z, 0), 4);
    assert_string_equal(zip_get_name(z, 0, 0), "0003/migration.sql");
    assert_string_equal(zip_get_name(z, 1, 0), "0003/metadata.json");
    assert_string_equal(read_entry(z, "0003/migration.sql", text, sizeof text),
                        "CREATE TABLE \"d\" (\n  \"id\" TEXT NOT NULL,\n  \"value\" TEXT NOT NULL,\n"
                        "  CONSTRAINT \"d_pkey\" PRIMARY KEY (\"id\")\n);\n\nALTER TABLE \"d\" ADD COLUMN "
                        "\"is_valid\" INTEGER;");
    assert_string_equal(read_entry(z, "0004/migration.sql", text, sizeof text),
                        "ALTER TABLE \"d\" ADD COLUMN \"n\" INTEGER;");
    read_entry(z, "0003/metadata.json", text, sizeof text);
    assert_ptr_equal(strstr(text, "{\"format\":\"SatOpMigrate\",\"ops\":[\""), text);
    assert_non_null(strstr(text, "\"],\"protocol_version\":\"Electric.Satellite\",\"version\":\"0003\"}"));
    json_t *json = json_loads(text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "ops")), 2);
    assert_int_equal(strlen(json_string_value(json_array_get(json_object_get(json, "ops"), 0))) % 4, 0);
    json_decref(json);
    zip_close(z);
    arena_deinit(&h.arena);
}

static void only_later_versions_with_the_model_of_all(void **state)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(1 << 20);
    struct history h = make_history("0003", "0004");
    char text[8192];
    assert_int_equal(render(&h, DIALECT_POSTGRES, "0003", &bytes), MIGRATIONS_SOME);
    zip_t *z = open_archive(&bytes);
    assert_int_equal(zip_get_num_entries(z, 0), 2);
    assert_string_equal(read_entry(z, "0004/migration.sql", text, sizeof text),
                        "ALTER TABLE d ADD COLUMN n integer;");
    zip_close(z);
    buf_reset(&bytes);
    assert_int_equal(render(&h, DIALECT_SQLITE, "0004", &bytes), MIGRATIONS_NONE);
    assert_int_equal(render(&h, DIALECT_SQLITE, "0005", &bytes), MIGRATIONS_NONE);
    assert_int_equal(render(&h, DIALECT_SQLITE, "000", &bytes), MIGRATIONS_NONE);
    assert_int_equal(bytes.n, 0);
    arena_deinit(&h.arena);
}

static void no_history_is_none(void **state)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(1000);
    struct err err = ERR_INIT;
    assert_int_equal(migrations_zip(NULL, 0, DIALECT_SQLITE, STR(""), &bytes, &err), MIGRATIONS_NONE);
    assert_int_equal(migrations_zip(NULL, 0, DIALECT_SQLITE, STR("1"), &bytes, &err), MIGRATIONS_NONE);
}

static void a_version_is_never_a_path(void **state)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(1 << 20);
    struct history h = make_history("../../etc\\x", "\xc3\xa9\n");
    char text[8192];
    assert_int_equal(render(&h, DIALECT_SQLITE, "", &bytes), MIGRATIONS_SOME);
    zip_t *z = open_archive(&bytes);
    assert_string_equal(zip_get_name(z, 0, 0), "_._.._etc_x/migration.sql");
    assert_string_equal(zip_get_name(z, 2, 0), "\xc3\xa9_/migration.sql");
    assert_non_null(strstr(read_entry(z, "_._.._etc_x/metadata.json", text, sizeof text),
                           "\"version\":\"../../etc\\\\x\"}"));
    zip_close(z);
    arena_deinit(&h.arena);
}

static void a_history_that_contradicts_itself_fails(void **state)
{
    CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(1 << 20);
    struct history h = make_history("1", "2");
    struct err err = ERR_INIT;
    assert_int_equal(migrations_zip(h.rows + 1, 2, DIALECT_SQLITE, STR(""), &bytes, &err), -1);
    assert_int_equal(strncmp(err.msg, "migration 1: ", 13), 0);
    arena_deinit(&h.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_version_has_text_and_metadata),
        cmocka_unit_test(only_later_versions_with_the_model_of_all),
        cmocka_unit_test(no_history_is_none),
        cmocka_unit_test(a_version_is_never_a_path),
        cmocka_unit_test(a_history_that_contradicts_itself_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
