/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_every_short_head_wants_more(void **state)
{
    (void)state;
    struct frame_head head;
    struct err err;
    for (size_t n = 0; n < FRAME_HEAD; n++) {
        assert_int_equal(frame_peek("Z\0\0\0\5", n, &head, &err), FRAME_NEED_MORE);
    }
    assert_int_equal(frame_peek("Z\0\0\0\5", 5, &head, &err), FRAME_FOUND);
    assert_int_equal(head.type, 'Z');
    assert_int_equal(head.total, 6);
}

static void test_lengths_below_four_and_above_the_limit_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"Q\0\0\0\0", "Q\0\0\0\3", "Q\x40\0\0\1", "Q\xff\xff\xff\xff",
                                      "Q\x80\0\0\0"};
    struct frame_head head;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(frame_peek(bad[i], FRAME_HEAD, &head, &err), -1);
        assert_int_equal(err.kind, ERR_PEER);
    }
    assert_int_equal(frame_peek("Q\x40\0\0\0", FRAME_HEAD, &head, &err), FRAME_FOUND);
    assert_int_equal(head.total, (size_t)LIMIT_FRAME + 1);
}

static void check_run(struct str messages, size_t bytes, uint64_t messages_n)
{
    size_t count;
    assert_int_equal(frame_run(messages.p, messages.n, &count), bytes);
    assert_int_equal(count, messages_n);
}

static void test_a_run_is_of_whole_messages_of_one_type(void **state)
{
    check_run(STR("d\0\0\0\4d\0\0\0\5xd\0\0\0\4c\0\0\0\4"), 16, 3);
    check_run(STR("d\0\0\0\4"), 5, 1);
    check_run(STR("d\0\0\0\4d\0\0\0\5"), 5, 1);
    check_run(STR("d\0\0\0\4d\0\0\0"), 5, 1);
    check_run(STR("d\0\0\0\4d\0\0\0\3"), 5, 1);
    check_run(STR("d\0\0\0\5"), 0, 0);
    check_run(STR("d\xff\xff\xff\xffxxxx"), 0, 0);
    check_run(STR(""), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_short_head_wants_more),
        cmocka_unit_test(test_lengths_below_four_and_above_the_limit_are_refused),
        cmocka_unit_test(test_a_run_is_of_whole_messages_of_one_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
