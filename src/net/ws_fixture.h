/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: a client on the loop that knows nothing, and frames as a client sends them. */
#pragma once

#include "base/buf.h"
#include "net/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WS_UPGRADE                                                       \
    "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n" \
    "Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"                \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

struct raw {
    struct loop *loop;
    int fd;
    struct watch *watch;
    struct buf in; /* all that has come */
    bool eof;
};

static inline void raw_init(struct raw *c, struct loop *loop)
{
    *c = (struct raw){.loop = loop, .fd = -1, .in = BUF_INIT(64 * 1024 * 1024)};
}

static inline void raw_close(struct raw *c)
{
    watch_free(c->watch);
    c->watch = NULL;
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->eof = false;
    buf_deinit(&c->in);
}

static inline void raw_on_event(void *ctx, int events)
{
    struct raw *c = ctx;
    char chunk[65536];
    ssize_t n = read(c->fd, chunk, sizeof chunk);
    if (n > 0) {
        buf_put(&c->in, chunk, (size_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        c->eof = true;
        watch_set(c->watch, 0);
    }
}

static inline void raw_on_stop(void *ctx)
{
    loop_stop(ctx);
}

/* One turn of the loop. */
static inline void raw_turn(struct raw *c)
{
    loop_defer(c->loop, raw_on_stop, c->loop);
    loop_run(c->loop);
}

static inline void raw_connect(struct raw *c, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    raw_close(c);
    in.sin_port = htons(port);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&in, sizeof in), 0);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->watch = watch_new(c->loop, c->fd, raw_on_event, c);
    watch_set(c->watch, WATCH_READ);
}

static inline void raw_send(struct raw *c, const char *p, size_t n)
{
    while (n > 0 && !c->eof) {
        ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);
        if (sent >= 0) {
            p += sent;
            n -= (size_t)sent;
        } else if (errno == EAGAIN) {
            raw_turn(c);
        } else {
            return;
        }
    }
}

static inline void raw_send_text(struct raw *c, const char *text)
{
    raw_send(c, text, strlen(text));
}

/* Waits until the bytes have come, or the server has closed. */
static inline void raw_expect(struct raw *c, const char *p, size_t n)
{
    while (!memmem(buf_cstr(&c->in), c->in.n, p, n)) {
        if (c->eof) {
            fail_msg("not in what came: %.*s", (int)n, p);
        }
        raw_turn(c);
    }
}

static inline void raw_expect_text(struct raw *c, const char *text)
{
    raw_expect(c, text, strlen(text));
}

static inline void raw_expect_eof(struct raw *c)
{
    while (!c->eof) {
        raw_turn(c);
    }
}

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
