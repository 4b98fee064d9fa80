/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connecting → up ⇄ querying, up → starting → streaming; from each → ended.
 *
 * Streaming Replication Protocol (PostgreSQL documentation), in CopyData messages; time is in microseconds
 * since 2000-01-01, integers are big endian:
 *
 *   server   XLogData   'w'  wal start u64, wal end u64, time i64, bytes
 *            keepalive  'k'  wal end u64, time i64, answer wanted u8
 *   client   status     'r'  written u64, flushed u64, applied u64, time i64, answer wanted u8
 *
 * All reading happens in turn(), which does a bounded piece of work; what is left over then, in libpq's
 * buffer or in the TLS session's, no event would tell of: the timer `more` comes back to it. It also
 * delivers failures found while sending. Callbacks may free the connection: it is only marked until the call
 * on the stack returns.
 */
#include "pg/replication.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/rd.h"
#include "net/loop.h"
#include "net/tls.h"
#include "pg/connect.h"
#include "pg/display.h"
#include "pg/login_error.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    TURN_MESSAGES = 1000,
    TURN_BYTES = 256 * 1024,
    TAKEN_BYTES = 8 * 1024,
    BURST_BYTES = 8 * 1024, /* so much within a millisecond: more follows, and is gathered for one */
    /* Between status updates that say nothing new: the server ends who is silent for wal_sender_timeout
     * (60 s), and while we are paused we do not see it ask. */
    STATUS_MS = 10000,
    COMMAND_MAX = 4096,
    STREAMING_SINCE = 140000, /* and logical messages */
};

/* As of pg/client.c, and how values look. */
#define SESSION_OPTIONS                                                              \
    "-c search_path=pg_catalog -c statement_timeout=0 -c lock_timeout=0 "            \
    "-c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off " \
    "-c jit=off " PG_DISPLAY_OPTIONS

enum state { CONNECTING, UP, QUERYING, STARTING, STREAMING, ENDED };

struct replication {
    struct loop *loop;
    const struct replication_events *events;
    void *ctx;
    uint64_t silence_ms, confirm_ms;
    enum state state;
    struct connecting *connecting;
    PGconn *conn;
    struct watch *watch;
    struct timer *more, *status, *watchdog;
    replication_query_fn query_fn;
    void *query_ctx;
    struct pg_result result; /* QUERYING */
    bool set_ended;          /* what comes next is of another statement */
    uint64_t received, confirmed;
    uint64_t status_ms, heard_ms;
    bool asked; /* for a sign of life, since heard_ms */
    bool paused;
    bool gathering; /* what comes, without looking at the socket until `more` */
    uint64_t tick_ms;
    size_t tick_bytes; /* read in the millisecond tick_ms */
    bool backlog; /* messages may be left in libpq's buffer, which would grow if more were read into it */
    bool broken;  /* found while sending; told by `more` */
    int depth;
    bool freed; /* state is ENDED */
};

static int64_t epoch_us(void)
{
    return 946684800ll * 1000000; /* from 1970-01-01 to 2000-01-01 */
}

/* Calls out are bracketed by these two. */
static void enter(struct replication *r)
{
    r->depth++;
}

static void leave(struct replication *r)
{
    if (--r->depth == 0 && r->freed) {
        free(r);
    }
}

static void close_connection(struct replication *r)
{
    connect_cancel(take_ptr(&r->connecting));
    watch_free(take_ptr(&r->watch));
    PQfinish(take_ptr(&r->conn));
    timer_free(take_ptr(&r->more));
    timer_free(take_ptr(&r->status));
    timer_free(take_ptr(&r->watchdog));
}

/* --- the end --- */

static void finish_query(struct replication *r)
{
    struct pg_result result = r->result;
    r->state = r->state == QUERYING ? UP : r->state;
    r->query_fn(r->query_ctx, &result);
    pg_result_deinit(&result);
}

static void end(struct replication *r, const struct login_error *why)
{
    bool asked = r->state == QUERYING;
    enter(r);
    r->state = ENDED;
    close_connection(r);
    if (asked) {
        pg_result_fail(&r->result, "08006", why->err.msg);
        finish_query(r);
    }
    if (!r->freed) {
        r->events->on_end(r->ctx, why);
    }
    leave(r);
}

