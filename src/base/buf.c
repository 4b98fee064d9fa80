/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST = 64 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf)BUF_INIT(max);
}

void buf_deinit(struct buf *b)
{
    if (b) {
        free(b->p);
        *b = (struct buf)BUF_INIT(b->max);
    }
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->overflow = false;
}

/* One byte more than asked for is always there, so that buf_cstr() cannot fail. */
static bool make_room(struct buf *b, size_t more)
{
    if (b->overflow || more > b->max - b->n) {
        b->overflow = true;
        return false;
    }
    if (b->n + more + 1 > b->cap) {
        size_t cap = b->cap ? b->cap : BUF_FIRST;
        while (cap < b->n + more + 1) {
            cap *= 2;
        }
        b->p = mem_realloc(b->p, cap);
        b->cap = cap;
    }
    return true;
}

void buf_reserve(struct buf *b, size_t more)
{
    make_room(b, more);
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n > 0 && make_room(b, n)) {
        memcpy(b->p + b->n, p, n);
        b->n += n;
    }
}

void buf_put_str(struct buf *b, struct str s)
{
    buf_put(b, s.p, s.n);
}

void buf_put_c(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_put_byte(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    assert(n >= 0);
    if (make_room(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
        b->n += (size_t)n;
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_put_u16be(struct buf *b, uint16_t v)
{
    unsigned char raw[2] = {(unsigned char)(v >> 8), (unsigned char)v};
    buf_put(b, raw, sizeof raw);
}

static void encode_u32be(unsigned char raw[4], uint32_t v)
{
    raw[0] = (unsigned char)(v >> 24);
    raw[1] = (unsigned char)(v >> 16);
    raw[2] = (unsigned char)(v >> 8);
    raw[3] = (unsigned char)v;
}

void buf_put_u32be(struct buf *b, uint32_t v)
{
    unsigned char raw[4];
    encode_u32be(raw, v);
    buf_put(b, raw, sizeof raw);
}

void buf_set_u32be(struct buf *b, size_t at, uint32_t v)
{
    unsigned char raw[4];
    if (b->overflow) {
        return;
    }
    assert(b->n >= 4 && at <= b->n - 4);
    encode_u32be(raw, v);
    memcpy(b->p + at, raw, sizeof raw);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->n);
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

const char *buf_cstr(struct buf *b)
{
    if (!b->p) {
        b->p = mem_alloc(BUF_FIRST);
        b->cap = BUF_FIRST;
    }
    b->p[b->n] = '\0';
    return b->p;
}
