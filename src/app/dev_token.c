/* SPDX-License-Identifier: Apache-2.0 */
#include "app/dev_token.h"

#include "app/auth_config.h"
#include "app/files.h"
#include "base/limits.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdlib.h>

enum { KEY_FILE_LIMIT = 64 * 1024 };

static void json_free(json_t **json)
{
    json_decref(*json);
}

static void wipe_buf(struct buf *b)
{
    if (b->p) {
        mem_wipe(b->p, b->n);
    }
    buf_deinit(b);
}

/* RFC 7519 section 4.1: these are looked for at the top level, whatever the namespace. */
static bool is_registered(const char *name)
{
    static const char *const names[] = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void put_text(json_t *claims, const char *name, const char *text)
{
    if (text) {
        json_object_set_new(claims, name, json_string(text));
    }
}

/* A value that reads as JSON is that; anything else is a text. NULL when it is not UTF-8. */
static json_t *read_value(struct str text)
{
    json_error_t ignored;
    json_t *value = json_loadb(text.p, text.n, JSON_DECODE_ANY, &ignored);
    return value ? value : json_stringn(text.p, text.n);
}

static int add_claim(json_t *claims, json_t *custom, struct str line, struct err *err)
{
    struct str value = line;
    struct str name = str_cut(&value, '=');
    if (name.n == 0 || name.n == line.n) {
        return err_set(err, ERR_INPUT, "--claim takes NAME=VALUE: %.*s", STR_ARG(line));
    }
    CLEANUP(mem_free_p) char *key = mem_strndup(name.p, name.n);
    json_t *json = read_value(value);
    if (!json || json_object_set_new(is_registered(key) ? claims : custom, key, json) != 0) {
        return err_set(err, ERR_INPUT, "claim %s is not UTF-8", key);
    }
    return 0;
}

static int add_claims(const char *lines, json_t *claims, json_t *custom, struct err *err)
{
    struct str rest = str_c(lines);
    while (rest.n) {
        if (add_claim(claims, custom, str_cut(&rest, '\n'), err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int put_claims(const struct config *config, int64_t now_ms, json_t *claims, struct err *err)
{
    const struct config_auth *auth = &config->auth;
    json_t *custom = auth->ns ? json_object() : claims;
    put_text(claims, "sub", config->token.user);
    put_text(custom, "sub", config->token.user);
    put_text(claims, "iss", auth->iss);
    put_text(claims, "aud", auth->aud);
    json_object_set_new(claims, "iat", json_integer(now_ms / 1000));
    if (config->token.life_ms) {
        json_object_set_new(claims, "exp",
                            json_integer((now_ms + (int64_t)config->token.life_ms + 999) / 1000));
    }
    if (auth->ns) {
        json_object_set_new(claims, auth->ns, custom);
    }
    return add_claims(config->token.claims, claims, custom, err);
}

static int sign(const struct config *config, const char *claims, struct buf *out, struct err *err)
{
    const struct config_auth *auth = &config->auth;
    CLEANUP(wipe_buf) struct buf file = BUF_INIT(KEY_FILE_LIMIT);
    struct str key = {auth->key, auth->key_size};
    if (config->token.key && auth->algorithm != TOKEN_UNSIGNED && !token_secret_size(auth->algorithm)) {
        if (file_read(config->token.key, &file, err) < 0) {
            return err_context(err, "%s", config->token.key);
        }
        key = buf_str(&file);
    }
    return token_sign(auth->algorithm, key, claims, out, err);
}

static void free_rules(struct token_rules **rules)
{
    token_rules_free(*rules);
}

/* What the service would say: a private key that is not AUTH_JWT_KEY's, a token without end, … */
static int try_out(const struct config *config, int64_t now_ms, struct str token, struct err *err)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(free_rules) struct token_rules *rules = NULL;
    struct token_claims claims;
    const char *why;
    if (auth_rules_new(&config->auth, &rules, err) < 0) {
        return -1;
    }
    if (!token_check(rules, &a, token, now_ms, &claims, &why)) {
        return err_set(err, ERR_INPUT, "the service would refuse this token: %s", why);
    }
    return 0;
}

int dev_token_make(const struct config *config, int64_t now_ms, struct buf *out_token, struct buf *out_claims,
                   struct err *err)
{
    CLEANUP(buf_deinit) struct buf token = BUF_INIT(2 * LIMIT_TOKEN);
    CLEANUP(json_free) json_t *claims = json_object();
    if (put_claims(config, now_ms, claims, err) < 0) {
        return -1;
    }
    CLEANUP(mem_free_p) char *text = json_dumps(claims, JSON_COMPACT);
    if (sign(config, text, &token, err) < 0 || try_out(config, now_ms, buf_str(&token), err) < 0) {
        return -1;
    }
    buf_put_str(out_token, buf_str(&token));
    buf_put_c(out_claims, text);
    return 0;
}
