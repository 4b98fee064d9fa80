/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conn is a client's socket and, once it has logged in, its upstream's. It goes through
 *
 *   GATE (start-up, password) → LOGIN (libpq logs in upstream) → OPEN (a session moves bytes) → CLOSING
 *
 * Back-pressure: while more than LIMIT_OUTPUT_HIGH bytes wait for one side, the other side is not read.
 */
#include "proxy/conn.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/stream.h"
#include "net/tls.h"
#include "pg/login.h"
#include "proxy/errors.h"
#include "proxy/gate.h"
#include "proxy/token.h"
#include "wire/message.h"
#include "wire/proxy_header.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLOSING_TIMEOUT_MS = 5000 };

enum conn_state { CONN_GATE, CONN_LOGIN, CONN_OPEN, CONN_CLOSING };

struct conn {
    struct conn *next, **link; /* in worker.conns */
    struct worker *worker;
    enum conn_state state;
    struct stream *client, *server;
    struct policy *policy; /* what this login goes by; until the session is open */
    struct gate_policy gate_policy;
    struct gate *gate; /* until the session is open */
    struct buf gate_in;
    struct timer *timer; /* NULL in an open session: it would cost more than the rest */
    struct login *login;
    struct cancelling *cancelling; /* this conn is a CancelRequest being passed on */
    struct upstream *upstream;
    struct session *session;
    uint32_t cancel_secret;
    bool local;      /* by a unix socket */
    bool header_due; /* a PROXY protocol header comes first */
    bool too_many;
    bool leaving;                                /* the client has gone, the server is to close */
    bool deferred;                               /* conn_finish() will be called */
    bool dead;                                   /* ... and only has to free the shell */
    uint64_t id, login_ms, opened_ms, active_ms; /* by the loop's clock */
    uint64_t bytes_from_client, bytes_from_server;
    char *application;  /* what the client calls itself; NULL when it does not */
    const char *ending; /* why it ends: the first reason counts */
    char peer[80];
    char *prefix; /* of its lines in the log */
};

static const char *const state_names[] = {"gate", "login", "open", "closing"};

static void set_state(struct conn *c, enum conn_state state)
{
    assert(state > c->state); /* a conn only moves on */
    log_debug(c->prefix, "%s -> %s", state_names[c->state], state_names[state]);
    c->state = state;
}

static void print_prefix(struct conn *c)
{
    const struct startup *su = &c->gate->startup;
    char text[240];
    if (su->user.n) {
        snprintf(text, sizeof text, "[%" PRIu64 " %.60s@%.60s %s] ", c->id, su->user.p, su->database.p,
                 c->peer);
    } else {
        snprintf(text, sizeof text, "[%" PRIu64 " %s] ", c->id, c->peer);
    }
    free(c->prefix);
    c->prefix = mem_strdup(text);
}

/* An idle session holds nothing of its login. */
static void drop_gate(struct conn *c)
{
    gate_deinit(c->gate);
    free(c->gate);
    c->gate = NULL;
    buf_deinit(&c->gate_in);
    policy_unref(c->policy);
    c->policy = NULL;
}

static uint64_t now(const struct conn *c)
{
    return loop_now_ms(c->worker->loop);
}

/* --- the end --- */

static void on_timeout(void *ctx);

static void arm(struct conn *c, uint64_t ms)
{
    c->timer = c->timer ? c->timer : timer_new(c->worker->loop, on_timeout, c);
    timer_start(c->timer, ms);
}

/* The first reason is the one that counts: what follows from it comes later. */
static void note_ending(struct conn *c, const char *reason)
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
             c->upstream->ssl ? "yes" : "no", c->login_ms, (double)(now(c) - c->opened_ms) / 1000,
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
    drop_gate(c);
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
    arm(c, CLOSING_TIMEOUT_MS); /* what is unsent gets this long */
}

