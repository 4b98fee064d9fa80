/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue: its head is the query libpq is busy with when `sent`, everything behind it waits. Queries that
 * cannot be queued go to `refused`, which a timer empties. Callbacks may call anything of client.h: a query
 * leaves its list before its callback, and a client freed inside a callback is only marked until the call on
 * the stack returns.
 */
#include "pg/client.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "pg/connect.h"
#include "pg/login_error.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BACKOFF_FIRST_MS = 200, BACKOFF_STARTING_MS = 500, BACKOFF_LAST_MS = 10000 };

#define SESSION_OPTIONS                                                                                \
    "-c search_path=pg_catalog -c statement_timeout=0 -c lock_timeout=0 "                              \
    "-c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off "                   \
    "-c standard_conforming_strings=on -c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c " \
    "jit=off"

struct pg_query {
    struct pg_query *next;
    pg_query_fn fn; /* NULL: forgotten */
    void *ctx;
    char *sql;
    char **params; /* pointers and texts in one block */
    size_t params_n;
    bool script;
    bool full; /* refused because the queue was, not because there is no connection */
};

struct queue {
    struct pg_query *head, **tail;
    size_t n;
};

struct pg_client {
    struct loop *loop;
    pg_client_state_fn fn;
    void *ctx;
    char *url, *application_name;
    bool require_ssl;
    enum pg_client_state state;
    struct connecting *connecting;
    struct timer *retry;
    struct timer *soon; /* what must not happen before pg_client_query() has returned */
    uint64_t backoff_ms;
    PGconn *conn;
    struct watch *watch;
    int server_version;
    bool broken; /* found while sending; told by `soon` */
    bool unread; /* sending has read something that no event will tell of; looked at by `soon` */
    struct queue queue, refused;
    bool sent;
    bool set_ended;          /* what comes next is of another statement of the same script */
    struct pg_result result; /* of the queue's head while sent */
    int depth;
    bool freed;
};

static void start_attempt(struct pg_client *c);

static void free_query(struct pg_query *q)
{
    free(q->sql);
    free(q->params);
    free(q);
}

static void destroy(struct pg_client *c)
{
    free(c->url);
    free(c->application_name);
    free(c);
}

/* Calls out are bracketed by these two; leave() says whether the client is still there. */
static void enter(struct pg_client *c)
{
    c->depth++;
}

static bool leave(struct pg_client *c)
{
    bool freed = c->freed;
    if (--c->depth == 0 && freed) {
        destroy(c);
    }
    return !freed;
}

const char *pg_client_state_name(enum pg_client_state state)
{
    static const char *const names[] = {"connecting", "up", "down"};
    return names[state];
}

static bool set_state(struct pg_client *c, enum pg_client_state state, const struct login_error *why)
{
    log_debug(NULL, "service connection: %s -> %s", pg_client_state_name(c->state),
              pg_client_state_name(state));
    c->state = state;
    enter(c);
    c->fn(c->ctx, state, why);
    return leave(c);
}

static void push(struct queue *queue, struct pg_query *q)
{
    *queue->tail = q;
    queue->tail = &q->next;
    queue->n++;
}

static struct pg_query *pop(struct queue *queue)
{
    struct pg_query *q = queue->head;
    queue->head = q->next;
    queue->n--;
    if (!queue->head) {
        queue->tail = &queue->head;
    }
    return q;
}

static bool finish_query(struct pg_client *c, struct pg_query *q, const struct pg_result *result)
{
    enter(c);
    if (q->fn) {
        q->fn(q->ctx, result);
    }
    free_query(q);
    return leave(c);
}

static bool fail_query(struct pg_client *c, struct pg_query *q, const char *sqlstate, const char *message)
{
    struct pg_result r;
    pg_result_init(&r);
    pg_result_fail(&r, sqlstate, message);
    bool alive = finish_query(c, q, &r);
    pg_result_deinit(&r);
    return alive;
}

static void fail_queue(struct pg_client *c, const char *message)
{
    while (!c->freed && c->queue.head) {
        const char *state = c->sent ? "08006" : "08003";
        c->sent = false;
        fail_query(c, pop(&c->queue), state, message);
    }
}

static void close_connection(struct pg_client *c)
{
    watch_free(take_ptr(&c->watch));
    PQfinish(take_ptr(&c->conn));
    c->broken = false;
    c->unread = false;
    if (c->sent) {
        pg_result_deinit(&c->result);
    }
}

/* ± 20 %, so that many services do not come back at the same moment. */
static uint64_t with_jitter(uint64_t ms)
{
    unsigned char random = 128;
    if (getrandom(&random, 1, GRND_NONBLOCK) != 1) {
        random = 128;
    }
    return ms * 4 / 5 + ms * 2 / 5 * random / 255;
}

