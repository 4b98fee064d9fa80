/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One replication connection after the other; how each comes to stream stands in `moves` below. Everything
 * runs on the loop of the thread, and sometimes waits for the disk there.
 *
 * A transaction goes two ways as it comes: into the batch, which is posted to the owner at the end of the
 * turn or when it is large, and into `keep`, which is written to the log a moment later, many at once. Then
 * it is confirmed. While one write is under way (writer.h) the next transactions go on to the owner; the
 * thread waits for it only when too much has come, and where something depends on what the log has.
 *
 * The log's position never lags behind what was confirmed. So a slot that stands further than the log has
 * given transactions to somebody else, and the log begins anew (decide.c).
 */
#include "base/mem.h"
#include "feed/feeder_impl.h"
#include "feed/look.h"
#include "net/loop.h"
#include "pg/replication.h"
#include "repl/assemble.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BACKOFF_FIRST_MS = 200, BACKOFF_STARTING_MS = 500, BACKOFF_LAST_MS = 10000, WRITE_RETRY_MS = 1000 };

/* --- states --- */

static const struct {
    enum feed_state from, to;
    const char *why;
} moves[] = {
    {FEED_OPENING, FEED_CONNECTING, "the log is open"},
    {FEED_WAITING, FEED_CONNECTING, "it is time to try again"},
    {FEED_CONNECTING, FEED_ASKING, "the connection is there"},
    {FEED_ASKING, FEED_CREATING, "the log begins anew"},
    {FEED_ASKING, FEED_STREAMING, "the log goes on where it is"},
    {FEED_CREATING, FEED_STREAMING, "the log has begun"},
    {FEED_STREAMING, FEED_READY, "the log has reached where the server was"},
    {FEED_STREAMING, FEED_STALLED, "the log cannot be written"},
    {FEED_READY, FEED_STALLED, "the log cannot be written"},
    {FEED_STALLED, FEED_STREAMING, "the log can be written again"},
    {FEED_CONNECTING, FEED_WAITING, "no connection"},
    {FEED_ASKING, FEED_WAITING, "something is in the way"},
    {FEED_CREATING, FEED_WAITING, "something is in the way"},
    {FEED_STREAMING, FEED_WAITING, "the connection has ended"},
    {FEED_READY, FEED_WAITING, "the connection has ended"},
    {FEED_STALLED, FEED_WAITING, "the connection has ended"},
};

const char *feeder_state_name(enum feed_state state)
{
    static const char *const names[FEED_STATES] = {"opening",   "connecting", "asking",  "creating",
                                                   "streaming", "ready",      "stalled", "waiting"};
    return names[state];
}

static void count(_Atomic uint64_t *n, uint64_t value)
{
    atomic_store_explicit(n, value, memory_order_relaxed);
}

static void add(_Atomic uint64_t *n, uint64_t value)
{
    count(n, atomic_load_explicit(n, memory_order_relaxed) + value);
}

void feeder_set_state(struct feeder *f, enum feed_state state)
{
    const char *why = NULL;
    for (size_t i = 0; i < ARRAY_LEN(moves) && !why; i++) {
        why = moves[i].from == f->state && moves[i].to == state ? moves[i].why : NULL;
    }
    assert(why);
    f->state = state;
    count(&f->feed->numbers.state, state);
}

void feeder_count(_Atomic uint64_t *n)
{
    add(n, 1);
}

static bool is_streaming(const struct feeder *f)
{
    return f->state == FEED_STREAMING || f->state == FEED_READY || f->state == FEED_STALLED;
}

/* --- telling --- */

static struct event *new_event(enum event_kind kind)
{
    struct event *e = mem_zalloc(sizeof *e);
    e->kind = kind;
    return e;
}

static void tell_down(struct feeder *f, const char *reason)
{
    char text[sizeof f->told];
    snprintf(text, sizeof text, "%s", reason);
    if (strcmp(text, f->told) != 0) {
        struct event *e = new_event(EVENT_DOWN);
        e->reason = mem_strdup(text);
        memcpy(f->told, text, sizeof text);
        feed_post(f->feed, e);
    }
}

