/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures: an operation that cannot go on returns -1 and fills a struct err.
 *
 * A struct err is a plain value; building one never allocates. The first failure wins: pass it up
 * unchanged, or add one phrase of context with err_context(). Outcomes that are part of a contract are
 * positive enumerators, not failures; bugs are asserts.
 */
#pragma once

#include "base/compiler.h"

enum err_kind {
    ERR_NONE = 0,
    ERR_SYSTEM,   /* the operating system refused; code is errno */
    ERR_PEER,     /* the other side broke its protocol */
    ERR_LIMIT,    /* a named limit of base/limits.h was reached */
    ERR_UPSTREAM, /* PostgreSQL refused or is not there; sqlstate may be set */
    ERR_INPUT,    /* what a person wrote (configuration, SQL, a request) is not acceptable */
    ERR_INTERNAL, /* a library failed in a way that nobody can mend from outside */
};

struct err {
    enum err_kind kind;
    int code;         /* errno for ERR_SYSTEM, else 0 */
    char sqlstate[6]; /* "" when there is none */
    char msg[512];    /* one line, lower case, no final stop; truncated silently */
};

#define ERR_INIT         \
    {                    \
        .kind = ERR_NONE \
    }

/* Fills *err and returns -1. */
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Like err_set() for ERR_SYSTEM: appends ": strerror(code)". */
int err_set_errno(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Like err_set() with an SQLSTATE (5 characters). */
int err_set_sqlstate(struct err *err, enum err_kind kind, const char *sqlstate, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Puts "phrase: " in front of the message. Returns -1. */
int err_context(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
