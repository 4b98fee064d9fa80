/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a client: written and read back whole; damage is noticed. */
#include "hub/state.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static void comes_back_whole(void **state)
{
    (void)state;
    struct client_state s = {.user_id = mem_strdup("alice"), .acked_lsn = 1ull << 40}, back;
    struct buf b = BUF_INIT(STATE_MAX);
    struct err err;
    client_state_add(&s, STR("one"), STR("a\0b"));
    struct subscription_state *two = client_state_add(&s, STR("two"), STR(""));
    two->lsn = 7;
    two->unsubscribed = true;
    two->gone_lsn = UINT64_MAX;
    client_state_encode(&s, &b);
    assert_int_equal(client_state_decode(buf_str(&b), &back, &err), 0);
    assert_string_equal(back.user_id, "alice");
    assert_int_equal(back.acked_lsn, 1ull << 40);
    assert_int_equal(back.n, 2);
    assert_int_equal(client_state_find(&back, STR("one"))->request_n, 3);
    assert_memory_equal(client_state_find(&back, STR("one"))->request, "a\0b", 3);
    assert_true(client_state_find(&back, STR("two"))->unsubscribed);
    assert_int_equal(client_state_find(&back, STR("two"))->gone_lsn, UINT64_MAX);
    client_state_deinit(&back);
    two->leaving = true;
    two->unsubscribed = false;
    two->gone_lsn = 0;
    buf_reset(&b);
    client_state_encode(&s, &b);
    assert_int_equal(client_state_decode(buf_str(&b), &back, &err), 0);
    assert_true(client_state_find(&back, STR("two"))->unsubscribed);
    assert_int_equal(client_state_find(&back, STR("two"))->gone_lsn, UINT64_MAX);
    assert_false(client_state_find(&back, STR("two"))->leaving);
    client_state_remove(&back, STR("one"));
    client_state_remove(&back, STR("never"));
    assert_null(client_state_find(&back, STR("one")));
    assert_int_equal(back.n, 1);
    client_state_clear(&back);
    assert_int_equal(back.n, 0);
    assert_string_equal(back.user_id, "alice");
    client_state_deinit(&back);
    client_state_deinit(&s);
    buf_deinit(&b);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    struct client_state back;
    struct err err;
    assert_int_equal(client_state_decode(STR("\x0a\x7f"), &back, &err), -1);
    assert_int_equal(err.kind, ERR_INTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_whole),
        cmocka_unit_test(damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
