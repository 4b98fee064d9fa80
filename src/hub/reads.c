/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   WAITING (for a connection) → TAKING (a snapshot; again if it misses something up to the position)
 *     → MARKING (until all that the snapshot sees has come by) → NOTING (the overlay, some at a time) → READY
 * ⇄ COPYING
 *
 * FAILED can follow any of them.
 */
#include "hub/reads.h"

#include "base/mem.h"
#include "hub/marker.h"
#include "net/loop.h"
#include "pg/snapshot.h"
#include "shapes/copy_row.h"
#include "shapes/overlay.h"
#include "shapes/snapshot.h"

#include <assert.h>
#include <stdlib.h>

enum read_state { WAITING, TAKING, MARKING, NOTING, READY, COPYING, FAILED };

enum {
    TAKES = 1000,      /* snapshots, until one misses nothing */
    TAKES_AT_ONCE = 3, /* ... without a pause: the rest are TAKE_MS apart */
    TAKE_MS = 10,      /* who commits may lose its processor in between, or wait for a standby */
    CONNECT_AGAIN_MS = 500,
    NOTED_A_TURN = 8 * 1024 * 1024, /* bytes of the log in one turn of the loop */
    QUERY_TEXT = 64 * 1024 * 1024,
    /* A snapshot that is held for longer keeps vacuum from its work; with others waiting for the connection,
     * so short that they get their turn, and so long that there is more in it than going through the log. */
    GOOD_MS = 5000,
    TURN_MS = 300,
    GOOD_BYTES =
        1024 * 1024, /* noted more than twice as much, and this, as at first: each query goes over it */
};

struct read {
    struct read *next,
        **prev; /* among those that wait for a connection, in order; prev NULL: it does not wait */
    struct reads *pool;
    const struct read_events *events;
    void *ctx;
    enum read_state state;
    uint64_t since_ms;
    uint64_t ready_ms; /* since when, and what was noted then */
    size_t ready_bytes;
    lsn_t position, noted; /* noted: the overlay has everything up to here */
    size_t noted_bytes;
    struct pg_snapshot *conn;
    struct buf lock; /* a statement: holds off what a snapshot does not protect from, such as TRUNCATE */
    unsigned takes;
    struct timer *pause; /* until the next */
    struct arena arena;  /* of the snapshot */
    struct snapshot snapshot;
    struct marker_wait *wait;
    struct overlay *overlay;
    const struct layer *layer;
    struct str user;
    const struct value *keys; /* left to ask for */
    size_t keys_n;
    bool by_keys;
    struct value *values;
    char *line;
    size_t line_cap;
    enum read_failure how;
    struct err err;
};

struct reads {
    struct loop *loop;
    struct login_params params;
    char *url;
    const struct past *past;
    struct marker *marker;
    struct read *waiting, **waiting_tail;
    struct pg_snapshot *idle[READS_CONNECTIONS];
    size_t idle_n, open;
};

/* --- the end --- */

static void tell_failure(void *ctx)
{
    struct read *r = ctx;
    r->events->failed(r->ctx, r->how, &r->err);
}

/* Told from the loop, so never inside the call that asked. */
static void fail(struct read *r, enum read_failure how, const struct err *err)
{
    if (r->state != FAILED) {
        r->state = FAILED;
        r->how = how;
        r->err = *err;
        loop_post(r->pool->loop, tell_failure, r);
    }
}

static void fail_text(struct read *r, enum read_failure how, const char *text)
{
    struct err err;
    err_set(&err, ERR_LIMIT, "%s", text);
    fail(r, how, &err);
}

/* --- the overlay --- */

static bool sees(const void *ctx, uint64_t xid)
{
    return snapshot_sees(ctx, xid);
}