static void go_down(struct pg_client *c, const struct login_error *why)
{
    close_connection(c);
    /* A server that starts or recovers says so (57P03), and will be there in a moment. */
    uint64_t last = strcmp(why->err.sqlstate, "57P03") == 0 ? BACKOFF_STARTING_MS : BACKOFF_LAST_MS;
    c->backoff_ms = c->backoff_ms < last ? c->backoff_ms : last;
    timer_start(c->retry, with_jitter(c->backoff_ms));
    c->backoff_ms *= 2;
    enter(c);
    if (set_state(c, PG_CLIENT_DOWN, why)) {
        fail_queue(c, why->err.msg);
    }
    leave(c);
}

static void lose_connection(struct pg_client *c)
{
    struct login_error why;
    login_error_parse(PQerrorMessage(c->conn), "08006", &why);
    if (c->sent && !c->result.ok) {
        why.err = c->result.err; /* the server's own last words, where it had any */
        why.from_server = true;
    }
    go_down(c, &why);
}

static void on_retry(void *ctx)
{
    start_attempt(ctx);
}

static int send_query(struct pg_client *c, const struct pg_query *q)
{
    int ok = q->script ? PQsendQuery(c->conn, q->sql)
                       : PQsendQueryParams(c->conn, q->sql, (int)q->params_n, NULL,
                                           (const char *const *)q->params, NULL, NULL, 0);
    return ok && PQsetSingleRowMode(c->conn) ? 0 : -1;
}

static int flush(struct pg_client *c)
{
    int rc = PQflush(c->conn);
    if (rc >= 0) {
        watch_set(c->watch, rc > 0 ? WATCH_READ | WATCH_WRITE : WATCH_READ);
    }
    return rc < 0 ? -1 : 0;
}

/* Sends the next query when none is on its way. A failure is told later. */
static void send_next(struct pg_client *c)
{
    if (c->state != PG_CLIENT_UP || c->sent || c->broken || !c->queue.head) {
        return;
    }
    pg_result_init(&c->result);
    c->set_ended = false;
    c->sent = true;
    if (send_query(c, c->queue.head) < 0 || flush(c) < 0) {
        c->broken = true;
        timer_start(c->soon, 0);
    } else if (PQstatus(c->conn) != CONNECTION_OK || !PQisBusy(c->conn)) {
        /* libpq reads while it writes, up to the end of the connection, and then has closed the socket. */
        c->unread = true;
        timer_start(c->soon, 0);
    }
}

/* COPY and replication answers belong to no query of ours: the connection is beyond use. */
static int take_result(struct pg_client *c, PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_SINGLE_TUPLE:
        if (c->set_ended) {
            pg_result_clear_rows(&c->result); /* a script: those of the next statement */
            c->set_ended = false;
        }
        pg_result_add_rows(&c->result, res);
        return 0;
    case PGRES_TUPLES_OK: /* the end of rows taken one by one */
        c->set_ended = true;
        return 0;
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_NONFATAL_ERROR:
        return 0;
    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:
        pg_result_fail_from(&c->result, res);
        return 0;
    case PGRES_COPY_OUT:
    case PGRES_COPY_IN:
    case PGRES_COPY_BOTH:
    case PGRES_PIPELINE_SYNC:
    case PGRES_PIPELINE_ABORTED:
        break;
    }
    return -1;
}

static void finish_sent(struct pg_client *c)
{
    struct pg_result result = c->result;
    c->sent = false;
    if (result.ok) {
        c->backoff_ms = BACKOFF_FIRST_MS;
    }
    finish_query(c, pop(&c->queue), &result);
    pg_result_deinit(&result);
}

