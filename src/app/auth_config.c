/* SPDX-License-Identifier: Apache-2.0 */
#include "app/auth_config.h"

#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <stdlib.h>

struct algorithm {
    const char *name;
    size_t secret_size; /* HS: shortest secret, in bytes (RFC 7518 section 3.2); 0 for public keys */
    const char *type;   /* public key type of OpenSSL */
    const char *curve;  /* of an EC key (RFC 7518 section 3.4) */
};

static const struct algorithm algorithms[] = {
    [JWT_HS256] = {"HS256", 32, NULL, NULL},
    [JWT_HS384] = {"HS384", 48, NULL, NULL},
    [JWT_HS512] = {"HS512", 64, NULL, NULL},
    [JWT_RS256] = {"RS256", 0, "RSA", NULL},
    [JWT_RS384] = {"RS384", 0, "RSA", NULL},
    [JWT_RS512] = {"RS512", 0, "RSA", NULL},
    [JWT_ES256] = {"ES256", 0, "EC", SN_X9_62_prime256v1},
    [JWT_ES384] = {"ES384", 0, "EC", SN_secp384r1},
    [JWT_ES512] = {"ES512", 0, "EC", SN_secp521r1},
};

static const char pem_hint[] =
    "The key must be a public key in PEM form, with its header, footer and line breaks, like this one:\n\n"
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEpsMu3X5nX0Fb0v6eh8Bo1kJd4mqg\n"
    "…\n"
    "-----END PUBLIC KEY-----";

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Standard alphabet, padding optional. False when malformed; *out_size bytes are in `out` else. */
static bool base64_decode(struct str text, char *out, size_t *out_size)
{
    unsigned bits = 0;
    unsigned pending = 0;
    size_t n = 0;
    size_t padding = 0;
    while (padding < 2 && text.n && text.p[text.n - 1] == '=') {
        text.n--;
        padding++;
    }
    if (text.n % 4 == 1 || (padding && (text.n + padding) % 4 != 0)) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        int digit = base64_digit(text.p[i]);
        if (digit < 0) {
            return false;
        }
        bits = (bits << 6 | (unsigned)digit) & 0xffffff;
        pending += 6;
        if (pending >= 8) {
            pending -= 8;
            out[n++] = (char)(bits >> pending & 0xff);
        }
    }
    *out_size = n;
    return true;
}

static void read_secret(const struct algorithm *algorithm, struct config_auth *auth, struct faults *faults)
{
    struct str text = str_c(auth->key_text);
    auth->key = mem_zalloc(text.n + 1);
    auth->key_size = text.n;
    if (!auth->key_is_base64) {
        memcpy(auth->key, text.p, text.n);
    } else if (!base64_decode(text, auth->key, &auth->key_size)) {
        faults_add(faults, OPT_AUTH_JWT_KEY, "has invalid base64 encoding");
        return;
    }
    if (auth->key_size < algorithm->secret_size) {
        faults_add(faults, OPT_AUTH_JWT_KEY, "has to be at least %zu bytes long for %s",
                   algorithm->secret_size, algorithm->name);
    }
}

static bool curve_fits(const EVP_PKEY *key, const char *curve)
{
    char name[64];
    size_t n;
    return !curve || (EVP_PKEY_get_group_name(key, name, sizeof name, &n) == 1 && strcmp(name, curve) == 0);
}

static bool public_key_fits(const struct algorithm *algorithm, const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    bool fits = key && EVP_PKEY_is_a(key, algorithm->type) && curve_fits(key, algorithm->curve);
    EVP_PKEY_free(key);
    BIO_free(bio);
    ERR_clear_error();
    return fits;
}

static void read_public_key(const struct algorithm *algorithm, struct config_auth *auth,
                            struct faults *faults)
{
    if (auth->key_is_base64) {
        faults_add(faults, OPT_AUTH_JWT_KEY_IS_BASE64,
                   "is only valid for the algorithms HS256, HS384 and HS512");
    }
    if (!public_key_fits(algorithm, auth->key_text)) {
        faults_add(faults, OPT_AUTH_JWT_KEY,
                   "is not a valid key for AUTH_JWT_ALG=%s or it has invalid format.", algorithm->name);
        faults_advise(faults, OPT_AUTH_JWT_KEY, pem_hint);
        return;
    }
    auth->key = mem_strdup(auth->key_text);
    auth->key_size = strlen(auth->key);
}

static void check_secure(const struct settings *settings, struct config_auth *auth, struct faults *faults)
{
    bool algorithm_set = settings_text(settings, OPT_AUTH_JWT_ALG) != NULL;
    if (!algorithm_set) {
        faults_add(faults, OPT_AUTH_JWT_ALG, "not set");
    }
    if (!auth->key_text) {
        faults_add(faults, OPT_AUTH_JWT_KEY, "not set");
    }
    if (!algorithm_set || !auth->key_text || auth->algorithm == JWT_NONE) {
        return;
    }
    const struct algorithm *algorithm = &algorithms[auth->algorithm];
    if (algorithm->secret_size) {
        read_secret(algorithm, auth, faults);
    } else {
        read_public_key(algorithm, auth, faults);
    }
}

static void check_insecure(const struct settings *settings, struct faults *faults)
{
    static const enum option_id refused[] = {OPT_AUTH_JWT_ALG, OPT_AUTH_JWT_KEY, OPT_AUTH_JWT_KEY_IS_BASE64,
                                             OPT_AUTH_JWT_ISS, OPT_AUTH_JWT_AUD};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (settings_text(settings, refused[i]) && settings->of[refused[i]].source != SOURCE_DEFAULT) {
            faults_add(faults, refused[i],
                       "is not valid in Insecure auth mode. Did you forget to set AUTH_MODE=secure?");
            faults_advise(faults, refused[i], NULL);
        }
    }
}

void auth_config_check(const struct settings *settings, struct config_auth *auth, struct faults *faults)
{
    if (faults->of[OPT_AUTH_MODE]) {
        return; /* which rules hold is not known */
    }
    if (auth->mode == AUTH_SECURE) {
        check_secure(settings, auth, faults);
    } else {
        check_insecure(settings, faults);
    }
}
