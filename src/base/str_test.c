/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include "base/rd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_comparison_folds_ascii_only(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Electric"), STR("eLECTRIC")));
    assert_false(str_eq_nocase(STR("\xc3\x84"), STR("\xc3\xa4")));
    assert_false(str_eq_nocase(STR("ab"), STR("abc")));
    assert_true(str_eq((struct str){NULL, 0}, STR("")));
    assert_true(str_starts_with(STR("abc"), STR("ab")));
    assert_false(str_starts_with(STR("a"), STR("ab")));
}

static void test_cut_takes_what_is_before_the_separator(void **state)
{
    (void)state;
    struct str s = STR("a=b=c");
    assert_true(str_eq(str_cut(&s, '='), STR("a")));
    assert_true(str_eq(str_cut(&s, '='), STR("b")));
    assert_true(str_eq(str_cut(&s, '='), STR("c")));
    assert_int_equal(s.n, 0);
    assert_true(str_eq(str_trim(STR(" \t a b \r\n")), STR("a b")));
    assert_int_equal(str_trim(STR("  ")).n, 0);
}

static void test_utf8_is_well_formed(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xC2\x80",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF",
                                       "caf\xC3\xA9 \xE2\x82\xAC"};
    static const char *const bad[] = {"\x80",
                                      "\xC1\xBF",
                                      "\xC3",
                                      "\xC3(",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xE2\x82",
                                      "\xE2\x82(",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xF0\x90\x80",
                                      "a\xFF"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(str_is_utf8(str_c(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_is_utf8(str_c(bad[i])));
    }
}

static void test_numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", " 1", "1 ", "-1", "+1", "1x", "18446744073709551616", "99999999999999999999999"};
    uint64_t v;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(str_to_u64(str_c(bad[i]), UINT64_MAX, &v));
    }
    assert_true(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    assert_true(str_to_u64(STR("65535"), 65535, &v));
    assert_false(str_to_u64(STR("65536"), 65535, &v));
}

static void test_booleans_take_postgresqls_words(void **state)
{
    (void)state;
    bool v;
    assert_true(str_to_bool(STR("ON"), &v) && v);
    assert_true(str_to_bool(STR("f"), &v) && !v);
    assert_false(str_to_bool(STR(""), &v));
    assert_false(str_to_bool(STR("maybe"), &v));
}

static void test_a_short_read_never_looks_like_a_message(void **state)
{
    (void)state;
    struct rd r = rd_init("\0\1", 2);
    assert_int_equal(rd_u32be(&r), 0);
    assert_true(r.failed);
    assert_int_equal(rd_u8(&r), 0); /* what is left is not read any more */
    assert_false(rd_done(&r));
    r = rd_init("ab", 2);
    assert_int_equal(rd_cstr(&r).n, 0); /* no NUL */
    assert_true(r.failed);
    r = rd_init("ab\0c", 4);
    assert_true(str_eq(rd_cstr(&r), STR("ab")));
    assert_false(rd_done(&r));
    assert_true(str_eq(rd_rest(&r), STR("c")));
    assert_true(rd_done(&r));
    r = rd_init("x", 1);
    rd_bytes(&r, SIZE_MAX);
    assert_true(r.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparison_folds_ascii_only),
        cmocka_unit_test(test_cut_takes_what_is_before_the_separator),
        cmocka_unit_test(test_utf8_is_well_formed),
        cmocka_unit_test(test_numbers_are_whole_and_in_range),
        cmocka_unit_test(test_booleans_take_postgresqls_words),
        cmocka_unit_test(test_a_short_read_never_looks_like_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
