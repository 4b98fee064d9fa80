/* SPDX-License-Identifier: Apache-2.0 */
#include "feed/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void slot_names(void **state)
{
    static const struct {
        const char *database, *slot;
    } rows[] = {
        {"electric", "electric_replication_out_electric"},
        {"My-App 2", "electric_replication_out_my_app_2"},
        {"__x__", "electric_replication_out_x"},
        {"a\xc3\xa4z", "electric_replication_out_a_z"},
        {"\xc3\xa4", "electric_replication_out_"},
        {"a12345678901234567890123456789012345678901234567890123456789",
         "electric_replication_out_a1234567890123456789012345678901234567"},
        {"a123456789012345678901234567890123456-bcdef",
         "electric_replication_out_a123456789012345678901234567890123456_"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char slot[FEED_SLOT];
        feed_slot_name(str_c(rows[i].database), slot);
        assert_string_equal(slot, rows[i].slot);
    }
}

static const struct txlog_identity same = {.system = 7, .database = 5, .timeline = 1, .slot = "s"};

/* A server that the log at 1000 can go on with. */
static struct feed_facts good(void)
{
    return (struct feed_facts){
        .identity = same, .server = 2000, .forked = UINT64_MAX, .has_slot = true, .confirmed = 900};
}

static void expect(const struct feed_facts *f, enum feed_verdict verdict, const char *reason)
{
    const char *found;
    assert_int_equal(feed_decide(f, &same, 1000, &found), verdict);
    if (reason) {
        assert_non_null(found);
        assert_non_null(strstr(found, reason));
    } else {
        assert_null(found);
    }
}

static void goes_on_where_it_can(void **state)
{
    (void)state;
    struct feed_facts f = good();
    expect(&f, FEED_RESUME, NULL);
    f.confirmed = f.server = f.forked = 1000;
    f.identity.timeline = 2;
    expect(&f, FEED_RESUME, NULL);
}

static void begins_anew_where_something_is_missing(void **state)
{
    (void)state;
    struct feed_facts f = good();
    f.identity.system = 8;
    expect(&f, FEED_ANEW, "server is another one");
    f = good();
    f.identity.database = 6;
    expect(&f, FEED_ANEW, "database is another one");
    f = good();
    f.has_slot = false;
    expect(&f, FEED_ANEW, "slot is gone");
    f = good();
    f.is_lost = true;
    expect(&f, FEED_ANEW, "invalidated");
    f = good();
    f.confirmed = 1001;
    expect(&f, FEED_ANEW, "moved on");
    f = good();
    f.server = 999;
    expect(&f, FEED_ANEW, "has lost transactions");
    f = good();
    f.forked = 999;
    expect(&f, FEED_ANEW, "has lost transactions");
}

static void an_empty_log_loses_nothing(void **state)
{
    (void)state;
    const char *reason;
    struct feed_facts f = good();
    assert_int_equal(feed_decide(&f, &(struct txlog_identity){0}, 0, &reason), FEED_ANEW);
    assert_null(reason);
}

/* Whatever else is wrong, nothing is dropped that somebody uses. */
static void waits_where_it_must(void **state)
{
    (void)state;
    struct feed_facts f = {.identity = same, .has_slot = true, .is_active = true};
    expect(&f, FEED_REFUSED, "Another instance of Busbar appears to be connected to this database");
    f.is_own = true;
    expect(&f, FEED_REFUSED, "our last connection");
    f = good();
    f.is_elsewhere = true;
    expect(&f, FEED_REFUSED, "another database");
    f = good();
    f.is_standby = true;
    expect(&f, FEED_REFUSED, "standby");
}

static void where_a_timeline_was_left(void **state)
{
    struct str history = STR("1\t0/3000A28\tno recovery target specified\n\n2\t1/40\tbefore 2000-01-01\n");
    (void)state;
    assert_int_equal(feed_fork(history, 1), 0x3000A28);
    assert_int_equal(feed_fork(history, 2), 0x100000040);
    assert_int_equal(feed_fork(history, 3), 0);
    assert_int_equal(feed_fork(STR(""), 1), 0);
    assert_int_equal(feed_fork(STR("1\tx"), 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slot_names),
        cmocka_unit_test(goes_on_where_it_can),
        cmocka_unit_test(begins_anew_where_something_is_missing),
        cmocka_unit_test(an_empty_log_loses_nothing),
        cmocka_unit_test(waits_where_it_must),
        cmocka_unit_test(where_a_timeline_was_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
