/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of COPY: each escape, NULL and the empty text, what is no line of so many columns. */
#include "shapes/copy_row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX = 8 };

struct line {
    char *text;
    struct value values[MAX];
    struct err err;
};

static int decode(struct line *l, struct str text, size_t columns)
{
    free(l->text);
    *l = (struct line){.text = malloc(text.n + 1)};
    memcpy(l->text, text.p, text.n);
    return copy_row_decode(l->text, text.n, l->values, columns, &l->err);
}

static void expect_text(const struct value *v, struct str text)
{
    assert_non_null(v->p);
    assert_int_equal(v->n, text.n);
    assert_memory_equal(v->p, text.p, text.n);
}

static void plain_values(void **state)
{
    struct line l = {0};
    assert_int_equal(decode(&l, STR("1\tabc\t\xC3\xA9\n"), 3), 0);
    expect_text(&l.values[0], STR("1"));
    expect_text(&l.values[1], STR("abc"));
    expect_text(&l.values[2], STR("\xC3\xA9"));
    assert_int_equal(decode(&l, STR("1\tabc"), 2), 0); /* without the line end */
    expect_text(&l.values[1], STR("abc"));
    free(l.text);
}

static void each_escape(void **state)
{
    struct line l = {0};
    assert_int_equal(decode(&l, STR("\\b\\f\\n\\r\\t\\v\\\\\ta\\\\b\\\\\\\\\tx\\ty\t\\\\N\n"), 4), 0);
    expect_text(&l.values[0], STR("\b\f\n\r\t\v\\"));
    expect_text(&l.values[1], STR("a\\b\\\\"));
    expect_text(&l.values[2], STR("x\ty"));
    expect_text(&l.values[3], STR("\\N"));
    assert_int_equal(decode(&l, STR("a\r\b\x01\x7F\n"), 1),
                     0); /* other control characters come as they are */
    expect_text(&l.values[0], STR("a\r\b\x01\x7F"));
    free(l.text);
}

static void null_and_empty(void **state)
{
    struct line l = {0};
    assert_int_equal(decode(&l, STR("\\N\t\tN\tNULL\t\\N\n"), 5), 0);
    assert_null(l.values[0].p);
    expect_text(&l.values[1], STR(""));
    expect_text(&l.values[2], STR("N"));
    expect_text(&l.values[3], STR("NULL"));
    assert_null(l.values[4].p);
    assert_int_equal(decode(&l, STR("\n"), 1), 0);
    expect_text(&l.values[0], STR(""));
    assert_int_equal(decode(&l, STR(""), 1), 0);
    expect_text(&l.values[0], STR(""));
    free(l.text);
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *text;
        size_t columns;
        const char *why;
    } rows[] = {
        {"a\tb\n", 3, "a row with fewer than 3 columns in COPY"},
        {"a\tb\n", 1, "a row with more than 1 columns in COPY"},
        {"\n", 2, "a row with fewer than 2 columns in COPY"},
        {"a\t\\x41\n", 2, "a malformed value in column 2 of a row in COPY"},
        {"\\101\n", 1, "a malformed value in column 1 of a row in COPY"},
        {"\\Na\n", 1, "a malformed value in column 1 of a row in COPY"},
        {"a\\N\n", 1, "a malformed value in column 1 of a row in COPY"},
        {"\\.\n", 1, "a malformed value in column 1 of a row in COPY"},
        {"a\\\tb\n", 2, "a malformed value in column 1 of a row in COPY"},
        {"a\\\n", 1, "a malformed value in column 1 of a row in COPY"},
        {"a\nb\n", 1, "a malformed value in column 1 of a row in COPY"},
        {"a\n\n", 1, "a malformed value in column 1 of a row in COPY"},
    };
    struct line l = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(decode(&l, str_c(rows[i].text), rows[i].columns), -1);
        assert_int_equal(l.err.kind, ERR_PEER);
        assert_string_equal(l.err.msg, rows[i].why);
    }
    free(l.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values),
        cmocka_unit_test(each_escape),
        cmocka_unit_test(null_and_empty),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