/* Ends the conn when the callbacks that are running have returned. */
static void conn_close(struct conn *c)
{
    if (c->state != CONN_CLOSING) {
        set_state(c, CONN_CLOSING);
    }
    if (!c->deferred) {
        c->deferred = true;
        loop_defer(c->worker->loop, conn_finish, c);
    }
}

static void refuse_problem(struct conn *c, const struct problem *problem)
{
    struct buf b = BUF_INIT(LIMIT_HELD_FRAME);
    put_error(&b, problem);
    stream_write(c->client, b.p, b.n);
    stream_flush(c->client);
    buf_deinit(&b);
    conn_close(c);
}

static void refuse(struct conn *c, enum proxy_error e)
{
    struct proxy_error_text text;
    struct problem problem = proxy_fatal(e, "the migrations proxy is not ready", &text);
    refuse_problem(c, &problem);
}

/* --- an open session --- */

static void update_flow(struct conn *c)
{
    if (c->state != CONN_OPEN) {
        return;
    }
    if (c->worker->draining && session_at_rest(c->session)) {
        note_ending(c, "service stops");
        session_end(c->session, PROXY_SHUTDOWN);
        return;
    }
    if (session_client_left(c->session)) {
        c->leaving = true;
        arm(c, CLOSING_TIMEOUT_MS); /* the server may be silent this long before it closes */
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

static void flush_both(struct conn *c)
{
    if (c->state == CONN_OPEN) {
        stream_flush(c->server);
    }
    if (c->state == CONN_OPEN) {
        stream_flush(c->client);
    }
    update_flow(c);
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
    note_ending(ctx, "closed by the proxy");
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
    c->active_ms = now(c);
    if (session_feed_server(c->session, p, n, &err) < 0) {
        log_warning(c->prefix, "upstream: %s", err.msg);
        note_ending(c, "server broke the protocol");
        conn_close(c);
    }
    flush_both(c);
}

static void on_server_drained(void *ctx)
{
    update_flow(ctx);
}

static void on_server_closed(void *ctx, const struct err *err)
{
    struct conn *c = ctx;
    if (c->state == CONN_OPEN && !session_client_left(c->session)) {
        note_ending(c, "server closed");
        log_info(c->prefix, "upstream closed%s%s", err ? ": " : "", err ? err->msg : "");
    }
    note_ending(c, "client left");
    conn_close(c);
}

static const struct stream_events server_events = {on_server_data, on_server_drained, on_server_closed, NULL};

static void feed_session(struct conn *c, const char *p, size_t n)
{
    struct err err;
    counter_add(&c->worker->stats.bytes_from_clients, n);
    c->bytes_from_client += n;
    c->active_ms = now(c);
    if (session_feed_client(c->session, p, n, &err) < 0) {
        log_warning(c->prefix, "client: %s", err.msg);
        note_ending(c, "client broke the protocol");
        conn_close(c);
    }
    flush_both(c);
}

/* --- login upstream --- */

static void put_option_value(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' || s.p[i] == ' ' || (s.p[i] >= '\t' && s.p[i] <= '\r')) {
            buf_put_byte(b, '\\');
        }
        buf_put_byte(b, s.p[i]);
    }
}

/* A backslash at the very end escapes nothing; it must not come to escape what follows. */
static struct str without_open_escape(struct str s)
{
    size_t backslashes = 0;
    while (backslashes < s.n && s.p[s.n - 1 - backslashes] == '\\') {
        backslashes++;
    }
    return (struct str){s.p, s.n - backslashes % 2};
}

/* What the client set at start-up goes along, as -c name=value; ours comes last, so that it wins. */
static void put_options(struct conn *c, struct buf *options, const char *token, const char **application_name,
                        const char **client_encoding)
{
    const struct startup *su = &c->gate->startup;
    for (size_t i = 0; i < su->n; i++) {
        const struct startup_parameter *p = &su->parameters[i];
        if (str_eq(p->name, STR("application_name"))) {
            *application_name = p->value.p;
        } else if (str_eq(p->name, STR("client_encoding"))) {
            *client_encoding = p->value.p;
        } else if (str_eq(p->name, STR("options"))) {
            buf_put_str(options, without_open_escape(p->value));
            buf_put_byte(options, ' ');
        } else if (!str_eq(p->name, STR("password"))) {
            buf_put_c(options, "-c ");
            put_option_value(options, p->name);
            buf_put_byte(options, '=');
            put_option_value(options, p->value);
            buf_put_byte(options, ' ');
        }
    }
    buf_printf(options, "-c busbar.session=%s", token);
}

