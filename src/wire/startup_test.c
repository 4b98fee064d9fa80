/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/startup.h"

#include "base/buf.h"
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void make(struct buf *b, uint32_t code, const char *body, size_t n)
{
    buf_reset(b);
    buf_put_u32be(b, (uint32_t)(8 + n));
    buf_put_u32be(b, code);
    buf_put(b, body, n);
}

#define MAKE(b, code, literal) make(b, code, literal, sizeof(literal) - 1)

static void test_a_session_says_user_database_and_parameters(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_STARTUP_PACKET);
    struct startup su;
    struct err err;
    MAKE(&b, 0x00030000, "user\0me\0TimeZone\0UTC\0_pq_.x\0y\0\0");
    assert_int_equal(startup_parse(buf_str(&b), &su, &err), 0);
    assert_int_equal(su.kind, STARTUP_SESSION);
    assert_true(str_eq(su.user, STR("me")));
    assert_true(str_eq(su.database, STR("me"))); /* as PostgreSQL does */
    assert_int_equal(su.n, 1);
    assert_true(str_eq(su.parameters[0].value, STR("UTC")));
    assert_int_equal(su.unknown_n, 1);
    assert_false(su.replication);
}

static void test_replication_is_seen_in_all_its_forms(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool on;
    } forms[] = {{"true", true}, {"database", true}, {"1", true},
                 {"off", false}, {"0", false},       {"no", false}};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_STARTUP_PACKET);
        CLEANUP(buf_deinit) struct buf body = BUF_INIT(1000);
        struct startup su;
        struct err err;
        buf_printf(&body, "user%cme%creplication%c%s%c", 0, 0, 0, forms[i].value, 0);
        buf_put_byte(&body, 0);
        make(&b, 0x00030000, body.p, body.n);
        assert_int_equal(startup_parse(buf_str(&b), &su, &err), 0);
        assert_int_equal(su.replication, forms[i].on);
    }
}

static void test_requests_are_told_apart(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_STARTUP_PACKET);
    struct startup su;
    struct err err;
    MAKE(&b, 80877103, "");
    assert_int_equal(startup_parse(buf_str(&b), &su, &err), 0);
    assert_int_equal(su.kind, STARTUP_SSL);
    MAKE(&b, 80877104, "");
    assert_int_equal(startup_parse(buf_str(&b), &su, &err), 0);
    assert_int_equal(su.kind, STARTUP_GSSENC);
    MAKE(&b, 80877102, "\0\0\0\7\0\0\0\11");
    assert_int_equal(startup_parse(buf_str(&b), &su, &err), 0);
    assert_int_equal(su.kind, STARTUP_CANCEL);
    assert_int_equal(su.pid, 7);
    assert_int_equal(su.secret, 9);
    MAKE(&b, 80877102, "\0\0\0\7");
    assert_int_equal(startup_parse(buf_str(&b), &su, &err), -1);
    MAKE(&b, 80877103, "surplus");
    assert_int_equal(startup_parse(buf_str(&b), &su, &err), -1);
}

static void test_malformed_parameters_are_refused(void **state)
{
    (void)state;
    static const struct str bad[] = {
        {"", 0}, {"user", 4}, {"user\0", 5}, {"user\0me\0", 8}, {"user\0me\0\0x", 10}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_STARTUP_PACKET);
        struct startup su;
        struct err err;
        make(&b, 0x00030000, bad[i].p, bad[i].n);
        assert_int_equal(startup_parse(buf_str(&b), &su, &err), -1);
    }
}

static void test_too_many_parameters_reach_the_limit(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf body = BUF_INIT(LIMIT_STARTUP_PACKET);
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_STARTUP_PACKET);
    struct startup su;
    struct err err;
    for (int i = 0; i <= STARTUP_PARAMETERS; i++) {
        buf_put(&body, "a\0b\0", 4);
    }
    buf_put_byte(&body, 0);
    make(&b, 0x00030000, body.p, body.n);
    assert_int_equal(startup_parse(buf_str(&b), &su, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void test_lengths_are_bounded(void **state)
{
    (void)state;
    size_t total;
    struct err err;
    assert_int_equal(startup_peek("\0\0\0", 3, &total, &err), STARTUP_NEED_MORE);
    assert_int_equal(startup_peek("\0\0\0\7", 4, &total, &err), -1);
    assert_int_equal(startup_peek("\0\0\x27\x11", 4, &total, &err), -1);
    assert_int_equal(startup_peek("GET ", 4, &total, &err), -1);
    assert_int_equal(startup_peek("\0\0\0\10\0\0\0", 7, &total, &err), STARTUP_NEED_MORE);
    assert_int_equal(startup_peek("\0\0\0\10\4\3\2\1", 8, &total, &err), STARTUP_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_says_user_database_and_parameters),
        cmocka_unit_test(test_replication_is_seen_in_all_its_forms),
        cmocka_unit_test(test_requests_are_told_apart),
        cmocka_unit_test(test_malformed_parameters_are_refused),
        cmocka_unit_test(test_too_many_parameters_reach_the_limit),
        cmocka_unit_test(test_lengths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
