/* SPDX-License-Identifier: Apache-2.0 */
/* A connection is a WebSocket, a session and the timer of its token. It is freed when the WebSocket is over,
 * and nowhere else, so that nobody frees a session from inside it. */
#include "sync/conn.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/websocket.h"
#include "sync/subprotocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct sync_server {
    struct loop *loop;
    const struct sync_service *service;
    void *hub;
    char *instance;
    struct conn *conns;
    size_t clients, max_clients;
    uint64_t last_number, dropped;
    bool stopping;
};

struct conn {
    struct sync_server *server;
    struct conn *next, **prev;
    struct websocket *ws;
    struct sync_session *session;
    struct timer *expiry;
    int64_t expires_ms;
    char name[100]; /* for the log */
};

enum { EXPIRY_LOOK_MS = 3600 * 1000 /* clocks are set, and timers count otherwise */ };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void free_conn(struct conn *c)
{
    *c->prev = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    c->server->clients--;
    sync_session_free(c->session);
    websocket_free(c->ws);
    timer_free(c->expiry);
    free(c);
}

/* --- what the session asks --- */

static void send_packet(void *host, struct packet *p)
{
    websocket_send(((struct conn *)host)->ws, p);
}

static size_t unsent(void *host)
{
    return websocket_unsent(((struct conn *)host)->ws);
}

static void close_conn(void *host, int code, const char *reason)
{
    struct conn *c = host;
    log_debug(c->name, "sync: closing code=%d reason=%s", code, reason);
    timer_stop(c->expiry);
    websocket_close(c->ws, code, reason);
}

static void drop_conn(void *host)
{
    struct conn *c = host;
    log_info(c->name, "sync client cannot follow: dropped unsent=%zu", websocket_unsent(c->ws));
    c->server->dropped++;
    timer_stop(c->expiry);
    websocket_abort(c->ws);
}

static void arm_expiry(struct conn *c)
{
    int64_t now = now_ms(), left = c->expires_ms > now ? c->expires_ms - now : 0;
    timer_start(c->expiry, (uint64_t)(left < EXPIRY_LOOK_MS ? left : EXPIRY_LOOK_MS));
}

static void on_expiry(void *ctx)
{
    struct conn *c = ctx;
    if (now_ms() >= c->expires_ms) {
        sync_session_expired(c->session);
    } else {
        arm_expiry(c);
    }
}

static void set_expiry(void *host, int64_t at_ms)
{
    struct conn *c = host;
    c->expires_ms = at_ms;
    if (at_ms == SYNC_NEVER) {
        timer_stop(c->expiry);
    } else {
        arm_expiry(c);
    }
}

static const struct sync_host host_calls = {send_packet, unsent, close_conn, drop_conn, set_expiry};

/* --- what the WebSocket says --- */

static void on_message(void *ctx, struct str message)
{
    struct conn *c = ctx;
    sync_session_feed(c->session, message);
}

static void on_drained(void *ctx)
{
    struct conn *c = ctx;
    sync_session_drained(c->session);
}

static void on_closed(void *ctx, int code)
{
    struct conn *c = ctx;
    log_debug(c->name, "sync: closed code=%d", code);
    free_conn(c);
}

static const struct websocket_events websocket_events = {on_message, on_drained, on_closed};

/* --- who comes --- */

static int check_upgrade(void *ctx, const struct http_upgrade *u, struct http_upgrade_answer *out)
{
    struct sync_server *s = ctx;
    _Static_assert(sizeof out->text >= SUBPROTOCOL_TEXT, "a refusal fits");
    int status = subprotocol_check(u->subprotocols, u->n_subprotocols, s->service->not_ready(s->hub),
                                   &out->subprotocol, out->text);
    if (status == 101 && (s->stopping || s->clients >= s->max_clients)) {
        snprintf(out->text, sizeof out->text, "%s",
                 s->stopping ? "Server is stopping" : "Too many connections");
        return 503;
    }
    return status;
}

static void name_conn(struct conn *c, const char *peer)
{
    snprintf(c->name, sizeof c->name, "[sync %llu %s] ", (unsigned long long)++c->server->last_number, peer);
}

static void on_upgraded(void *ctx, int fd, const char *peer)
{
    static const struct websocket_options options = {
        .max_message = LIMIT_SYNC_MESSAGE,
        .text_refusal = "Message not formatted according to Electric protocol",
    };
    struct sync_server *s = ctx;
    struct conn *c = mem_zalloc(sizeof *c);
    c->server = s;
    c->prev = &s->conns;
    c->next = s->conns;
    if (c->next) {
        c->next->prev = &c->next;
    }
    s->conns = c;
    s->clients++;
    name_conn(c, peer);
    c->expiry = timer_new(s->loop, on_expiry, c);
    c->ws = websocket_new(s->loop, fd, &options, &websocket_events, c);
    c->session = sync_session_new(&(struct sync_session_options){.service = s->service,
                                                                 .hub = s->hub,
                                                                 .host_calls = &host_calls,
                                                                 .host = c,
                                                                 .instance = str_c(s->instance)});
}

struct sync_server *sync_server_new(struct loop *loop, struct http_server *http,
                                    const struct sync_server_options *options)
{
    struct sync_server *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->service = options->service;
    s->hub = options->hub;
    s->instance = mem_strndup(options->instance.p, options->instance.n);
    s->max_clients = options->max_clients ? options->max_clients : LIMIT_SYNC_CLIENTS;
    http_server_upgrade_at(http, "/ws", check_upgrade, on_upgraded, s);
    return s;
}

void sync_server_stop(struct sync_server *server)
{
    server->stopping = true;
    for (struct conn *c = server->conns; c; c = c->next) {
        sync_session_end(c->session, SYNC_END_STOPPING);
    }
}

size_t sync_server_clients(const struct sync_server *server)
{
    return server->clients;
}

uint64_t sync_server_dropped(const struct sync_server *server)
{
    return server->dropped;
}

void sync_server_free(struct sync_server *server)
{
    if (!server) {
        return;
    }
    while (server->conns) {
        free_conn(server->conns);
    }
    free(server->instance);
    free(server);
}
