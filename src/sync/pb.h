/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf fields appended to a buffer. Values that are the default are left out (proto3), unless the
 * function's name says otherwise.
 */
#pragma once

#include "base/buf.h"

enum { PB_VARINT = 0, PB_BYTES = 2 };
enum { PB_VARINT_MAX = 10 };

static inline size_t pb_put_raw(unsigned char out[PB_VARINT_MAX], uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) {
        out[n++] = (unsigned char)(v | 0x80);
    }
    out[n++] = (unsigned char)v;
    return n;
}

static inline void pb_varint(struct buf *b, uint64_t v)
{
    unsigned char raw[PB_VARINT_MAX];
    buf_put(b, raw, pb_put_raw(raw, v));
}

static inline size_t pb_varint_size(uint64_t v)
{
    return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

/* A key takes one byte: fields up to 15. */
static inline void pb_key(struct buf *b, unsigned field, unsigned wire)
{
    buf_put_byte(b, (char)(field << 3 | wire));
}

static inline void pb_uint_always(struct buf *b, unsigned field, uint64_t v)
{
    pb_key(b, field, PB_VARINT);
    pb_varint(b, v);
}

static inline void pb_uint(struct buf *b, unsigned field, uint64_t v)
{
    if (v) {
        pb_uint_always(b, field, v);
    }
}

static inline void pb_str_always(struct buf *b, unsigned field, struct str s)
{
    pb_key(b, field, PB_BYTES);
    pb_varint(b, s.n);
    buf_put_str(b, s);
}

static inline void pb_str(struct buf *b, unsigned field, struct str s)
{
    if (s.n) {
        pb_str_always(b, field, s);
    }
}

/* A message inside: fields appended until pb_close() are its. */
static inline size_t pb_open(struct buf *b, unsigned field)
{
    pb_key(b, field, PB_BYTES);
    return b->n;
}

static inline void pb_close(struct buf *b, size_t opened)
{
    unsigned char raw[PB_VARINT_MAX];
    size_t length = b->overflow ? 0 : b->n - opened;
    size_t n = pb_put_raw(raw, length);
    buf_put(b, raw, n); /* room for it, at the wrong end */
    if (!b->overflow) {
        memmove(b->p + opened + n, b->p + opened, length);
        memcpy(b->p + opened, raw, n);
    }
}