static void on_login(void *ctx, struct upstream *up, const struct login_error *error);

static void start_login(struct conn *c)
{
    char token[TOKEN_SIZE + 1];
    struct err err;
    const char *application_name = NULL, *client_encoding = NULL;
    set_state(c, CONN_LOGIN);
    timer_free(c->timer);
    c->timer = NULL;
    stream_pause(c->client);
    const struct policy *policy = c->policy;
    if (!policy->secret || token_make(policy->secret, token, &err) < 0) {
        refuse(c, PROXY_NOT_READY);
        return;
    }
    CLEANUP(buf_deinit) struct buf options = BUF_INIT(3 * LIMIT_STARTUP_PACKET);
    put_options(c, &options, token, &application_name, &client_encoding);
    const char *const extra[][2] = {{"application_name", application_name},
                                    {"client_encoding", client_encoding},
                                    {"options", buf_cstr(&options)}};
    struct login_params params = {.url = policy->options.url,
                                  .require_ssl = policy->options.require_ssl,
                                  .extra = extra,
                                  .extra_n = ARRAY_LEN(extra)};
    c->application = application_name && *application_name ? mem_strdup(application_name) : NULL;
    c->login_ms = now(c);
    c->login = login_start(c->worker->loop, &params, on_login, c);
    mem_wipe(options.p, options.n);
    mem_wipe(token, sizeof token);
}

static void greet(struct conn *c)
{
    struct upstream *up = c->upstream;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_HELD_FRAME);
    put_authentication(&b, 0, STR(""));
    for (size_t i = 0; i < up->parameters_n; i++) {
        struct str name = str_c(up->parameters[i].name), value = str_c(up->parameters[i].value);
        put_parameter_status(&b, name, value);
        if (str_eq(name, STR("standard_conforming_strings"))) {
            session_set_std_strings(c->session, !str_eq(value, STR("off")));
        }
    }
    put_backend_key(&b, (uint32_t)up->backend_pid, c->cancel_secret);
    put_ready(&b, 'I');
    stream_write(c->client, b.p, b.n);
    stream_flush(c->client);
    upstream_drop_parameters(up);
}

static void on_login(void *ctx, struct upstream *up, const struct login_error *error)
{
    struct conn *c = ctx;
    c->login = NULL;
    if (error) {
        counter_add(&c->worker->stats.logins_failed, 1);
        log_warning(c->prefix, "login upstream failed sqlstate=%s: %s", error->err.sqlstate, error->err.msg);
        struct problem problem = {.severity = "FATAL",
                                  .sqlstate = error->err.sqlstate,
                                  .message = str_c(error->err.msg),
                                  .detail = str_c(error->detail),
                                  .hint = str_c(error->hint)};
        refuse_problem(c, &problem);
        return;
    }
    c->upstream = up;
    if (RAND_bytes((unsigned char *)&c->cancel_secret, sizeof c->cancel_secret) != 1) {
        refuse(c, PROXY_NO_RANDOM);
        return;
    }
    /* With TLS the descriptor belongs to libpq: the stream watches and closes a duplicate. */
    int fd = up->ssl ? dup(up->fd) : up->fd;
    if (!up->ssl) {
        up->fd = -1;
    }
    if (fd < 0) {
        refuse(c, PROXY_NO_DESCRIPTORS);
        return;
    }
    c->server = stream_new(c->worker->loop, fd, up->ssl, &server_events, c);
    c->session = session_new(&session_out, c, c->prefix, &c->worker->stats.sessions);
    session_set_guarded(c->session, c->policy->guarded);
    set_state(c, CONN_OPEN);
    c->opened_ms = c->active_ms = now(c);
    c->login_ms = c->opened_ms - c->login_ms;
    counter_add(&c->worker->stats.sessions_opened, 1);
    counter_add(&c->worker->stats.login_ms, c->login_ms);
    log_debug(c->prefix, "session opened backend=%d", up->backend_pid);
    greet(c);
    if (c->gate_in.n > 0) {
        feed_session(c, c->gate_in.p, c->gate_in.n);
    }
    drop_gate(c);
    update_flow(c);
}

