/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>

static void assert_str(struct str s, const char *expected)
{
    char text[512];
    assert_true(s.n < sizeof text);
    memcpy(text, s.n ? s.p : "", s.n);
    text[s.n] = '\0';
    assert_string_equal(text, expected);
}

static void test_names(void **state)
{
    static const struct {
        const char *file;
        bool good;
        uint64_t version;
        const char *name;
        enum migration_form form;
    } rows[] = {
        {"20210718153339_add_test.sql", true, 20210718153339, "add_test", MIGRATION_SECTIONS},
        {"1.a.up.sql", true, 1, "a", MIGRATION_UP},
        {"1_a.b.down.sql", true, 1, "a.b", MIGRATION_DOWN},
        {"20240101_x.exs", true, 20240101, "x", MIGRATION_ELIXIR},
        {"9223372036854775807_x.sql", true, INT64_MAX, "x", MIGRATION_SECTIONS},
        {"9223372036854775808_x.sql", false, 0, NULL, 0},
        {"README.md", false, 0, NULL, 0},
        {"_x.sql", false, 0, NULL, 0},
        {"1x.sql", false, 0, NULL, 0},
        {"1_.sql", false, 0, NULL, 0},
        {"1.sql", false, 0, NULL, 0},
        {".sql", false, 0, NULL, 0},
        {"1_x.sql~", false, 0, NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct migration_name name;
        assert_int_equal(migration_name_parse(rows[i].file, &name), rows[i].good);
        if (rows[i].good) {
            assert_int_equal(name.version, rows[i].version);
            assert_str(name.name, rows[i].name);
            assert_int_equal(name.form, rows[i].form);
        }
    }
}

static struct migration_parts parse(const char *text)
{
    struct migration_parts t;
    struct err err = ERR_INIT;
    if (migration_parse(MIGRATION_SECTIONS, str_c(text), &t, &err) < 0) {
        fail_msg("%s: %s", text, err.msg);
    }
    return t;
}

static void test_sections(void **state)
{
    static const struct {
        const char *text, *up, *down; /* down NULL: none */
    } rows[] = {
        {"", "", NULL},
        {"SELECT 1;", "SELECT 1;", NULL},
        {"\xEF\xBB\xBF-- migrate:up\nSELECT 1;", "SELECT 1;", NULL},
        {"-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n", "SELECT 1;", "SELECT 2;"},
        {"--migrate:up\r\nA\r\n--  migrate:down  \r\nB", "A", "B"},
        {"-- migrate:up\nA\n-- migrate:down", "A", ""},
        {"-- migrate:down\nB", "", "B"},
        {"-- said\n/* -- migrate:up */\n-- migrate:up\nA", "A", NULL},
        {"-- migrate:up\nSELECT '\n-- migrate:down\n';\nDO $$\n-- migrate:down\n$$",
         "SELECT '\n-- migrate:down\n';\nDO $$\n-- migrate:down\n$$", NULL},
        {"-- migrate:up\nA /* /* */ -- migrate:down\n */;", "A /* /* */ -- migrate:down\n */;", NULL},
        {"-- migrate:up\nA; -- migrate:down\nB;", "A;", "B;"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct migration_parts t = parse(rows[i].text);
        assert_int_equal(t.has_down, rows[i].down != NULL);
        assert_str(t.down, rows[i].down ? rows[i].down : "");
        assert_str(t.up, rows[i].up);
    }
}

static void test_lines(void **state)
{
    struct migration_parts t = parse("-- head\n-- migrate:up\n\nA;\n-- migrate:down\nB;");
    assert_int_equal(t.up_line, 4);
    assert_int_equal(t.down_line, 6);
}

static void test_options(void **state)
{
    struct migration_parts t =
        parse("-- busbar: transaction=off, lock=off, timeout=30s\n-- migrate:up\nA;\n-- migrate:down\nB;");
    assert_false(t.up_options.transaction || t.up_options.lock);
    assert_false(t.down_options.transaction || t.down_options.lock);
    assert_int_equal(t.up_options.timeout_ms, 30000);
    t = parse("-- migrate:up\n-- busbar: transaction=off\nA;\n-- migrate:down transaction:false\n-- busbar: "
              "timeout=250ms\nB;");
    assert_false(t.up_options.transaction);
    assert_false(t.down_options.transaction);
    assert_int_equal(t.up_options.timeout_ms, 0);
    assert_int_equal(t.down_options.timeout_ms, 250);
    t = parse("-- migrate:up transaction:false\nA;\n-- migrate:down\nB;");
    assert_false(t.up_options.transaction);
    assert_true(t.down_options.transaction && t.down_options.lock);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"-- migrate:sideways\n", "line 1: unknown marker"},
        {"A;\n-- migrate:up\nB;", "line 2: statements stand before"},
        {"-- migrate:up\n-- migrate:up\n", "line 2: there is one migrate:up"},
        {"-- migrate:down\n-- migrate:up\n", "line 2: there is one migrate:up"},
        {"-- migrate:up\nA;\n-- busbar: lock=off\n", "line 3: options stand before"},
        {"-- busbar: transactions=off\n", "line 1: unknown option"},
        {"-- busbar: timeout=soon\n", "line 1: unknown option"},
        {"-- busbar: timeout=99999999h\n", "line 1: unknown option"},
        {"-- busbar: lock\n", "line 1: unknown option"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct migration_parts t;
        struct err err = ERR_INIT;
        assert_int_equal(migration_parse(MIGRATION_SECTIONS, str_c(rows[i].text), &t, &err), -1);
        if (strncmp(err.msg, rows[i].message, strlen(rows[i].message)) != 0) {
            fail_msg("%s: %s", rows[i].text, err.msg);
        }
    }
}

static void test_pair(void **state)
{
    struct migration_parts t;
    struct err err = ERR_INIT;
    assert_int_equal(
        migration_parse(MIGRATION_DOWN, STR("-- busbar: transaction=off\nDROP TABLE a;"), &t, &err), 0);
    assert_true(t.has_down && !t.down_options.transaction && t.up.n == 0);
    assert_str(t.down, "-- busbar: transaction=off\nDROP TABLE a;");
}

static void test_checksum(void **state)
{
    char one[MIGRATION_CHECKSUM], two[MIGRATION_CHECKSUM];
    migration_checksum(STR("A;\r\nB;\r\n"), one);
    migration_checksum(STR("\nA;\nB;"), two);
    assert_string_equal(one, two);
    migration_checksum(STR("A;\nB; "), two);
    assert_string_equal(one, two);
    migration_checksum(STR("A; B;"), two);
    assert_string_not_equal(one, two);
    migration_checksum(STR(""), one);
    assert_string_equal(one, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),    cmocka_unit_test(test_sections), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_options),  cmocka_unit_test(test_refused),  cmocka_unit_test(test_pair),
        cmocka_unit_test(test_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