static int note(void *ctx, lsn_t lsn, struct str record, struct err *err)
{
    struct read *r = ctx;
    struct txn_head head;
    if (txn_read_head(record, &head, err) < 0) {
        return -1;
    }
    r->noted = lsn;
    r->noted_bytes += record.n;
    if (snapshot_sees(&r->snapshot, head.xid)) {
        int rc = overlay_add(r->overlay, record, &r->pool->past->relations, err);
        if (rc == OVERLAY_TRUNCATED) {
            return err_set(err, ERR_LIMIT, "a table was truncated since the position");
        }
        if (rc != OVERLAY_ADDED) {
            return rc < 0 ? -1 : err_set(err, ERR_LIMIT, "too much has changed since the position");
        }
    }
    return r->noted_bytes < NOTED_A_TURN;
}

static void note_more(void *ctx)
{
    struct read *r = ctx;
    struct err err;
    r->noted_bytes = 0;
    switch (past_walk(r->pool->past, r->noted, note, r, &err)) {
    case PAST_END:
        r->state = READY;
        r->ready_ms = loop_now_ms(r->pool->loop);
        r->ready_bytes = overlay_bytes(r->overlay);
        r->events->ready(r->ctx);
        return;
    case PAST_STOPPED:
        loop_post(r->pool->loop, note_more, r);
        return;
    case PAST_GONE:
        fail_text(r, READ_TOO_FAR, "the log does not reach back to the position any more");
        return;
    default:
        fail(r, err.kind == ERR_LIMIT ? READ_TOO_FAR : READ_REFUSED, &err);
    }
}

static int advance(void *ctx, lsn_t lsn, struct str record, struct err *err)
{
    struct read *r = ctx;
    if (lsn > r->noted) {
        return 0;
    }
    r->position = lsn;
    int rc = overlay_advance(r->overlay, record, &r->pool->past->relations, err);
    return rc == OVERLAY_ADDED ? 1
           : rc < 0            ? -1
                               : err_set(err, ERR_LIMIT, "too much has changed, or a table was truncated");
}

int read_advance(struct read *r, lsn_t position, struct err *err)
{
    assert(r->state == READY && position >= r->position);
    r->noted = position;
    int rc = past_walk(r->pool->past, r->position, advance, r, err);
    r->position = position;
    return rc < 0            ? -1
           : rc == PAST_GONE ? err_set(err, ERR_LIMIT, "the log does not reach back any more")
                             : 0;
}

bool read_is_good(const struct read *r)
{
    uint64_t age = loop_now_ms(r->pool->loop) - r->ready_ms;
    return r->state == READY && age < (r->pool->waiting ? TURN_MS : GOOD_MS) &&
           overlay_bytes(r->overlay) < 2 * r->ready_bytes + GOOD_BYTES;
}

/* --- the snapshot --- */

static void on_marked(void *ctx, const struct err *err)
{
    struct read *r = ctx;
    r->wait = NULL;
    if (err) {
        fail(r, READ_LOST, err);
        return;
    }
    r->state = NOTING;
    r->noted = r->position;
    note_more(r);
}

static void enqueue(struct read *r);

static void on_pause_end(void *ctx)
{
    struct read *r = ctx;
    if (r->state == TAKING) {
        pg_snapshot_take(r->conn);
    } else if (r->state == WAITING) {
        enqueue(r);
    }
}

static void pause_for(struct read *r, uint64_t ms)
{
    if (!r->pause) {
        r->pause = timer_new(r->pool->loop, on_pause_end, r);
    }
    timer_start(r->pause, ms);
}

static void on_taken(void *ctx, const char *visible)
{
    struct read *r = ctx;
    struct err err;
    arena_reset(&r->arena);
    if (snapshot_parse(str_c(visible), &r->arena, &r->snapshot, &err) < 0) {
        fail(r, READ_REFUSED, &err);
    } else if (!recent_missed(r->pool->past->recent, r->position, sees, &r->snapshot)) {
        r->state = MARKING;
        r->wait = marker_wait(r->pool->marker, on_marked, r);
    } else if (++r->takes < TAKES_AT_ONCE) {
        pg_snapshot_take(r->conn);
    } else if (r->takes < TAKES) {
        pause_for(r, TAKE_MS);
    } else {
        fail_text(r, READ_LOST, "transactions that were committed do not become visible");
    }
}

