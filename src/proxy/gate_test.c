/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/gate.h"

#include "base/limits.h"
#include "wire/frame.h"
#include "wire/md5.h"
#include "wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *the_reason;

static bool refused(void *ctx, enum proxy_error *out_error, const char **out_what)
{
    (void)ctx;
    *out_error = PROXY_NOT_READY;
    *out_what = the_reason;
    return the_reason != NULL;
}

static struct scram_verifier verifier;
static struct gate_policy policy = {
    .method = GATE_MD5, .password = {"secret", 6}, .verifier = &verifier, .refused = refused};

struct knock {
    struct gate gate;
    struct buf out;
    struct err log;
    enum gate_outcome outcome;
    size_t used;
};

static void begin(struct knock *k)
{
    gate_init(&k->gate, &policy);
    k->out = (struct buf)BUF_INIT(100000);
    k->log = (struct err)ERR_INIT;
}

static void end(struct knock *k)
{
    gate_deinit(&k->gate);
    buf_deinit(&k->out);
}

static void feed(struct knock *k, const void *p, size_t n)
{
    buf_reset(&k->out);
    k->outcome = gate_feed(&k->gate, (struct str){p, n}, &k->used, &k->out, &k->log);
}

static void feed_startup(struct knock *k, uint32_t code, const char *body, size_t n)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(100000);
    buf_put_u32be(&b, (uint32_t)(8 + n));
    buf_put_u32be(&b, code);
    buf_put(&b, body, n);
    feed(k, b.p, b.n);
}

#define STARTUP_PACKET(k, code, literal) feed_startup(k, code, literal, sizeof(literal) - 1)

static void feed_password(struct knock *k, const char *body, size_t n)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(100000);
    buf_put_byte(&b, 'p');
    buf_put_u32be(&b, (uint32_t)(4 + n));
    buf_put(&b, body, n);
    feed(k, b.p, b.n);
}

static void assert_refused(const struct knock *k, const char *sqlstate)
{
    assert_int_equal(k->outcome, GATE_CLOSED);
    assert_true(k->out.n > FRAME_HEAD && k->out.p[0] == 'E');
    struct str body = {k->out.p + FRAME_HEAD, k->out.n - FRAME_HEAD};
    assert_true(str_eq(message_field(body, 'C'), str_c(sqlstate)));
    assert_true(str_eq(message_field(body, 'S'), STR("FATAL")));
    assert_string_equal(k->log.sqlstate, sqlstate);
}

static void test_encryption_is_declined_and_the_session_goes_on(void **state)
{
    (void)state;
    struct knock k;
    begin(&k);
    STARTUP_PACKET(&k, 80877103, "");
    assert_int_equal(k.outcome, GATE_MORE);
    assert_int_equal(k.out.n, 1);
    assert_int_equal(k.out.p[0], 'N');
    STARTUP_PACKET(&k, 80877104, "");
    assert_int_equal(k.out.p[0], 'N');
    STARTUP_PACKET(&k, 80877103, "");
    assert_refused(&k, "08P01");
    end(&k);
}

static void test_md5_lets_any_user_in_with_the_password(void **state)
{
    (void)state;
    struct knock k;
    struct err err;
    char answer[MD5_ANSWER_SIZE + 1];
    begin(&k);
    STARTUP_PACKET(&k, 0x30000, "user\0anyone\0\0");
    assert_int_equal(k.outcome, GATE_MORE);
    assert_memory_equal(k.out.p, "R\0\0\0\14\0\0\0\5", 9);
    assert_int_equal(
        md5_password_digest(policy.password, STR("anyone"), (const uint8_t *)k.out.p + 9, answer, &err), 0);
    feed_password(&k, answer, sizeof answer);
    assert_int_equal(k.outcome, GATE_PASSED);
    assert_true(str_eq(k.gate.startup.database, STR("anyone")));
    end(&k);
}

static void test_password_messages_of_every_wrong_shape_are_refused(void **state)
{
    (void)state;
    static const struct str bad[] = {{"", 0},         {"\0", 1},
                                     {"md5", 3},      {"md5\0", 4},
                                     {"secret\0", 7}, {"md5ffffffffffffffffffffffffffffffff\0", 36}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct knock k;
        begin(&k);
        STARTUP_PACKET(&k, 0x30000, "user\0postgres\0\0");
        feed_password(&k, bad[i].p, bad[i].n);
        assert_refused(&k, "28P01");
        assert_string_equal(k.log.msg, "Password authentication failed for user \"postgres\"");
        end(&k);
    }
}

