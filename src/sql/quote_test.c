/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/quote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena = ARENA_INIT;

static int tear_down(void **state)
{
    arena_deinit(&arena);
    return 0;
}

static void quotes_identifiers(void **state)
{
    assert_string_equal(sql_ident(&arena, STR("items")), "\"items\"");
    assert_string_equal(sql_ident(&arena, STR("a\"b\"")), "\"a\"\"b\"\"\"");
    assert_string_equal(sql_ident(&arena, STR("\"")), "\"\"\"\"");
    assert_string_equal(sql_ident(&arena, STR("it's\\")), "\"it's\\\"");
    assert_string_equal(sql_ident(&arena, (struct str){NULL, 0}), "\"\"");
}

static void quotes_literals(void **state)
{
    assert_string_equal(sql_literal(&arena, STR("a")), "'a'");
    assert_string_equal(sql_literal(&arena, STR("it's ''")), "'it''s '''''");
    assert_string_equal(sql_literal(&arena, STR("a\\'b\\")), "E'a\\\\''b\\\\'");
    assert_string_equal(sql_literal(&arena, (struct str){NULL, 0}), "''");
}

static void overflows_instead_of_cutting(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(4);
    sql_put_literal(&b, STR("abc"));
    assert_true(b.overflow);
}

static void check(struct str text, bool std_strings, const char *expected)
{
    struct lex l = lex_init(text, std_strings);
    struct token t = lex_next(&l);
    struct str value = sql_unquote(&arena, &t);
    assert_int_equal(l.pos, text.n);
    assert_int_equal(value.n, strlen(expected));
    assert_memory_equal(value.p, expected, value.n);
}

static void unquotes_names(void **state)
{
    check(STR("ItemS_$1"), true, "items_$1");
    check(STR("KÖln"), true, "kÖln");
    check(STR("\"It\"\"em\""), true, "It\"em");
    check(STR("\"\""), true, "");
    check(STR("U&\"d\\0061t\\+000061 \\\\\""), true, "data \\");
}

static void unquotes_strings(void **state)
{
    check(STR("'it''s \\n'"), true, "it's \\n");
    check(STR("'it\\'s'"), false, "it's");
    check(STR("E'\\b\\f\\n\\r\\t\\101\\x4a\\u00e4\\U0001F600\\z\\''"), true, "\b\f\n\r\tAJä😀z'");
    check(STR("E'\\x\\u12\\q'"), true, "xu12q");
    check(STR("N'n'"), true, "n");
    check(STR("B'01'"), true, "01");
    check(STR("U&'\\00e4''\\+01F600'"), true, "ä'😀");
    check(STR("$$a'b$$"), true, "a'b");
    check(STR("$t$$$;$t$"), true, "$$;");
    check(STR("'a' -- it's\n 'b'\n'c'"), true, "abc");
    check(STR("E'a'\n'\\tb'"), true, "a\tb");
}

static void leaves_other_tokens(void **state)
{
    check(STR("12.5"), true, "12.5");
    check(STR("$1"), true, "$1");
    check(STR("'abc"), true, "'abc");
}

/* Whatever bytes a value has, unquoting what was quoted gives it back, with either setting. */
static void round_trips(void **state)
{
    static const char bytes[] = "a'\"\\$;\n-/*E\x80\xc3";
    unsigned seed = 7;
    for (int i = 0; i < 20000; i++) {
        char text[12];
        size_t n = (size_t)rand_r(&seed) % sizeof text;
        for (size_t k = 0; k < n; k++) {
            text[k] = bytes[(size_t)rand_r(&seed) % (sizeof bytes - 1)];
        }
        struct str value = {text, n};
        bool std_strings = i % 2;
        struct str quoted[] = {str_c(sql_ident(&arena, value)), str_c(sql_literal(&arena, value))};
        for (size_t k = 0; k < ARRAY_LEN(quoted); k++) {
            struct lex l = lex_init(quoted[k], std_strings);
            struct token t = lex_next(&l);
            assert_int_equal(t.text.n, quoted[k].n);
            assert_true(str_eq(sql_unquote(&arena, &t), value));
        }
        arena_reset(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(quotes_identifiers, tear_down),
        cmocka_unit_test_teardown(quotes_literals, tear_down),
        cmocka_unit_test_teardown(overflows_instead_of_cutting, tear_down),
        cmocka_unit_test_teardown(unquotes_names, tear_down),
        cmocka_unit_test_teardown(unquotes_strings, tear_down),
        cmocka_unit_test_teardown(leaves_other_tokens, tear_down),
        cmocka_unit_test_teardown(round_trips, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
