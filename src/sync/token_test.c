/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in, and why others are not. Signatures: RFC 7515's examples, and what libjwt signs. */
#include "sync/token.h"

#include "base/limits.h"
#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs those above */
#include <cmocka.h>

#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NOW_S  1700000000
#define NOW_MS (NOW_S * INT64_C(1000))

enum { KEYS = 4, KEY_RSA = 0, KEY_P256, KEY_P384, KEY_P521 };

static struct {
    char *private_pem, *public_pem;
} keys[KEYS];

static const struct {
    enum token_algorithm algorithm;
    int key; /* -1: SECRET */
} algorithms[] = {{TOKEN_HS256, -1},       {TOKEN_HS384, -1},       {TOKEN_HS512, -1},
                  {TOKEN_RS256, KEY_RSA},  {TOKEN_RS384, KEY_RSA},  {TOKEN_RS512, KEY_RSA},
                  {TOKEN_ES256, KEY_P256}, {TOKEN_ES384, KEY_P384}, {TOKEN_ES512, KEY_P521}};

static char *take_bio(BIO *bio)
{
    char *text;
    long n = BIO_get_mem_data(bio, &text);
    char *copy = mem_strndup(text, (size_t)n);
    BIO_free(bio);
    return copy;
}

static int make_keys(void **state)
{
    static const char *const curves[KEYS] = {NULL, "P-256", "P-384", "P-521"};
    for (size_t i = 0; i < KEYS; i++) {
        EVP_PKEY *key = curves[i] ? EVP_EC_gen(curves[i]) : EVP_RSA_gen(2048);
        BIO *public = BIO_new(BIO_s_mem());
        BIO *private = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PUBKEY(public, key), 1);
        assert_int_equal(PEM_write_bio_PrivateKey(private, key, NULL, NULL, 0, NULL, NULL), 1);
        keys[i].public_pem = take_bio(public);
        keys[i].private_pem = take_bio(private);
        EVP_PKEY_free(key);
    }
    return 0;
}

static int free_keys(void **state)
{
    for (size_t i = 0; i < KEYS; i++) {
        free(keys[i].public_pem);
        free(keys[i].private_pem);
    }
    return 0;
}

static struct arena arena;
static struct buf token = BUF_INIT(1024 * 1024);
static struct token_claims claims;

static int teardown(void **state)
{
    arena_deinit(&arena);
    buf_deinit(&token);
    return 0;
}

static struct token_rules *make_rules(struct token_options options)
{
    struct token_rules *rules = NULL;
    struct err err = ERR_INIT;
    if (token_rules_new(&options, &rules, &err) < 0) {
        fail_msg("no rules: %s", err.msg);
    }
    return rules;
}

/* NULL: accepted. Frees the rules. */
static const char *why_not(struct token_rules *rules, struct str text)
{
    const char *why = NULL;
    bool accepted = token_check(rules, &arena, text, NOW_MS, &claims, &why);
    token_rules_free(rules);
    assert_true(accepted == (why == NULL));
    return why;
}

static void assert_accepted(struct token_rules *rules, struct str text)
{
    const char *why = why_not(rules, text);
    if (why) {
        fail_msg("refused: %s", why);
    }
}

static void assert_refused(struct token_rules *rules, struct str text, const char *expected)
{
    const char *why = why_not(rules, text);
    assert_string_equal(why ? why : "accepted", expected);
}

static struct str private_key(size_t i)
{
    return str_c(algorithms[i].key < 0 ? SECRET : keys[algorithms[i].key].private_pem);
}

static struct token_rules *rules_of(size_t i)
{
    return make_rules((struct token_options){
        algorithms[i].algorithm, str_c(algorithms[i].key < 0 ? SECRET : keys[algorithms[i].key].public_pem)});
}

