/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rd.h"

struct str rd_bytes(struct rd *r, size_t n)
{
    if (r->failed || n > (size_t)(r->end - r->p)) {
        r->failed = true;
        return (struct str){"", 0};
    }
    struct str s = {r->p, n};
    r->p += n;
    return s;
}

uint8_t rd_u8(struct rd *r)
{
    struct str s = rd_bytes(r, 1);
    return s.n ? (uint8_t)s.p[0] : 0;
}

uint16_t rd_u16be(struct rd *r)
{
    struct str s = rd_bytes(r, 2);
    const unsigned char *u = (const unsigned char *)s.p;
    return s.n ? (uint16_t)(u[0] << 8 | u[1]) : 0;
}

uint32_t rd_u32be(struct rd *r)
{
    struct str s = rd_bytes(r, 4);
    const unsigned char *u = (const unsigned char *)s.p;
    return s.n ? (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3] : 0;
}

struct str rd_cstr(struct rd *r)
{
    const char *nul = r->failed || r->p == r->end ? NULL : memchr(r->p, 0, (size_t)(r->end - r->p));
    if (!nul) {
        r->failed = true;
        return (struct str){"", 0};
    }
    struct str s = {r->p, (size_t)(nul - r->p)};
    r->p = nul + 1;
    return s;
}

struct str rd_rest(struct rd *r)
{
    return rd_bytes(r, rd_left(r));
}