static void end_by_result(struct replication *r, const PGresult *res)
{
    struct login_error why = {.from_server = PQresultErrorField(res, PG_DIAG_SQLSTATE) != NULL};
    struct pg_result failure;
    pg_result_init(&failure);
    pg_result_fail_from(&failure, res);
    why.err = failure.err;
    snprintf(why.detail, sizeof why.detail, "%s", failure.detail);
    snprintf(why.hint, sizeof why.hint, "%s", failure.hint);
    pg_result_deinit(&failure);
    end(r, &why);
}

static void lose_connection(struct replication *r)
{
    struct login_error why;
    login_error_parse(PQerrorMessage(r->conn), "08006", &why);
    if (r->state == QUERYING && !r->result.ok) {
        why.err = r->result.err; /* the server's own last words, where it had any */
        why.from_server = true;
    }
    end(r, &why);
}

static void end_by_peer(struct replication *r, const char *message)
{
    struct login_error why = {0};
    err_set_sqlstate(&why.err, ERR_PEER, "08P01", "%s", message);
    end(r, &why);
}

/* --- sending --- */

static void watch_as_needed(struct replication *r, bool unsent)
{
    bool reading = !(r->state == STREAMING && (r->paused || r->gathering));
    watch_set(r->watch, (reading ? WATCH_READ : 0) | (unsent ? WATCH_WRITE : 0));
}

/* A failure shows when turn() reads. libpq may read while it writes, and no event will tell of that. */
static void flush(struct replication *r)
{
    int rc = PQflush(r->conn);
    watch_as_needed(r, rc > 0);
    timer_start(r->more, 0);
}

static void put_u64(struct buf *b, uint64_t v)
{
    buf_put_u32be(b, (uint32_t)(v >> 32));
    buf_put_u32be(b, (uint32_t)v);
}

static uint64_t server_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)((int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - epoch_us());
}

static void send_status(struct replication *r, bool ask)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(64);
    buf_put_byte(&b, 'r');
    put_u64(&b, r->received > r->confirmed ? r->received : r->confirmed);
    put_u64(&b, r->confirmed);
    put_u64(&b, r->confirmed);
    put_u64(&b, server_time());
    buf_put_byte(&b, ask);
    r->status_ms = loop_now_ms(r->loop);
    /* 0: the output is full. The server will hear of it the next time. */
    uint64_t next = PQputCopyData(r->conn, b.p, (int)b.n) == 0 ? r->confirm_ms : STATUS_MS;
    timer_start(r->status, next);
    flush(r);
}

static void on_status(void *ctx)
{
    send_status(ctx, false);
}

void replication_confirm(struct replication *r, uint64_t lsn)
{
    if (lsn <= r->confirmed) {
        return;
    }
    r->confirmed = lsn;
    if (r->state == STREAMING) {
        uint64_t due = r->status_ms + r->confirm_ms, now = loop_now_ms(r->loop);
        timer_start(r->status, due > now ? due - now : 0);
    }
}

/* --- streaming --- */

/* Nobody is given up unasked: the loop itself may have been held up. */
static void on_watchdog(void *ctx)
{
    struct replication *r = ctx;
    uint64_t half = r->silence_ms / 2, quiet = r->paused ? 0 : loop_now_ms(r->loop) - r->heard_ms;
    if (quiet < half) {
        timer_start(r->watchdog, half - quiet);
    } else if (!r->asked) {
        r->asked = true;
        send_status(r, true);
        timer_start(r->watchdog, half);
    } else {
        struct login_error why = {0};
        err_set_sqlstate(&why.err, ERR_UPSTREAM, "08006", "no word from the database for %llu ms",
                         (unsigned long long)quiet);
        end(r, &why);
    }
}

static void begin_streaming(struct replication *r)
{
    r->state = STREAMING;
    r->heard_ms = r->status_ms = loop_now_ms(r->loop);
    timer_start(r->status, STATUS_MS);
    timer_start(r->watchdog, r->silence_ms / 2);
    watch_as_needed(r, false);
}