static struct str sign(enum token_algorithm algorithm, struct str key, const char *json)
{
    struct err err = ERR_INIT;
    buf_reset(&token);
    if (token_sign(algorithm, key, json, &token, &err) < 0) {
        fail_msg("not signed: %s", err.msg);
    }
    return buf_str(&token);
}

static struct str sign_secret(const char *json)
{
    return sign(TOKEN_HS256, STR(SECRET), json);
}

static struct str put_base64url(struct buf *out, struct str text)
{
    size_t begin = out->n;
    unsigned char *encoded = mem_alloc(text.n / 3 * 4 + 5);
    int n = EVP_EncodeBlock(encoded, (const unsigned char *)text.p, (int)text.n);
    for (int i = 0; i < n && encoded[i] != '='; i++) {
        buf_put_byte(out, (char)(encoded[i] == '+' ? '-' : encoded[i] == '/' ? '_' : encoded[i]));
    }
    free(encoded);
    return (struct str){out->p + begin, out->n - begin};
}

/* An unsigned token, with a dot at its end. */
static struct str plain(const char *header, const char *json)
{
    buf_reset(&token);
    put_base64url(&token, str_c(header));
    buf_put_byte(&token, '.');
    put_base64url(&token, str_c(json));
    buf_put_byte(&token, '.');
    return buf_str(&token);
}

/* Signed with SECRET by HS256, whatever the header says. */
static struct str with_header(const char *header, const char *json)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t n;
    struct str text = plain(header, json);
    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, SECRET, sizeof SECRET - 1,
                              (const unsigned char *)text.p, text.n - 1, mac, sizeof mac, &n));
    put_base64url(&token, (struct str){(char *)mac, n});
    return buf_str(&token);
}

static struct token_rules *insecure(void)
{
    return make_rules((struct token_options){TOKEN_UNSIGNED});
}

static struct token_rules *secret(void)
{
    return make_rules((struct token_options){TOKEN_HS256, STR(SECRET)});
}

#define GOOD "{\"sub\":\"u\",\"iat\":1700000000,\"exp\":1700000060}"

static void each_algorithm_takes_its_own_and_no_other(void **state)
{
    for (size_t signer = 0; signer < ARRAY_LEN(algorithms); signer++) {
        for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
            struct str text = sign(algorithms[signer].algorithm, private_key(signer), GOOD);
            if (i == signer) {
                assert_accepted(rules_of(i), text);
                assert_true(str_eq(claims.user, STR("u")));
                assert_int_equal(claims.expires_ms, NOW_MS + 60000 + TOKEN_DRIFT_MS + 1);
            } else {
                assert_refused(rules_of(i), text, "Signing algorithm mismatch");
            }
        }
    }
}

static void another_key_is_not_taken(void **state)
{
    static const char other[] = "abcdefghabcdefghabcdefghabcdefghabcdefghabcdefghabcdefghabcdefgh";
    for (size_t i = 0; i < 3; i++) {
        struct str text = sign(algorithms[i].algorithm, STR(other), GOOD);
        assert_refused(rules_of(i), text, "Invalid token signature");
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    EVP_PKEY_free(key);
    CLEANUP(mem_free_p) char *pem = take_bio(bio);
    assert_refused(rules_of(6), sign(TOKEN_ES256, str_c(pem), GOOD), "Invalid token signature");
}

/* Every bit counts; the last character of a part has some that mean nothing, so it is left out. */
static void a_changed_token_is_not_taken(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        struct str text = sign(algorithms[i].algorithm, private_key(i), GOOD);
        CLEANUP(buf_deinit) struct buf changed = BUF_INIT(64 * 1024);
        size_t claims_at = (size_t)((const char *)memchr(text.p, '.', text.n) - text.p) + 1;
        for (size_t k = claims_at; k + 1 < text.n; k += 7) {
            if (text.p[k] == '.' || text.p[k + 1] == '.') {
                continue;
            }
            buf_reset(&changed);
            buf_put_str(&changed, text);
            changed.p[k] = text.p[k] == 'A' ? 'B' : 'A';
            assert_refused(rules_of(i), buf_str(&changed), "Invalid token signature");
        }
        for (size_t n = claims_at; n < text.n; n++) {
            assert_non_null(why_not(rules_of(i), (struct str){text.p, n}));
        }
    }
}

