/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/scram.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/*
 * The fixed conversation: a real libpq 15 logging in with password "proxy_password", salt 00 01 … 0f and
 * server nonce bytes 00 01 … 11. Its side was recorded; ours has to fit.
 */
#define CLIENT_NONCE "P7NCl+O6U85G357lIIZ0wJ97"
#define SERVER_NONCE "AAECAwQFBgcICQoLDA0ODxAR"
#define BOTH_NONCES  CLIENT_NONCE SERVER_NONCE
#define CLIENT_FIRST "n,,n=,r=" CLIENT_NONCE
#define SERVER_FIRST "r=" BOTH_NONCES ",s=AAECAwQFBgcICQoLDA0ODw==,i=4096"
#define PROOF        "6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSecqkg="
#define CLIENT_FINAL "c=biws,r=" BOTH_NONCES ",p=" PROOF
#define SERVER_FINAL "v=hkjUCtQ5Y/8BdhSY7hoo86vDv7pQxtY2i1EYMcIcicI="

/* The certificate's hash where there is TLS; a real one may have any bytes. */
#define END_POINT "\0end point of thirty-two bytes \xff"

static const uint8_t counting[SCRAM_NONCE_SIZE] = {0, 1,  2,  3,  4,  5,  6,  7,  8,
                                                   9, 10, 11, 12, 13, 14, 15, 16, 17};

struct fixture {
    struct scram_verifier verifier;
    struct scram_exchange ex;
    struct buf out;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(
        scram_verifier_init(&f->verifier, STR("proxy_password"), counting, SCRAM_ITERATIONS, &f->err), 0);
    scram_exchange_init(&f->ex, &f->verifier);
    buf_init(&f->out, 2 * LIMIT_PASSWORD_PACKET);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    scram_exchange_deinit(&f->ex);
    scram_exchange_deinit(&f->ex); /* twice is allowed */
    scram_verifier_deinit(&f->verifier);
    buf_deinit(&f->out);
    free(f);
    return 0;
}

static void restart(struct fixture *f)
{
    scram_exchange_deinit(&f->ex);
    scram_exchange_init(&f->ex, &f->verifier);
    buf_reset(&f->out);
    f->err = (struct err)ERR_INIT;
}

static int first(struct fixture *f, struct str message)
{
    restart(f);
    return scram_first(&f->ex, false, message, counting, &f->out, &f->err);
}

/* Over TLS: -PLUS was offered. */
static int first_over_tls(struct fixture *f, bool plus, struct str message)
{
    restart(f);
    f->ex.binding = STR(END_POINT);
    return scram_first(&f->ex, plus, message, counting, &f->out, &f->err);
}

static int final(struct fixture *f, struct str message)
{
    assert_int_equal(first(f, STR(CLIENT_FIRST)), 0);
    buf_reset(&f->out);
    return scram_final(&f->ex, message, &f->out, &f->err);
}

static void assert_text(struct buf *b, const char *expected)
{
    assert_string_equal(buf_cstr(b), expected);
}

/* RFC 7677 section 3, whose server nonce our server could not have made: the state is put in place by hand.
 */