static void tell_ready(struct feeder *f)
{
    f->told[0] = '\0';
    feed_post(f->feed, new_event(EVENT_READY));
}

static void tell_put(struct feeder *f, struct put *p)
{
    struct event *e = new_event(EVENT_DONE);
    e->done = p->done;
    e->ctx = p->ctx;
    feed_post(f->feed, e);
    put_free(p);
}

static void tell_done(struct feeder *f, struct put *puts)
{
    struct put *next;
    for (struct put *p = puts; p; p = next) {
        next = p->next;
        tell_put(f, p);
    }
}

static void tell_durable(struct feeder *f, lsn_t lsn)
{
    struct event *e = new_event(EVENT_DURABLE);
    e->lsn = lsn;
    feed_post(f->feed, e);
}

/* --- the log --- */

/* No write is under way. */
static void note_log(struct feeder *f)
{
    const struct txlog_head *head = txlog_head(f->feed->log);
    struct feed_numbers *n = &f->feed->numbers;
    f->durable = head->position;
    count(&n->durable, head->position);
    count(&n->oldest, head->oldest);
    count(&n->log_transactions, head->transactions);
    count(&n->log_bytes, head->bytes);
}

static void sync_after(struct feeder *f, uint64_t ms)
{
    if (!f->sync_due) {
        f->sync_due = true;
        timer_start(f->sync, ms);
    }
}

static void on_written(struct feeder *f, struct put *puts)
{
    lsn_t before = f->durable;
    note_log(f);
    tell_done(f, puts);
    if (f->durable > before) {
        tell_durable(f, f->durable);
    }
    if (is_streaming(f)) {
        replication_confirm(f->replication, f->durable);
    }
    if (txlog_is_over_window(f->feed->log)) {
        sync_after(f, FEED_SYNC_MS);
    }
}

static int end_write(struct feeder *f, struct err *err)
{
    struct put *puts;
    if (!writer_is_busy(f->writer)) {
        return 0;
    }
    if (writer_end(f->writer, &f->keep, &puts, err) < 0) {
        return -1;
    }
    on_written(f, puts);
    return 0;
}

void feeder_let_write_end(struct feeder *f)
{
    struct err err;
    ignore_result(end_write(f, &err)); /* what it could not write waits again */
}

/* Whether there is something; the timers have done their part. No write is under way. */
static bool take_up(struct feeder *f)
{
    timer_stop(f->sync);
    timer_stop(f->move);
    f->sync_due = f->move_due = false;
    f->keep.position = f->position;
    return keep_is_waiting(&f->keep) || f->position > f->durable || txlog_is_over_window(f->feed->log);
}

/* All that has come, before it returns. */
static int sync_log(struct feeder *f, struct err *err)
{
    if (end_write(f, err) < 0) {
        return -1;
    }
    if (!take_up(f)) {
        return 0;
    }
    if (keep_write(&f->keep, &f->history, f->feed->log, err) < 0) {
        return -1;
    }
    on_written(f, keep_take_puts(&f->keep));
    return 0;
}

static void check_ready(struct feeder *f);

/* Nothing is confirmed that is not written, and nothing more is read than memory holds. */
static void stall(struct feeder *f, const struct err *err)
{
    if (f->state == FEED_STREAMING || f->state == FEED_READY) {
        feeder_set_state(f, FEED_STALLED);
        replication_pause(f->replication);
    }
    tell_down(f, err->msg);
    sync_after(f, WRITE_RETRY_MS);
}

static void sync_or_stall(struct feeder *f)
{
    struct err err;
    if (sync_log(f, &err) < 0) {
        stall(f, &err);
    } else if (f->state == FEED_STALLED) {
        feeder_set_state(f, FEED_STREAMING);
        feeder_resume(f);
        check_ready(f);
    }
}

