/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   NEW --take--> CONNECTING --> TAKING --> HELD --copy--> COPY_SENT --> COPYING --> COPIED --> HELD
 *                                 ^          | release
 *                                 +--take-- IDLE <-- RELEASING            any --failure--> FAILED
 *
 * libpq is in non-blocking mode; a query is a few hundred bytes and a list of keys, flushed when the socket
 * takes it.
 */
#include "pg/snapshot.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "pg/connect.h"
#include "pg/display.h"
#include "pg/login_error.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

enum state { NEW, CONNECTING, IDLE, TAKING, RELEASING, HELD, COPY_SENT, COPYING, COPIED, FAILED };

/* Rows handed over in one turn of the loop; others have work too. */
enum { ROWS_A_TURN = 2000, TAKE_TEXT = 16 * 1024 * 1024 };

static const char session_options[] =
    "-c search_path=pg_catalog -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 "
    "-c jit=off " PG_DISPLAY_OPTIONS;

struct pg_snapshot {
    struct loop *loop;
    const struct pg_snapshot_events *events;
    void *ctx;
    char *url;
    bool require_ssl;
    char *lock; /* NULL: none */
    enum state state;
    struct connecting *connecting;
    PGconn *conn;
    struct watch *watch;
    bool open;         /* a transaction is */
    bool take_next;    /* when released */
    bool paused, more; /* more: rows that libpq holds already, which no event will tell of */
    char *visible;     /* NULL before the first; as long as there are transactions in progress */
    struct err err;
    bool lost;
    int depth;
    bool freed;
};

static void destroy(struct pg_snapshot *s)
{
    free(s->url);
    free(s->lock);
    free(s->visible);
    free(s);
}

static void drop_connection(struct pg_snapshot *s)
{
    connect_cancel(take_ptr(&s->connecting));
    watch_free(take_ptr(&s->watch));
    PQfinish(take_ptr(&s->conn));
}

void pg_snapshot_free(struct pg_snapshot *s)
{
    if (!s) {
        return;
    }
    drop_connection(s);
    loop_post_forget(s->loop, s);
    s->freed = true;
    if (s->depth == 0) {
        destroy(s);
    }
}

/* Calls out are bracketed by these; leave() says whether it is still there. */
static void enter(struct pg_snapshot *s)
{
    s->depth++;
}

static bool leave(struct pg_snapshot *s)
{
    bool freed = s->freed;
    if (--s->depth == 0 && freed) {
        destroy(s);
    }
    return !freed;
}

static void tell_failure(void *ctx)
{
    struct pg_snapshot *s = ctx;
    if (s->events) {
        enter(s);
        s->events->failed(s->ctx, &s->err, s->lost);
        leave(s);
    }
}

/* Told from the loop, so never inside the call that asked. */
static void fail(struct pg_snapshot *s, const struct err *err, bool lost)
{
    if (s->state == FAILED) {
        return;
    }
    s->state = FAILED;
    s->err = *err;
    s->lost = lost;
    drop_connection(s);
    loop_post(s->loop, tell_failure, s);
}

/* Classes of SQLSTATEs that say what the server thinks of the query itself. Others (it stops, has no memory,
 * was told to cancel) pass. */
static bool is_verdict(const char *sqlstate)
{
    static const char *const classes[] = {"0A", "22", "42", "54", "XX"};
    for (size_t i = 0; sqlstate && i < ARRAY_LEN(classes); i++) {
        if (strncmp(sqlstate, classes[i], 2) == 0) {
            return true;
        }
    }
    return false;
}

static void fail_from(struct pg_snapshot *s, const PGresult *result)
{
    struct err err;
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    bool lost = PQstatus(s->conn) == CONNECTION_BAD || !is_verdict(sqlstate);
    err_set_sqlstate(&err, ERR_UPSTREAM, sqlstate ? sqlstate : "08006", "%s",
                     message ? message : PQerrorMessage(s->conn));
    fail(s, &err, lost);
}

static void watch_for(struct pg_snapshot *s)
{
    bool reading = !((s->paused || s->more) && s->state == COPYING);
    int flush = PQflush(s->conn);
    if (flush < 0) {
        fail_from(s, NULL);
        return;
    }
    watch_set(s->watch, (reading ? WATCH_READ : 0) | (flush > 0 ? WATCH_WRITE : 0));
}

static void send(struct pg_snapshot *s, const char *sql)
{
    if (!PQsendQuery(s->conn, sql)) {
        fail_from(s, NULL);
        return;
    }
    watch_for(s);
}

