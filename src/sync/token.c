/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the check of a token:
 *
 *   token     = header "." claims "." signature      each in base64url; header and claims are JSON objects
 *   header    = {"alg": …, …}                        others ignored, but "crit" refuses (RFC 7515
 * section 4.1.11) signature = over the text of header "." claims HS   HMAC       RS  RSASSA-PKCS1-v1_5 ES  r
 * and s, each as long as the curve's order (RFC 7518 section 3)
 *
 * Signatures are checked with OpenSSL, not by libjwt: that refuses any "typ" but JWT, and identity providers
 * send others (RFC 9068: "at+jwt"). It also reads the key anew each time. Signing is left to it.
 */
#include "sync/token.h"

#include "base/base64.h"
#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <jwt.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <stdlib.h>

enum { SHOWN_VALUE = 80 }; /* characters of a claim's value in a refusal */

struct algorithm {
    const char *name;
    const char *digest;
    size_t secret_size; /* HS: shortest secret */
    const char *type;   /* public key type of OpenSSL */
    const char *curve;  /* of an EC key (RFC 7518 section 3.4) */
    size_t coordinate;  /* ES: bytes of r, and of s */
    jwt_alg_t jwt;
};

static const struct algorithm algorithms[] = {
    [TOKEN_UNSIGNED] = {"none", .jwt = JWT_ALG_NONE},
    [TOKEN_HS256] = {"HS256", "SHA256", 32, .jwt = JWT_ALG_HS256},
    [TOKEN_HS384] = {"HS384", "SHA384", 48, .jwt = JWT_ALG_HS384},
    [TOKEN_HS512] = {"HS512", "SHA512", 64, .jwt = JWT_ALG_HS512},
    [TOKEN_RS256] = {"RS256", "SHA256", 0, "RSA", .jwt = JWT_ALG_RS256},
    [TOKEN_RS384] = {"RS384", "SHA384", 0, "RSA", .jwt = JWT_ALG_RS384},
    [TOKEN_RS512] = {"RS512", "SHA512", 0, "RSA", .jwt = JWT_ALG_RS512},
    [TOKEN_ES256] = {"ES256", "SHA256", 0, "EC", SN_X9_62_prime256v1, 32, JWT_ALG_ES256},
    [TOKEN_ES384] = {"ES384", "SHA384", 0, "EC", SN_secp384r1, 48, JWT_ALG_ES384},
    [TOKEN_ES512] = {"ES512", "SHA512", 0, "EC", SN_secp521r1, 66, JWT_ALG_ES512},
};

struct token_rules {
    const struct algorithm *algorithm;
    char *secret; /* HS */
    size_t secret_n;
    EVP_PKEY *public_key;        /* RS, ES */
    char *namespace, *iss, *aud; /* NULL: not configured */
};

