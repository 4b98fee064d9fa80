/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct bench {
    struct loop *loop;
    int ran[3];
};

static struct bench *bench; /* of the test that runs */

static void count(void *ctx)
{
    ++*(int *)ctx;
}

static void forget_the_others(void *ctx)
{
    count(ctx);
    loop_post(bench->loop, count, &bench->ran[2]);
    loop_post_forget(bench->loop, &bench->ran[1]);
    loop_post_forget(bench->loop, &bench->ran[2]);
}

static void stop(void *ctx)
{
    loop_stop(ctx);
}

/* What was posted before the one that forgets runs no more than what it posts itself. */
static void forgotten_from_a_post(void **state)
{
    struct bench b = {.loop = loop_new()};
    bench = &b;
    loop_post(b.loop, forget_the_others, &b.ran[0]);
    loop_post(b.loop, count, &b.ran[1]);
    loop_post(b.loop, stop, b.loop);
    loop_run(b.loop);
    loop_free(b.loop);
    assert_int_equal(b.ran[0], 1);
    assert_int_equal(b.ran[1], 0);
    assert_int_equal(b.ran[2], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forgotten_from_a_post),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
