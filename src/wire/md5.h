/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL's MD5 password answer (protocol section "AuthenticationMD5Password"), for drivers too old for
 * SCRAM: "md5" followed by hex(md5(hex(md5(password || user)) || salt)). Pure.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum {
    MD5_SALT_SIZE = 4,
    MD5_ANSWER_SIZE = 35, /* "md5" and 32 hex digits */
};

enum md5_outcome { MD5_OK = 1, MD5_DENIED };

/* The answer that a client must give, with a NUL. -1 (ERR_INTERNAL) when the crypto library has MD5 disabled.
 */
MUST_USE int md5_password_digest(struct str password, struct str user, const uint8_t salt[MD5_SALT_SIZE],
                                 char out[MD5_ANSWER_SIZE + 1], struct err *err);

/* MD5_OK, MD5_DENIED or -1 as above. `answer` is the client's, without its NUL; constant time. */
MUST_USE int md5_password_check(struct str password, struct str user, const uint8_t salt[MD5_SALT_SIZE],
                                struct str answer, struct err *err);
