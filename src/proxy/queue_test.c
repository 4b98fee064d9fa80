/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/queue.h"

#include "base/limits.h"
#include "proxy/special.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_answers_come_out_in_the_order_in_which_they_went_in(void **state)
{
    (void)state;
    struct answers q = {0};
    uint8_t in = 0, out = 0;
    for (int round = 0; round < 50; round++) { /* the ring wraps and grows in between */
        for (int i = 0; i < 7; i++) {
            assert_true(answers_push(&q, (struct answer){.kind = in++}));
        }
        for (int i = 0; i < 5; i++) {
            assert_int_equal(answers_pop(&q).kind, out++);
        }
    }
    while (q.n > 0) {
        assert_int_equal(answers_pop(&q).kind, out++);
    }
    assert_int_equal(in, out);
    answers_deinit(&q);
}

static void test_one_in_the_middle_can_be_taken_out(void **state)
{
    (void)state;
    struct answers q = {0};
    for (uint8_t i = 0; i < 4; i++) {
        assert_true(answers_push(&q, (struct answer){.kind = i}));
    }
    answers_remove(&q, 2);
    assert_int_equal(answers_pop(&q).kind, 0);
    assert_int_equal(answers_pop(&q).kind, 1);
    assert_int_equal(answers_pop(&q).kind, 3);
    assert_int_equal(q.n, 0);
    answers_deinit(&q);
}

static void test_a_pipeline_without_end_reaches_the_limit(void **state)
{
    (void)state;
    struct answers q = {0};
    uint32_t pushed = 0;
    while (answers_push(&q, (struct answer){0})) {
        pushed++;
    }
    assert_true(pushed >= LIMIT_PIPELINE && pushed < 2 * LIMIT_PIPELINE);
    answers_deinit(&q);
}

static void test_specials_are_found_by_name_until_replaced(void **state)
{
    (void)state;
    struct special_map m = {0};
    char name[20];
    for (int i = 0; i < 1000; i++) {
        struct special *s = special_new(STATEMENT_DDL, STR("create table t ()"));
        s->point_at = (uint32_t)i;
        snprintf(name, sizeof name, "s%d", i);
        assert_true(special_map_set(&m, str_c(name), s));
        special_unref(s);
    }
    assert_int_equal(special_map_get(&m, STR("s777"))->point_at, 777);
    assert_null(special_map_get(&m, STR("s1000")));
    assert_null(special_map_get(&m, STR("")));
    assert_true(special_map_set(&m, STR("s777"), NULL));
    assert_null(special_map_get(&m, STR("s777")));
    assert_int_equal(m.n, 999);
    special_map_deinit(&m);
}

static void test_a_special_outlives_its_name(void **state)
{
    (void)state;
    struct special_map m = {0};
    struct special *s = special_new(STATEMENT_COMMIT, STR("commit"));
    assert_true(special_map_set(&m, STR("a"), s));
    assert_true(special_map_set(&m, STR("a"), NULL));
    assert_true(str_eq(s->text, STR("commit")));
    special_unref(s);
    special_map_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_out_in_the_order_in_which_they_went_in),
        cmocka_unit_test(test_one_in_the_middle_can_be_taken_out),
        cmocka_unit_test(test_a_pipeline_without_end_reaches_the_limit),
        cmocka_unit_test(test_specials_are_found_by_name_until_replaced),
        cmocka_unit_test(test_a_special_outlives_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