/* One after the other: what has come in the meantime is not written before the end of the write that is
 * under way. */
static void write_log(struct feeder *f)
{
    struct err err;
    if (end_write(f, &err) < 0) {
        stall(f, &err);
    } else if (f->keep.changes_history) {
        sync_or_stall(f);
    } else if (take_up(f)) {
        writer_start(f->writer, &f->keep, f->feed->log);
    }
}

static void on_sync(void *ctx)
{
    struct feeder *f = ctx;
    f->sync_due = f->move_due = false;
    if (f->state == FEED_STALLED) {
        sync_or_stall(f);
    } else if (!writer_is_busy(f->writer)) {
        write_log(f);
    }
}

static void plan_sync(struct feeder *f);

static void on_write_ended(void *ctx)
{
    struct feeder *f = ctx;
    struct err err;
    if (end_write(f, &err) < 0) {
        stall(f, &err);
    } else {
        plan_sync(f);
    }
}

void feeder_put(struct feeder *f, struct put *p)
{
    if (p->resets != f->feed->numbers.resets) {
        tell_put(f, p); /* it says what was with the log of before */
        return;
    }
    keep_add_put(&f->keep, p);
    if (f->state != FEED_OPENING) {
        sync_after(f, FEED_SYNC_MS);
    }
}

static void check_ready(struct feeder *f)
{
    struct err err;
    if (f->state != FEED_STREAMING || f->position < f->target) {
        return;
    }
    if (sync_log(f, &err) < 0) {
        stall(f, &err);
        return;
    }
    feeder_set_state(f, FEED_READY);
    f->backoff_ms = BACKOFF_FIRST_MS;
    tell_ready(f);
}

/* --- the end of a connection --- */

void feeder_wait(struct feeder *f, const struct err *why)
{
    /* A server that starts or recovers says so (57P03), and will be there in a moment. */
    uint64_t last = strcmp(why->sqlstate, "57P03") == 0 ? BACKOFF_STARTING_MS : BACKOFF_LAST_MS;
    bool in_use = strcmp(why->sqlstate, "55006") == 0; /* since we asked */
    replication_free(take_ptr(&f->replication));
    feeder_set_state(f, FEED_WAITING);
    tell_down(f, in_use ? FEED_IN_USE : why->msg);
    f->last_pid = f->pid ? f->pid : f->last_pid;
    f->pid = 0;
    f->backoff_ms = f->backoff_ms < last ? f->backoff_ms : last;
    timer_start(f->retry, f->backoff_ms);
    f->backoff_ms *= 2;
}

void feeder_fail(struct feeder *f, const char *what, const struct err *why)
{
    struct err err = *why;
    err_context(&err, "%s", what);
    feeder_wait(f, &err);
}

void feeder_refuse(struct feeder *f, const char *reason)
{
    struct err err = ERR_INIT;
    err_set(&err, ERR_UPSTREAM, "%s", reason);
    feeder_wait(f, &err);
}

static void on_end(void *ctx, const struct login_error *why)
{
    struct feeder *f = ctx;
    if (!why) {
        feeder_refuse(f, "the database server shuts down");
        return;
    }
    /* The slot or the publication is not there. If the slot is, the next time, changes between may be lost:
     * the server reads the WAL with the catalog of that moment, and fails for as long as that had no
     * publication. */
    if (is_streaming(f) && strcmp(why->err.sqlstate, "42704") == 0) {
        f->gap = "the publication was missing for a time";
    }
    feeder_wait(f, &why->err);
}

/* --- what comes --- */

static void on_turn_end(void *ctx);

static struct event *open_batch(struct feeder *f)
{
    if (!f->batch) {
        f->batch = new_event(EVENT_BATCH);
        f->txns_cap = f->relations_cap = 0;
    }
    if (!f->turn) {
        f->turn = true;
        loop_defer(f->loop, on_turn_end, f);
    }
    return f->batch;
}