/* --- the gate --- */

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

/* False while the header is not all there, or when there is none. */
static bool read_proxy_header(struct conn *c)
{
    struct proxy_header header;
    struct err err;
    int found = proxy_header_parse(c->gate_in.p, c->gate_in.n, &header, &err);
    if (found < 0) {
        log_info(c->prefix, "closed: %s", err.msg); /* who does not speak it would not understand us either */
        counter_add(&c->worker->stats.logins_refused, 1);
        conn_close(c);
        return false;
    }
    if (found == PROXY_HEADER_NEED_MORE) {
        return false;
    }
    if (*header.peer) {
        snprintf(c->peer, sizeof c->peer, "%s", header.peer);
        print_prefix(c);
    }
    buf_consume(&c->gate_in, header.total);
    c->header_due = false;
    return true;
}

static bool is_refused(void *ctx, enum proxy_error *out_error, const char **out_what)
{
    const struct conn *c = ctx;
    if (c->worker->draining) {
        *out_error = PROXY_SHUTDOWN;
    } else if (c->policy->not_ready) {
        *out_error = PROXY_NOT_READY;
        *out_what = c->policy->not_ready;
    } else if (c->too_many) {
        *out_error = PROXY_TOO_MANY_CLIENTS;
    } else {
        return false;
    }
    return true;
}

/* By the policy in force from now on. */
static void begin_gate(struct conn *c)
{
    const struct policy *p = c->policy = policy_ref(c->worker->policy);
    c->gate_policy = (struct gate_policy){.method = p->options.method,
                                          .tls = c->local ? GATE_TLS_OFF : p->options.tls_mode,
                                          .password = str_c(p->options.password),
                                          .verifier = &p->verifier,
                                          .refused = is_refused,
                                          .ctx = c};
    gate_init(c->gate, &c->gate_policy);
}

/* Who connected before the service was ready, or before a reload, and says only now who he is, goes by what
 * is in force now. */
static void take_current_policy(struct conn *c)
{
    if (c->policy != c->worker->policy) {
        policy_unref(c->policy);
        gate_deinit(c->gate);
        begin_gate(c);
    }
}

static void gate_refused(struct conn *c, const char *why)
{
    counter_add(&c->worker->stats.logins_refused, 1);
    log_info(c->prefix, "refused: %s", why);
    conn_close(c);
}

/* What the gate has left of the input is the beginning of the client's handshake. */
static void start_tls(struct conn *c)
{
    stream_start_tls(c->client, c->policy->options.tls, c->gate_in.p, c->gate_in.n);
    buf_reset(&c->gate_in);
}

static void on_client_secured(void *ctx)
{
    struct conn *c = ctx;
    struct tls_facts facts;
    struct err log = ERR_INIT;
    if (c->state != CONN_GATE) {
        return; /* it was ended in the meantime */
    }
    stream_tls_facts(c->client, &facts);
    struct gate_channel channel = {
        .alpn = facts.alpn, .client_cert = facts.client_cert, .binding_n = facts.binding_n};
    static_assert(sizeof channel.binding == sizeof facts.binding, "one limit for both");
    memcpy(channel.binding, facts.binding, facts.binding_n);
    if (gate_secured(c->gate, &channel, &log) == GATE_CLOSED) {
        gate_refused(c, log.msg);
    }
}

