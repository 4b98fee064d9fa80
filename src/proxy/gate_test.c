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
    assert_refused(&k, "0A000"); /* as PostgreSQL: an unknown version */
    end(&k);
}

/* ---- TLS ---- */

static const struct gate_channel plain_channel;
static const struct gate_channel bound_channel = {
    .alpn = true, .binding = "0123456789abcdef", .binding_n = 16};
static const struct gate_channel with_cert = {.client_cert = true};

static void begin_with(struct knock *k, enum gate_tls tls)
{
    policy.tls = tls;
    begin(k);
}

static void end_with(struct knock *k)
{
    policy.tls = GATE_TLS_OFF;
    end(k);
}

static void begin_secured(struct knock *k, enum gate_tls tls, const struct gate_channel *channel)
{
    begin_with(k, tls);
    STARTUP_PACKET(k, 80877103, "");
    assert_int_equal(k->outcome, GATE_TLS);
    assert_int_equal(k->used, 8);
    assert_int_equal(k->out.n, 1);
    assert_int_equal(k->out.p[0], 'S');
    assert_int_equal(gate_secured(&k->gate, channel, &k->log), GATE_MORE);
}

static void test_tls_begins_on_request_and_the_login_follows(void **state)
{
    (void)state;
    struct knock k;
    begin_secured(&k, GATE_TLS_ALLOWED, &plain_channel);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    assert_int_equal(k.outcome, GATE_MORE);
    assert_int_equal(k.out.p[0], 'R');
    end_with(&k);
    begin_with(&k, GATE_TLS_ALLOWED); /* after a GSSENCRequest too */
    STARTUP_PACKET(&k, 80877104, "");
    assert_int_equal(k.out.p[0], 'N');
    STARTUP_PACKET(&k, 80877103, "");
    assert_int_equal(k.outcome, GATE_TLS);
    end_with(&k);
}

static void test_tls_begins_by_itself_with_alpn_only(void **state)
{
    (void)state;
    struct knock k;
    begin_with(&k, GATE_TLS_ALLOWED);
    feed(&k, "\x16\3\1", 3);
    assert_int_equal(k.outcome, GATE_TLS);
    assert_int_equal(k.used, 0); /* all of it belongs to the handshake */
    assert_int_equal(k.out.n, 0);
    assert_int_equal(gate_secured(&k.gate, &bound_channel, &k.log), GATE_MORE);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    assert_int_equal(k.outcome, GATE_MORE);
    end_with(&k);
    begin_with(&k, GATE_TLS_ALLOWED);
    feed(&k, "\x16", 1);
    assert_int_equal(gate_secured(&k.gate, &plain_channel, &k.log), GATE_CLOSED);
    assert_string_equal(k.log.sqlstate, "08P01");
    assert_non_null(strstr(k.log.msg, "without ALPN"));
    end_with(&k);
    begin_with(&k, GATE_TLS_OFF);
    feed(&k, "\x16", 1);
    assert_int_equal(k.outcome, GATE_CLOSED);
    assert_int_equal(k.out.n, 0); /* who speaks TLS would not understand a word */
    end_with(&k);
}

/* Once something was said in the clear, a TLS record is no start-up packet. */
static void test_tls_by_itself_comes_first_or_not_at_all(void **state)
{
    (void)state;
    struct knock k;
    begin_with(&k, GATE_TLS_ALLOWED);
    STARTUP_PACKET(&k, 80877104, "");
    feed(&k, "\x16\3\1\1", 4);
    assert_refused(&k, "08P01");
    end_with(&k);
    begin_secured(&k, GATE_TLS_ALLOWED, &plain_channel);
    feed(&k, "\x16\3\1\1", 4);
    assert_refused(&k, "08P01");
    end_with(&k);
}

/* CVE-2021-23214, CVE-2021-3935: what came in the clear behind the request is not taken for what was
 * encrypted. */
static void test_plaintext_behind_a_request_is_refused(void **state)
{
    (void)state;
    static const uint32_t codes[] = {80877103, 80877104};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        for (enum gate_tls tls = GATE_TLS_OFF; tls <= GATE_TLS_CLIENT_CERT; tls++) {
            struct knock k;
            CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
            begin_with(&k, tls);
            buf_put_u32be(&b, 8);
            buf_put_u32be(&b, codes[i]);
            buf_put(&b, "\0\0\0\x12\0\3\0\0user\0me\0\0", 18);
            feed(&k, b.p, b.n);
            assert_int_equal(k.outcome, GATE_CLOSED);
            assert_string_equal(k.log.sqlstate, "08P01");
            assert_non_null(strstr(k.log.msg, "received unencrypted data after"));
            assert_null(memchr(k.out.p, 'S', 1));
            assert_int_equal(k.gate.startup.user.n, 0); /* nothing of it was used */
            end_with(&k);
        }
    }
}

static void test_requests_inside_tls_are_refused(void **state)
{
    (void)state;
    static const uint32_t codes[] = {80877103, 80877104};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct knock k;
        begin_secured(&k, GATE_TLS_ALLOWED, &plain_channel);
        STARTUP_PACKET(&k, codes[i], "");
        assert_refused(&k, "0A000");
        assert_string_equal(k.log.msg,
                            i == 0 ? "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.0"
                                   : "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.0");
        end_with(&k);
    }
}