const char *token_algorithm_name(enum token_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

size_t token_secret_size(enum token_algorithm algorithm)
{
    return algorithms[algorithm].secret_size;
}

static bool curve_fits(const EVP_PKEY *key, const char *curve)
{
    char name[64];
    size_t n;
    return !curve || (EVP_PKEY_get_group_name(key, name, sizeof name, &n) == 1 && strcmp(name, curve) == 0);
}

/* NULL when the text holds no public key, or not one for the algorithm. */
static EVP_PKEY *read_public_key(const struct algorithm *algorithm, struct str pem)
{
    BIO *bio = pem.n <= INT32_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (key && !(EVP_PKEY_is_a(key, algorithm->type) && curve_fits(key, algorithm->curve))) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    ERR_clear_error();
    return key;
}

static int set_key(struct token_rules *rules, struct str key, struct err *err)
{
    const struct algorithm *algorithm = rules->algorithm;
    if (algorithm->secret_size) {
        if (key.n < algorithm->secret_size) {
            return err_set(err, ERR_INPUT, "has to be at least %zu bytes long for %s", algorithm->secret_size,
                           algorithm->name);
        }
        rules->secret = mem_strndup(key.p, key.n);
        rules->secret_n = key.n;
    } else if (algorithm->type) {
        rules->public_key = read_public_key(algorithm, key);
        if (!rules->public_key) {
            return err_set(err, ERR_INPUT, "is not a valid key for AUTH_JWT_ALG=%s or it has invalid format.",
                           algorithm->name);
        }
    }
    return 0;
}

static char *copy_or_null(struct str text)
{
    return text.n ? mem_strndup(text.p, text.n) : NULL;
}

int token_rules_new(const struct token_options *options, struct token_rules **out_rules, struct err *err)
{
    struct token_rules *rules = mem_zalloc(sizeof *rules);
    rules->algorithm = &algorithms[options->algorithm];
    rules->namespace = copy_or_null(options->namespace);
    rules->iss = copy_or_null(options->iss);
    rules->aud = copy_or_null(options->aud);
    if (set_key(rules, options->key, err) < 0) {
        token_rules_free(rules);
        return -1;
    }
    *out_rules = rules;
    return 0;
}

void token_rules_free(struct token_rules *rules)
{
    if (!rules) {
        return;
    }
    if (rules->secret) {
        mem_wipe(rules->secret, rules->secret_n);
    }
    free(rules->secret);
    EVP_PKEY_free(rules->public_key);
    free(rules->namespace);
    free(rules->iss);
    free(rules->aud);
    free(rules);
}

static bool decode(struct arena *a, struct str part, struct str *out)
{
    char *bytes = arena_alloc(a, part.n / 4 * 3 + 3);
    *out = (struct str){.p = bytes};
    return base64_decode(part, BASE64_URL, bytes, &out->n);
}

static bool hmac_fits(const struct token_rules *rules, struct str signed_text, struct str signature)
{
    unsigned char right[EVP_MAX_MD_SIZE];
    unsigned n;
    const EVP_MD *digest = EVP_get_digestbyname(rules->algorithm->digest);
    return HMAC(digest, rules->secret, (int)rules->secret_n, (const unsigned char *)signed_text.p,
                signed_text.n, right, &n) &&
           n == signature.n && mem_equal_secret(right, signature.p, n);
}

/* What OpenSSL takes for ES is the pair in DER. */
static bool to_der(struct arena *a, size_t coordinate, struct str *signature)
{
    if (signature->n != 2 * coordinate) {
        return false;
    }
    const unsigned char *p = (const unsigned char *)signature->p;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(p, (int)coordinate, NULL);
    BIGNUM *s = BN_bin2bn(p + coordinate, (int)coordinate, NULL);
    ECDSA_SIG_set0(pair, r, s);
    unsigned char *der = NULL;
    int n = i2d_ECDSA_SIG(pair, &der);
    ECDSA_SIG_free(pair);
    if (n > 0) {
        *signature = arena_str(a, (struct str){(char *)der, (size_t)n});
    }
    OPENSSL_free(der);
    return n > 0;
}

static bool public_key_fits(const struct token_rules *rules, struct arena *a, struct str signed_text,
                            struct str signature)
{
    const struct algorithm *algorithm = rules->algorithm;
    if (algorithm->coordinate && !to_der(a, algorithm->coordinate, &signature)) {
        return false;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool fits =
        ctx &&
        EVP_DigestVerifyInit_ex(ctx, NULL, algorithm->digest, NULL, NULL, rules->public_key, NULL) == 1 &&
        EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n,
                         (const unsigned char *)signed_text.p, signed_text.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return fits;
}

static bool signature_fits(const struct token_rules *rules, struct arena *a, struct str signed_text,
                           struct str part)
{
    struct str signature;
    return decode(a, part, &signature) && (rules->secret ? hmac_fits(rules, signed_text, signature)
                                                         : public_key_fits(rules, a, signed_text, signature));
}

static void json_free(json_t **json)
{
    json_decref(*json);
}

/* NULL when it is no object. A NUL inside a text is refused by the parser. */
static json_t *read_object(struct arena *a, struct str part)
{
    struct str text;
    json_error_t ignored;
    json_t *json =
        decode(a, part, &text) ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &ignored) : NULL;
    if (!json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static const char *missing(struct arena *a, const char *claim)
{
    return arena_printf(a, "Missing required \"%s\" claim", claim);
}

static const char *invalid(struct arena *a, const char *claim, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    const char *why = arena_printf(a, "Invalid \"%s\" claim value: %.*s%s", claim, SHOWN_VALUE, text,
                                   strlen(text) > SHOWN_VALUE ? "..." : "");
    free(text);
    return why;
}

struct checker {
    const struct token_rules *rules;
    struct arena *a;
    const json_t *claims;
    int64_t now_ms;
    struct token_claims *out;
};

static double drift(const struct checker *c, double sign)
{
    return (double)c->now_ms + sign * TOKEN_DRIFT_MS;
}

static const char *check_exp(struct checker *c, double ms)
{
    if (ms < drift(c, -1)) {
        return "Expired token";
    }
    ms += TOKEN_DRIFT_MS;
    c->out->expires_ms = ms < 9e15 ? (int64_t)ms + 1 : TOKEN_NEVER; /* far below 2^63, and exact */
    return NULL;
}

static const char *check_past(struct checker *c, double ms)
{
    return ms > drift(c, 1) ? "Token is not yet valid" : NULL;
}

static const char *check_time(struct checker *c, const char *claim, bool required,
                              const char *(*check)(struct checker *, double))
{
    const json_t *value = json_object_get(c->claims, claim);
    if (!value) {
        return required ? missing(c->a, claim) : NULL;
    }
    return json_is_number(value) ? check(c, json_number_value(value) * 1000) : invalid(c->a, claim, value);
}

static bool is_text(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool holds_text(const json_t *list, const char *text)
{
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)(uintptr_t)list, i, value)
    {
        if (is_text(value, text)) {
            return true;
        }
    }
    return false;
}

static const char *check_text(struct checker *c, const char *claim, const char *wanted, bool may_be_list)
{
    const json_t *value = json_object_get(c->claims, claim);
    if (!wanted) {
        return NULL;
    }
    if (!value) {
        return missing(c->a, claim);
    }
    return is_text(value, wanted) || (may_be_list && holds_text(value, wanted)) ? NULL
                                                                                : invalid(c->a, claim, value);
}

static const char *check_user(struct checker *c)
{
    const char *namespace = c->rules->namespace;
    const json_t *claims = namespace ? json_object_get(c->claims, namespace) : c->claims;
    const json_t *user = json_object_get(claims, "sub");
    if (!user || json_is_null(user)) {
        user = json_object_get(claims, "user_id");
    }
    struct str text = str_c(json_string_value(user));
    if (str_trim(text).n == 0) {
        return "Missing or invalid 'user_id'";
    }
    c->out->user = arena_str(c->a, text);
    return NULL;
}

static const char *check_claims(struct checker *c)
{
    bool secure = c->rules->algorithm->digest != NULL;
    const char *why;
    c->out->expires_ms = TOKEN_NEVER;
    if ((why = check_time(c, "iat", secure, check_past)) || (why = check_time(c, "exp", secure, check_exp)) ||
        (why = check_time(c, "nbf", false, check_past)) ||
        (why = check_text(c, "iss", c->rules->iss, false)) ||
        (why = check_text(c, "aud", c->rules->aud, true))) {
        return why;
    }
    return check_user(c);
}

/* header "." claims [ "." signature ]; the signature may lack where it is not looked at. */
struct parts {
    struct str header, claims, signature, signed_text;
};

static bool split(struct str text, bool is_signed, struct parts *out)
{
    struct str rest = text;
    out->header = str_cut(&rest, '.');
    size_t left = rest.n;
    out->claims = str_cut(&rest, '.');
    out->signature = rest;
    out->signed_text = (struct str){text.p, out->header.n + 1 + out->claims.n};
    bool has_signature = out->claims.n < left;
    return out->header.n < text.n && (has_signature || !is_signed) &&
           !(rest.n && memchr(rest.p, '.', rest.n));
}

static const char *check_signature(const struct token_rules *rules, struct arena *a,
                                   const struct parts *parts, const json_t *header)
{
    if (!rules->algorithm->digest) {
        return NULL;
    }
    if (!is_text(json_object_get(header, "alg"), rules->algorithm->name)) {
        return "Signing algorithm mismatch";
    }
    return signature_fits(rules, a, parts->signed_text, parts->signature) ? NULL : "Invalid token signature";
}

static const char *check(const struct token_rules *rules, struct arena *a, struct str text, int64_t now_ms,
                         struct token_claims *out)
{
    struct parts parts;
    if (text.n > LIMIT_TOKEN || !split(text, rules->algorithm->digest != NULL, &parts)) {
        return "Invalid token";
    }
    CLEANUP(json_free) json_t *header = read_object(a, parts.header);
    if (!header || json_object_get(header, "crit")) {
        return "Invalid token";
    }
    const char *why = check_signature(rules, a, &parts, header);
    if (why) {
        return why;
    }
    CLEANUP(json_free) json_t *claims = read_object(a, parts.claims);
    struct checker c = {.rules = rules, .a = a, .claims = claims, .now_ms = now_ms, .out = out};
    return claims ? check_claims(&c) : "Invalid token";
}

bool token_check(const struct token_rules *rules, struct arena *a, struct str text, int64_t now_ms,
                 struct token_claims *out, const char **out_why)
{
    struct token_claims claims;
    const char *why = check(rules, a, text, now_ms, &claims);
    if (why) {
        *out_why = why;
        return false;
    }
    *out = claims;
    return true;
}

static void jwt_free_p(jwt_t **jwt)
{
    jwt_free(*jwt);
}

int token_sign(enum token_algorithm algorithm, struct str key, const char *claims, struct buf *out,
               struct err *err)
{
    CLEANUP(jwt_free_p) jwt_t *jwt = NULL;
    if (jwt_new(&jwt) != 0) {
        return err_set(err, ERR_INTERNAL, "no memory for a token");
    }
    if (jwt_add_grants_json(jwt, claims) != 0) {
        return err_set(err, ERR_INPUT, "the claims are no JSON object");
    }
    if (key.n > INT32_MAX || jwt_set_alg(jwt, algorithms[algorithm].jwt,
                                         key.n ? (const unsigned char *)key.p : NULL, (int)key.n)) {
        return err_set(err, ERR_INPUT, "the key is not one for %s", algorithms[algorithm].name);
    }
    char *text = jwt_encode_str(jwt);
    ERR_clear_error();
    if (!text) {
        return err_set(err, ERR_INPUT, "the key is not one for %s", algorithms[algorithm].name);
    }
    buf_put_c(out, text);
    free(text);
    return 0;
}
