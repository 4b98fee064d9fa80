/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_appends_and_stays_a_c_string_away(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    assert_string_equal(buf_cstr(&b), "");
    buf_put_c(&b, "ab");
    buf_put_byte(&b, 'c');
    buf_printf(&b, "%d%s", 7, "x");
    assert_string_equal(buf_cstr(&b), "abc7x");
    assert_int_equal(b.n, 5);
    buf_consume(&b, 2);
    assert_string_equal(buf_cstr(&b), "c7x");
}

static void test_the_maximum_is_never_passed_and_not_forgotten(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(4);
    buf_put_c(&b, "abcd");
    assert_false(b.overflow);
    buf_put_byte(&b, 'e');
    assert_true(b.overflow);
    assert_string_equal(buf_cstr(&b), "abcd");
    buf_consume(&b, 4);
    buf_put_c(&b, "x"); /* a message with a hole in it is worse than none */
    assert_int_equal(b.n, 0);
    buf_reset(&b);
    buf_printf(&b, "%s", "too long");
    assert_true(b.overflow);
    buf_reset(&b);
    buf_put_c(&b, "wxyz");
    assert_false(b.overflow);
}

static void test_a_length_is_filled_in_afterwards(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(100);
    buf_put_u32be(&b, 0);
    buf_put_u16be(&b, 0x0102);
    buf_set_u32be(&b, 0, 0xa0b0c0d0);
    assert_memory_equal(b.p, "\xa0\xb0\xc0\xd0\1\2", 6);
}

static void test_deinit_may_run_twice_and_leaves_it_usable(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(10);
    buf_put_c(&b, "x");
    buf_deinit(&b);
    buf_deinit(&b);
    buf_put_c(&b, "y");
    assert_string_equal(buf_cstr(&b), "y");
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_and_stays_a_c_string_away),
        cmocka_unit_test(test_the_maximum_is_never_passed_and_not_forgotten),
        cmocka_unit_test(test_a_length_is_filled_in_afterwards),
        cmocka_unit_test(test_deinit_may_run_twice_and_leaves_it_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