static void a_public_key_is_no_secret(void **state)
{
    struct str as_secret = sign(TOKEN_HS256, str_c(keys[KEY_RSA].public_pem), GOOD);
    assert_refused(rules_of(3), as_secret, "Signing algorithm mismatch");
    assert_refused(rules_of(3), plain("{\"alg\":\"none\"}", GOOD), "Signing algorithm mismatch");
}

static void the_rfc_examples_are_taken(void **state)
{
    /* RFC 7515 A.1 and A.3: the claims lack iat, which is only looked for once the signature is found right.
     */
    static const char hs_key[] =
        "\x03\x23\x35\x4b\x2b\x0f\xa5\xbc\x83\x7e\x06\x65\x77\x7b\xa6\x8f\x5a\xb3\x28\xe6\xf0"
        "\x54\xc9\x28\xa9\x0f\x84\xb2\xd2\x50\x2e\xbf\xd3\xfb\x5a\x92\xd2\x06\x47\xef\x96\x8a"
        "\xb4\xc3\x77\x62\x3d\x22\x3d\x2e\x21\x72\x05\x2e\x4f\x08\xc0\xcd\x9a\xf5\x67\xd0\x80"
        "\xa3";
    static const char hs[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                             "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
                             "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    static const char es_key[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                                 "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                                 "-----END PUBLIC KEY-----\n";
    static const char es[] =
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
        "Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert_refused(make_rules((struct token_options){TOKEN_HS256, STR(hs_key)}), STR(hs),
                   "Missing required \"iat\" claim");
    assert_refused(make_rules((struct token_options){TOKEN_ES256, STR(es_key)}), STR(es),
                   "Missing required \"iat\" claim");
}

static void other_headers_do_not_matter(void **state)
{
    assert_accepted(secret(), with_header("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"1\"}", GOOD));
    assert_accepted(secret(), with_header("{ \"alg\" : \"HS256\" }", GOOD));
}

static void critical_headers_refuse(void **state)
{
    assert_refused(secret(), with_header("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", GOOD),
                   "Invalid token");
}

static void alg_is_exact(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"hs256\"}",   "{\"alg\":\"none\"}",
                                          "{\"alg\":\"None\"}",    "{\"alg\":256}",
                                          "{\"alg\":[\"HS256\"]}", "{}"};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        assert_refused(secret(), with_header(headers[i], GOOD), "Signing algorithm mismatch");
    }
}

static void malformed_texts(void **state)
{
    static const char *const texts[] = {
        "",           ".",           "..",
        "...",        "a",           "a.b",
        "a.b.c",      "e30",         "e30.",
        "e30..",      "e30.e30.!",   ".e30.",
        "e30.W10.",   "W10.e30.",    "bnVsbA.e30.",
        "e30.eyI.",   "e30.e30.a.b", " e30.e30.",
        "e30.e30\n.", "e30=.e30.",   "e30.eyJzdWIiOiJhXHUwMDAwYiJ9." /* {"sub":"a\u0000b"} */};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *secure_why = why_not(secret(), str_c(texts[i]));
        assert_non_null(secure_why);
        const char *why = why_not(insecure(), str_c(texts[i]));
        assert_string_equal(why ? why : "accepted", strcmp(texts[i], "e30.e30.!") == 0
                                                        ? "Missing or invalid 'user_id'"
                                                        : "Invalid token");
    }
    assert_refused(secret(), STR("e30"), "Invalid token");
    assert_refused(secret(), STR("e30.e30"), "Invalid token");
}

