/* SPDX-License-Identifier: Apache-2.0 */
#include "feed/writer.h"

#include "base/mem.h"
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

struct writer {
    struct loop *loop;
    struct loop_thread *thread;
    void (*ended)(void *ctx);
    void *ctx;
    bool busy; /* the feed's thread alone */
    /* Of the write: whose is said by `over`. */
    struct keep keep;
    struct txlog *log;
    int rc;
    struct err err;
    pthread_mutex_t lock; /* for `over` */
    pthread_cond_t turned_over;
    bool over;
};

static bool is_over(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool over = w->over;
    pthread_mutex_unlock(&w->lock);
    return over;
}

/* It may have been waited for since, and the next one begun. */
static void tell(void *ctx)
{
    struct writer *w = ctx;
    if (w->busy && is_over(w)) {
        w->ended(w->ctx);
    }
}

static void write_keep(void *ctx)
{
    static const struct history none;
    struct writer *w = ctx;
    w->rc = keep_write(&w->keep, &none, w->log, &w->err);
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_signal(&w->turned_over);
    pthread_mutex_unlock(&w->lock);
    loop_post(w->loop, tell, w);
}

int writer_new(struct loop *loop, void (*ended)(void *ctx), void *ctx, struct writer **out_writer,
               struct err *err)
{
    struct writer *w = mem_zalloc(sizeof *w);
    if (loop_thread_new("log", &w->thread, err) < 0) {
        free(w);
        return -1;
    }
    w->loop = loop;
    w->ended = ended;
    w->ctx = ctx;
    keep_init(&w->keep);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->turned_over, NULL);
    *out_writer = w;
    return 0;
}

void writer_stop(struct writer *w)
{
    assert(!w->busy);
    loop_thread_stop(w->thread);
}

void writer_free(struct writer *w)
{
    if (w) {
        loop_thread_free(w->thread);
        keep_deinit(&w->keep);
        pthread_cond_destroy(&w->turned_over);
        pthread_mutex_destroy(&w->lock);
        free(w);
    }
}

void writer_start(struct writer *w, struct keep *k, struct txlog *log)
{
    assert(!w->busy && !k->changes_history);
    keep_move(&w->keep, k);
    w->keep.position = k->position;
    w->log = log;
    w->busy = true;
    w->over = false; /* no write is under way: nobody else looks */
    loop_post(loop_thread_loop(w->thread), write_keep, w);
}

bool writer_is_busy(const struct writer *w)
{
    return w->busy;
}

int writer_end(struct writer *w, struct keep *k, struct put **out_puts, struct err *err)
{
    assert(w->busy);
    pthread_mutex_lock(&w->lock);
    while (!w->over) {
        pthread_cond_wait(&w->turned_over, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    w->busy = false;
    if (w->rc < 0) {
        *err = w->err;
        keep_move(&w->keep, k);
        keep_move(k, &w->keep);
        return -1;
    }
    *out_puts = keep_take_puts(&w->keep);
    return 0;
}
