/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_pieces_are_aligned_apart_and_stay(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    char *pieces[200];
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        pieces[i] = arena_alloc(&a, i * 7 + 1);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, i * 7 + 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        assert_int_equal((unsigned char)pieces[i][i * 7], i);
    }
    arena_deinit(&a);
    arena_deinit(&a);
}

static void test_reset_gives_memory_back_and_goes_on(void **state)
{
    (void)state;
    struct arena a = ARENA_INIT;
    memset(arena_alloc(&a, 100000), 1, 100000);
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    assert_string_equal(arena_strdup(&a, "abc"), "abc");
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
    assert_string_equal(arena_str(&a, STR("slice")).p, "slice");
    arena_reset(&a);
    arena_reset(&a);
    arena_deinit(&a);
}

static void test_errors_keep_their_kind_when_given_context(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(err_set_sqlstate(&err, ERR_UPSTREAM, "42P01", "no %s", "table"), -1);
    assert_int_equal(err_context(&err, "while %s", "looking"), -1);
    assert_string_equal(err.msg, "while looking: no table");
    assert_string_equal(err.sqlstate, "42P01");
    assert_int_equal(err.kind, ERR_UPSTREAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_are_aligned_apart_and_stay),
        cmocka_unit_test(test_reset_gives_memory_back_and_goes_on),
        cmocka_unit_test(test_errors_keep_their_kind_when_given_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