static void gate_step(struct conn *c)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(LIMIT_HELD_FRAME);
    struct err log = ERR_INIT;
    enum gate_outcome outcome = GATE_MORE;
    size_t used = 1;
    if (gate_is_fresh(c->gate)) {
        take_current_policy(c);
    }
    while (outcome == GATE_MORE && used > 0) {
        outcome = gate_feed(c->gate, buf_str(&c->gate_in), &used, &out, &log);
        buf_consume(&c->gate_in, used);
    }
    stream_write(c->client, out.p, out.n);
    stream_flush(c->client);
    if (c->state != CONN_GATE) {
        return; /* the flush found the client gone */
    }
    print_prefix(c);
    switch (outcome) {
    case GATE_MORE:
        break;
    case GATE_TLS:
        start_tls(c);
        break;
    case GATE_CANCEL:
        stream_pause(c->client);
        c->cancelling = worker_cancel(c->worker, c, c->gate->startup.pid, c->gate->startup.secret);
        break;
    case GATE_PASSED:
        start_login(c);
        break;
    case GATE_CLOSED:
        gate_refused(c, log.msg);
        break;
    }
}

static void on_client_data(void *ctx, const char *p, size_t n)
{
    struct conn *c = ctx;
    switch (c->state) {
    case CONN_OPEN:
        feed_session(c, p, n);
        return;
    case CONN_GATE:
        buf_put(&c->gate_in, p, n);
        if (c->gate_in.overflow) {
            refuse(c, PROXY_EARLY_INPUT);
            return;
        }
        if (!c->header_due || read_proxy_header(c)) {
            gate_step(c);
        }
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
    update_flow(c);
}

/* The end of what a client sends is not the end of what it reads: PostgreSQL, too, answers what came before.
 */
static void on_client_closed(void *ctx, const struct err *err)
{
    struct conn *c = ctx;
    struct err end = ERR_INIT;
    if (err && c->state == CONN_OPEN) {
        note_ending(c, "connection to the client lost");
        log_info(c->prefix, "client: %s", err->msg);
    }
    if (err && c->state == CONN_GATE && c->gate->state == GATE_HANDSHAKE) {
        gate_refused(c, err->msg);
        return;
    }
    if (!err && c->state == CONN_OPEN) {
        if (session_client_end(c->session, &end) == 0) {
            flush_both(c);
            return;
        }
        note_ending(c, "client left in the middle of a message");
        log_info(c->prefix, "client: %s", end.msg);
    }
    conn_close(c);
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
    c->too_many = arrival->too_many;
    c->local = arrival->local;
    c->header_due = arrival->header_due;
    memcpy(c->peer, arrival->peer, sizeof c->peer);
    link_conn(w, c);
    c->gate = mem_zalloc(sizeof *c->gate);
    buf_init(&c->gate_in, 2 * LIMIT_READ + LIMIT_STARTUP_PACKET);
    begin_gate(c);
    print_prefix(c);
    c->client = stream_new(w->loop, arrival->fd, NULL, &client_events, c);
    arm(c, c->policy->options.login_timeout_ms);
    stream_resume(c->client);
}

struct conn *conn_next(const struct conn *c)
{
    return c->next;
}

void conn_abort(struct conn *c)
{
    note_ending(c, "service stops");
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
            refuse(c, PROXY_SHUTDOWN);
        }
        return;
    case CONN_OPEN:
        update_flow(c);
        return;
    case CONN_LOGIN: /* ends when it is in */
    case CONN_CLOSING:
        return;
    }
}

void conn_end_if_idle(struct conn *c, uint64_t idle_ms)
{
    if (c->state == CONN_OPEN && now(c) - c->active_ms >= idle_ms && session_at_rest(c->session)) {
        counter_add(&c->worker->stats.timeouts, 1);
        note_ending(c, "idle too long");
        session_end(c->session, PROXY_IDLE_TIMEOUT);
    }
}