static void claims_must_be_an_object(void **state)
{
    assert_refused(secret(), with_header("{\"alg\":\"HS256\"}", "[]"), "Invalid token");
    assert_refused(secret(), with_header("{\"alg\":\"HS256\"}", "{\"sub\":\"u\",\"sub\":\"v\"}"),
                   "Invalid token");
    assert_refused(secret(), with_header("{\"alg\":\"HS256\"}", "{\"sub\":\"\xff\"}"), "Invalid token");
}

static void a_token_has_a_limit(void **state)
{
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(LIMIT_TOKEN);
    buf_put_c(&json, "{\"sub\":\"u\",\"pad\":\"");
    size_t header_and_dots = 20 + 2; /* of {"alg":"none"} */
    size_t wanted = (LIMIT_TOKEN - header_and_dots) / 4 * 3;
    while (json.n < wanted - 2) {
        buf_put_byte(&json, 'x');
    }
    buf_put_c(&json, "\"}");
    struct str text = plain("{\"alg\":\"none\"}", buf_cstr(&json));
    assert_true(text.n > LIMIT_TOKEN - 4);
    while (token.n < LIMIT_TOKEN) {
        buf_put_byte(&token, 'A');
    }
    assert_accepted(insecure(), buf_str(&token));
    buf_put_byte(&token, 'A');
    assert_refused(insecure(), buf_str(&token), "Invalid token");
}

struct claim_case {
    const char *json, *why; /* NULL: accepted */
};

static void run_cases(struct token_options options, const struct claim_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str text = options.algorithm == TOKEN_UNSIGNED ? plain("{\"alg\":\"none\"}", cases[i].json)
                                                              : sign_secret(cases[i].json);
        const char *why = why_not(make_rules(options), text);
        if ((why == NULL) != (cases[i].why == NULL) || (why && strcmp(why, cases[i].why) != 0)) {
            fail_msg("%s: %s", cases[i].json, why ? why : "accepted");
        }
    }
}

#define SUB "\"sub\":\"u\","

static void times_in_secure_mode(void **state)
{
    static const struct claim_case cases[] = {
        {"{" SUB "\"exp\":1700000060}", "Missing required \"iat\" claim"},
        {"{" SUB "\"iat\":1700000000}", "Missing required \"exp\" claim"},
        {"{" SUB "\"iat\":1700000002,\"exp\":1699999998}", NULL},
        {"{" SUB "\"iat\":1700000001.9,\"exp\":1699999998.1}", NULL},
        {"{" SUB "\"iat\":1700000003,\"exp\":1700000060}", "Token is not yet valid"},
        {"{" SUB "\"iat\":1700000002.01,\"exp\":1700000060}", "Token is not yet valid"},
        {"{" SUB "\"iat\":1700000000,\"exp\":1699999997}", "Expired token"},
        {"{" SUB "\"iat\":1700000000,\"exp\":1699999997.99}", "Expired token"},
        {"{" SUB "\"iat\":1700000000,\"exp\":1700000060,\"nbf\":1700000002}", NULL},
        {"{" SUB "\"iat\":1700000000,\"exp\":1700000060,\"nbf\":1700000003}", "Token is not yet valid"},
        {"{" SUB "\"iat\":\"now\",\"exp\":1700000060}", "Invalid \"iat\" claim value: \"now\""},
        {"{" SUB "\"iat\":1700000000,\"exp\":true}", "Invalid \"exp\" claim value: true"},
        {"{" SUB "\"iat\":1700000000,\"exp\":null}", "Invalid \"exp\" claim value: null"},
        {"{" SUB "\"iat\":1700000000,\"exp\":1700000060,\"nbf\":[1]}", "Invalid \"nbf\" claim value: [1]"},
        {"{" SUB "\"iat\":-1,\"exp\":1e300}", NULL},
    };
    run_cases((struct token_options){TOKEN_HS256, STR(SECRET)}, cases, ARRAY_LEN(cases));
    assert_true(claims.expires_ms == TOKEN_NEVER);
}