static void test_scram_messages_of_every_wrong_shape_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct str body;
        const char *sqlstate;
    } bad[] = {
        {{"", 0}, "28P01"},
        {{"md5abc\0", 7}, "28P01"},
        {{"SCRAM-SHA-256\0\xff\xff\xff\xff", 18}, "28P01"},
        {{"SCRAM-SHA-256\0\0\0\0\7n,,", 21}, "28P01"},
        {{"SCRAM-SHA-1\0\0\0\0\0", 16}, "08P01"},
        {{"SCRAM-SHA-256\0\0\0\0\3n,,", 21}, "08P01"},
    };
    policy.method = GATE_SCRAM;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct knock k;
        begin(&k);
        STARTUP_PACKET(&k, 0x30000, "user\0postgres\0\0");
        assert_memory_equal(k.out.p, "R\0\0\0\x17\0\0\0\12SCRAM-SHA-256\0\0", 24);
        feed_password(&k, bad[i].body.p, bad[i].body.n);
        assert_refused(&k, bad[i].sqlstate);
        end(&k);
    }
    policy.method = GATE_MD5;
}

static void test_what_is_not_for_the_proxy_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct knock k;
    begin(&k);
    STARTUP_PACKET(&k, 0x20000, "user\0me\0\0");
    assert_refused(&k, "0A000");
    end(&k);
    begin(&k);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0replication\0database\0\0");
    assert_refused(&k, "0A000");
    end(&k);
    begin(&k);
    STARTUP_PACKET(&k, 0x30000, "database\0x\0\0");
    assert_refused(&k, "28000");
    end(&k);
    the_reason = "not yet";
    begin(&k);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    assert_refused(&k, "57P03");
    assert_string_equal(k.log.msg, "not yet");
    end(&k);
    the_reason = NULL;
}

static void test_newer_protocols_are_negotiated_down(void **state)
{
    (void)state;
    struct knock k;
    begin(&k);
    STARTUP_PACKET(&k, 0x30002, "user\0me\0_pq_.new\0on\0\0");
    assert_int_equal(k.outcome, GATE_MORE);
    assert_memory_equal(k.out.p, "v\0\0\0\25\0\0\0\0\0\0\0\1_pq_.new\0R", 23);
    end(&k);
}

static void test_a_cancel_request_gives_its_key(void **state)
{
    (void)state;
    struct knock k;
    begin(&k);
    STARTUP_PACKET(&k, 80877102, "\0\0\0\7\1\2\3\4");
    assert_int_equal(k.outcome, GATE_CANCEL);
    assert_int_equal(k.gate.startup.pid, 7);
    end(&k);
}

static void test_packets_may_arrive_in_pieces_and_nothing_else_may_come(void **state)
{
    (void)state;
    struct knock k;
    begin(&k);
    feed(&k, "\0\0\0\13\0\3\0", 7);
    assert_int_equal(k.outcome, GATE_MORE);
    assert_int_equal(k.used, 0);
    end(&k);
    begin(&k);
    feed(&k, "GET / HTTP/1.1\r\n", 16);
    assert_refused(&k, "08P01");
    end(&k);
    begin(&k);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    feed(&k, "Q\0\0\0\15select 1\0", 14);
    assert_refused(&k, "08P01");
    end(&k);
    begin(&k);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    feed(&k, "p\0\1\0\0", 5);
    assert_refused(&k, "08P01");
    end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encryption_is_declined_and_the_session_goes_on),
        cmocka_unit_test(test_md5_lets_any_user_in_with_the_password),
        cmocka_unit_test(test_password_messages_of_every_wrong_shape_are_refused),
        cmocka_unit_test(test_scram_messages_of_every_wrong_shape_are_refused),
        cmocka_unit_test(test_what_is_not_for_the_proxy_is_refused_with_a_reason),
        cmocka_unit_test(test_newer_protocols_are_negotiated_down),
        cmocka_unit_test(test_a_cancel_request_gives_its_key),
        cmocka_unit_test(test_packets_may_arrive_in_pieces_and_nothing_else_may_come),
    };
    static const uint8_t salt[SCRAM_SALT_SIZE] = {1};
    struct err err;
    if (scram_verifier_init(&verifier, STR("secret"), salt, SCRAM_ITERATIONS, &err) < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