static uint64_t get_u64(struct rd *r)
{
    uint64_t high = rd_u32be(r);
    return high << 32 | rd_u32be(r);
}

static void note_heard(struct replication *r)
{
    r->heard_ms = loop_now_ms(r->loop);
    r->asked = false;
}

static void note_received(struct replication *r, uint64_t lsn)
{
    note_heard(r); /* while it is gathered no event says so */
    r->received = lsn > r->received ? lsn : r->received;
}

static int on_xlog_data(struct replication *r, struct rd *rd)
{
    uint64_t start = get_u64(rd);
    get_u64(rd);
    get_u64(rd);
    struct str bytes = rd_rest(rd);
    if (rd->failed) {
        return -1;
    }
    note_received(r, start);
    r->events->on_data(r->ctx, start, bytes);
    return 0;
}

static int on_keepalive(struct replication *r, struct rd *rd)
{
    uint64_t wal_end = get_u64(rd);
    int64_t clock = (int64_t)get_u64(rd);
    bool wanted = rd_u8(rd) != 0;
    if (!rd_done(rd)) {
        return -1;
    }
    note_received(r, wal_end);
    r->events->on_keepalive(r->ctx, wal_end, (int64_t)((uint64_t)clock + (uint64_t)epoch_us()));
    if (wanted && r->state == STREAMING) {
        send_status(r, false);
    }
    return 0;
}

static int on_copy_data(struct replication *r, struct str bytes)
{
    struct rd rd = rd_init(bytes.p, bytes.n);
    switch (rd_u8(&rd)) {
    case 'w':
        return on_xlog_data(r, &rd);
    case 'k':
        return on_keepalive(r, &rd);
    default:
        return -1;
    }
}

/* The server has ended COPY: with an error, or with its command's completion when it shuts down. */
static void on_copy_end(struct replication *r)
{
    PGresult *res = PQisBusy(r->conn) ? NULL : PQgetResult(r->conn);
    ExecStatusType status = res ? PQresultStatus(res) : PGRES_FATAL_ERROR;
    if (!res) {
        lose_connection(r);
    } else if (status == PGRES_FATAL_ERROR) {
        end_by_result(r, res);
    } else {
        end(r, NULL);
    }
    PQclear(res);
}

/* TLS may hold decrypted bytes that neither libpq has nor the socket shows. */
static bool has_more(const struct replication *r)
{
    return PQsslInUse(r->conn) && tls_pending(PQsslStruct(r->conn, "OpenSSL")) > 0;
}

static bool still_reading(const struct replication *r)
{
    return r->state == STREAMING && !r->paused;
}

/* The server sends each change by itself, as quick as it finds them. To be woken for each costs both sides
 * more than all the rest. */
static void gather(struct replication *r, size_t bytes)
{
    uint64_t now = loop_now_ms(r->loop);
    r->tick_bytes = now == r->tick_ms ? r->tick_bytes + bytes : bytes;
    r->tick_ms = now;
    bool many = r->tick_bytes >= BURST_BYTES;
    if (many != r->gathering) {
        r->gathering = many;
        watch_as_needed(r, PQflush(r->conn) > 0);
    }
    if (many) {
        timer_start(r->more, 1);
    }
}

/* libpq takes some 16 kB from the socket at once. As soon as it finds less, the rest is left to come
 * together. A failure shows in the connection's status. */
static int next_message(struct replication *r, char **out, size_t *since_taken)
{
    int got = PQgetCopyData(r->conn, out, 1);
    if (got == 0 && r->gathering && *since_taken >= TAKEN_BYTES && PQconsumeInput(r->conn)) {
        *since_taken = 0;
        got = PQgetCopyData(r->conn, out, 1);
    }
    *since_taken += got > 0 ? (size_t)got : 0;
    return got;
}

static void on_all_read(struct replication *r, size_t bytes)
{
    r->backlog = false;
    if (has_more(r)) {
        timer_start(r->more, 0);
    } else {
        gather(r, bytes);
    }
}