static void times_in_insecure_mode(void **state)
{
    static const struct claim_case cases[] = {
        {"{\"sub\":\"u\"}", NULL},
        {"{" SUB "\"iat\":1700000005}", "Token is not yet valid"},
        {"{" SUB "\"exp\":1699999995}", "Expired token"},
        {"{" SUB "\"nbf\":1700000005}", "Token is not yet valid"},
        {"{" SUB "\"exp\":\"never\"}", "Invalid \"exp\" claim value: \"never\""},
        {"{" SUB "\"iat\":1700000001,\"exp\":1699999999,\"nbf\":1700000001}", NULL},
    };
    run_cases((struct token_options){TOKEN_UNSIGNED}, cases, ARRAY_LEN(cases));
    assert_int_equal(claims.expires_ms, NOW_MS - 1000 + TOKEN_DRIFT_MS + 1);
    assert_accepted(insecure(), plain("{\"alg\":\"none\"}", "{\"sub\":\"u\"}"));
    assert_true(claims.expires_ms == TOKEN_NEVER);
}

static void the_end_is_where_the_check_would_refuse(void **state)
{
    struct token_rules *rules = insecure();
    struct str text = plain("{\"alg\":\"none\"}", "{" SUB "\"exp\":1700000060}");
    const char *why = NULL;
    assert_true(token_check(rules, &arena, text, NOW_MS, &claims, &why));
    struct token_claims later;
    assert_true(token_check(rules, &arena, text, claims.expires_ms - 1, &later, &why));
    assert_false(token_check(rules, &arena, text, claims.expires_ms, &later, &why));
    assert_string_equal(why, "Expired token");
    token_rules_free(rules);
}

#define TIMES "\"iat\":1700000000,\"exp\":1700000060,"

static void issuer_and_audience(void **state)
{
    static const struct claim_case cases[] = {
        {"{" SUB TIMES "\"aud\":\"you\"}", "Missing required \"iss\" claim"},
        {"{" SUB TIMES "\"iss\":\"me\"}", "Missing required \"aud\" claim"},
        {"{" SUB TIMES "\"iss\":\"me\",\"aud\":\"you\"}", NULL},
        {"{" SUB TIMES "\"iss\":\"Me\",\"aud\":\"you\"}", "Invalid \"iss\" claim value: \"Me\""},
        {"{" SUB TIMES "\"iss\":[\"me\"],\"aud\":\"you\"}", "Invalid \"iss\" claim value: [\"me\"]"},
        {"{" SUB TIMES "\"iss\":\"me\",\"aud\":\"your\"}", "Invalid \"aud\" claim value: \"your\""},
        {"{" SUB TIMES "\"iss\":\"me\",\"aud\":[\"they\",\"you\"]}", NULL},
        {"{" SUB TIMES "\"iss\":\"me\",\"aud\":[\"they\",[\"you\"],7]}",
         "Invalid \"aud\" claim value: [\"they\",[\"you\"],7]"},
        {"{" SUB TIMES "\"iss\":\"me\",\"aud\":[]}", "Invalid \"aud\" claim value: []"},
        {"{" SUB TIMES "\"iss\":\"me\",\"aud\":{\"you\":1}}", "Invalid \"aud\" claim value: {\"you\":1}"},
    };
    run_cases((struct token_options){TOKEN_HS256, STR(SECRET), .iss = STR("me"), .aud = STR("you")}, cases,
              ARRAY_LEN(cases));
}

static void a_long_value_is_shown_in_part(void **state)
{
    char json[256] = "{" SUB "\"exp\":\"\xc3\xa4";
    size_t n = strlen(json);
    memset(json + n, 'x', 200);
    memcpy(json + n + 200, "\"}", 3);
    const char *why = why_not(insecure(), plain("{\"alg\":\"none\"}", json));
    assert_memory_equal(why, "Invalid \"exp\" claim value: \"\\u00E4xxx", 37);
    assert_int_equal(strlen(why), strlen("Invalid \"exp\" claim value: ") + 80 + 3);
    assert_string_equal(why + strlen(why) - 5, "xx...");
}

