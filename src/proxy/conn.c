/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conn is a client's socket and, once it has logged in, its upstream's. It goes through
 *
 *   GATE (start-up, password) → LOGIN (libpq logs in upstream) → OPEN (a session moves bytes) → CLOSING
 *
 * each in a file of its own; here is what they share, the beginning and the end.
 */
#include "proxy/conn_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/stream.h"
#include "pg/login.h"
#include "wire/message.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {"gate", "login", "open", "closing"};

void conn_set_state(struct conn *c, enum conn_state state)
{
    assert(state > c->state); /* a conn only moves on */
    log_debug(c->prefix, "%s -> %s", state_names[c->state], state_names[state]);
    c->state = state;
}

void conn_print_prefix(struct conn *c)
{
    const struct startup *su = &c->entrance->gate.startup;
    const char *peer = c->entrance->arrival.peer;
    char text[240];
    if (su->user.n) {
        snprintf(text, sizeof text, "[%" PRIu64 " %.60s@%.60s %s] ", c->id, su->user.p, su->database.p, peer);
    } else {
        snprintf(text, sizeof text, "[%" PRIu64 " %s] ", c->id, peer);
    }
    free(c->prefix);
    c->prefix = mem_strdup(text);
}

uint64_t conn_now(const struct conn *c)
{
    return loop_now_ms(c->worker->loop);
}

/* --- the end --- */

static void on_timeout(void *ctx);

void conn_arm(struct conn *c, uint64_t ms)
{
    c->timer = c->timer ? c->timer : timer_new(c->worker->loop, on_timeout, c);
    timer_start(c->timer, ms);
}

/* The first reason is the one that counts: what follows from it comes later. */
void conn_note_ending(struct conn *c, const char *reason)
{
    if (!c->ending) {
        c->ending = reason;
    }
}

/* One line a session, with all that an operator asks about it. */
static void log_session(const struct conn *c)
{
    const struct session_facts *facts = session_facts(c->session);
    const char *tls = stream_tls_version(c->client);
    log_info(c->prefix,
             "session closed end=\"%s\" application=\"%.64s\" backend=%d tls=%s cipher=%s upstream_tls=%s "
             "login_ms=%" PRIu64 " seconds=%.3f statements=%" PRIu64 " bytes_in=%" PRIu64
             " bytes_out=%" PRIu64 " migrations=%" PRIu32 " refused=%" PRIu32,
             c->ending ? c->ending : "unknown", c->application ? c->application : "",
             c->upstream->backend_pid, tls ? tls : "no", tls ? stream_tls_cipher(c->client) : "none",
             c->upstream->ssl ? "yes" : "no", c->login_ms, (double)(conn_now(c) - c->opened_ms) / 1000,
             facts->statements, c->bytes_from_client, c->bytes_from_server, facts->migrations_recorded,
             facts->migrations_refused);
}

static void unlink_conn(struct conn *c)
{
    *c->link = c->next;
    if (c->next) {
        c->next->link = c->link;
    }
}

static void conn_free(struct conn *c)
{
    struct worker *w = c->worker;
    unlink_conn(c);
    if (c->session) {
        counter_add(&w->stats.sessions_closed, 1);
        log_session(c);
    }
    stream_free(c->client);
    stream_free(c->server);
    login_cancel(c->login);
    cancelling_forget(c->cancelling);
    upstream_free(c->upstream);
    session_free(c->session);
    conn_gate_drop(c);
    timer_free(c->timer);
    free(c->application);
    free(c->prefix);
    c->client = c->server = NULL;
    if (c->deferred) {
        c->dead = true;
    } else {
        free(c);
    }
    worker_conn_gone(w);
}

static void conn_finish(void *ctx)
{
    struct conn *c = ctx;
    c->deferred = false;
    if (c->dead) {
        free(c);
        return;
    }
    stream_free(c->server);
    c->server = NULL;
    stream_pause(c->client);
    stream_flush(c->client);
    if (c->deferred) {
        return; /* the flush found the client gone */
    }
    if (stream_unsent(c->client) == 0) {
        conn_free(c);
        return;
    }
    conn_arm(c, CLOSING_TIMEOUT_MS); /* what is unsent gets this long */
}

/* Ends the conn when the callbacks that are running have returned. */
void conn_close(struct conn *c)
{
    if (c->state != CONN_CLOSING) {
        conn_set_state(c, CONN_CLOSING);
    }
    if (!c->deferred) {
        c->deferred = true;
        loop_defer(c->worker->loop, conn_finish, c);
    }
}

void conn_refuse_problem(struct conn *c, const struct problem *problem)
{
    struct buf b = BUF_INIT(LIMIT_HELD_FRAME);
    put_error(&b, problem);
    stream_write(c->client, b.p, b.n);
    stream_flush(c->client);
    buf_deinit(&b);
    conn_close(c);
}

