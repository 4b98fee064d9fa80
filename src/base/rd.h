/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte reader with a sticky failure: read all fields, then ask rd_done() once. After a short read every
 * further read yields zero / empty, so a short read never looks like a valid message.
 */
#pragma once

#include "base/str.h"

struct rd {
    const char *p;
    const char *end;
    bool failed;
};

static inline struct rd rd_init(const void *p, size_t n)
{
    return (struct rd){.p = p, .end = (const char *)p + n};
}

uint8_t rd_u8(struct rd *r);
uint16_t rd_u16be(struct rd *r);
uint32_t rd_u32be(struct rd *r);
struct str rd_bytes(struct rd *r, size_t n); /* borrowed from the input */
struct str rd_cstr(struct rd *r);            /* up to a NUL, which is consumed and not counted; borrowed */
struct str rd_rest(struct rd *r);

static inline size_t rd_left(const struct rd *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->p);
}

/* True when nothing failed and nothing is left. */
static inline bool rd_done(const struct rd *r)
{
    return !r->failed && r->p == r->end;
}