static void user(void **state)
{
    static const struct claim_case cases[] = {
        {"{\"user_id\":\"u\"}", NULL},
        {"{\"sub\":null,\"user_id\":\"u\"}", NULL},
        {"{\"sub\":\"u\",\"user_id\":7}", NULL},
        {"{}", "Missing or invalid 'user_id'"},
        {"{\"sub\":\"\"}", "Missing or invalid 'user_id'"},
        {"{\"sub\":\" \\t\",\"user_id\":\"u\"}", "Missing or invalid 'user_id'"},
        {"{\"sub\":7}", "Missing or invalid 'user_id'"},
        {"{\"sub\":{\"sub\":\"u\"}}", "Missing or invalid 'user_id'"},
        {"{\"ns\":{\"sub\":\"u\"}}", "Missing or invalid 'user_id'"},
    };
    run_cases((struct token_options){TOKEN_UNSIGNED}, cases, ARRAY_LEN(cases));
    assert_accepted(insecure(), plain("{\"alg\":\"none\"}", "{\"sub\":\"u\",\"user_id\":\"v\"}"));
    assert_string_equal(claims.user.p, "u");
    assert_accepted(insecure(), plain("{\"alg\":\"none\"}", "{\"sub\":\" \xc3\xa4 \"}"));
    assert_string_equal(claims.user.p, " \xc3\xa4 ");
}

static void user_in_a_namespace(void **state)
{
    static const struct claim_case cases[] = {
        {"{\"x\":{\"sub\":\"u\"}}", NULL},
        {"{\"x\":{\"user_id\":\"u\"},\"sub\":\"v\"}", NULL},
        {"{\"sub\":\"u\"}", "Missing or invalid 'user_id'"},
        {"{\"x\":\"u\",\"sub\":\"u\"}", "Missing or invalid 'user_id'"},
        {"{\"x\":[{\"sub\":\"u\"}]}", "Missing or invalid 'user_id'"},
        {"{\"x\":{\"sub\":\"u\",\"exp\":1},\"exp\":1600000000}", "Expired token"},
        {"{\"x\":{\"sub\":\"u\",\"exp\":1}}", NULL},
    };
    run_cases((struct token_options){TOKEN_UNSIGNED, .namespace = STR("x")}, cases, ARRAY_LEN(cases));
    assert_string_equal(claims.user.p, "u");
}

static void insecure_mode_does_not_look_at_signatures(void **state)
{
    struct str text = plain("{\"alg\":\"none\"}", "{\"sub\":\"u\"}");
    assert_accepted(insecure(), text);
    assert_accepted(insecure(), (struct str){text.p, text.n - 1});
    buf_put_c(&token, "whatever");
    assert_accepted(insecure(), buf_str(&token));
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        assert_accepted(insecure(), sign(algorithms[i].algorithm, private_key(i), GOOD));
    }
    assert_accepted(insecure(), sign(TOKEN_UNSIGNED, STR(""), GOOD));
}

/* The published client's own maker of unsigned tokens replaces the first slash only. */
static void insecure_mode_takes_slashes(void **state)
{
    assert_accepted(insecure(), STR("eyJhbGciOiJub25lIn0.eyJzdWIiOiI/Pz8_Pz8/In0."));
    assert_string_equal(claims.user.p, "???????");
}

static void nothing_unsigned_in_secure_mode(void **state)
{
    struct str text = plain("{\"alg\":\"HS256\"}", GOOD);
    assert_refused(secret(), text, "Invalid token signature");
    assert_refused(secret(), (struct str){text.p, text.n - 1}, "Invalid token");
}

