/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct buf owns bytes, grows, and is born with its maximum.
 *
 * Appending past the maximum changes nothing and sets `overflow`, which stays until buf_reset(): write the
 * whole message, then ask once. The bytes are not NUL-terminated; buf_cstr() adds a NUL that does not count.
 */
#pragma once

#include "base/compiler.h"
#include "base/str.h"

#include <stdarg.h>

struct buf {
    char *p;
    size_t n;   /* bytes in use */
    size_t cap; /* bytes allocated */
    size_t max; /* never grows past this */
    bool overflow;
};

#define BUF_INIT(limit) \
    {                   \
        .max = (limit)  \
    }

void buf_init(struct buf *b, size_t max);
void buf_deinit(struct buf *b); /* frees; may run twice; *b is empty and reusable afterwards */
void buf_reset(struct buf *b);  /* empty, keeps the memory */
void buf_reserve(struct buf *b, size_t more);

void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_str(struct buf *b, struct str s);
void buf_put_c(struct buf *b, const char *s);
void buf_put_byte(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void buf_put_u16be(struct buf *b, uint16_t v);
void buf_put_u32be(struct buf *b, uint32_t v);
/* Overwrites 4 bytes at `at`, which must be in use: for a length known only at the end. */
void buf_set_u32be(struct buf *b, size_t at, uint32_t v);
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);

/* Borrowed until the buffer changes. */
const char *buf_cstr(struct buf *b);
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->n};
}
