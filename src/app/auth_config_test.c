/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys go with which algorithm, and what insecure mode refuses. Keys are made on the spot. */
#include "app/auth_config.h"

#include "base/mem.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>

#define BYTES_32 "0123456789abcdef0123456789abcdef"
#define BYTES_48 BYTES_32 "0123456789abcdef"
#define BYTES_64 BYTES_32 BYTES_32

static struct settings settings;
static struct config config;
static struct faults faults;

static int teardown(void **state)
{
    config_deinit(&config);
    faults_deinit(&faults);
    settings_deinit(&settings);
    memset(&config, 0, sizeof config);
    return 0;
}

static void set(enum option_id id, const char *text)
{
    if (text) {
        settings_set(&settings, id, str_c(text), SOURCE_ENVIRONMENT);
    }
}

static void read_auth(const char *mode, const char *algorithm, const char *key, const char *is_base64)
{
    teardown(NULL);
    set(OPT_DATABASE_URL, "postgres://u@h");
    set(OPT_PG_PROXY_PASSWORD, "pw");
    set(OPT_AUTH_MODE, mode);
    set(OPT_AUTH_JWT_ALG, algorithm);
    set(OPT_AUTH_JWT_KEY, key);
    set(OPT_AUTH_JWT_KEY_IS_BASE64, is_base64);
    settings_read_defaults(&settings, FOR_SERVE);
    config_read(&settings, FOR_SERVE, &config, &faults);
}

static void assert_fault(enum option_id id, const char *text)
{
    if (!faults.of[id]) {
        fail_msg("%s: no fault, expected: %s", option_label(&options[id]), text);
    }
    assert_string_equal(faults.of[id], text);
}

static void secret_has_a_shortest_length(void **state)
{
    static const struct {
        const char *algorithm, *key, *fault;
    } cases[] = {{"HS256", BYTES_32, NULL},
                 {"HS384", BYTES_48, NULL},
                 {"HS512", BYTES_64, NULL},
                 {"HS256", "0123456789abcdef0123456789abcde", "has to be at least 32 bytes long for HS256"},
                 {"HS384", BYTES_32, "has to be at least 48 bytes long for HS384"},
                 {"HS512", BYTES_48, "has to be at least 64 bytes long for HS512"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        read_auth("secure", cases[i].algorithm, cases[i].key, NULL);
        assert_int_equal(faults.count, cases[i].fault ? 1 : 0);
        if (cases[i].fault) {
            assert_fault(OPT_AUTH_JWT_KEY, cases[i].fault);
        } else {
            assert_string_equal(config.auth.key, cases[i].key);
            assert_int_equal(config.auth.key_size, strlen(cases[i].key));
        }
    }
}

static void base64_secret_is_decoded_and_then_measured(void **state)
{
    /* 32 bytes of 0xfb: both special digits of the alphabet, one = of padding */
    const char *padded = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=";
    read_auth("secure", "HS256", padded, "true");
    assert_int_equal(faults.count, 0);
    assert_int_equal(config.auth.key_size, 32);
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal((unsigned char)config.auth.key[i], 0xfb);
    }
    read_auth("secure", "HS256", "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s", "true");
    assert_int_equal(faults.count, 0);
    assert_int_equal(config.auth.key_size, 32);
    read_auth("secure", "HS256", BYTES_32, "true");
    assert_fault(OPT_AUTH_JWT_KEY, "has to be at least 32 bytes long for HS256");
}

static void bad_base64_is_refused(void **state)
{
    static const char *const bad[] = {
        "-_==", "A", "AAAAA", "AA=", "A===", "AA==AA", "AAA A", "====", "AAAA="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        read_auth("secure", "HS256", bad[i], "yes");
        assert_fault(OPT_AUTH_JWT_KEY, "has invalid base64 encoding");
    }
}

static void algorithm_is_checked(void **state)
{
    read_auth("secure", "none", BYTES_32, NULL);
    assert_fault(OPT_AUTH_JWT_ALG,
                 "has invalid value: \"none\". Must be one of [\"HS256\", \"HS384\", \"HS512\", "
                 "\"RS256\", \"RS384\", \"RS512\", \"ES256\", \"ES384\", \"ES512\"]");
    assert_int_equal(faults.count, 1);
    read_auth(NULL, NULL, NULL, NULL);
    assert_fault(OPT_AUTH_JWT_ALG, "not set");
    assert_fault(OPT_AUTH_JWT_KEY, "not set");
    read_auth("", "", "", "");
    assert_fault(OPT_AUTH_JWT_ALG, "not set");
    assert_fault(OPT_AUTH_JWT_KEY, "not set");
    assert_int_equal(faults.count, 2);
}

/* The public half of a fresh key in PEM form; the caller frees it. `curve` NULL: RSA. */
static char *make_public_key(const char *curve)
{
    EVP_PKEY *key = curve ? EVP_EC_gen(curve) : EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    assert_non_null(key);
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    long n = BIO_get_mem_data(bio, &text);
    char *pem = mem_strndup(text, (size_t)n);
    BIO_free(bio);
    EVP_PKEY_free(key);
    return pem;
}

