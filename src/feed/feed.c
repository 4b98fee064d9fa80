/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner's side. What the thread tells goes through a list and one loop_post() for all that is in it.
 */
#include "base/mem.h"
#include "feed/feed_impl.h"
#include "feed/feeder.h"
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- events --- */

static void free_event(struct event *e)
{
    for (size_t i = 0; i < e->batch.n; i++) {
        txn_unref(e->batch.txns[i]);
    }
    for (size_t i = 0; i < e->batch.relations_n; i++) {
        relation_free((struct relation *)(uintptr_t)e->batch.relations[i]);
    }
    free((void *)(uintptr_t)e->batch.txns);
    free((void *)(uintptr_t)e->batch.relations);
    free(e->reason);
    free(e);
}

static struct event *take_events(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    struct event *first = take_ptr(&f->first);
    f->last = &f->first;
    pthread_mutex_unlock(&f->lock);
    return first;
}

static void resume_reading(void *ctx)
{
    feeder_resume(ctx);
}

static void note_delivered(struct feed *f, size_t bytes)
{
    size_t left = atomic_fetch_sub(&f->undelivered, bytes) - bytes;
    if (left <= FEED_UNDELIVERED / 2 && atomic_exchange(&f->paused, false)) {
        loop_post(loop_thread_loop(f->thread), resume_reading, f->feeder);
    }
}

static void tell(struct feed *f, struct event *e)
{
    switch (e->kind) {
    case EVENT_READY:
        f->events->on_ready(f->ctx);
        break;
    case EVENT_DOWN:
        f->events->on_down(f->ctx, e->reason);
        break;
    case EVENT_BATCH:
        f->events->on_batch(f->ctx, &e->batch);
        note_delivered(f, e->bytes);
        break;
    case EVENT_DURABLE:
        f->events->on_durable(f->ctx, e->lsn);
        break;
    case EVENT_RESET:
        f->events->on_reset(f->ctx, e->reason);
        break;
    case EVENT_DONE:
        if (e->done) {
            e->done(e->ctx);
        }
        break;
    }
}

static void on_events(void *ctx)
{
    struct wake *wake = ctx;
    struct feed *f = wake->feed;
    struct event *next;
    if (!f) {
        free(wake);
        return;
    }
    for (struct event *e = take_events(f); e; e = next) {
        next = e->next;
        tell(f, e);
        free_event(e);
    }
}

void feed_post(struct feed *f, struct event *e)
{
    pthread_mutex_lock(&f->lock);
    bool first = !f->first;
    e->next = NULL;
    *f->last = e;
    f->last = &e->next;
    pthread_mutex_unlock(&f->lock);
    if (first) {
        loop_post(f->loop, on_events, f->wake);
    }
}

/* --- life --- */

static void start_thread(void *ctx)
{
    feeder_start(ctx);
}

static void stop_thread(void *ctx)
{
    feeder_stop(ctx);
}

/* Only when the thread has ended, or never began. */
static void destroy(struct feed *f)
{
    struct event *first = take_events(f), *next;
    if (first) {
        f->wake->feed = NULL;
    } else {
        free(f->wake);
    }
    for (struct event *e = first; e; e = next) {
        next = e->next;
        free_event(e);
    }
    txlog_close(f->log);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

int feed_new(struct loop *loop, const struct feed_options *options, const struct feed_events *events,
             void *ctx, struct feed **out_feed, struct err *err)
{
    struct feed *f = mem_zalloc(sizeof *f);
    f->loop = loop;
    f->events = events;
    f->ctx = ctx;
    f->last = &f->first;
    f->wake = mem_zalloc(sizeof *f->wake);
    f->wake->feed = f;
    pthread_mutex_init(&f->lock, NULL);
    if (loop_thread_new("feed", &f->thread, err) < 0) {
        destroy(f);
        return -1;
    }
    if (feeder_new(f, loop_thread_loop(f->thread), options, &f->feeder, err) < 0) {
        loop_thread_stop(f->thread);
        loop_thread_free(f->thread);
        destroy(f);
        return -1;
    }
    loop_post(loop_thread_loop(f->thread), start_thread, f->feeder);
    *out_feed = f;
    return 0;
}

void feed_free(struct feed *f)
{
    if (!f) {
        return;
    }
    loop_post(loop_thread_loop(f->thread), stop_thread, f->feeder);
    loop_thread_stop(f->thread);
    loop_thread_free(f->thread);
    feeder_free(f->feeder);
    destroy(f);
}

struct txlog *feed_log(struct feed *f)
{
    return f->log;
}

/* --- states --- */

static struct put *new_put(char kind, struct str key, struct str value)
{
    struct put *p = mem_zalloc(sizeof *p + key.n + value.n + 1);
    char *at = (char *)(p + 1);
    assert(key.n > 0 && key.n <= TXLOG_STATE_KEY && value.n <= TXLOG_STATE_VALUE);
    memcpy(at, key.p, key.n);
    p->kind = kind;
    p->key = (struct str){at, key.n};
    if (value.p) {
        memcpy(at + key.n, value.p, value.n);
        p->value = (struct str){at + key.n, value.n};
    }
    return p;
}

struct put_order {
    struct feeder *feeder;
    struct put *put;
};

static void hand_over(void *ctx)
{
    struct put_order *o = ctx;
    feeder_put(o->feeder, o->put);
    free(o);
}

static void post_put(struct feed *f, struct put *p, feed_done_fn done, void *ctx)
{
    struct put_order *o = mem_alloc(sizeof *o);
    p->done = done;
    p->ctx = ctx;
    *o = (struct put_order){f->feeder, p};
    loop_post(loop_thread_loop(f->thread), hand_over, o);
}

void feed_put(struct feed *f, char kind, struct str key, struct str value, feed_done_fn done, void *ctx)
{
    post_put(f, new_put(kind, key, value.p ? value : STR("")), done, ctx);
}

void feed_delete(struct feed *f, char kind, struct str key, feed_done_fn done, void *ctx)
{
    post_put(f, new_put(kind, key, (struct str){NULL, 0}), done, ctx);
}

int feed_get(struct feed *f, char kind, struct str key, struct buf *out, struct err *err)
{
    struct txlog_reader r;
    struct str value;
    if (txlog_read_begin(f->log, &r, err) < 0) {
        return -1;
    }
    int rc = txlog_get_state(&r, kind, key, &value, err);
    if (rc == 1) {
        buf_put_str(out, value);
    }
    txlog_read_end(&r);
    return rc;
}

/* --- numbers --- */

static uint64_t number(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

void feed_stats(const struct feed *f, struct feed_stats *out)
{
    const struct feed_numbers *n = &f->numbers;
    uint64_t position = number(&n->position), server = number(&n->server);
    enum feed_state state = (enum feed_state)number(&n->state);
    *out = (struct feed_stats){
        .state = feeder_state_name(state),
        .ready = state == FEED_READY,
        .position = position,
        .durable = number(&n->durable),
        .oldest = number(&n->oldest),
        .transactions = number(&n->transactions),
        .bytes = number(&n->bytes),
        .log_transactions = number(&n->log_transactions),
        .log_bytes = number(&n->log_bytes),
        .connects = number(&n->connects),
        .resets = number(&n->resets),
        .lag_bytes = server > position ? server - position : 0,
        .retained_bytes = number(&n->retained),
        .lag_ms = number(&n->lag_ms),
    };
}