/* Takes whatever has arrived for the query on its way; -1 when the connection is of no more use. */
static int drain(struct pg_client *c)
{
    while (c->sent && !PQisBusy(c->conn)) {
        PGresult *res = PQgetResult(c->conn);
        if (!res) {
            if (PQstatus(c->conn) == CONNECTION_OK) {
                finish_sent(c);
            }
            break; /* else the query fails with the connection */
        }
        int rc = take_result(c, res);
        PQclear(res);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

static int serve(struct pg_client *c, int events)
{
    PGnotify *notify;
    if (((events & WATCH_WRITE) && flush(c) < 0) || !PQconsumeInput(c->conn) || drain(c) < 0) {
        return -1;
    }
    if (c->freed) {
        return 0;
    }
    while ((notify = PQnotifies(c->conn)) != NULL) {
        PQfreemem(notify);
    }
    return PQstatus(c->conn) == CONNECTION_OK ? 0 : -1;
}

static void on_socket(void *ctx, int events)
{
    struct pg_client *c = ctx;
    enter(c);
    int rc = serve(c, events);
    if (rc < 0 && !c->freed) {
        lose_connection(c);
    } else if (!c->freed) {
        send_next(c);
    }
    leave(c);
}

static void on_connected(void *ctx, PGconn *conn, const struct login_error *error)
{
    struct pg_client *c = ctx;
    c->connecting = NULL;
    if (!conn) {
        go_down(c, error);
        return;
    }
    c->conn = conn;
    c->server_version = PQserverVersion(conn);
    c->watch = watch_new(c->loop, PQsocket(conn), on_socket, c);
    watch_set(c->watch, WATCH_READ);
    PQsetnonblocking(conn, 1);
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    enter(c);
    if (set_state(c, PG_CLIENT_UP, NULL)) {
        send_next(c);
    }
    leave(c);
}

static void start_attempt(struct pg_client *c)
{
    const char *const extra[][2] = {
        {"application_name", c->application_name},
        {"client_encoding", "UTF8"},
        {"options", SESSION_OPTIONS},
        {"tcp_user_timeout", "30000"},
    };
    struct login_params params = {
        .url = c->url, .require_ssl = c->require_ssl, .extra = extra, .extra_n = ARRAY_LEN(extra)};
    c->state = PG_CLIENT_CONNECTING;
    c->connecting = connect_start(c->loop, &params, on_connected, c);
}

static void on_soon(void *ctx)
{
    struct pg_client *c = ctx;
    enter(c);
    for (size_t n = c->refused.n; n > 0 && !c->freed; n--) {
        struct pg_query *q = pop(&c->refused);
        fail_query(c, q, q->full ? "53400" : "08003",
                   q->full ? "too many queries are waiting for the database"
                           : "no connection to the database");
    }
    if (!c->freed && c->refused.head) {
        timer_start(c->soon, 0);
    }
    if (!c->freed && c->unread && !c->broken) {
        c->unread = false;
        c->broken = drain(c) < 0 || (!c->freed && PQstatus(c->conn) != CONNECTION_OK);
    }
    if (!c->freed && c->broken) {
        lose_connection(c);
    } else if (!c->freed) {
        send_next(c);
    }
    leave(c);
}

struct pg_client *pg_client_new(struct loop *loop, const struct pg_client_options *options,
                                pg_client_state_fn fn, void *ctx)
{
    struct pg_client *c = mem_zalloc(sizeof *c);
    c->loop = loop;
    c->fn = fn;
    c->ctx = ctx;
    c->url = mem_strdup(options->url);
    c->application_name = mem_strdup(options->application_name);
    c->require_ssl = options->require_ssl;
    c->backoff_ms = BACKOFF_FIRST_MS;
    c->queue.tail = &c->queue.head;
    c->refused.tail = &c->refused.head;
    c->retry = timer_new(loop, on_retry, c);
    c->soon = timer_new(loop, on_soon, c);
    start_attempt(c);
    return c;
}

void pg_client_free(struct pg_client *c)
{
    if (!c || c->freed) {
        return;
    }
    c->freed = true;
    connect_cancel(take_ptr(&c->connecting));
    close_connection(c);
    timer_free(take_ptr(&c->retry));
    timer_free(take_ptr(&c->soon));
    while (c->queue.head) {
        free_query(pop(&c->queue));
    }
    while (c->refused.head) {
        free_query(pop(&c->refused));
    }
    if (c->depth == 0) {
        destroy(c);
    }
}

enum pg_client_state pg_client_state(const struct pg_client *c)
{
    return c->state;
}

int pg_client_server_version(const struct pg_client *c)
{
    return c->server_version;
}

static char **copy_params(const char *const *params, size_t n)
{
    size_t bytes = n * sizeof(char *);
    for (size_t i = 0; i < n; i++) {
        bytes += params[i] ? strlen(params[i]) + 1 : 0;
    }
    char **copy = mem_zalloc(bytes + 1);
    char *text = (char *)(copy + n);
    for (size_t i = 0; i < n; i++) {
        if (params[i]) {
            size_t size = strlen(params[i]) + 1;
            copy[i] = memcpy(text, params[i], size);
            text += size;
        }
    }
    return copy;
}

static struct pg_query *enqueue(struct pg_client *c, struct pg_query *q)
{
    q->full = c->queue.n >= PG_CLIENT_QUEUE;
    if (q->full || c->state != PG_CLIENT_UP) {
        push(&c->refused, q);
        timer_start(c->soon, 0);
    } else {
        push(&c->queue, q);
        send_next(c);
    }
    return q;
}

struct pg_query *pg_client_query(struct pg_client *c, const char *sql, const char *const *params,
                                 size_t params_n, pg_query_fn fn, void *ctx)
{
    struct pg_query *q = mem_zalloc(sizeof *q);
    assert(params_n <= 65535 && !c->freed);
    q->fn = fn;
    q->ctx = ctx;
    q->sql = mem_strdup(sql);
    q->params = copy_params(params, params_n);
    q->params_n = params_n;
    return enqueue(c, q);
}

struct pg_query *pg_client_exec_script(struct pg_client *c, const char *sql, pg_query_fn fn, void *ctx)
{
    struct pg_query *q = mem_zalloc(sizeof *q);
    assert(!c->freed);
    q->fn = fn;
    q->ctx = ctx;
    q->sql = mem_strdup(sql);
    q->script = true;
    return enqueue(c, q);
}

void pg_query_forget(struct pg_query *q)
{
    if (q) {
        q->fn = NULL;
    }
}
