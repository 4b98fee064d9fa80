/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   WAITING (for a connection) → TAKING (a snapshot; again if it misses something up to the position)
 *     → MARKING (until all that the snapshot sees has come by) → NOTING (the overlay, some at a time) → READY
 * ⇄ COPYING
 *
 * FAILED can follow any of them.
 */
#include "base/mem.h"
#include "hub/marker.h"
#include "hub/reads_impl.h"
#include "net/loop.h"
#include "shapes/copy_row.h"

#include <assert.h>
#include <stdlib.h>

enum {
    TAKES = 1000,                   /* snapshots, until one misses nothing */
    TAKES_AT_ONCE = 3,              /* ... without a pause: the rest are TAKE_MS apart */
    TAKE_MS = 10,                   /* who commits may lose its processor in between, or wait for a standby */
    NOTED_A_TURN = 8 * 1024 * 1024, /* bytes of the log in one turn of the loop */
    QUERY_TEXT = 64 * 1024 * 1024,
    /* A snapshot that is held for longer keeps vacuum from its work; with others waiting for the connection,
     * so short that they get their turn, and so long that there is more in it than going through the log. */
    GOOD_MS = 5000,
    TURN_MS = 300,
    GOOD_BYTES = 16 * 1024 * 1024, /* noted more than twice as much, and this, as at first */
};

/* --- the end --- */

static void tell_failure(void *ctx)
{
    struct read *r = ctx;
    r->events->failed(r->ctx, r->how, &r->err);
}

void read_fail(struct read *r, enum read_failure how, const struct err *err)
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
    read_fail(r, how, &err);
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
    if (r->state != NOTING) {
        return;
    }
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
        read_fail(r, err.kind == ERR_LIMIT ? READ_TOO_FAR : READ_REFUSED, &err);
    }
}

int read_advance(struct read *r, lsn_t position, struct str record, struct err *err)
{
    assert(r->state == READY && position >= r->position);
    r->position = position;
    int rc = overlay_advance(r->overlay, record, &r->pool->past->relations, err);
    return rc == OVERLAY_ADDED ? 0
           : rc < 0            ? -1
                               : err_set(err, ERR_LIMIT, "too much has changed, or a table was truncated");
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
    if (r->state != MARKING) {
        return;
    }
    if (err) {
        read_fail(r, READ_LOST, err);
        return;
    }
    r->state = NOTING;
    r->noted = r->position;
    note_more(r);
}

static void take_again(void *ctx)
{
    struct read *r = ctx;
    if (r->state == TAKING) {
        pg_snapshot_take(r->conn);
    }
}

static void take_after_pause(struct read *r)
{
    if (!r->pause) {
        r->pause = timer_new(r->pool->loop, take_again, r);
    }
    timer_start(r->pause, TAKE_MS);
}

static void on_taken(void *ctx, const char *visible)
{
    struct read *r = ctx;
    struct err err;
    if (r->state != TAKING) {
        return;
    }
    r->pool->snapshots++;
    arena_reset(&r->arena);
    if (snapshot_parse(str_c(visible), &r->arena, &r->snapshot, &err) < 0) {
        read_fail(r, READ_REFUSED, &err);
    } else if (!recent_missed(r->pool->past->recent, r->position, sees, &r->snapshot)) {
        r->state = MARKING;
        r->wait = marker_wait(r->pool->marker, on_marked, r);
    } else if (++r->takes < TAKES_AT_ONCE) {
        pg_snapshot_take(r->conn);
    } else if (r->takes < TAKES) {
        take_after_pause(r);
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
        read_fail(r, READ_REFUSED, &err);
        return;
    }
    if ((r->raw || overlay_find(r->overlay, r->layer->table, r->values, &row) == OVERLAY_UNCHANGED) &&
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
        r->pool->queries++;
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
    r->paused_ms = 0;
    if (r->keys_n > 0) {
        copy_next(r);
        return;
    }
    if (!r->raw) {
        overlay_each(r->overlay, r->layer->table, on_noted_row, r);
    }
    r->state = READY;
    r->events->done(r->ctx);
}

static void on_snapshot_failed(void *ctx, const struct err *err, bool lost)
{
    struct read *r = ctx;
    reads_lose(r);
    read_fail(r, lost ? READ_LOST : READ_REFUSED, err);
}

const struct pg_snapshot_events read_snapshot_events = {on_taken, on_row, on_copied, on_snapshot_failed};

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
    r->raw = r->by_keys = false;
    r->keys_n = 0;
    ask(r, layer, user);
}

static void ask_by_keys(struct read *r, const struct layer *layer, struct str user, const struct value *keys,
                        size_t n)
{
    assert(n > 0);
    r->by_keys = true;
    r->keys = keys;
    r->keys_n = n;
    ask(r, layer, user);
}

void read_keys(struct read *r, const struct layer *layer, struct str user, const struct value *keys, size_t n)
{
    r->raw = false;
    ask_by_keys(r, layer, user, keys, n);
}

void read_snapshot(struct read *r, const struct layer *layer, struct str user, const struct value *keys,
                   size_t n)
{
    r->raw = true;
    ask_by_keys(r, layer, user, keys, n);
}

bool read_is_unchanged(struct read *r, const struct layer *layer, const struct value *row)
{
    const struct value *then;
    return overlay_find(r->overlay, layer->table, row, &then) == OVERLAY_UNCHANGED;
}

void read_changed(struct read *r, const struct layer *layer, const struct value *keys, size_t n,
                  void (*fn)(void *ctx, const struct value *row), void *ctx)
{
    for (size_t i = 0; i < n; i++) {
        overlay_each_with(r->overlay, layer->table, layer->columns, &keys[i * layer->columns.n], fn, ctx);
    }
}

void read_index(struct read *r, const struct forest *forest)
{
    for (uint32_t i = 0; i < forest->n_layers; i++) {
        const struct layer *layer = &forest->layers[i];
        if (layer->kind != LAYER_TOP) {
            overlay_index(r->overlay, layer->table, layer->columns);
        }
    }
}

void read_pause(struct read *r, bool paused)
{
    if (r->state == COPYING) {
        pg_snapshot_pause(r->conn, paused);
        r->paused_ms = !paused ? 0 : r->paused_ms ? r->paused_ms : loop_now_ms(r->pool->loop);
    }
}

/* --- life --- */

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
    reads_enter(r);
    return r;
}

void read_free(struct read *r)
{
    if (!r) {
        return;
    }
    struct reads *rs = r->pool;
    loop_post_forget(rs->loop, r);
    marker_forget(r->wait);
    timer_free(r->pause);
    reads_leave(r);
    overlay_free(r->overlay);
    buf_deinit(&r->lock);
    arena_deinit(&r->arena);
    free(r->values);
    free(r->line);
    free(r);
    reads_begin(rs);
}
