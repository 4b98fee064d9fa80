/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile token, in insecure mode and with a secret, at a fixed time. Whatever it is, there is a user id or
 * a reason. An input that begins with { is the claims alone, so that base64 does not stand between the fuzzer
 * and them.
 */
#include "sync/token.h"

#include "base/limits.h"

#include <assert.h>
#include <openssl/evp.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SECRET "0123456789abcdef0123456789abcdef"

static const int64_t now_ms = 1700000000000; /* iat and exp of the corpus lie around it */

static struct token_rules *make(enum token_algorithm algorithm, struct str namespace)
{
    struct token_rules *rules = NULL;
    struct err err = ERR_INIT;
    struct token_options options = {algorithm, .namespace = namespace};
    if (algorithm != TOKEN_UNSIGNED) {
        options.key = STR(SECRET);
        options.iss = STR("me");
        options.aud = STR("you");
    }
    int rc = token_rules_new(&options, &rules, &err);
    assert(rc == 0);
    return rules;
}

static void try_out(enum token_algorithm algorithm, struct str namespace, struct str text)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct token_rules *rules = make(algorithm, namespace);
    struct token_claims claims;
    const char *why = NULL;
    if (token_check(rules, &a, text, now_ms, &claims, &why)) {
        assert(str_trim(claims.user).n > 0 && claims.user.p[claims.user.n] == '\0');
        assert(!memchr(claims.user.p, '\0', claims.user.n));
        assert(claims.expires_ms > now_ms && text.n <= LIMIT_TOKEN);
    } else {
        assert(why && *why && strlen(why) < 256);
    }
    token_rules_free(rules);
}

static struct str make_token(struct arena *a, const uint8_t *claims, size_t n)
{
    static const char header[] = "eyJhbGciOiJub25lIn0.";
    char *text = arena_alloc(a, sizeof header + n / 3 * 4 + 5);
    memcpy(text, header, sizeof header - 1);
    size_t used = sizeof header - 1;
    used += (size_t)EVP_EncodeBlock((unsigned char *)text + used, claims, (int)n);
    while (text[used - 1] == '=') {
        used--;
    }
    return (struct str){text, used};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct str text = {(const char *)data, size};
    if (size > 0 && data[0] == '{') {
        text = make_token(&a, data, size);
    }
    try_out(TOKEN_UNSIGNED, STR(""), text);
    try_out(TOKEN_UNSIGNED, STR("ns"), text);
    try_out(TOKEN_HS256, STR(""), text);
    return 0;
}