/* What is there, up to a bound. */
static void read_stream(struct replication *r)
{
    size_t bytes = 0, since_taken = 0;
    r->backlog = true;
    for (int n = 0; n < TURN_MESSAGES && bytes < TURN_BYTES && still_reading(r); n++) {
        char *p;
        int got = next_message(r, &p, &since_taken);
        if (got == 0) {
            on_all_read(r, bytes);
            return;
        }
        if (got < 0) {
            on_copy_end(r);
            return;
        }
        bytes += (size_t)got;
        int rc = on_copy_data(r, (struct str){p, (size_t)got});
        PQfreemem(p);
        if (rc < 0) {
            end_by_peer(r, "the server sent a replication message that cannot be read");
        }
    }
    if (still_reading(r)) {
        /* Not 0: libuv (before 1.45) would run that timer at once, and nothing else while data keeps coming.
         */
        timer_start(r->more, 1);
    }
}

void replication_pause(struct replication *r)
{
    r->paused = true;
    if (r->state == STREAMING) {
        watch_as_needed(r, PQflush(r->conn) > 0);
    }
}

void replication_resume(struct replication *r)
{
    if (r->paused) {
        r->paused = false;
        note_heard(r);
        if (r->state == STREAMING) {
            watch_as_needed(r, PQflush(r->conn) > 0);
            timer_start(r->more, 0);
        }
    }
}

/* --- queries --- */

static bool take_result(struct replication *r, const PGresult *res)
{
    switch (PQresultStatus(res)) {
    case PGRES_SINGLE_TUPLE:
        if (r->set_ended) {
            pg_result_clear_rows(&r->result);
            r->set_ended = false;
        }
        pg_result_add_rows(&r->result, res);
        return true;
    case PGRES_TUPLES_OK:
        r->set_ended = true;
        return true;
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_NONFATAL_ERROR:
        return true;
    case PGRES_FATAL_ERROR:
    case PGRES_BAD_RESPONSE:
        pg_result_fail_from(&r->result, res);
        return true;
    default:
        return false; /* COPY, which nobody asked for */
    }
}

static void read_answer(struct replication *r)
{
    while (r->state == QUERYING && !PQisBusy(r->conn)) {
        PGresult *res = PQgetResult(r->conn);
        if (!res) {
            if (PQstatus(r->conn) == CONNECTION_OK) {
                finish_query(r);
            }
            return; /* else the query fails with the connection */
        }
        bool known = take_result(r, res);
        PQclear(res);
        if (!known) {
            end_by_peer(r, "the server began COPY");
            return;
        }
    }
}

static void read_start(struct replication *r)
{
    PGresult *res = PQisBusy(r->conn) ? NULL : PQgetResult(r->conn);
    if (!res) {
        return;
    }
    if (PQresultStatus(res) == PGRES_COPY_BOTH) {
        begin_streaming(r);
        read_stream(r);
    } else if (PQresultStatus(res) == PGRES_FATAL_ERROR) {
        end_by_result(r, res);
    } else {
        end_by_peer(r, "the server did not begin to stream");
    }
    PQclear(res);
}

/* --- the life of it --- */

static void turn(struct replication *r)
{
    bool reading = r->state != STREAMING || still_reading(r);
    bool lost = r->broken || (reading && !r->backlog && !PQconsumeInput(r->conn));
    enter(r);
    if (r->state == QUERYING) {
        read_answer(r);
    } else if (r->state == STARTING) {
        read_start(r);
    } else if (r->state == STREAMING) {
        read_stream(r);
    }
    if (r->state != ENDED && (lost || PQstatus(r->conn) != CONNECTION_OK)) {
        lose_connection(r);
    }
    leave(r);
}

static void on_more(void *ctx)
{
    turn(ctx);
}

static void on_socket(void *ctx, int events)
{
    struct replication *r = ctx;
    if (events & WATCH_READ) {
        note_heard(r);
    }
    if (events & WATCH_WRITE) {
        watch_as_needed(r, PQflush(r->conn) > 0);
    }
    turn(r);
}