static void test_who_comes_without_tls_is_refused_where_it_is_required(void **state)
{
    (void)state;
    for (enum gate_tls tls = GATE_TLS_REQUIRED; tls <= GATE_TLS_CLIENT_CERT; tls++) {
        struct knock k;
        begin_with(&k, tls);
        STARTUP_PACKET(&k, 0x30000, "user\0me\0database\0mine\0\0");
        assert_refused(&k, "28000");
        assert_string_equal(k.log.msg,
                            "no pg_hba.conf entry for user \"me\", database \"mine\", no encryption");
        struct str body = {k.out.p + FRAME_HEAD, k.out.n - FRAME_HEAD};
        assert_true(message_field(body, 'H').n > 0);
        end_with(&k);
        begin_with(&k, tls); /* libpq before version 17 sends them in the clear always */
        STARTUP_PACKET(&k, 80877102, "\0\0\0\7\1\2\3\4");
        assert_int_equal(k.outcome, GATE_CANCEL);
        end_with(&k);
    }
}

static void test_who_has_no_certificate_is_refused_where_it_is_required(void **state)
{
    (void)state;
    struct knock k;
    begin_secured(&k, GATE_TLS_CLIENT_CERT, &plain_channel);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    assert_refused(&k, "28000");
    assert_string_equal(k.log.msg, "connection requires a valid client certificate");
    end_with(&k);
    begin_secured(&k, GATE_TLS_CLIENT_CERT, &with_cert);
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    assert_int_equal(k.outcome, GATE_MORE); /* the password is asked for all the same */
    assert_int_equal(k.out.p[0], 'R');
    end_with(&k);
}

static void test_channel_binding_is_offered_where_it_can_be_had(void **state)
{
    (void)state;
    static const struct {
        struct str body;
        const char *sqlstate, *text;
    } bad[] = {
        {STR("SCRAM-SHA-256\0\0\0\0\x0by,,n=,r=abc"), "28000", "SCRAM channel binding negotiation error"},
        {STR("SCRAM-SHA-256-PLUS\0\0\0\0\x0bn,,n=,r=abc"), "08P01", "malformed SCRAM message"},
        {STR("SCRAM-SHA-256-PLUS\0\0\0\0\x16p=tls-unique,,n=,r=abc"), "08P01",
         "unsupported SCRAM channel-binding type \"tls-unique\""},
    };
    struct knock k;
    policy.method = GATE_SCRAM;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        begin_secured(&k, GATE_TLS_ALLOWED, &bound_channel);
        STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
        assert_memory_equal(k.out.p, "R\0\0\0\x2a\0\0\0\12SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 43);
        feed_password(&k, bad[i].body.p, bad[i].body.n);
        assert_refused(&k, bad[i].sqlstate);
        struct str body = {k.out.p + FRAME_HEAD, k.out.n - FRAME_HEAD};
        assert_true(str_eq(message_field(body, 'M'), str_c(bad[i].text)));
        end_with(&k);
    }
    begin_secured(&k, GATE_TLS_ALLOWED, &plain_channel); /* no hash is defined for the certificate */
    STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
    assert_memory_equal(k.out.p, "R\0\0\0\x17\0\0\0\12SCRAM-SHA-256\0\0", 24);
    feed_password(&k, "SCRAM-SHA-256-PLUS\0\0\0\0\x20p=tls-server-end-point,,n=,r=abc", 55);
    assert_refused(&k, "08P01");
    end_with(&k);
    policy.method = GATE_MD5;
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

/* Whoever has begun to prove the password of one user does not become another (PgBouncer once let him). */
static void test_a_second_start_up_packet_is_refused(void **state)
{
    (void)state;
    policy.method = GATE_SCRAM;
    for (int step = 0; step < 2; step++) {
        struct knock k;
        begin(&k);
        STARTUP_PACKET(&k, 0x30000, "user\0me\0\0");
        if (step == 1) {
            feed_password(&k, "SCRAM-SHA-256\0\0\0\0\x0bn,,n=,r=abc", 29);
            assert_int_equal(k.outcome, GATE_MORE);
        }
        STARTUP_PACKET(&k, 0x30000, "user\0root\0\0");
        assert_refused(&k, "08P01");
        end(&k);
    }
    policy.method = GATE_MD5;
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
        cmocka_unit_test(test_tls_begins_on_request_and_the_login_follows),
        cmocka_unit_test(test_tls_begins_by_itself_with_alpn_only),
        cmocka_unit_test(test_tls_by_itself_comes_first_or_not_at_all),
        cmocka_unit_test(test_plaintext_behind_a_request_is_refused),
        cmocka_unit_test(test_requests_inside_tls_are_refused),
        cmocka_unit_test(test_who_comes_without_tls_is_refused_where_it_is_required),
        cmocka_unit_test(test_who_has_no_certificate_is_refused_where_it_is_required),
        cmocka_unit_test(test_channel_binding_is_offered_where_it_can_be_had),
        cmocka_unit_test(test_md5_lets_any_user_in_with_the_password),
        cmocka_unit_test(test_password_messages_of_every_wrong_shape_are_refused),
        cmocka_unit_test(test_scram_messages_of_every_wrong_shape_are_refused),
        cmocka_unit_test(test_what_is_not_for_the_proxy_is_refused_with_a_reason),
        cmocka_unit_test(test_a_second_start_up_packet_is_refused),
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
