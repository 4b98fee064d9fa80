/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four connections are at work. One whose client does not take its rows is not counted, and another is opened
 * for those that wait; when there are LIMIT_READ_CONNECTIONS, the one that stood still for longest is ended.
 *
 * A read holds ACCESS SHARE on its tables: from before its snapshot, because a TRUNCATE or a rewriting ALTER
 * TABLE in between would leave it nothing to see, until its end, because PostgreSQL never lets go sooner. Who
 * waits to change a table makes everybody else wait behind it, so a read gives way to them.
 */
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/reads_impl.h"
#include "net/loop.h"
#include "pg/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PATROL_MS = 500,
    SLOW_MS = 1000,    /* a client that takes nothing for so long does not count */
    STALLED_MS = 5000, /* ... and loses its connection, if others wait and there is none left */
    IN_THE_WAY = 2, /* patrols in succession that find somebody waiting: a change that is quick lets it be */
    PIDS_TEXT = LIMIT_READ_CONNECTIONS * 12 + 3,
};

static uint64_t paused_for(const struct read *r)
{
    return r->paused_ms ? loop_now_ms(r->pool->loop) - r->paused_ms : 0;
}

/* --- the queue --- */

static void unlink_read(struct read *r)
{
    if (r->prev) {
        *r->prev = r->next;
        if (r->next) {
            r->next->prev = r->prev;
        } else if (r->pool->waiting_tail == &r->next) {
            r->pool->waiting_tail = r->prev;
        }
        r->prev = NULL;
    }
}

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
    unlink_read(r);
    r->next = rs->running;
    r->prev = &rs->running;
    if (r->next) {
        r->next->prev = &r->next;
    }
    rs->running = r;
    r->conn = take_idle(rs);
    if (r->conn) {
        pg_snapshot_set_owner(r->conn, &read_snapshot_events, r);
    } else {
        r->conn = pg_snapshot_new(rs->loop, &rs->params, &read_snapshot_events, r);
        rs->open++;
    }
    r->state = TAKING;
    pg_snapshot_set_lock(r->conn, r->lock.n > 0 ? buf_cstr(&r->lock) : NULL);
    pg_snapshot_take(r->conn);
}

static size_t at_work(const struct reads *rs)
{
    size_t n = 0;
    for (const struct read *r = rs->running; r; r = r->next) {
        n += r->conn && paused_for(r) < SLOW_MS;
    }
    return n;
}

void reads_begin(struct reads *rs)
{
    while (rs->waiting && (rs->idle_n > 0 || rs->open < LIMIT_READ_CONNECTIONS) &&
           at_work(rs) < READS_CONNECTIONS) {
        begin(rs->waiting);
    }
    if ((rs->waiting || rs->running) && !rs->patrolling) {
        rs->patrolling = true;
        timer_start(rs->patrol, PATROL_MS);
    }
}

void reads_enter(struct read *r)
{
    struct reads *rs = r->pool;
    r->prev = rs->waiting_tail;
    *rs->waiting_tail = r;
    rs->waiting_tail = &r->next;
    reads_begin(rs);
}

/* A connection whose COPY runs cannot be used again before its end. */
static bool is_free(const struct read *r)
{
    return r->state == MARKING || r->state == NOTING || r->state == READY;
}

void reads_lose(struct read *r)
{
    pg_snapshot_free(take_ptr(&r->conn));
    r->pool->open--;
}

void reads_leave(struct read *r)
{
    struct reads *rs = r->pool;
    unlink_read(r);
    if (r->conn && is_free(r) && rs->open <= READS_CONNECTIONS) {
        pg_snapshot_release(r->conn);
        pg_snapshot_set_owner(r->conn, NULL, NULL);
        rs->idle[rs->idle_n++] = take_ptr(&r->conn);
    } else if (r->conn) {
        reads_lose(r);
    }
}

/* --- giving way --- */

static void ignore(void *ctx, const struct pg_result *result)
{
    (void)ctx;
    (void)result;
}

/* The server may be busy with the query for long before it notices that nobody wants it any more. */
static void end_process(const struct read *r)
{
    char pid[16];
    const char *const params[] = {pid};
    snprintf(pid, sizeof pid, "%d", pg_snapshot_pid(r->conn));
    pg_client_query(r->pool->client, "SELECT pg_catalog.pg_terminate_backend($1::int4)", params, 1, ignore,
                    NULL);
}

