/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of an attempt: conninfo built → names looked up (helper thread, may outlive us) → PQconnectStart →
 * PQconnectPoll until OK or FAILED. One timer bounds all of it; with a delay of zero it also delivers
 * failures that are known before connect_start() has returned.
 */
#include "pg/connect.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "pg/conninfo.h"
#include "pg/login_error.h"

#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Lives until the helper thread is done, whatever became of the attempt. */
struct lookup {
    struct connecting *owner; /* NULL: cancelled */
    struct conninfo info;
    struct err err;
    int rc;
};

struct connecting {
    struct loop *loop;
    connect_fn fn;
    void *ctx;
    uint64_t timeout_ms;
    struct timer *timer;
    struct lookup *lookup;
    struct conninfo info;
    PGconn *conn;
    struct watch *watch;
    uint64_t watched;  /* the socket's identity, or 0 */
    bool failed;       /* the timer is to deliver `error` */
    bool user_timeout; /* TCP_USER_TIMEOUT is ours, for the login alone */
    struct login_error error;
};

static void destroy(struct connecting *c)
{
    if (c->lookup) {
        c->lookup->owner = NULL;
    }
    watch_free(c->watch);
    timer_free(c->timer);
    conninfo_deinit(&c->info);
    PQfinish(c->conn); /* not logged in: sends nothing */
    free(c);
}

void connect_cancel(struct connecting *c)
{
    if (c) {
        destroy(c);
    }
}

static void deliver_failure(struct connecting *c)
{
    struct login_error error = c->error;
    connect_fn fn = c->fn;
    void *ctx = c->ctx;
    destroy(c);
    fn(ctx, NULL, &error);
}

static void fail_soon(struct connecting *c)
{
    c->failed = true;
    timer_start(c->timer, 0);
}

static void fail_with_err(struct connecting *c, const struct err *err)
{
    c->error = (struct login_error){.err = *err};
    fail_soon(c);
}

static void on_timer(void *ctx)
{
    struct connecting *c = ctx;
    if (!c->failed) {
        const char *host = c->conn ? PQhost(c->conn) : NULL;
        err_set_sqlstate(&c->error.err, ERR_UPSTREAM, "08001",
                         "no answer from the database server%s%s within %llu ms", host && *host ? " " : "",
                         host ? host : "", (unsigned long long)c->timeout_ms);
    }
    deliver_failure(c);
}

/* The limit on unanswered bytes that moves libpq on to the next address must not stay with the session. */
static void clear_user_timeout(struct connecting *c)
{
    int none = 0;
    if (c->user_timeout) {
        setsockopt(PQsocket(c->conn), IPPROTO_TCP, TCP_USER_TIMEOUT, &none, sizeof none);
    }
}

static void succeed(struct connecting *c)
{
    PGconn *conn = take_ptr(&c->conn);
    connect_fn fn = c->fn;
    void *ctx = c->ctx;
    destroy(c);
    fn(ctx, conn, NULL);
}

/* A server that has heard of us and fails is lost (08006); before that there was no connection (08001). */
static const char *fallback_state(PGconn *conn, ConnStatusType before)
{
    if (PQconnectionNeedsPassword(conn)) {
        return "28P01";
    }
    return before == CONNECTION_AWAITING_RESPONSE || before == CONNECTION_AUTH_OK ? "08006" : "08001";
}

static void on_socket(void *ctx, int events);

/* A number that the kernel gives no other socket; 0: it does not say. */
static uint64_t socket_identity(int fd)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

/* On its way to the next address, or when it tries again without TLS, libpq closes the socket and opens
 * another, mostly with the same descriptor, and tells nobody: a watch serves only the socket that it was made
 * for. */
static void wait_for(struct connecting *c, int events)
{
    uint64_t identity = socket_identity(PQsocket(c->conn));
    if (!c->watch || identity == 0 || identity != c->watched) {
        watch_free(c->watch);
        c->watch = watch_new(c->loop, PQsocket(c->conn), on_socket, c);
        c->watched = identity;
    }
    watch_set(c->watch, events);
}

static void on_socket(void *ctx, int events)
{
    struct connecting *c = ctx;
    ConnStatusType before = PQstatus(c->conn);
    switch (PQconnectPoll(c->conn)) {
    case PGRES_POLLING_READING:
        wait_for(c, WATCH_READ);
        break;
    case PGRES_POLLING_WRITING:
        wait_for(c, WATCH_WRITE);
        break;
    case PGRES_POLLING_OK:
        clear_user_timeout(c);
        succeed(c);
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE: /* unused by libpq */
        login_error_parse(PQerrorMessage(c->conn), fallback_state(c->conn, before), &c->error);
        deliver_failure(c);
        break;
    }
}

static void on_notice(void *ctx, const PGresult *result)
{
    log_debug(NULL, "notice from the database: %s", PQresultErrorMessage(result));
}

/* With several addresses each gets its share of the time; a single one gets all of it from our timer. */
static void set_user_timeout(struct connecting *c)
{
    size_t hosts = conninfo_host_count(&c->info);
    char text[32];
    if (hosts > 1 && !conninfo_get(&c->info, "tcp_user_timeout")) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)(c->timeout_ms / hosts + 1));
        conninfo_set(&c->info, "tcp_user_timeout", text);
        c->user_timeout = true;
    }
}

static void begin(struct connecting *c)
{
    set_user_timeout(c);
    c->conn =
        PQconnectStartParams((const char *const *)c->info.keywords, (const char *const *)c->info.values, 0);
    conninfo_deinit(&c->info);
    if (!c->conn) {
        abort(); /* out of memory, see base/mem.h */
    }
    PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->conn, on_notice, NULL);
    if (PQstatus(c->conn) == CONNECTION_BAD) {
        login_error_parse(PQerrorMessage(c->conn), "08001", &c->error);
        fail_soon(c);
        return;
    }
    wait_for(c, WATCH_WRITE);
}

static void lookup_work(void *ctx)
{
    struct lookup *l = ctx;
    l->rc = conninfo_resolve(&l->info, &l->err);
}

static void on_lookup_done(void *ctx)
{
    struct lookup *l = ctx;
    struct connecting *c = l->owner;
    if (c) {
        c->lookup = NULL;
        if (l->rc < 0) {
            fail_with_err(c, &l->err);
        } else {
            c->info = l->info;
            l->info = (struct conninfo){0};
            begin(c);
        }
    }
    conninfo_deinit(&l->info);
    free(l);
}

static void start_lookup(struct connecting *c)
{
    struct lookup *l = mem_zalloc(sizeof *l);
    l->owner = c;
    l->info = c->info;
    c->info = (struct conninfo){0};
    c->lookup = l;
    loop_work(c->loop, lookup_work, on_lookup_done, l);
}

struct connecting *connect_start(struct loop *loop, const struct login_params *params, connect_fn fn,
                                 void *ctx)
{
    struct connecting *c = mem_zalloc(sizeof *c);
    struct err err = ERR_INIT;
    c->loop = loop;
    c->fn = fn;
    c->ctx = ctx;
    c->timeout_ms = params->timeout_ms ? params->timeout_ms : LOGIN_TIMEOUT_MS;
    c->timer = timer_new(loop, on_timer, c);
    timer_start(c->timer, c->timeout_ms);
    if (conninfo_build(params, &c->info, &err) < 0) {
        fail_with_err(c, &err);
    } else if (conninfo_has_names(&c->info)) {
        start_lookup(c);
    } else {
        begin(c);
    }
    return c;
}