static void assert_key_fault(const char *algorithm)
{
    char fault[128];
    snprintf(fault, sizeof fault, "is not a valid key for AUTH_JWT_ALG=%s or it has invalid format.",
             algorithm);
    assert_fault(OPT_AUTH_JWT_KEY, fault);
    assert_non_null(strstr(faults.advice[OPT_AUTH_JWT_KEY], "-----BEGIN PUBLIC KEY-----"));
}

static void public_key_must_fit_the_algorithm(void **state)
{
    static const struct {
        const char *algorithm, *curve;
    } cases[] = {{"RS256", NULL},    {"RS384", NULL},    {"RS512", NULL},
                 {"ES256", "P-256"}, {"ES384", "P-384"}, {"ES512", "P-521"}};
    static const char *const curves[] = {NULL, "P-256", "P-384", "P-521"};
    for (size_t k = 0; k < ARRAY_LEN(curves); k++) {
        CLEANUP(mem_free_p) char *pem = make_public_key(curves[k]);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            const char *curve = cases[i].curve;
            bool fits = curve == curves[k] || (curve && curves[k] && strcmp(curve, curves[k]) == 0);
            read_auth("secure", cases[i].algorithm, pem, NULL);
            if (fits) {
                assert_int_equal(faults.count, 0);
                assert_string_equal(config.auth.key, pem);
            } else {
                assert_key_fault(cases[i].algorithm);
            }
        }
    }
}

static void public_key_must_be_pem(void **state)
{
    CLEANUP(mem_free_p) char *pem = make_public_key("P-256");
    read_auth("secure", "RS256", "not a key", NULL);
    assert_key_fault("RS256");
    read_auth("secure", "ES256", strchr(pem, '\n') + 1, NULL);
    assert_key_fault("ES256");
    pem[strlen(pem) / 2] = '!';
    read_auth("secure", "ES256", pem, NULL);
    assert_key_fault("ES256");
}

static void base64_flag_is_for_secrets_only(void **state)
{
    CLEANUP(mem_free_p) char *pem = make_public_key("P-256");
    read_auth("secure", "ES256", pem, "true");
    assert_fault(OPT_AUTH_JWT_KEY_IS_BASE64, "is only valid for the algorithms HS256, HS384 and HS512");
    read_auth("secure", "ES256", pem, "false");
    assert_int_equal(faults.count, 0);
}

static void insecure_mode_refuses_what_it_ignores(void **state)
{
    static const enum option_id refused[] = {OPT_AUTH_JWT_ALG, OPT_AUTH_JWT_KEY, OPT_AUTH_JWT_KEY_IS_BASE64,
                                             OPT_AUTH_JWT_ISS, OPT_AUTH_JWT_AUD};
    teardown(NULL);
    set(OPT_AUTH_JWT_ISS, "me");
    set(OPT_AUTH_JWT_AUD, "you");
    set(OPT_AUTH_JWT_NAMESPACE, "ns");
    set(OPT_DATABASE_URL, "postgres://u@h");
    set(OPT_PG_PROXY_PASSWORD, "pw");
    set(OPT_AUTH_MODE, "insecure");
    set(OPT_AUTH_JWT_ALG, "HS256");
    set(OPT_AUTH_JWT_KEY, BYTES_32);
    set(OPT_AUTH_JWT_KEY_IS_BASE64, "true");
    settings_read_defaults(&settings, FOR_SERVE);
    config_read(&settings, FOR_SERVE, &config, &faults);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_fault(refused[i],
                     "is not valid in Insecure auth mode. Did you forget to set AUTH_MODE=secure?");
    }
    assert_int_equal(faults.count, ARRAY_LEN(refused));
    assert_string_equal(config.auth.ns, "ns");
}

static void namespace_is_allowed_in_both_modes(void **state)
{
    read_auth("insecure", NULL, NULL, NULL);
    assert_int_equal(faults.count, 0);
    assert_null(config.auth.ns);
    assert_int_equal(config.auth.algorithm, TOKEN_UNSIGNED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(secret_has_a_shortest_length, teardown),
        cmocka_unit_test_teardown(base64_secret_is_decoded_and_then_measured, teardown),
        cmocka_unit_test_teardown(bad_base64_is_refused, teardown),
        cmocka_unit_test_teardown(algorithm_is_checked, teardown),
        cmocka_unit_test_teardown(public_key_must_fit_the_algorithm, teardown),
        cmocka_unit_test_teardown(public_key_must_be_pem, teardown),
        cmocka_unit_test_teardown(base64_flag_is_for_secrets_only, teardown),
        cmocka_unit_test_teardown(insecure_mode_refuses_what_it_ignores, teardown),
        cmocka_unit_test_teardown(namespace_is_allowed_in_both_modes, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