static void *grow(const void *list, size_t n, size_t *cap)
{
    void *items = (void *)(uintptr_t)list;
    if (n == *cap) {
        *cap = *cap * 2 + 16;
        items = mem_realloc(items, *cap * sizeof(void *));
    }
    return items;
}

static void on_relation(void *ctx, const struct relation *relation)
{
    struct feeder *f = ctx;
    struct feed_batch *b = &open_batch(f)->batch;
    struct relation **list = grow(b->relations, b->relations_n, &f->relations_cap);
    list[b->relations_n++] = relation_copy(relation);
    b->relations = (const struct relation *const *)list;
    history_note(&f->history, relation);
    keep_add_relation(&f->keep, relation);
}

static void add_to_batch(struct feeder *f, struct txn *txn)
{
    struct event *e = open_batch(f);
    struct txn **list = grow(e->batch.txns, e->batch.n, &f->txns_cap);
    list[e->batch.n++] = txn;
    e->batch.txns = list;
    e->bytes += txn_bytes(txn).n;
}

static uint64_t age_ms(int64_t commit_us)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - commit_us / 1000;
    return ms > 0 ? (uint64_t)ms : 0;
}

static void on_txn(void *ctx, struct txn *txn)
{
    struct feeder *f = ctx;
    struct err err;
    struct history_scan scan;
    const struct txn_head *head = txn_head(txn);
    if (head->end_lsn <= f->position) {
        txn_unref(txn); /* the server begins where it was told to, or before */
        return;
    }
    if (history_scan(&f->history, txn, &scan, &err) < 0) {
        scan = (struct history_scan){.gap = "a transaction could not be read"};
    }
    f->gap = scan.gap ? scan.gap : f->gap;
    f->position = head->end_lsn;
    add(&f->feed->numbers.transactions, 1);
    add(&f->feed->numbers.bytes, txn_bytes(txn).n);
    count(&f->feed->numbers.lag_ms, age_ms(head->commit_us));
    keep_add_txn(&f->keep, txn, scan.changes_history);
    add_to_batch(f, txn);
}

static void on_position(void *ctx, lsn_t lsn)
{
    struct feeder *f = ctx;
    if (lsn > f->position) {
        f->position = lsn;
        open_batch(f);
    }
}

static void on_message(void *ctx, lsn_t lsn, struct str prefix, struct str content)
{
}

static const struct assemble_events assemble_events = {
    .on_relation = on_relation, .on_txn = on_txn, .on_position = on_position, .on_message = on_message};

/* A transaction that cannot be read would come again for ever: without it the log cannot go on. What only
 * this connection got wrong may go better the next time. */
static void on_unreadable(struct feeder *f, const struct err *err)
{
    if (err->kind == ERR_LIMIT) {
        f->gap = "a transaction was larger than what can be taken";
    } else if (err->kind == ERR_UPSTREAM) {
        f->gap = "a row was changed in a table whose replica identity is not FULL";
    }
    feeder_wait(f, err);
}

static void hand_on(struct feeder *f);

static void on_data(void *ctx, uint64_t wal_start, struct str bytes)
{
    struct feeder *f = ctx;
    struct err err = ERR_INIT;
    if (assemble_feed(f->assemble, bytes, &err) < 0) {
        on_unreadable(f, &err);
    } else if (f->gap) {
        feeder_refuse(f, f->gap);
    } else if (f->batch && f->batch->bytes >= FEED_BATCH_BYTES) {
        hand_on(f);
    }
}

/* The server has caught up with itself. */
static void on_keepalive(void *ctx, uint64_t wal_end, int64_t server_us)
{
    struct feeder *f = ctx;
    count(&f->feed->numbers.lag_ms, 0);
    on_position(f, wal_end);
}

/* --- handing on --- */

