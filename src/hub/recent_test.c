/* SPDX-License-Identifier: Apache-2.0 */
/* The newest transactions: found behind a position, forgotten up to one, remembered by their ids. */
#include "hub/recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void add(struct recent *r, lsn_t lsn, uint64_t xid)
{
    struct buf b = BUF_INIT(TXN_CHANGE_MAX);
    txn_begin(&b);
    txn_add_message(&b, STR("a"), STR("b"));
    txn_end(&b, &(struct txn_head){.end_lsn = lsn, .xid = xid});
    struct txn *t = txn_new(&b, &(struct txn_summary){0});
    recent_add(r, t);
    txn_unref(t);
}

static lsn_t next(const struct recent *r, lsn_t after)
{
    struct txn *t = recent_next(r, after);
    return t ? txn_head(t)->end_lsn : 0;
}

static void finds_what_follows(void **state)
{
    (void)state;
    struct recent *r = recent_new();
    assert_int_equal(next(r, 0), 0);
    for (lsn_t lsn = 10; lsn <= 1000; lsn += 10) {
        add(r, lsn, lsn);
        if (lsn % 70 == 0) {
            recent_forget(r, lsn - 35);
        }
    }
    assert_int_equal(next(r, 0), 950);
    assert_int_equal(next(r, 950), 960);
    assert_int_equal(next(r, 955), 960);
    assert_int_equal(next(r, 1000), 0);
    assert_true(recent_bytes(r) > 0);
    recent_forget(r, 1000);
    assert_int_equal(recent_bytes(r), 0);
    assert_int_equal(next(r, 0), 0);
    recent_free(r);
}

static bool sees_before(const void *ctx, uint64_t xid)
{
    return xid < *(const uint64_t *)ctx;
}

static void knows_what_a_snapshot_misses(void **state)
{
    (void)state;
    struct recent *r = recent_new();
    uint64_t all = UINT64_MAX, some = 2000;
    for (lsn_t lsn = 1; lsn <= 3000; lsn++) {
        add(r, lsn, lsn);
        recent_forget(r, lsn);
    }
    assert_false(recent_missed(r, 3000, sees_before, &all));
    assert_true(recent_missed(r, 3000, sees_before, &some));
    assert_true(recent_missed(r, 2000, sees_before, &some));
    assert_false(recent_missed(r, 1999, sees_before, &some)); /* those behind the position do not count */
    recent_reset(r);
    assert_false(recent_missed(r, 3000, sees_before, &some));
    recent_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_follows),
        cmocka_unit_test(knows_what_a_snapshot_misses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
