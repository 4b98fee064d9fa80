/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/toml.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>

/* "table.key=value" a line, as the reader told it. */
static int note(void *ctx, const char *table, const char *key, const struct toml_value *value,
                struct err *err)
{
    struct buf *out = ctx;
    buf_printf(out, "%s/%s=", table, key);
    for (size_t i = 0; i < value->items_n; i++) {
        buf_printf(out, "<%s>", value->items[i]);
    }
    buf_printf(out, "%s;", value->kind == TOML_LIST ? "" : value->text);
    return strcmp(key, "refused") == 0 ? err_set(err, ERR_INPUT, "no") : 0;
}

static void test_values(void **state)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"", ""},
        {"# only\n\n  # comments", ""},
        {"a = 1", "/a=1;"},
        {"a = true # on\r\nb=false", "/a=true;/b=false;"},
        {"[t]\na = 'x\\y'", "t/a=x\\y;"},
        {"[repo.main]\nurl = \"a\\\"b\\\\c\\n\"", "repo.main/url=a\"b\\c\n;"},
        {"[ repo . \"a b\" ]\nk=''", "repo.a b/k=;"},
        {"l = []", "/l=;"},
        {"l = [\"a\", 'b', # c\n \"d\",\n]", "/l=<a><b><d>;"},
        {"\"quoted key\" = 7", "/quoted key=7;"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = ARENA_INIT;
        struct err err = ERR_INIT;
        struct buf told = BUF_INIT(4096);
        assert_int_equal(toml_read(&a, str_c(rows[i].text), note, &told, &err), 0);
        assert_string_equal(buf_cstr(&told), rows[i].told);
        buf_deinit(&told);
        arena_deinit(&a);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"a", "line 1: = was expected"},
        {"\n\na = ", "line 3: a value was expected"},
        {"a = 1 2", "line 1: something follows"},
        {"a = \"x", "line 1: a string has no end"},
        {"a = \"x\ny\"", "line 1: a string has no end"},
        {"a = \"\\q\"", "line 1: unknown escape"},
        {"a = 1.5", "line 1: something follows"},
        {"a = -1", "line 1: a value is"},
        {"a = 99999999999999999999", "line 1: a value is"},
        {"[t", "line 1: a table's name ends"},
        {"[[t]]", "line 1: a name was expected"},
        {"[t] a = 1", "line 1: something follows"},
        {"a = [1]", "line 1: a list holds strings"},
        {"a = ['x' 'y']", "line 1: the strings of a list"},
        {"a = {b = 1}", "line 1: a value was expected"},
        {"a.b = 1", "line 1: = was expected"},
        {"ok = 1\nrefused = 1", "line 2: no"},
        {"a = ['x',", "line 1: a list holds strings"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = ARENA_INIT;
        struct err err = ERR_INIT;
        struct buf told = BUF_INIT(4096);
        assert_int_equal(toml_read(&a, str_c(rows[i].text), note, &told, &err), -1);
        if (strncmp(err.msg, rows[i].message, strlen(rows[i].message)) != 0) {
            fail_msg("%s: %s", rows[i].text, err.msg);
        }
        buf_deinit(&told);
        arena_deinit(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
