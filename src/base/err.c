/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

PRINTF_LIKE(3, 0) static int set_v(struct err *err, enum err_kind kind, const char *fmt, va_list ap)
{
    err->kind = kind;
    err->code = 0;
    err->sqlstate[0] = '\0';
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    return -1;
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_v(err, kind, fmt, ap);
    va_end(ap);
    return -1;
}

int err_set_errno(struct err *err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_v(err, ERR_SYSTEM, fmt, ap);
    va_end(ap);
    err->code = code;
    size_t used = strlen(err->msg);
    snprintf(err->msg + used, sizeof err->msg - used, ": %s", strerror(code));
    return -1;
}

int err_set_sqlstate(struct err *err, enum err_kind kind, const char *sqlstate, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_v(err, kind, fmt, ap);
    va_end(ap);
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
    return -1;
}

int err_context(struct err *err, const char *fmt, ...)
{
    char phrase[sizeof err->msg];
    char rest[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(phrase, sizeof phrase, fmt, ap);
    va_end(ap);
    memcpy(rest, err->msg, sizeof rest);
    snprintf(err->msg, sizeof err->msg, "%.*s: %.*s", (int)(sizeof err->msg / 2), phrase,
             (int)(sizeof err->msg / 2 - 4), rest);
    return -1;
}