static void post_batch(struct feeder *f)
{
    struct event *e = take_ptr(&f->batch);
    e->batch.position = f->position;
    count(&f->feed->numbers.position, f->position);
    size_t undelivered = atomic_fetch_add(&f->feed->undelivered, e->bytes) + e->bytes;
    feed_post(f->feed, e);
    if (undelivered > FEED_UNDELIVERED && f->replication) {
        replication_pause(f->replication);
        atomic_store(&f->feed->paused, true);
        /* The owner may have taken all of it just before it could see that. */
        if (atomic_load(&f->feed->undelivered) <= FEED_UNDELIVERED / 2) {
            feeder_resume(f);
        }
    }
}

static void plan_sync(struct feeder *f)
{
    bool much = f->keep.bytes >= FEED_SYNC_BYTES || f->position - f->durable >= FEED_POSITION_BYTES;
    if (much) {
        write_log(f);
    } else if (keep_is_waiting(&f->keep)) {
        sync_after(f, FEED_SYNC_MS);
    } else if (f->position > f->durable && !f->move_due) {
        f->move_due = true;
        timer_start(f->move, FEED_POSITION_MS);
    }
}

static void hand_on(struct feeder *f)
{
    post_batch(f);
    if (f->state != FEED_STALLED) {
        plan_sync(f);
        check_ready(f);
    }
}

static void on_turn_end(void *ctx)
{
    struct feeder *f = ctx;
    f->turn = false;
    if (f->batch && !f->stopped) {
        hand_on(f);
    }
}

void feeder_resume(struct feeder *f)
{
    bool full = atomic_load(&f->feed->undelivered) > FEED_UNDELIVERED;
    if (f->replication && f->state != FEED_STALLED && !full) {
        replication_resume(f->replication);
    }
}

/* --- streaming --- */

static int write_identity(void *ctx, struct txlog *log, struct err *err)
{
    const struct feeder *f = ctx;
    return txlog_put_identity(log, &f->facts.identity, err);
}

/* The assembler is told what the log has of relations. */
static int make_assembler(struct feeder *f, struct err *err)
{
    struct txlog_reader r;
    struct relations known = {0};
    if (txlog_read_begin(f->feed->log, &r, err) < 0) {
        return -1;
    }
    struct assemble_options options = {.next_relation = r.head.next_relation,
                                       .xid_near = f->xid,
                                       .folder = txlog_large_folder(f->feed->log)};
    int rc = txlog_read_relations(&r, &known, err);
    txlog_read_end(&r);
    assemble_free(f->assemble);
    f->assemble = assemble_new(&options, &assemble_events, f);
    history_deinit(&f->history);
    for (uint32_t id = 1; id <= known.n; id++) { /* later versions replace earlier ones */
        const struct relation *relation = relations_get(&known, id);
        if (relation) {
            assemble_preload(f->assemble, relation);
            history_note(&f->history, relation);
        }
    }
    relations_deinit(&known);
    return rc;
}

void feeder_begin_at(struct feeder *f, lsn_t start)
{
    keep_clear(&f->keep);
    tell_done(f, keep_take_puts(&f->keep));
    note_log(f);
    if (f->known.system != 0) {
        struct event *e = new_event(EVENT_RESET);
        e->reason = mem_strdup(f->gap);
        feeder_count(&f->feed->numbers.resets);
        feed_post(f->feed, e);
    }
    f->known = f->facts.identity;
    f->gap = NULL;
    f->position = start;
}

void feeder_start_stream(struct feeder *f)
{
    struct err err;
    bool moved = f->known.timeline != f->facts.identity.timeline;
    /* All that has come must be in the log: the start confirms it. */
    if (sync_log(f, &err) < 0 || (moved && txlog_write(f->feed->log, write_identity, f, &err) < 0) ||
        make_assembler(f, &err) < 0) {
        feeder_wait(f, &err);
        return;
    }
    f->known = f->facts.identity;
    f->target = f->facts.server;
    replication_start(f->replication, f->known.slot, FEED_PUBLICATION, f->position);
    feeder_set_state(f, FEED_STREAMING);
    if (!f->look) {
        f->look = look_new(f->loop, f->url, f->require_ssl, &f->feed->numbers);
    }
    look_at(f->look, f->known.slot);
    check_ready(f);
}