static void on_connected(void *ctx, PGconn *conn, const struct login_error *error)
{
    struct replication *r = ctx;
    r->connecting = NULL;
    enter(r);
    if (!conn) {
        end(r, error);
    } else {
        r->conn = conn;
        r->state = UP;
        r->watch = watch_new(r->loop, PQsocket(conn), on_socket, r);
        watch_set(r->watch, WATCH_READ);
        PQsetnonblocking(conn, 1);
        r->events->on_up(r->ctx);
    }
    leave(r);
}

struct replication *replication_new(struct loop *loop, const struct replication_options *options,
                                    const struct replication_events *events, void *ctx)
{
    const char *const extra[][2] = {
        {"replication", "database"},   {"application_name", options->application_name},
        {"client_encoding", "UTF8"},   {"options", SESSION_OPTIONS},
        {"tcp_user_timeout", "30000"},
    };
    struct login_params params = {.url = options->url,
                                  .require_ssl = options->require_ssl,
                                  .extra = extra,
                                  .extra_n = ARRAY_LEN(extra)};
    struct replication *r = mem_zalloc(sizeof *r);
    r->loop = loop;
    r->events = events;
    r->ctx = ctx;
    r->silence_ms = options->silence_ms ? options->silence_ms : REPLICATION_SILENCE_MS;
    r->confirm_ms = options->confirm_ms ? options->confirm_ms : REPLICATION_CONFIRM_MS;
    r->more = timer_new(loop, on_more, r);
    r->status = timer_new(loop, on_status, r);
    r->watchdog = timer_new(loop, on_watchdog, r);
    r->connecting = connect_start(loop, &params, on_connected, r);
    return r;
}

void replication_free(struct replication *r)
{
    if (!r || r->freed) {
        return;
    }
    if (r->state == QUERYING) {
        pg_result_deinit(&r->result);
    }
    r->freed = true;
    r->state = ENDED;
    close_connection(r);
    if (r->depth == 0) {
        free(r);
    }
}

int replication_server_version(const struct replication *r)
{
    return r->conn ? PQserverVersion(r->conn) : 0;
}

/* --- commands --- */

static void send_command(struct replication *r, enum state state, const char *sql)
{
    r->state = state;
    r->broken = !PQsendQuery(r->conn, sql);
    flush(r);
}

void replication_query(struct replication *r, const char *sql, replication_query_fn fn, void *ctx)
{
    if (r->state == ENDED) {
        return;
    }
    assert(r->state == UP);
    r->query_fn = fn;
    r->query_ctx = ctx;
    r->set_ended = false;
    pg_result_init(&r->result);
    send_command(r, QUERYING, sql);
    PQsetSingleRowMode(r->conn);
}

/* The replication grammar knows "…" and '…', with the quote doubled, and nothing else. */
static void put_quoted(struct buf *out, char quote, struct str text)
{
    buf_put_byte(out, quote);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == quote) {
            buf_put_byte(out, quote);
        }
        buf_put_byte(out, text.p[i]);
    }
    buf_put_byte(out, quote);
}

/* publication_names is a list of identifiers inside of a literal. */
static void put_publication(struct buf *out, const char *publication)
{
    CLEANUP(buf_deinit) struct buf name = BUF_INIT(COMMAND_MAX);
    put_quoted(&name, '"', str_c(publication));
    buf_put_c(out, "publication_names ");
    put_quoted(out, '\'', buf_str(&name));
}

void replication_start(struct replication *r, const char *slot, const char *publication, uint64_t lsn)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(COMMAND_MAX);
    if (r->state == ENDED) {
        return;
    }
    assert(r->state == UP);
    bool streaming = PQserverVersion(r->conn) >= STREAMING_SINCE;
    buf_put_c(&sql, "START_REPLICATION SLOT ");
    put_quoted(&sql, '"', str_c(slot));
    buf_printf(&sql, " LOGICAL %X/%X (", (unsigned)(lsn >> 32), (unsigned)lsn);
    put_publication(&sql, publication);
    buf_put_c(&sql,
              streaming ? ", proto_version '2', streaming 'on', messages 'true')" : ", proto_version '1')");
    assert(!sql.overflow);
    r->confirmed = lsn;
    send_command(r, STARTING, buf_cstr(&sql));
}