/* --- rows --- */

static void grow_line(struct read *r, size_t n)
{
    if (n > r->line_cap) {
        r->line_cap = n * 2;
        free(r->line);
        r->line = mem_alloc(r->line_cap);
    }
}

/* As it was at the position, not as the snapshot has it. */
static void on_row(void *ctx, const char *p, size_t n)
{
    struct read *r = ctx;
    struct err err;
    const struct value *row;
    if (r->state != COPYING) {
        return;
    }
    grow_line(r, n);
    memcpy(r->line, p, n);
    if (copy_row_decode(r->line, n, r->values, r->layer->table->n_columns, &err) < 0) {
        fail(r, READ_REFUSED, &err);
        return;
    }
    if (overlay_find(r->overlay, r->layer->table, r->values, &row) == OVERLAY_UNCHANGED &&
        layer_admits(r->layer, r->user, r->values)) {
        r->events->row(r->ctx, r->values);
    }
}

static void on_noted_row(void *ctx, const struct value *row)
{
    struct read *r = ctx;
    if (layer_admits(r->layer, r->user, row)) {
        r->events->row(r->ctx, row);
    }
}

static void copy_next(struct read *r)
{
    struct buf sql = BUF_INIT(QUERY_TEXT);
    if (r->by_keys) {
        size_t taken = query_by_keys(r->layer, r->user, r->keys, r->keys_n, &sql);
        r->keys += taken * r->layer->columns.n;
        r->keys_n -= taken;
    } else {
        query_whole(r->layer, r->user, &sql);
    }
    if (sql.overflow) {
        fail_text(r, READ_REFUSED, "a query is too long");
    } else {
        pg_snapshot_copy(r->conn, buf_cstr(&sql));
    }
    buf_deinit(&sql);
}

static void on_copied(void *ctx)
{
    struct read *r = ctx;
    if (r->state != COPYING) {
        return;
    }
    if (r->keys_n > 0) {
        copy_next(r);
        return;
    }
    overlay_each(r->overlay, r->layer->table, on_noted_row, r);
    r->state = READY;
    r->events->done(r->ctx);
}

static void begin_waiting(struct reads *rs);

static void on_snapshot_failed(void *ctx, const struct err *err, bool lost)
{
    struct read *r = ctx;
    pg_snapshot_free(take_ptr(&r->conn));
    r->pool->open--;
    if (lost && r->state == TAKING && loop_now_ms(r->pool->loop) - r->since_ms < READS_WAIT_MS) {
        r->state = WAITING;
        pause_for(r, CONNECT_AGAIN_MS);
        begin_waiting(r->pool);
        return;
    }
    fail(r, lost ? READ_LOST : READ_REFUSED, err);
}

static const struct pg_snapshot_events snapshot_events = {on_taken, on_row, on_copied, on_snapshot_failed};

static void ask(struct read *r, const struct layer *layer, struct str user)
{
    assert(r->state == READY || r->state == FAILED);
    if (r->state == FAILED) {
        return;
    }
    r->state = COPYING;
    r->layer = layer;
    r->user = user;
    free(r->values);
    r->values = mem_alloc_array(layer->table->n_columns, sizeof *r->values);
    copy_next(r);
}

void read_whole(struct read *r, const struct layer *layer, struct str user)
{
    r->by_keys = false;
    r->keys_n = 0;
    ask(r, layer, user);
}

void read_keys(struct read *r, const struct layer *layer, struct str user, const struct value *keys, size_t n)
{
    assert(n > 0);
    r->by_keys = true;
    r->keys = keys;
    r->keys_n = n;
    ask(r, layer, user);
}

void read_pause(struct read *r, bool paused)
{
    if (r->state == COPYING) {
        pg_snapshot_pause(r->conn, paused);
    }
}

/* --- connections --- */