static void rfc_7677_exchange(void **state)
{
    static const uint8_t salt[SCRAM_SALT_SIZE] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
                                                  0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
    struct fixture *f = *state;
    struct scram_verifier pencil;
    assert_int_equal(scram_verifier_init(&pencil, STR("pencil"), salt, 4096, &f->err), 0);
    f->ex.verifier = &pencil;
    f->ex.gs2_flag = 'n';
    f->ex.state = SCRAM_CHALLENGED;
    buf_put_c(&f->ex.auth, "n=user,r=rOprNGfwEbeRWgbNEkqO,r=");
    f->ex.nonce_at = f->ex.auth.n;
    buf_put_c(&f->ex.auth, "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    f->ex.nonce_n = f->ex.auth.n - f->ex.nonce_at;
    buf_put_c(&f->ex.auth, ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    struct str answer = STR("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_int_equal(scram_final(&f->ex, answer, &f->out, &f->err), SCRAM_OK);
    assert_text(&f->out, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

static void libpq_logs_in(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(first(f, STR(CLIENT_FIRST)), 0);
    assert_text(&f->out, SERVER_FIRST);
    buf_reset(&f->out);
    assert_int_equal(scram_final(&f->ex, STR(CLIENT_FINAL), &f->out, &f->err), SCRAM_OK);
    assert_text(&f->out, SERVER_FINAL);
}

static void wrong_proof_is_denied_and_answered_by_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(final(f, STR("c=biws,r=" BOTH_NONCES ",p=6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSecqkw=")),
                     SCRAM_DENIED);
    assert_int_equal(f->out.n, 0);
}

static void other_password_is_denied(void **state)
{
    struct fixture *f = *state;
    scram_verifier_deinit(&f->verifier);
    assert_int_equal(
        scram_verifier_init(&f->verifier, STR("proxy_passwore"), counting, SCRAM_ITERATIONS, &f->err), 0);
    assert_int_equal(final(f, STR(CLIENT_FINAL)), SCRAM_DENIED);
}

static void empty_password_has_a_verifier(void **state)
{
    struct fixture *f = *state;
    struct scram_verifier v;
    assert_int_equal(scram_verifier_init(&v, (struct str){NULL, 0}, counting, SCRAM_ITERATIONS, &f->err), 0);
    assert_memory_not_equal(v.stored_key, f->verifier.stored_key, SCRAM_KEY_SIZE);
    scram_verifier_deinit(&v);
}

static void verifier_is_wiped(void **state)
{
    static const struct scram_verifier zero;
    struct fixture *f = *state;
    scram_verifier_deinit(&f->verifier);
    assert_memory_equal(&f->verifier, &zero, sizeof zero);
    scram_verifier_deinit(NULL);
    scram_exchange_deinit(NULL);
}

/* The flag "y" and an extension change what is signed; the proofs come from an independent implementation. */
static void client_that_could_bind_channels_logs_in(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(first(f, STR("y,,n=ignored,r=abc")), 0);
    assert_text(&f->out, "r=abc" SERVER_NONCE ",s=AAECAwQFBgcICQoLDA0ODw==,i=4096");
    buf_reset(&f->out);
    assert_int_equal(
        scram_final(&f->ex,
                    STR("c=eSws,r=abc" SERVER_NONCE ",p=c4v575i4Zao8I1hHnKwiDEom5G2CuNWBj+PU5y9buhY="),
                    &f->out, &f->err),
        SCRAM_OK);
    assert_text(&f->out, "v=tu8NRd1dF6Zh873+E8PC1FpUmbqQl2TUZmpZZJg9NUo=");
}

static void unknown_extensions_are_ignored_but_signed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(first(f, STR("n,,n=,r=abc,x=1,Y=")), 0);
    buf_reset(&f->out);
    assert_int_equal(
        scram_final(&f->ex,
                    STR("c=biws,r=abc" SERVER_NONCE ",z=2,p=izIeKW7RZjsLt5ICX7X9Y88a/zygsMp9w1htxT/SiXY="),
                    &f->out, &f->err),
        SCRAM_OK);
    assert_text(&f->out, "v=slzL/iFF0AUyJVoFmN8YJPxccKSucRPLAyxbm0rjHxQ=");
}

struct bad {
    struct str message;
    const char *sqlstate;
    const char *part; /* of the error message */
};

static void assert_refused(struct fixture *f, const struct bad *bad, int rc)
{
    if (rc != -1) {
        fail_msg("accepted: %.*s", STR_ARG(bad->message));
    }
    assert_string_equal(f->err.sqlstate, bad->sqlstate);
    if (!strstr(f->err.msg, bad->part) && !(f->ex.detail && strstr(f->ex.detail, bad->part))) {
        fail_msg("%.*s: \"%s\" does not say \"%s\"", STR_ARG(bad->message), f->err.msg, bad->part);
    }
    assert_int_equal(f->out.n, 0);
    assert_int_equal(f->ex.state, SCRAM_DONE);
}

static void malformed_first_messages_are_refused(void **state)
{
    static const struct bad table[] = {
        {{"", 0}, "08P01", "empty"},
        {{"n", 1}, "08P01", "no comma"},
        {{"n,", 2}, "08P01", "no comma"},
        {{"n,,", 3}, "08P01", "no user name"},
        {{"x,,n=,r=a", 9}, "08P01", "unexpected channel-binding flag"},
        {{"p=tls-server-end-point,,n=,r=a", 30}, "08P01", "SCRAM-SHA-256 without channel binding, but"},
        {{"nn,n=,r=a", 9}, "08P01", "no comma"},
        {{"n,b=x,n=,r=a", 12}, "08P01", "GS2 header"},
        {{"n,a=admin,n=,r=a", 16}, "0A000", "authorization identity"},
        {{"n,,m=x,n=,r=a", 13}, "0A000", "unsupported SCRAM extension"},
        {{"n,,r=a,n=", 9}, "08P01", "no user name"},
        {{"n,,n", 4}, "08P01", "no user name"},
        {{"n,,n=", 5}, "08P01", "no printable nonce"},
        {{"n,,n=,", 6}, "08P01", "no user name"},
        {{"n,,n=,r", 7}, "08P01", "no printable nonce"},
        {{"n,,n=,r=", 8}, "08P01", "no printable nonce"},
        {{"n,,n=,r=a b", 11}, "08P01", "no printable nonce"},
        {{"n,,n=,r=a\x7f", 10}, "08P01", "no printable nonce"},
        {{"n,,n=,r=\xc3\xa4", 10}, "08P01", "no printable nonce"},
        {{"n,,n=,r=a\0b", 11}, "08P01", "zero byte"},
        {{"n,,n=,r=a,", 10}, "08P01", "no printable nonce"},
        {{"n,,n=,r=a,1=x", 13}, "08P01", "after the nonce"},
        {{"n,,n=,r=a,xy", 12}, "08P01", "after the nonce"},
        {{"n,,n=,r=a,x=1,", 14}, "08P01", "after the nonce"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_refused(f, &table[i], first(f, table[i].message));
    }
}

static void malformed_final_messages_are_refused(void **state)
{
    static const struct bad table[] = {
#define BAD(text, sqlstate, part) {{text, sizeof(text) - 1}, sqlstate, part}
        BAD("", "08P01", "empty"),
        BAD("c", "08P01", "no channel-binding data"),
        BAD("c=biws", "08P01", "nonce does not match"),
        BAD("c=biws,", "08P01", "no channel-binding data"),
        BAD("c=eSws,r=" BOTH_NONCES ",p=" PROOF, "08P01", "GS2 header"),
        BAD("c=,r=" BOTH_NONCES ",p=" PROOF, "08P01", "GS2 header"),
        BAD("r=" BOTH_NONCES ",c=biws,p=" PROOF, "08P01", "no channel-binding data"),
        BAD("c=biws,r=" CLIENT_NONCE ",p=" PROOF, "08P01", "nonce does not match"),
        BAD("c=biws,r=" BOTH_NONCES "x,p=" PROOF, "08P01", "nonce does not match"),
        BAD("c=biws,r=" SERVER_NONCE CLIENT_NONCE ",p=" PROOF, "08P01", "nonce does not match"),
        BAD("c=biws,p=" PROOF, "08P01", "nonce does not match"),
        BAD("c=biws,r=" BOTH_NONCES, "08P01", "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=", "08P01", "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p", "08P01", "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=" PROOF ",", "08P01", "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=" PROOF ",x=1", "08P01", "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p= " PROOF, "08P01", "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=" PROOF "=", "08P01", "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSecqkg", "08P01",
            "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSecqkh=", "08P01",
            "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSecqk==", "08P01",
            "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSec-kg=", "08P01",
            "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSec\nkg=", "08P01",
            "no valid proof"),
        BAD("c=biws,r=" BOTH_NONCES ",p=6l7VVD6ysvO51fsmQns1ezVcvubd6msIqk8LlSecqk\0=", "08P01", "zero byte"),
        BAD("c=biws,r=" BOTH_NONCES ",m=1,p=" PROOF, "0A000", "unsupported SCRAM extension"),
        BAD("c=biws,r=" BOTH_NONCES ",1=1,p=" PROOF, "08P01", "before the proof"),
        BAD("c=biws,r=" BOTH_NONCES ",,p=" PROOF, "08P01", "before the proof"),
#undef BAD
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_refused(f, &table[i], final(f, table[i].message));
    }
}

/* No beginning of a good message is good, and none is read past its end (the sanitizer watches the copy). */
static void every_truncation_is_refused(void **state)
{
    struct fixture *f = *state;
    for (size_t n = 0; n < sizeof CLIENT_FINAL - 1; n++) {
        char *copy = malloc(n + 1);
        assert_non_null(copy);
        memmove(copy + 1, CLIENT_FINAL, n);
        assert_int_equal(final(f, (struct str){copy + 1, n}), -1);
        free(copy);
    }
    for (size_t n = 0; n <= sizeof "n,,n=,r=" - 1; n++) {
        assert_int_equal(first(f, (struct str){CLIENT_FIRST, n}), -1);
    }
}

static void message_length_is_limited(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_deinit) struct buf longest = BUF_INIT(LIMIT_PASSWORD_PACKET + 1);
    buf_put_c(&longest, "n,,n=,r=");
    while (longest.n < LIMIT_PASSWORD_PACKET) {
        buf_put_byte(&longest, 'a');
    }
    assert_int_equal(first(f, buf_str(&longest)), 0);
    assert_false(f->ex.auth.overflow);
    buf_put_byte(&longest, 'a');
    assert_int_equal(first(f, buf_str(&longest)), -1);
    assert_int_equal(f->err.kind, ERR_LIMIT);
}

/* The longest nonce comes back in the longest final message: AuthMessage has to hold all three. */
static void longest_exchange_fits(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(LIMIT_PASSWORD_PACKET);
    enum { NONCE = LIMIT_PASSWORD_PACKET - 200 };
    buf_put_c(&message, "n,,n=,r=");
    for (int i = 0; i < NONCE; i++) {
        buf_put_byte(&message, 'a');
    }
    assert_int_equal(first(f, buf_str(&message)), 0);
    buf_reset(&message);
    buf_put_c(&message, "c=biws,r=");
    for (int i = 0; i < NONCE; i++) {
        buf_put_byte(&message, 'a');
    }
    buf_put_c(&message, SERVER_NONCE ",p=" PROOF);
    buf_reset(&f->out);
    assert_int_equal(scram_final(&f->ex, buf_str(&message), &f->out, &f->err), SCRAM_DENIED);
    assert_false(f->ex.auth.overflow);
}

/* The proofs below come from an independent implementation. */
#define PLUS_FIRST "p=tls-server-end-point,,n=,r=abc"
#define PLUS_BOUND \
    "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAGVuZCBwb2ludCBvZiB0aGlydHktdHdvIGJ5dGVzIP8=,r=abc" SERVER_NONCE
#define PLUS_PROOF ",p=Jm17jCHh5bwDAW16N7jEenosQdmKq2wLZCAH40z+wyg="

static void client_binds_to_the_channel(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(first_over_tls(f, true, STR(PLUS_FIRST)), 0);
    assert_text(&f->out, "r=abc" SERVER_NONCE ",s=AAECAwQFBgcICQoLDA0ODw==,i=4096");
    buf_reset(&f->out);
    assert_int_equal(scram_final(&f->ex, STR(PLUS_BOUND PLUS_PROOF), &f->out, &f->err), SCRAM_OK);
    assert_text(&f->out, "v=0puId9qX2/LfKZ8KH+PgRt6SicC9Khp3mbmHm/m1yZk=");
}

/* Somebody in between with a certificate of his own: his hash, and a proof that is right for it. */
static void another_channel_is_refused(void **state)
{
    static const struct bad bad = {
        STR("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAGVuZCBwb2ludCBvZiB0aGlydHktdHdvIGJ5dGVzIP4=,r="
            "abc" SERVER_NONCE ",p=dkcf1OD6wbPuyZchF9cDmeixq/Ze5rKwPZPuRN/qI2c="),
        "28000", "SCRAM channel binding check failed"};
    struct fixture *f = *state;
    assert_int_equal(first_over_tls(f, true, STR(PLUS_FIRST)), 0);
    buf_reset(&f->out);
    assert_refused(f, &bad, scram_final(&f->ex, bad.message, &f->out, &f->err));
}

static void bound_messages_of_the_wrong_shape_are_refused(void **state)
{
#define REST ",r=abc" SERVER_NONCE PLUS_PROOF
    static const struct bad table[] = {
        {STR("c=biws" REST), "28000", "check failed"},
        {STR("c=" REST), "28000", "check failed"},
        {STR("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws" REST), "28000", "check failed"},
        {STR("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAGVuZCBwb2ludCBvZiB0aGlydHktdHdvIGJ5dGVzIP9=" REST), "28000",
         "check failed"},
        {STR("r=abc"), "08P01", "no channel-binding data"},
        {STR(PLUS_BOUND), "08P01", "no valid proof"},
    };
#undef REST
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(first_over_tls(f, true, STR(PLUS_FIRST)), 0);
        buf_reset(&f->out);
        assert_refused(f, &table[i], scram_final(&f->ex, table[i].message, &f->out, &f->err));
    }
}

/* Over TLS a client may do without ("n"); one that believes it has to ("y") was kept from our offer. */
static void downgrades_are_refused(void **state)
{
    static const struct bad downgraded = {STR("y,,n=,r=abc"), "28000", "channel binding negotiation error"};
    struct fixture *f = *state;
    assert_refused(f, &downgraded, first_over_tls(f, false, downgraded.message));
    assert_string_equal(
        f->ex.detail,
        "The client supports SCRAM channel binding but thinks the server does not.  However, this "
        "server does support channel binding.");
    assert_int_equal(first_over_tls(f, false, STR("n,,n=,r=abc")), 0);
    buf_reset(&f->out);
    assert_int_equal(
        scram_final(&f->ex,
                    STR("c=biws,r=abc" SERVER_NONCE ",p=bxAOSkMueq5mSsfrlqfqni7PtMe7Sdvxz4+7hvKhZgU="),
                    &f->out, &f->err),
        SCRAM_OK);
}

static void flags_must_fit_the_mechanism(void **state)
{
    static const struct {
        bool plus;
        struct bad bad;
    } table[] = {
        {true, {STR("n,,n=,r=a"), "08P01", "selected SCRAM-SHA-256-PLUS, but the SCRAM message does not"}},
        {true, {STR("y,,n=,r=a"), "08P01", "selected SCRAM-SHA-256-PLUS, but the SCRAM message does not"}},
        {false, {STR(PLUS_FIRST), "08P01", "selected SCRAM-SHA-256 without channel binding, but"}},
        {true,
         {STR("p=tls-unique,,n=,r=a"), "08P01", "unsupported SCRAM channel-binding type \"tls-unique\""}},
        {true, {STR("p=\xff\n,,n=,r=a"), "08P01", "channel-binding type \"\?\?\""}},
        {true, {STR("p=,,n=,r=a"), "08P01", "channel-binding type \"\""}},
        {true, {STR("p"), "08P01", "no channel-binding type"}},
        {true, {STR("p="), "08P01", "channel-binding type \"\""}},
        {true, {STR("p=tls-server-end-point"), "08P01", "GS2 header"}},
        {true, {STR("p=tls-server-end-point,"), "08P01", "no channel-binding type"}},
        {true, {STR("p=tls-server-end-point,,"), "08P01", "no user name"}},
        {true, {STR("p=tls-server-end-point,a=x,n=,r=a"), "0A000", "authorization identity"}},
        {true, {STR("p=tls-server-end-point,x,n=,r=a"), "08P01", "GS2 header"}},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_refused(f, &table[i].bad, first_over_tls(f, table[i].plus, table[i].bad.message));
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(rfc_7677_exchange),
        TEST(libpq_logs_in),
        TEST(wrong_proof_is_denied_and_answered_by_nothing),
        TEST(other_password_is_denied),
        TEST(empty_password_has_a_verifier),
        TEST(verifier_is_wiped),
        TEST(client_that_could_bind_channels_logs_in),
        TEST(unknown_extensions_are_ignored_but_signed),
        TEST(malformed_first_messages_are_refused),
        TEST(malformed_final_messages_are_refused),
        TEST(every_truncation_is_refused),
        TEST(message_length_is_limited),
        TEST(longest_exchange_fits),
        TEST(client_binds_to_the_channel),
        TEST(another_channel_is_refused),
        TEST(bound_messages_of_the_wrong_shape_are_refused),
        TEST(downgrades_are_refused),
        TEST(flags_must_fit_the_mechanism),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
