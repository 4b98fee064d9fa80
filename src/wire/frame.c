/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include "base/limits.h"

int frame_peek(const char *p, size_t n, struct frame_head *out_head, struct err *err)
{
    if (n < FRAME_HEAD) {
        return FRAME_NEED_MORE;
    }
    const unsigned char *u = (const unsigned char *)p + 1;
    uint32_t length = (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
    if (length < 4 || length > LIMIT_FRAME) {
        return err_set(err, ERR_PEER, "invalid message length %u for message type 0x%02x", length,
                       (unsigned char)p[0]);
    }
    *out_head = (struct frame_head){.type = p[0], .total = (size_t)length + 1};
    return FRAME_FOUND;
}

size_t frame_run(const char *p, size_t n, size_t *out_count)
{
    *out_count = 0;
    struct frame_head head;
    struct err err;
    size_t at = 0;
    while (at < n && p[at] == p[0] && frame_peek(p + at, n - at, &head, &err) == FRAME_FOUND &&
           head.total <= n - at) {
        at += head.total;
        (*out_count)++;
    }
    return at;
}
