/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tunnel is a WebSocket and our end of a socket pair, whose other end the proxy has. It lives as long as
 * either has something left for the other:
 *
 *   the session ends     what it has said goes out, then the WebSocket is closed (1000)
 *   the WebSocket ends   what came through it goes to the session, then the pair is closed
 *
 * A stream may not be freed from inside itself: tunnels end at the end of the loop's turn.
 */
#include "proxy/tunnel.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/http.h"
#include "net/stream.h"
#include "net/websocket.h"
#include "net/ws_reader.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct tunnels {
    struct loop *loop;
    struct proxy *proxy;
    struct tunnel *open;
    bool stopping;
    void (*none)(void *ctx);
    void *none_ctx;
};

struct tunnel {
    struct tunnels *owner;
    struct tunnel *next, **prev;
    struct websocket *ws;  /* NULL when it is over */
    struct stream *stream; /* to the proxy */
    bool session_over;     /* the proxy has closed its end */
    bool ending;           /* end_now() will come, */
    bool freed;            /* ... and only has to free the memory */
};

static void free_tunnel(struct tunnel *t)
{
    struct tunnels *owner = t->owner;
    *t->prev = t->next;
    if (t->next) {
        t->next->prev = t->prev;
    }
    websocket_free(take_ptr(&t->ws));
    stream_free(take_ptr(&t->stream));
    if (t->ending) {
        t->freed = true;
    } else {
        free(t);
    }
    if (!owner->open && owner->none) {
        owner->none(owner->none_ctx);
    }
}

static void end_now(void *ctx)
{
    struct tunnel *t = ctx;
    t->ending = false;
    if (t->freed) {
        free(t);
    } else {
        free_tunnel(t);
    }
}

static void end(struct tunnel *t)
{
    if (!t->ending) {
        t->ending = true;
        loop_defer(t->owner->loop, end_now, t);
    }
}

/* Ends what has nothing left to do. */
static void settle(struct tunnel *t)
{
    if (!t->ws) {
        if (t->session_over || stream_unsent(t->stream) == 0) {
            end(t);
        }
    } else if (t->session_over && websocket_unsent(t->ws) == 0) {
        websocket_close(t->ws, WS_NORMAL, "");
    }
}

/* --- the session's side --- */

static void on_session_data(void *ctx, const char *p, size_t n)
{
    struct tunnel *t = ctx;
    if (!t->ws) {
        return;
    }
    struct packet *packet = packet_new(p, n);
    websocket_send(t->ws, packet);
    packet_unref(packet);
    if (websocket_unsent(t->ws) >= LIMIT_OUTPUT_HIGH) {
        stream_pause(t->stream);
    }
}

static void on_session_drained(void *ctx)
{
    struct tunnel *t = ctx;
    if (t->ws) {
        websocket_resume(t->ws);
    }
    settle(t);
}

static void on_session_closed(void *ctx, const struct err *err)
{
    struct tunnel *t = ctx;
    (void)err; /* the proxy says in the log why it ended a session */
    t->session_over = true;
    settle(t);
}

static const struct stream_events stream_events = {on_session_data, on_session_drained, on_session_closed,
                                                   NULL};

/* --- the client's side --- */

static void on_message(void *ctx, struct str piece)
{
    struct tunnel *t = ctx;
    if (t->session_over) {
        return;
    }
    stream_write(t->stream, piece.p, piece.n);
    stream_flush(t->stream);
    if (stream_unsent(t->stream) >= LIMIT_OUTPUT_HIGH) {
        websocket_pause(t->ws);
    }
}

static void on_drained(void *ctx)
{
    struct tunnel *t = ctx;
    stream_resume(t->stream);
    settle(t);
}

/* The session may be waiting for us to read before it takes more. */
static void on_closed(void *ctx, int code)
{
    struct tunnel *t = ctx;
    log_debug(NULL, "a tunnel was closed code=%d", code);
    websocket_free(take_ptr(&t->ws));
    stream_resume(t->stream);
    settle(t);
}

static const struct websocket_events websocket_events = {on_message, on_drained, on_closed};

/* --- who comes --- */

static int check_upgrade(void *ctx, const struct http_upgrade *u, struct http_upgrade_answer *out)
{
    const struct tunnels *all = ctx;
    (void)u; /* any subprotocols that were offered are ignored */
    if (all->stopping) {
        snprintf(out->text, sizeof out->text, "Server is stopping");
        return 503;
    }
    return 101;
}

static void open_tunnel(struct tunnels *all, int client, int session)
{
    static const struct websocket_options options = {
        .max_message = WS_PIECES, .text_refusal = "PostgreSQL's protocol goes into binary messages"};
    struct tunnel *t = mem_zalloc(sizeof *t);
    t->owner = all;
    t->prev = &all->open;
    t->next = all->open;
    if (t->next) {
        t->next->prev = &t->next;
    }
    all->open = t;
    t->ws = websocket_new(all->loop, client, &options, &websocket_events, t);
    t->stream = stream_new(all->loop, session, NULL, &stream_events, t);
    stream_resume(t->stream);
}

static void on_upgraded(void *ctx, int fd, const char *peer)
{
    struct tunnels *all = ctx;
    int pair[2];
    char name[80];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        log_warning(NULL, "a tunnel cannot be opened: %s", strerror(errno));
        close(fd);
        return;
    }
    snprintf(name, sizeof name, "%s by /proxy", peer);
    open_tunnel(all, fd, pair[0]);
    proxy_admit(all->proxy, pair[1], name);
}

struct tunnels *tunnels_new(struct loop *loop, struct http_server *http, struct proxy *proxy)
{
    struct tunnels *all = mem_zalloc(sizeof *all);
    all->loop = loop;
    all->proxy = proxy;
    http_server_upgrade_at(http, "/proxy", check_upgrade, on_upgraded, all);
    return all;
}

void tunnels_stop(struct tunnels *t)
{
    if (t) {
        t->stopping = true;
    }
}

void tunnels_await_none(struct tunnels *t, void (*none)(void *ctx), void *ctx)
{
    if (!t || !t->open) {
        none(ctx);
        return;
    }
    t->none = none;
    t->none_ctx = ctx;
}

void tunnels_free(struct tunnels *t)
{
    if (!t) {
        return;
    }
    t->none = NULL;
    while (t->open) {
        free_tunnel(t->open);
    }
    free(t);
}