static void give_way(struct read *r, const char *why)
{
    struct err err;
    end_process(r);
    err_set(&err, ERR_LIMIT, "%s", why);
    read_fail(r, READ_GIVES_WAY, &err);
}

static bool contains_pid(const struct pg_result *result, int pid)
{
    for (size_t i = 0; i < result->rows; i++) {
        if (pg_result_u64(result, i, 0) == (uint64_t)pid) {
            return true;
        }
    }
    return false;
}

static void on_looked(void *ctx, const struct pg_result *result)
{
    struct reads *rs = ctx;
    rs->looking = NULL;
    for (struct read *r = rs->running; r && result->ok; r = r->next) {
        bool found = r->conn && r->state != FAILED && contains_pid(result, pg_snapshot_pid(r->conn));
        r->in_the_way = found ? r->in_the_way + 1 : 0;
        if (r->in_the_way == IN_THE_WAY) {
            give_way(r, "a change of its table was waiting for it");
        }
    }
}

/* Which of our processes hold what somebody waits for; ACCESS EXCLUSIVE alone conflicts with ours. */
static void look_who_waits(struct reads *rs)
{
    CLEANUP(buf_deinit) struct buf pids = BUF_INIT(PIDS_TEXT);
    buf_put_byte(&pids, '{');
    for (const struct read *r = rs->running; r; r = r->next) {
        if (r->conn && pg_snapshot_pid(r->conn)) {
            buf_printf(&pids, "%s%d", pids.n > 1 ? "," : "", pg_snapshot_pid(r->conn));
        }
    }
    buf_put_byte(&pids, '}');
    const char *const params[] = {buf_cstr(&pids)};
    if (pids.n > 2 && !rs->looking) {
        rs->looking = pg_client_query(
            rs->client,
            "SELECT DISTINCT h.pid FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h "
            "ON h.locktype = w.locktype AND h.database = w.database AND h.relation = w.relation "
            "WHERE w.locktype = 'relation' AND w.mode = 'AccessExclusiveLock' AND NOT w.granted "
            "AND h.granted AND h.pid = ANY ($1::int4[])",
            params, 1, on_looked, rs);
    }
}

static void end_stalled(struct reads *rs)
{
    struct read *longest = NULL;
    for (struct read *r = rs->running; r; r = r->next) {
        if (r->state == COPYING && paused_for(r) >= STALLED_MS &&
            (!longest || paused_for(r) > paused_for(longest))) {
            longest = r;
        }
    }
    if (longest) {
        give_way(longest, "the client did not take its rows, and others were waiting");
    }
}

static void on_patrol(void *ctx)
{
    struct reads *rs = ctx;
    rs->patrolling = false;
    reads_begin(rs);
    if (rs->waiting && at_work(rs) < READS_CONNECTIONS) {
        end_stalled(rs);
    }
    look_who_waits(rs);
}

/* --- life --- */

struct reads *reads_new(struct loop *loop, const struct login_params *params, const struct past *past,
                        struct marker *marker, struct pg_client *client)
{
    struct reads *rs = mem_zalloc(sizeof *rs);
    rs->loop = loop;
    rs->url = mem_strdup(params->url);
    rs->params = (struct login_params){.url = rs->url, .require_ssl = params->require_ssl};
    rs->past = past;
    rs->marker = marker;
    rs->client = client;
    rs->patrol = timer_new(loop, on_patrol, rs);
    rs->waiting_tail = &rs->waiting;
    return rs;
}

void reads_free(struct reads *rs)
{
    if (!rs) {
        return;
    }
    assert(!rs->waiting && !rs->running);
    while (rs->idle_n > 0) {
        pg_snapshot_free(rs->idle[--rs->idle_n]);
    }
    pg_query_forget(rs->looking);
    timer_free(rs->patrol);
    free(rs->url);
    free(rs);
}

void reads_count(const struct reads *rs, uint64_t *out_snapshots, uint64_t *out_queries)
{
    *out_snapshots = rs->snapshots;
    *out_queries = rs->queries;
}