static struct pg_snapshot *take_idle(struct reads *rs)
{
    while (rs->idle_n > 0) {
        struct pg_snapshot *conn = rs->idle[--rs->idle_n];
        if (pg_snapshot_usable(conn)) {
            return conn;
        }
        pg_snapshot_free(conn); /* the server went away meanwhile */
        rs->open--;
    }
    return NULL;
}

static void begin(struct read *r)
{
    struct reads *rs = r->pool;
    r->conn = take_idle(rs);
    if (r->conn) {
        pg_snapshot_set_owner(r->conn, &snapshot_events, r);
    } else {
        r->conn = pg_snapshot_new(rs->loop, &rs->params, &snapshot_events, r);
        rs->open++;
    }
    r->state = TAKING;
    pg_snapshot_set_lock(r->conn, r->lock.n > 0 ? buf_cstr(&r->lock) : NULL);
    pg_snapshot_take(r->conn);
}

static void leave_queue(struct read *r)
{
    if (r->prev) {
        *r->prev = r->next;
        if (r->next) {
            r->next->prev = r->prev;
        } else {
            r->pool->waiting_tail = r->prev;
        }
        r->prev = NULL;
    }
}

static void begin_waiting(struct reads *rs)
{
    while (rs->waiting && (rs->idle_n > 0 || rs->open < READS_CONNECTIONS)) {
        struct read *r = rs->waiting;
        leave_queue(r);
        begin(r);
    }
}

static void enqueue(struct read *r)
{
    struct reads *rs = r->pool;
    r->next = NULL;
    r->prev = rs->waiting_tail;
    *rs->waiting_tail = r;
    rs->waiting_tail = &r->next;
    begin_waiting(rs);
}

/* A connection whose COPY runs cannot be used again before its end. */
static void give_back(struct reads *rs, struct pg_snapshot *conn, enum read_state state)
{
    if (state == MARKING || state == NOTING || state == READY) {
        pg_snapshot_release(conn);
        rs->idle[rs->idle_n++] = conn;
        pg_snapshot_set_owner(conn, NULL, NULL);
        return;
    }
    pg_snapshot_free(conn);
    rs->open--;
}

struct read *read_start(struct reads *rs, lsn_t position, const struct table *const *tables, size_t n,
                        const struct read_events *events, void *ctx)
{
    struct read *r = mem_zalloc(sizeof *r);
    r->pool = rs;
    r->events = events;
    r->ctx = ctx;
    r->position = position;
    r->overlay = overlay_new(tables, n, READS_OVERLAY);
    buf_init(&r->lock, QUERY_TEXT);
    if (n > 0) {
        query_lock(tables, n, &r->lock);
    }
    r->since_ms = loop_now_ms(rs->loop);
    enqueue(r);
    return r;
}

void read_free(struct read *r)
{
    if (!r) {
        return;
    }
    struct reads *rs = r->pool;
    leave_queue(r);
    loop_post_forget(rs->loop, r);
    marker_forget(r->wait);
    timer_free(r->pause);
    if (r->conn) {
        give_back(rs, r->conn, r->state);
    }
    overlay_free(r->overlay);
    buf_deinit(&r->lock);
    arena_deinit(&r->arena);
    free(r->values);
    free(r->line);
    free(r);
    begin_waiting(rs);
}

struct reads *reads_new(struct loop *loop, const struct login_params *params, const struct past *past,
                        struct marker *marker)
{
    struct reads *rs = mem_zalloc(sizeof *rs);
    rs->loop = loop;
    rs->url = mem_strdup(params->url);
    rs->params = (struct login_params){.url = rs->url, .require_ssl = params->require_ssl};
    rs->past = past;
    rs->marker = marker;
    rs->waiting_tail = &rs->waiting;
    return rs;
}

void reads_free(struct reads *rs)
{
    if (!rs) {
        return;
    }
    assert(!rs->waiting);
    while (rs->idle_n > 0) {
        pg_snapshot_free(rs->idle[--rs->idle_n]);
    }
    free(rs->url);
    free(rs);
}
