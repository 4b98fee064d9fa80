/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's own errors as data: errors.def has them all. */
#pragma once

#include "wire/message.h"

enum proxy_error {
#define PROXY_ERROR(name, sqlstate, message, hint) PROXY_##name,
#include "proxy/errors.def"
#undef PROXY_ERROR
    PROXY_ERRORS,
};

struct proxy_error_row {
    const char *sqlstate;
    const char *message; /* a format that takes one string, or none */
    const char *hint;    /* "" when there is none */
};

extern const struct proxy_error_row proxy_errors[PROXY_ERRORS];

struct proxy_error_text {
    char message[800];
};

/* A FATAL problem; borrows from *text, where the message is put together. what: fills the message's %s, or
 * NULL. */
struct problem proxy_fatal(enum proxy_error e, const char *what, struct proxy_error_text *text);