void conn_refuse(struct conn *c, enum proxy_error e)
{
    struct proxy_error_text text;
    struct problem problem = proxy_fatal(e, "the migrations proxy is not ready", &text);
    conn_refuse_problem(c, &problem);
}

/* --- the client --- */

static void on_client_data(void *ctx, const char *p, size_t n)
{
    struct conn *c = ctx;
    switch (c->state) {
    case CONN_OPEN:
        conn_feed_session(c, p, n);
        return;
    case CONN_GATE:
        conn_gate_data(c, p, n);
        return;
    case CONN_LOGIN:
    case CONN_CLOSING:
        return; /* not read in these states */
    }
}

static void on_client_drained(void *ctx)
{
    struct conn *c = ctx;
    if (c->state == CONN_CLOSING) {
        conn_close(c);
        return;
    }
    conn_update_flow(c);
}

/* The end of what a client sends is not the end of what it reads: PostgreSQL, too, answers what came before.
 */
static void on_client_closed(void *ctx, const struct err *err)
{
    struct conn *c = ctx;
    struct err end = ERR_INIT;
    if (err && c->state == CONN_OPEN) {
        conn_note_ending(c, "connection to the client lost");
        log_info(c->prefix, "client: %s", err->msg);
    }
    if (err && c->state == CONN_GATE && c->entrance->gate.state == GATE_HANDSHAKE) {
        conn_gate_refused(c, err->msg);
        return;
    }
    if (!err && c->state == CONN_OPEN) {
        if (session_client_end(c->session, &end) == 0) {
            conn_flush_both(c);
            return;
        }
        conn_note_ending(c, "client left in the middle of a message");
        log_info(c->prefix, "client: %s", end.msg);
    }
    conn_close(c);
}

static void on_client_secured(void *ctx)
{
    conn_gate_secured(ctx);
}

static const struct stream_events client_events = {on_client_data, on_client_drained, on_client_closed,
                                                   on_client_secured};

static void on_timeout(void *ctx)
{
    struct conn *c = ctx;
    if (c->state == CONN_CLOSING) {
        conn_free(c); /* the client does not read */
        return;
    }
    if (!c->leaving) {
        counter_add(&c->worker->stats.timeouts, 1);
    }
    log_info(c->prefix, "%s",
             c->leaving ? "the server did not close after the client had left" : "the login took too long");
    conn_close(c);
}

/* --- from the worker --- */

struct pg_cancel *conn_cancel_handle(const struct conn *c, uint32_t pid, uint32_t secret)
{
    bool found = c->state == CONN_OPEN && (uint32_t)c->upstream->backend_pid == pid &&
                 mem_equal_secret(&c->cancel_secret, &secret, sizeof secret);
    if (found) {
        log_info(c->prefix, "cancel requested");
    }
    return found ? c->upstream->cancel : NULL;
}

/* Only now may the asker's connection end: its client takes that as a sign that the cancel has been
 * delivered, and goes on with its next statement, which must not be the one that is cancelled. */
void conn_cancelled(struct conn *asker, bool found)
{
    asker->cancelling = NULL;
    if (!found) {
        log_info(asker->prefix, "a cancel request with an unknown key");
    }
    conn_close(asker);
}

static void link_conn(struct worker *w, struct conn *c)
{
    c->next = w->conns;
    if (c->next) {
        c->next->link = &c->next;
    }
    c->link = &w->conns;
    w->conns = c;
}

void conn_new(struct worker *w, const struct arrival *arrival)
{
    struct conn *c = mem_zalloc(sizeof *c);
    c->worker = w;
    c->id = arrival->id;
    link_conn(w, c);
    conn_gate_open(c, arrival);
    conn_print_prefix(c);
    c->client = stream_new(w->loop, arrival->fd, NULL, &client_events, c);
    conn_arm(c, c->entrance->policy->options.login_timeout_ms);
    stream_resume(c->client);
}

struct conn *conn_next(const struct conn *c)
{
    return c->next;
}

void conn_abort(struct conn *c)
{
    conn_note_ending(c, "service stops");
    if (c->state == CONN_OPEN) {
        session_end(c->session, PROXY_SHUTDOWN);
    }
    conn_free(c);
}

void conn_drain(struct conn *c)
{
    switch (c->state) {
    case CONN_GATE:
        if (!c->cancelling) {
            conn_refuse(c, PROXY_SHUTDOWN);
        }
        return;
    case CONN_OPEN:
        conn_update_flow(c);
        return;
    case CONN_LOGIN: /* ends when it is in */
    case CONN_CLOSING:
        return;
    }
}

void conn_end_if_idle(struct conn *c, uint64_t idle_ms)
{
    if (c->state == CONN_OPEN && conn_now(c) - c->active_ms >= idle_ms && session_at_rest(c->session)) {
        counter_add(&c->worker->stats.timeouts, 1);
        conn_note_ending(c, "idle too long");
        session_end(c->session, PROXY_IDLE_TIMEOUT);
    }
}
