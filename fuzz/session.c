/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of a session at once, whatever they say. Input: pieces of {who: 1 byte, length: 1 byte, bytes};
 * an odd `who` is the server, and bits 1 and 2 of the first say in which mode the session is. Nothing may
 * crash, hang or leak, and besides:
 *
 *   what goes out is whole messages of the right side, whatever came in
 *   no more ReadyForQuery goes to the client than it has asked for
 *   a session that gives up says so to the client, unless that is in the middle of a message
 *   the same bytes have the same effect, in whatever pieces they come
 *
 * The queue target holds well-formed talks, and compares.
 */
#include "proxy/session.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char client_types[] = "QPBDECSHFdcfX";
static const char server_types[] = "12CDEGHIKNRSTVWZAcdnstv3";

struct ends {
    struct buf to_client, to_server;
    struct buf from_client;
    bool closed;
};

static void to_client(void *ctx, const char *p, size_t n)
{
    struct ends *e = ctx;
    buf_put(&e->to_client, p, n);
}

static void to_server(void *ctx, const char *p, size_t n)
{
    struct ends *e = ctx;
    buf_put(&e->to_server, p, n);
}

static void flush(void *ctx)
{
    (void)ctx;
}

static void on_close(void *ctx)
{
    struct ends *e = ctx;
    e->closed = true;
}

struct counts {
    size_t ready;    /* ReadyForQuery */
    size_t requests; /* what is answered by it */
    char last;       /* type of the last message, whole or not … */
    size_t last_at;  /* … and where it begins */
    bool whole;      /* it is all there */
};

/* types NULL: stops at the first byte that is no message. */
static struct counts count(const struct buf *b, const char *types)
{
    struct counts c = {.whole = true};
    struct frame_head head;
    struct err err;
    for (size_t at = 0; at < b->n; at += head.total) {
        int found = frame_peek(b->p + at, b->n - at, &head, &err);
        assert(!types || found >= 0);
        c.whole = found == FRAME_FOUND && head.total <= b->n - at;
        if (found != FRAME_FOUND) {
            break;
        }
        assert(!types || (head.type && strchr(types, head.type)));
        c.last = head.type;
        c.last_at = at;
        c.ready += head.type == 'Z';
        c.requests += head.type == 'Q' || head.type == 'F' || head.type == 'S';
    }
    return c;
}

static void check(const struct ends *e, int rc)
{
    struct counts client = count(&e->to_client, server_types);
    struct counts asked = count(&e->from_client, NULL);
    count(&e->to_server, client_types);
    assert(client.ready <= asked.requests);
    assert(rc == 0 || e->closed);
    assert(!e->closed || !client.whole || client.last == 'E');
}

/* Feeds a piece in parts; stops when the session is over. */
static int feed(struct session *s, struct ends *e, bool server, const uint8_t *p, size_t n, size_t part)
{
    struct err err;
    int rc = 0;
    for (size_t at = 0; at < n && rc == 0 && !e->closed; at += part) {
        size_t most = n - at < part ? n - at : part;
        char *copy = malloc(most); /* of this size exactly: a read past it is seen */
        memcpy(copy, p + at, most);
        if (server) {
            rc = session_feed_server(s, copy, most, &err);
        } else {
            buf_put(&e->from_client, copy, most);
            rc = session_feed_client(s, copy, most, &err);
        }
        free(copy);
    }
    return rc;
}

static void hold(struct ends *e, const uint8_t *data, size_t size, size_t part)
{
    static const struct session_out out = {to_client, to_server, flush, flush, on_close};
    struct session_counters counters = {0};
    int rc = 0;
    *e = (struct ends){.to_client = BUF_INIT(2 * LIMIT_OUTPUT),
                       .to_server = BUF_INIT(2 * LIMIT_OUTPUT),
                       .from_client = BUF_INIT(LIMIT_OUTPUT)};
    struct session *s = session_new(&out, e, "", &counters);
    session_set_mode(s, size > 0 ? (enum session_mode)(data[0] >> 1 & 3) : SESSION_ELECTRIC);
    for (size_t at = 0; at + 2 <= size && rc == 0 && !e->closed;) {
        size_t n = data[at + 1];
        n = n < size - at - 2 ? n : size - at - 2;
        rc = feed(s, e, data[at] & 1, data + at + 2, n, part);
        at += 2 + n;
    }
    check(e, rc);
    session_free(s);
}

static void release(struct ends *e)
{
    buf_deinit(&e->to_client);
    buf_deinit(&e->to_server);
    buf_deinit(&e->from_client);
}

static void assert_same(const struct buf *whole, const struct buf *bytes)
{
    if (!str_eq(buf_str(whole), buf_str(bytes))) {
        fprintf(stderr, "in one piece: ");
        fwrite(whole->p, 1, whole->n, stderr);
        fprintf(stderr, "\nbyte by byte: ");
        fwrite(bytes->p, 1, bytes->n, stderr);
        fputc('\n', stderr);
        abort();
    }
}

static void cut_to_same_length(struct buf *a, struct buf *b)
{
    size_t n = a->n < b->n ? a->n : b->n;
    a->n = n;
    b->n = n;
}

static void cut_last_message(struct buf *b)
{
    struct counts c = count(b, NULL);
    b->n = c.whole ? c.last_at : b->n;
}

/* When a session ends in the middle of a read of the server's, input of the client's may be waiting that this
 * read has let go on: what is still heard of it, and whose violation the last word is about, depends on the
 * pieces. So does whether it ends at all, when the server answers in one read what only that input will ask.
 */
static void cut_ends(struct ends *a, struct ends *b)
{
    if (!a->closed && !b->closed) {
        return;
    }
    if (a->closed) {
        cut_last_message(&a->to_client);
    }
    if (b->closed) {
        cut_last_message(&b->to_client);
    }
    cut_to_same_length(&a->to_client, &b->to_client);
    cut_to_same_length(&a->to_server, &b->to_server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ends whole, bytes;
    log_set_level(LOG_ERROR);
    hold(&whole, data, size, SIZE_MAX / 2);
    hold(&bytes, data, size, 1);
    cut_ends(&whole, &bytes);
    assert_same(&whole.to_client, &bytes.to_client);
    assert_same(&whole.to_server, &bytes.to_server);
    release(&whole);
    release(&bytes);
    return 0;
}
