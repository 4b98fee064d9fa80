/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as a client sends them, for tests. */
#pragma once

#include "base/buf.h"

enum {
    WS_FIN = 0x80,
    WS_OP_CONTINUATION = 0,
    WS_OP_TEXT,
    WS_OP_BINARY,
    WS_OP_CLOSE = 8,
    WS_OP_PING,
    WS_OP_PONG
};

static inline void put_length(struct buf *b, size_t n)
{
    if (n <= 125) {
        buf_put_byte(b, (char)(0x80 | n));
    } else if (n <= 0xffff) {
        buf_put_byte(b, (char)(0x80 | 126));
        buf_put_u16be(b, (uint16_t)n);
    } else {
        buf_put_byte(b, (char)(0x80 | 127));
        buf_put_u32be(b, (uint32_t)(n >> 32));
        buf_put_u32be(b, (uint32_t)n);
    }
}

static inline void put_client_frame(struct buf *b, int first, const void *content, size_t n)
{
    static const char key[4] = {'\x1f', '\x02', '\xa3', '\x44'};
    buf_put_byte(b, (char)first);
    put_length(b, n);
    buf_put(b, key, sizeof key);
    for (size_t i = 0; i < n; i++) {
        buf_put_byte(b, (char)(((const char *)content)[i] ^ key[i & 3]));
    }
}