static void assert_no_rules(enum token_algorithm algorithm, struct str key, const char *why)
{
    struct token_rules *rules = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(token_rules_new(&(struct token_options){algorithm, key}, &rules, &err), -1);
    assert_null(rules);
    assert_string_equal(err.msg, why);
}

static void keys_must_fit(void **state)
{
    assert_no_rules(TOKEN_HS256, (struct str){SECRET, 31}, "has to be at least 32 bytes long for HS256");
    assert_no_rules(TOKEN_HS384, (struct str){SECRET, 47}, "has to be at least 48 bytes long for HS384");
    assert_no_rules(TOKEN_HS512, (struct str){SECRET, 63}, "has to be at least 64 bytes long for HS512");
    assert_no_rules(TOKEN_RS256, str_c(keys[KEY_P256].public_pem),
                    "is not a valid key for AUTH_JWT_ALG=RS256 or it has invalid format.");
    assert_no_rules(TOKEN_ES256, str_c(keys[KEY_P384].public_pem),
                    "is not a valid key for AUTH_JWT_ALG=ES256 or it has invalid format.");
    assert_no_rules(TOKEN_ES384, str_c(keys[KEY_P384].private_pem),
                    "is not a valid key for AUTH_JWT_ALG=ES384 or it has invalid format.");
    assert_no_rules(TOKEN_RS512, STR(""),
                    "is not a valid key for AUTH_JWT_ALG=RS512 or it has invalid format.");
}

static void signing_says_what_does_not_fit(void **state)
{
    struct err err = ERR_INIT;
    buf_reset(&token);
    assert_int_equal(token_sign(TOKEN_HS256, STR(SECRET), "[]", &token, &err), -1);
    assert_string_equal(err.msg, "the claims are no JSON object");
    assert_int_equal(token_sign(TOKEN_RS256, STR("no key"), GOOD, &token, &err), -1);
    assert_string_equal(err.msg, "the key is not one for RS256");
    assert_int_equal(token_sign(TOKEN_ES256, str_c(keys[KEY_RSA].private_pem), GOOD, &token, &err), -1);
    assert_string_equal(err.msg, "the key is not one for ES256");
    assert_int_equal(token.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_algorithm_takes_its_own_and_no_other, teardown),
        cmocka_unit_test_teardown(another_key_is_not_taken, teardown),
        cmocka_unit_test_teardown(a_changed_token_is_not_taken, teardown),
        cmocka_unit_test_teardown(a_public_key_is_no_secret, teardown),
        cmocka_unit_test_teardown(the_rfc_examples_are_taken, teardown),
        cmocka_unit_test_teardown(other_headers_do_not_matter, teardown),
        cmocka_unit_test_teardown(critical_headers_refuse, teardown),
        cmocka_unit_test_teardown(alg_is_exact, teardown),
        cmocka_unit_test_teardown(malformed_texts, teardown),
        cmocka_unit_test_teardown(claims_must_be_an_object, teardown),
        cmocka_unit_test_teardown(a_token_has_a_limit, teardown),
        cmocka_unit_test_teardown(times_in_secure_mode, teardown),
        cmocka_unit_test_teardown(times_in_insecure_mode, teardown),
        cmocka_unit_test_teardown(the_end_is_where_the_check_would_refuse, teardown),
        cmocka_unit_test_teardown(issuer_and_audience, teardown),
        cmocka_unit_test_teardown(a_long_value_is_shown_in_part, teardown),
        cmocka_unit_test_teardown(user, teardown),
        cmocka_unit_test_teardown(user_in_a_namespace, teardown),
        cmocka_unit_test_teardown(insecure_mode_does_not_look_at_signatures, teardown),
        cmocka_unit_test_teardown(insecure_mode_takes_slashes, teardown),
        cmocka_unit_test_teardown(nothing_unsigned_in_secure_mode, teardown),
        cmocka_unit_test_teardown(keys_must_fit, teardown),
        cmocka_unit_test_teardown(signing_says_what_does_not_fit, teardown),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
