/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open session on the network. Back-pressure: while more than LIMIT_OUTPUT_HIGH bytes wait for one side,
 * the other side is not read.
 */
#include "proxy/conn_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "net/stream.h"
#include "pg/login.h"

void conn_update_flow(struct conn *c)
{
    if (c->state != CONN_OPEN) {
        return;
    }
    if (c->worker->draining && session_at_rest(c->session)) {
        conn_note_ending(c, "service stops");
        session_end(c->session, PROXY_SHUTDOWN);
        return;
    }
    if (session_client_left(c->session)) {
        c->leaving = true;
        conn_arm(c, CLOSING_TIMEOUT_MS); /* the server may be silent this long before it closes */
    }
    if (session_wants_client(c->session) && stream_unsent(c->server) < LIMIT_OUTPUT_HIGH) {
        stream_resume(c->client);
    } else {
        stream_pause(c->client);
    }
    if (stream_unsent(c->client) < LIMIT_OUTPUT_HIGH) {
        stream_resume(c->server);
    } else {
        stream_pause(c->server);
    }
}

void conn_flush_both(struct conn *c)
{
    if (c->state == CONN_OPEN) {
        stream_flush(c->server);
    }
    if (c->state == CONN_OPEN) {
        stream_flush(c->client);
    }
    conn_update_flow(c);
}

static void session_to_client(void *ctx, const char *p, size_t n)
{
    struct conn *c = ctx;
    stream_write(c->client, p, n);
}

static void session_to_server(void *ctx, const char *p, size_t n)
{
    struct conn *c = ctx;
    stream_write(c->server, p, n);
}

static void session_flush_client(void *ctx)
{
    struct conn *c = ctx;
    stream_flush(c->client);
}

static void session_flush_server(void *ctx)
{
    struct conn *c = ctx;
    stream_flush(c->server);
}

static void session_close(void *ctx)
{
    conn_note_ending(ctx, "closed by the proxy");
    conn_close(ctx);
}

static const struct session_out session_out = {session_to_client, session_to_server, session_flush_client,
                                               session_flush_server, session_close};

static void on_server_data(void *ctx, const char *p, size_t n)
{
    struct conn *c = ctx;
    struct err err;
    counter_add(&c->worker->stats.bytes_from_server, n);
    c->bytes_from_server += n;
    c->active_ms = conn_now(c);
    if (session_feed_server(c->session, p, n, &err) < 0) {
        log_warning(c->prefix, "upstream: %s", err.msg);
        conn_note_ending(c, "server broke the protocol");
        conn_close(c);
    }
    conn_flush_both(c);
}

static void on_server_drained(void *ctx)
{
    conn_update_flow(ctx);
}

static void on_server_closed(void *ctx, const struct err *err)
{
    struct conn *c = ctx;
    if (c->state == CONN_OPEN && !session_client_left(c->session)) {
        conn_note_ending(c, "server closed");
        log_info(c->prefix, "upstream closed%s%s", err ? ": " : "", err ? err->msg : "");
    }
    conn_note_ending(c, "client left");
    conn_close(c);
}

static const struct stream_events server_events = {on_server_data, on_server_drained, on_server_closed, NULL};

void conn_feed_session(struct conn *c, const char *p, size_t n)
{
    struct err err;
    counter_add(&c->worker->stats.bytes_from_clients, n);
    c->bytes_from_client += n;
    c->active_ms = conn_now(c);
    if (session_feed_client(c->session, p, n, &err) < 0) {
        log_warning(c->prefix, "client: %s", err.msg);
        conn_note_ending(c, "client broke the protocol");
        conn_close(c);
    }
    conn_flush_both(c);
}

void conn_open(struct conn *c, int fd)
{
    c->server = stream_new(c->worker->loop, fd, c->upstream->ssl, &server_events, c);
    c->session = session_new(&session_out, c, c->prefix, &c->worker->stats.sessions);
    session_set_guarded(c->session, c->entrance->policy->guarded || c->mode != SESSION_ELECTRIC);
    conn_set_state(c, CONN_OPEN);
    c->opened_ms = c->active_ms = conn_now(c);
    c->login_ms = c->opened_ms - c->login_ms;
    counter_add(&c->worker->stats.sessions_opened, 1);
    counter_add(&c->worker->stats.login_ms, c->login_ms);
    log_debug(c->prefix, "session opened backend=%d", c->upstream->backend_pid);
}
