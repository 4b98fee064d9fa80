/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/list.h"

#include "base/buf.h"
#include "migrate/forward.h"
#include "migrate/index_target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>

/* Files 10, 20, 30 (data), 40; rows 10, 15 (no file), 40. */
struct scene {
    struct arena arena;
    struct migration files[4];
    struct version_row rows[3];
    struct entry_list list;
};

static void setup(struct scene *s)
{
    *s = (struct scene){.files = {{.version = 10, .name = "a", .checksum = "x"},
                                  {.version = 20, .name = "b"},
                                  {.version = 30, .name = "c", .data = true},
                                  {.version = 40, .name = "d"}},
                        .rows = {{.version = 10, .up = true, .facts = true, .checksum = "y", .error = ""},
                                 {.version = 15, .up = true, .checksum = "", .error = ""},
                                 {.version = 40, .up = true, .checksum = "", .error = ""}}};
    s->list = entry_list_make(&s->arena, &(struct migration_list){s->files, 4, 4}, s->rows, 3);
}

static void test_merge(void **state)
{
    struct scene s;
    setup(&s);
    const struct entry *e = s.list.items;
    assert_int_equal(s.list.n, 5);
    assert_true(e[0].up && e[0].edited && e[0].file == &s.files[0] && e[0].row == &s.rows[0]);
    assert_true(e[1].up && !e[1].file && !e[1].edited);
    assert_string_equal(entry_name(&e[1]), "** FILE NOT FOUND **");
    assert_true(!e[2].up && e[2].out_of_order);
    assert_true(!e[3].up && !e[3].out_of_order && entry_is_data(&e[3]));
    assert_true(e[4].up && !e[4].edited);
    arena_deinit(&s.arena);
}

static void assert_versions(const struct entry **items, size_t n, const char *expected)
{
    struct buf text = BUF_INIT(256);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, "%llu ", (unsigned long long)items[i]->version);
    }
    assert_string_equal(buf_cstr(&text), expected);
    buf_deinit(&text);
}

static void test_select(void **state)
{
    static const struct {
        bool down, data;
        struct target target;
        const char *expected;
    } rows[] = {
        {false, false, {TARGET_ALL, 0}, "20 "},
        {false, true, {TARGET_ALL, 0}, "30 "},
        {false, false, {TARGET_TO, 19}, ""},
        {false, false, {TARGET_TO, 20}, "20 "},
        {false, false, {TARGET_TO_EXCLUSIVE, 20}, ""},
        {true, false, {TARGET_ALL, 0}, "40 10 "},
        {true, false, {TARGET_STEP, 1}, "40 "},
        {true, false, {TARGET_TO, 10}, "40 10 "},
        {true, false, {TARGET_TO_EXCLUSIVE, 10}, "40 "},
        {true, false, {TARGET_TO, 41}, ""},
        {true, true, {TARGET_ALL, 0}, ""},
    };
    struct scene s;
    setup(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct entry **items;
        size_t n = rows[i].down
                       ? entry_list_select_down(&s.arena, &s.list, &rows[i].target, rows[i].data, &items)
                       : entry_list_select_up(&s.arena, &s.list, &rows[i].target, rows[i].data, &items);
        assert_versions(items, n, rows[i].expected);
    }
    arena_deinit(&s.arena);
}

static void test_index_target(void **state)
{
    static const struct {
        const char *sql, *name, *table; /* name NULL: none */
        bool qualified;
    } rows[] = {
        {"CREATE INDEX CONCURRENTLY i ON t (a)", "i", "t", false},
        {"create unique index concurrently if not exists \"I i\" on only \"S\" . \"T\" using btree (a)",
         "I i", "\"S\" . \"T\"", true},
        {"CREATE INDEX CONCURRENTLY ON t (a)", NULL, NULL, false},
        {"CREATE INDEX CONCURRENTLY i", NULL, NULL, false},
        {"CREATE INDEX CONCURRENTLY i ON", NULL, NULL, false},
        {"CREATE INDEX i ON t (a)", NULL, NULL, false},
        {"DROP INDEX CONCURRENTLY i", NULL, NULL, false},
        {"", NULL, NULL, false},
    };
    struct arena a = ARENA_INIT;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct index_target t;
        assert_int_equal(index_target_parse(&a, str_c(rows[i].sql), &t), rows[i].name != NULL);
        if (rows[i].name) {
            assert_string_equal(t.name.p, rows[i].name);
            assert_string_equal(t.table.p, rows[i].table);
            assert_int_equal(t.qualified, rows[i].qualified);
        }
    }
    arena_deinit(&a);
}

static void test_forward(void **state)
{
    struct migration m = {.version = 7, .name = "n"};
    struct buf out = BUF_INIT(4096);
    m.text.down = STR("DROP INDEX i;\nALTER TABLE t DROP COLUMN c;\nDROP TABLE u;\nUPDATE t SET a = 1 -- so");
    forward_put(&out, &m);
    assert_string_equal(buf_cstr(&out),
                        "-- Undoes 7 n, which clients have.\n-- migrate:up\nDROP INDEX i\n;\n"
                        "-- Clients keep the column c of \"t\": stop using it.\n"
                        "--   ALTER TABLE t DROP COLUMN c\n"
                        "ALTER TABLE \"u\" DISABLE ELECTRIC;\nDROP TABLE u;\nUPDATE t SET a = 1 -- so\n;\n");
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merge), cmocka_unit_test(test_select),
                                       cmocka_unit_test(test_index_target), cmocka_unit_test(test_forward)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