/* --- a connection --- */

static void on_up(void *ctx)
{
    feeder_ask(ctx);
}

static const struct replication_events replication_events = {
    .on_up = on_up, .on_data = on_data, .on_keepalive = on_keepalive, .on_end = on_end};

static void connect(struct feeder *f)
{
    struct replication_options options = {
        .url = f->url, .require_ssl = f->require_ssl, .application_name = "busbar feed"};
    f->replication = replication_new(f->loop, &options, &replication_events, f);
}

/* --- life --- */

int feeder_new(struct feed *feed, struct loop *loop, const struct feed_options *options,
               struct feeder **out_feeder, struct err *err)
{
    struct feeder *f = mem_zalloc(sizeof *f);
    if (writer_new(loop, on_write_ended, f, &f->writer, err) < 0) {
        free(f);
        return -1;
    }
    f->feed = feed;
    f->loop = loop;
    f->url = mem_strdup(options->url);
    f->folder = mem_strdup(options->folder);
    f->require_ssl = options->require_ssl;
    f->window = options->window;
    f->backoff_ms = BACKOFF_FIRST_MS;
    keep_init(&f->keep);
    *out_feeder = f;
    return 0;
}

void feeder_free(struct feeder *f)
{
    if (f) {
        writer_free(f->writer);
        keep_deinit(&f->keep);
        history_deinit(&f->history);
        mem_wipe(f->url, strlen(f->url));
        free(f->url);
        free(f->folder);
        free(f);
    }
}

static int read_identity(struct feeder *f, struct err *err)
{
    struct txlog_reader r;
    if (txlog_read_begin(f->feed->log, &r, err) < 0) {
        return -1;
    }
    int rc = txlog_read_identity(&r, &f->known, err);
    f->position = r.head.position;
    txlog_read_end(&r);
    return rc;
}

static void open_log(struct feeder *f)
{
    struct err err;
    struct txlog_options options = {.window = f->window};
    if (txlog_open(f->folder, &options, &f->feed->log, &err) < 0) {
        tell_down(f, err.msg);
        timer_start(f->retry, WRITE_RETRY_MS);
        return;
    }
    if (read_identity(f, &err) < 0) {
        f->known = (struct txlog_identity){0}; /* whose it was cannot be told: it begins anew */
    }
    count(&f->feed->numbers.position, f->position);
    note_log(f);
    feeder_set_state(f, FEED_CONNECTING);
    if (keep_is_waiting(&f->keep)) {
        sync_after(f, FEED_SYNC_MS);
    }
    connect(f);
}

static void on_retry(void *ctx)
{
    struct feeder *f = ctx;
    if (f->state == FEED_OPENING) {
        open_log(f);
    } else {
        feeder_set_state(f, FEED_CONNECTING);
        connect(f);
    }
}

void feeder_start(struct feeder *f)
{
    f->retry = timer_new(f->loop, on_retry, f);
    f->sync = timer_new(f->loop, on_sync, f);
    f->move = timer_new(f->loop, on_sync, f);
    open_log(f);
}

void feeder_stop(struct feeder *f)
{
    struct err err;
    f->stopped = true;
    if (writer_is_busy(f->writer) || (f->state != FEED_OPENING && keep_is_waiting(&f->keep))) {
        ignore_result(sync_log(f, &err)); /* what it could not write comes again */
    }
    writer_stop(f->writer);
    look_free(take_ptr(&f->look));
    replication_free(take_ptr(&f->replication));
    assemble_free(take_ptr(&f->assemble));
    timer_free(f->retry);
    timer_free(f->sync);
    timer_free(f->move);
    if (f->batch) {
        feed_post(f->feed, take_ptr(&f->batch)); /* freed with the rest */
    }
}
