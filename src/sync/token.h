/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokens by which sync clients say who they are: JWTs (RFC 7519) in compact form (RFC 7515).
 *
 * Pure: no clock, no configuration. One struct token_rules is made of the configuration and checks any number
 * of tokens; it does not change, so any thread may use it.
 *
 * Rules, for both modes unless said otherwise:
 *   signature  with TOKEN_UNSIGNED not looked at, whatever the header says. Else the header's alg must be the
 * one configured, before the key comes into play; then the signature must be right. iat, exp   required
 * (TOKEN_UNSIGNED: optional); iat not in the future, exp not in the past nbf        optional, not in the
 * future iss, aud   required and equal, where configured; aud may be an array that holds the value user id
 * claim sub, or user_id when there is no sub: a text that is not blank; inside the object claim `namespace`,
 * where configured Times are seconds, fractions allowed, and may be off by TOKEN_DRIFT_MS.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum token_algorithm {
    TOKEN_UNSIGNED, /* insecure mode */
    TOKEN_HS256,
    TOKEN_HS384,
    TOKEN_HS512,
    TOKEN_RS256,
    TOKEN_RS384,
    TOKEN_RS512,
    TOKEN_ES256,
    TOKEN_ES384,
    TOKEN_ES512,
};

enum { TOKEN_DRIFT_MS = 2000 };

/* "HS256", as in the header; "none" for TOKEN_UNSIGNED. */
const char *token_algorithm_name(enum token_algorithm algorithm);

/* HS: the shortest secret in bytes (RFC 7518 section 3.2). 0 where the key is a public one, or none. */
size_t token_secret_size(enum token_algorithm algorithm);

/* All texts are copied; an empty one means: not configured. */
struct token_options {
    enum token_algorithm algorithm;
    struct str key; /* HS: the secret's bytes. RS, ES: a public key in PEM form. TOKEN_UNSIGNED: none */
    struct str namespace, iss, aud;
};

struct token_rules;

/* -1 (ERR_INPUT) when the secret is too short or the public key is none, or not one for the algorithm. */
MUST_USE int token_rules_new(const struct token_options *options, struct token_rules **out_rules,
                             struct err *err);
void token_rules_free(struct token_rules *rules); /* wipes the secret; takes NULL */

#define TOKEN_NEVER INT64_MAX

struct token_claims {
    struct str user;    /* in the arena, followed by a NUL */
    int64_t expires_ms; /* from when on token_check() would refuse it: Unix time; TOKEN_NEVER without exp */
};

/*
 * True: *out is filled. False: *out_why says why in one line, static or in `a`, fit to be told to the client
 * and logged; the token itself is not in it, at most the start of a claim's value. `now_ms` is Unix time in
 * milliseconds. A text longer than LIMIT_TOKEN is refused unread.
 */
MUST_USE bool token_check(const struct token_rules *rules, struct arena *a, struct str text, int64_t now_ms,
                          struct token_claims *out, const char **out_why);

/*
 * Appends a token made of `claims`, the text of a JSON object. Key: HS: the secret's bytes; RS, ES: a private
 * key in PEM form; TOKEN_UNSIGNED: none. -1 (ERR_INPUT): the key or the claims are not fit; nothing is
 * appended. For development and tests: whether the service would take the token is for token_check() to say.
 */
MUST_USE int token_sign(enum token_algorithm algorithm, struct str key, const char *claims, struct buf *out,
                        struct err *err);