static void send_take(struct pg_snapshot *s)
{
    struct buf sql = BUF_INIT(TAKE_TEXT);
    buf_put_c(&sql, s->open ? "ROLLBACK; " : "");
    buf_put_c(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ");
    if (s->lock) {
        buf_put_c(&sql, s->lock);
        buf_put_c(&sql, "; ");
    }
    buf_put_c(&sql, "SELECT pg_catalog.pg_current_snapshot()");
    s->state = TAKING;
    s->open = true;
    send(s, buf_cstr(&sql));
    buf_deinit(&sql);
}

/* --- what comes back --- */

/* Everything that was asked has been answered. */
static void finish(struct pg_snapshot *s)
{
    switch (s->state) {
    case TAKING:
        s->state = HELD;
        s->events->taken(s->ctx, s->visible);
        return;
    case RELEASING:
        s->state = IDLE;
        if (s->take_next) {
            s->take_next = false;
            send_take(s);
        }
        return;
    case COPIED:
        s->state = HELD;
        s->events->copied(s->ctx);
        return;
    default:
        fail_from(s, NULL); /* an answer without a question */
    }
}

/* Returns false when nothing more is to be read now. */
static bool read_result(struct pg_snapshot *s)
{
    if (PQisBusy(s->conn)) {
        return false;
    }
    PGresult *result = PQgetResult(s->conn);
    if (!result) {
        finish(s);
        return false;
    }
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COPY_OUT && s->state == COPY_SENT) {
        s->state = COPYING;
    } else if (status == PGRES_TUPLES_OK && s->state == TAKING) {
        free(s->visible);
        s->visible = mem_strdup(PQgetvalue(result, 0, 0));
    } else if (status != PGRES_COMMAND_OK || s->state == COPY_SENT) {
        fail_from(s, result);
    }
    PQclear(result);
    return s->state != FAILED;
}

static bool read_row(struct pg_snapshot *s)
{
    char *row;
    int n = PQgetCopyData(s->conn, &row, 1);
    if (n == 0) {
        return false;
    }
    if (n < 0) {
        s->state = COPIED; /* or failed: the result says */
        return true;
    }
    s->events->row(s->ctx, row, (size_t)n);
    PQfreemem(row);
    return !s->freed && !s->paused;
}

static bool read_one(struct pg_snapshot *s)
{
    return s->state == COPYING ? read_row(s) : read_result(s);
}

static void read_on(void *ctx)
{
    struct pg_snapshot *s = ctx;
    size_t n = 0;
    s->more = false;
    enter(s);
    while (s->conn && !(s->paused && s->state == COPYING) && read_one(s)) {
        if (++n == ROWS_A_TURN) {
            s->more = true;
            loop_post(s->loop, read_on, s);
            break;
        }
    }
    if (leave(s) && s->conn) {
        watch_for(s);
    }
}

static void on_event(void *ctx, int events)
{
    struct pg_snapshot *s = ctx;
    if ((events & WATCH_READ) && !PQconsumeInput(s->conn)) {
        fail_from(s, NULL);
        return;
    }
    if (!s->more) {
        read_on(s);
    }
}

/* --- what is asked --- */

static void on_connected(void *ctx, struct pg_conn *conn, const struct login_error *error)
{
    struct pg_snapshot *s = ctx;
    s->connecting = NULL;
    if (error) {
        fail(s, &error->err, true);
        return;
    }
    s->conn = (PGconn *)conn;
    s->watch = watch_new(s->loop, PQsocket(s->conn), on_event, s);
    send_take(s);
}

static void connect_now(struct pg_snapshot *s)
{
    const char *const extra[][2] = {
        {"application_name", "busbar snapshot"}, {"client_encoding", "UTF8"}, {"options", session_options}};
    struct login_params params = {
        .url = s->url, .require_ssl = s->require_ssl, .extra = extra, .extra_n = ARRAY_LEN(extra)};
    s->state = CONNECTING;
    s->connecting = connect_start(s->loop, &params, on_connected, s);
}

struct pg_snapshot *pg_snapshot_new(struct loop *loop, const struct login_params *params,
                                    const struct pg_snapshot_events *events, void *ctx)
{
    struct pg_snapshot *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->events = events;
    s->ctx = ctx;
    s->url = mem_strdup(params->url);
    s->require_ssl = params->require_ssl;
    return s;
}

void pg_snapshot_set_owner(struct pg_snapshot *s, const struct pg_snapshot_events *events, void *ctx)
{
    s->events = events;
    s->ctx = ctx;
}

void pg_snapshot_set_lock(struct pg_snapshot *s, const char *sql)
{
    free(s->lock);
    s->lock = sql ? mem_strdup(sql) : NULL;
}

bool pg_snapshot_usable(const struct pg_snapshot *s)
{
    return s->state != FAILED;
}

int pg_snapshot_pid(const struct pg_snapshot *s)
{
    return s->conn ? PQbackendPID(s->conn) : 0;
}

void pg_snapshot_take(struct pg_snapshot *s)
{
    assert(s->state == NEW || s->state == IDLE || s->state == RELEASING || s->state == HELD ||
           s->state == FAILED);
    switch (s->state) {
    case NEW:
        connect_now(s);
        return;
    case IDLE:
    case HELD:
        send_take(s);
        return;
    case RELEASING:
        s->take_next = true;
        return;
    default:
        return; /* failed: that is told */
    }
}

void pg_snapshot_copy(struct pg_snapshot *s, const char *sql)
{
    assert(s->state == HELD || s->state == FAILED);
    if (s->state == HELD) {
        s->state = COPY_SENT;
        s->paused = false;
        send(s, sql);
    }
}

void pg_snapshot_pause(struct pg_snapshot *s, bool paused)
{
    if (s->paused == paused || s->state != COPYING) {
        return;
    }
    s->paused = paused;
    if (!paused && !s->more) { /* libpq may hold rows */
        s->more = true;
        loop_post(s->loop, read_on, s);
    }
}

void pg_snapshot_release(struct pg_snapshot *s)
{
    assert(s->state == HELD || s->state == FAILED);
    if (s->state == HELD) {
        s->state = RELEASING;
        s->open = false;
        send(s, "ROLLBACK");
    }
}
