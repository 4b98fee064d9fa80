/* SPDX-License-Identifier: Apache-2.0 */
#include "app/auth_config.h"

#include "base/base64.h"
#include "base/mem.h"

#include <assert.h>

static const char pem_hint[] =
    "The key must be a public key in PEM form, with its header, footer and line breaks, like this one:\n\n"
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEpsMu3X5nX0Fb0v6eh8Bo1kJd4mqg\n"
    "…\n"
    "-----END PUBLIC KEY-----";

/* The bytes of the key; false when they cannot be had. */
static bool read_key(struct config_auth *auth, struct faults *faults)
{
    struct str text = str_c(auth->key_text);
    bool is_secret = token_secret_size(auth->algorithm) > 0;
    auth->key = mem_zalloc(text.n + 3); /* a decoder's scratch, and a NUL */
    auth->key_size = text.n;
    if (!auth->key_is_base64 || !is_secret) {
        memcpy(auth->key, text.p, text.n);
    } else if (!base64_decode(text, BASE64_STANDARD, auth->key, &auth->key_size)) {
        faults_add(faults, OPT_AUTH_JWT_KEY, "has invalid base64 encoding");
        return false;
    }
    if (auth->key_is_base64 && !is_secret) {
        faults_add(faults, OPT_AUTH_JWT_KEY_IS_BASE64,
                   "is only valid for the algorithms HS256, HS384 and HS512");
    }
    return true;
}

int auth_rules_new(const struct config_auth *auth, struct token_rules **out_rules, struct err *err)
{
    assert(auth->mode == AUTH_INSECURE || auth->algorithm != TOKEN_UNSIGNED);
    return token_rules_new(&(struct token_options){.algorithm = auth->algorithm,
                                                   .key = {auth->key, auth->key_size},
                                                   .namespace = str_c(auth->ns),
                                                   .iss = str_c(auth->iss),
                                                   .aud = str_c(auth->aud)},
                           out_rules, err);
}

static void check_key(const struct config_auth *auth, struct faults *faults)
{
    struct err err = ERR_INIT;
    struct token_rules *rules = NULL;
    if (auth_rules_new(auth, &rules, &err) < 0) {
        faults_add(faults, OPT_AUTH_JWT_KEY, "%s", err.msg);
        if (!token_secret_size(auth->algorithm)) {
            faults_advise(faults, OPT_AUTH_JWT_KEY, pem_hint);
        }
    }
    token_rules_free(rules);
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
    if (algorithm_set && auth->key_text && auth->algorithm != TOKEN_UNSIGNED && read_key(auth, faults)) {
        check_key(auth, faults);
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
