/* SPDX-License-Identifier: Apache-2.0 */
/* libuv handles behind our own names. A handle's memory goes in its close callback, never sooner (libuv
 * design.rst). */
#include "net/loop.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

struct deferred {
    defer_fn fn;
    void *ctx;
};

struct posted {
    post_fn fn;
    void *ctx;
};

/* What other threads have posted; the only thing here that they touch. */
struct mailbox {
    pthread_mutex_t lock;
    uv_async_t wake;
    struct posted *items;
    size_t n, cap;
    struct posted *running; /* taken out, and not all run yet; the loop's thread alone touches these */
    size_t running_n;
};

struct loop {
    uv_loop_t uv;
    struct mailbox mailbox;
    uv_check_t check;     /* runs what was deferred while polling */
    uv_prepare_t prepare; /* ... and by timers and close callbacks, before polling waits */
    char *read_buffer;
    struct deferred *deferred;
    size_t deferred_n, deferred_cap;
};

struct timer {
    uv_timer_t uv;
    timer_fn fn;
    void *ctx;
};

struct watch {
    uv_poll_t uv;
    watch_fn fn;
    void *ctx;
    int events;
};

struct sigwatch {
    uv_signal_t uv;
    sigwatch_fn fn;
    void *ctx;
};

static void must(int rc)
{
    assert(rc == 0); /* these libuv calls fail only on misuse or memory */
    (void)rc;
}

static void run_deferred(struct loop *loop)
{
    for (size_t i = 0; i < loop->deferred_n; i++) {
        struct deferred d = loop->deferred[i]; /* the array may move while fn runs */
        d.fn(d.ctx);
    }
    loop->deferred_n = 0;
}

static void on_check(uv_check_t *handle)
{
    run_deferred(CONTAINER_OF(handle, struct loop, check));
}

static void on_prepare(uv_prepare_t *handle)
{
    run_deferred(CONTAINER_OF(handle, struct loop, prepare));
}

static void on_posted(uv_async_t *handle)
{
    struct mailbox *m = CONTAINER_OF(handle, struct mailbox, wake);
    pthread_mutex_lock(&m->lock);
    struct posted *items = m->items;
    size_t n = m->n;
    m->items = NULL;
    m->n = m->cap = 0;
    pthread_mutex_unlock(&m->lock);
    m->running = items;
    m->running_n = n;
    for (size_t i = 0; i < n; i++) {
        if (items[i].fn) { /* else it was forgotten meanwhile */
            items[i].fn(items[i].ctx);
        }
    }
    m->running_n = 0;
    free(take_ptr(&m->running));
}

void loop_post(struct loop *loop, post_fn fn, void *ctx)
{
    struct mailbox *m = &loop->mailbox;
    pthread_mutex_lock(&m->lock);
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->items = mem_realloc(m->items, m->cap * sizeof *m->items);
    }
    m->items[m->n++] = (struct posted){fn, ctx};
    pthread_mutex_unlock(&m->lock);
    must(uv_async_send(&m->wake));
}

void loop_post_forget(struct loop *loop, const void *ctx)
{
    struct mailbox *m = &loop->mailbox;
    size_t kept = 0;
    for (size_t i = 0; i < m->running_n; i++) {
        if (m->running[i].ctx == ctx) {
            m->running[i].fn = NULL;
        }
    }
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++) {
        if (m->items[i].ctx != ctx) {
            m->items[kept++] = m->items[i];
        }
    }
    m->n = kept;
    pthread_mutex_unlock(&m->lock);
}

static void mailbox_open(struct loop *loop)
{
    must(pthread_mutex_init(&loop->mailbox.lock, NULL));
    must(uv_async_init(&loop->uv, &loop->mailbox.wake, on_posted));
    uv_unref((uv_handle_t *)&loop->mailbox.wake);
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_zalloc(sizeof *loop);
    must(uv_loop_init(&loop->uv));
    mailbox_open(loop);
    must(uv_prepare_init(&loop->uv, &loop->prepare));
    must(uv_prepare_start(&loop->prepare, on_prepare));
    uv_unref((uv_handle_t *)&loop->prepare);
    loop->read_buffer = mem_alloc(LIMIT_READ);
    must(uv_check_init(&loop->uv, &loop->check));
    must(uv_check_start(&loop->check, on_check));
    uv_unref((uv_handle_t *)&loop->check);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    on_posted(&loop->mailbox.wake);
    run_deferred(loop); /* frees what objects left for later */
    uv_close((uv_handle_t *)&loop->mailbox.wake, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    while (uv_run(&loop->uv, UV_RUN_DEFAULT) !=
           0) { /* a loop_stop() that met no loop_run() ends the first round */
    }
    int rc = uv_loop_close(&loop->uv);
    assert(rc == 0); /* UV_EBUSY: some object was not freed */
    (void)rc;
    pthread_mutex_destroy(&loop->mailbox.lock);
    free(loop->mailbox.items);
    free(loop->deferred);
    free(loop->read_buffer);
    free(loop);
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return uv_now(&loop->uv);
}

void *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

char *loop_read_buffer(struct loop *loop)
{
    return loop->read_buffer;
}

void loop_defer(struct loop *loop, defer_fn fn, void *ctx)
{
    if (loop->deferred_n == loop->deferred_cap) {
        loop->deferred_cap = loop->deferred_cap ? loop->deferred_cap * 2 : 16;
        loop->deferred = mem_realloc(loop->deferred, loop->deferred_cap * sizeof *loop->deferred);
    }
    loop->deferred[loop->deferred_n++] = (struct deferred){fn, ctx};
}

static void on_timer(uv_timer_t *handle)
{
    struct timer *t = CONTAINER_OF(handle, struct timer, uv);
    t->fn(t->ctx);
}

struct timer *timer_new(struct loop *loop, timer_fn fn, void *ctx)
{
    struct timer *t = mem_zalloc(sizeof *t);
    must(uv_timer_init(&loop->uv, &t->uv));
    t->fn = fn;
    t->ctx = ctx;
    return t;
}

void timer_start(struct timer *t, uint64_t after_ms)
{
    must(uv_timer_start(&t->uv, on_timer, after_ms, 0));
}

void timer_stop(struct timer *t)
{
    uv_timer_stop(&t->uv);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct timer, uv));
}

void timer_free(struct timer *t)
{
    if (t) {
        uv_close((uv_handle_t *)&t->uv, on_timer_closed);
    }
}

static void poll_start(struct watch *w);

/* On POLLERR (the peer has reset the connection) libuv stops the handle and says EBADF. What arrived before
 * the reset can still be read, so the watch goes on: whoever reads will meet the error. */
static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct watch *w = CONTAINER_OF(handle, struct watch, uv);
    int seen = 0;
    if (status < 0) {
        poll_start(w);
        seen = WATCH_READ | WATCH_WRITE;
    } else {
        seen |= events & UV_READABLE ? WATCH_READ : 0;
        seen |= events & UV_WRITABLE ? WATCH_WRITE : 0;
    }
    w->fn(w->ctx, seen);
}

static void poll_start(struct watch *w)
{
    int events = (w->events & WATCH_READ ? UV_READABLE : 0) | (w->events & WATCH_WRITE ? UV_WRITABLE : 0);
    must(uv_poll_start(&w->uv, events, on_poll));
}

struct watch *watch_new(struct loop *loop, int fd, watch_fn fn, void *ctx)
{
    struct watch *w = mem_zalloc(sizeof *w);
    must(uv_poll_init(&loop->uv, &w->uv, fd));
    w->fn = fn;
    w->ctx = ctx;
    return w;
}

void watch_set(struct watch *w, int events)
{
    if (events == w->events) {
        return;
    }
    w->events = events;
    if (events == 0) {
        must(uv_poll_stop(&w->uv));
        return;
    }
    poll_start(w);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct watch, uv));
}

void watch_free(struct watch *w)
{
    if (w) {
        uv_close((uv_handle_t *)&w->uv, on_poll_closed);
    }
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct sigwatch *s = CONTAINER_OF(handle, struct sigwatch, uv);
    s->fn(s->ctx, signum);
}

struct sigwatch *sigwatch_new(struct loop *loop, int signum, sigwatch_fn fn, void *ctx)
{
    struct sigwatch *s = mem_zalloc(sizeof *s);
    must(uv_signal_init(&loop->uv, &s->uv));
    s->fn = fn;
    s->ctx = ctx;
    must(uv_signal_start(&s->uv, on_signal, signum));
    return s;
}

static void on_signal_closed(uv_handle_t *handle)
{
    free(CONTAINER_OF(handle, struct sigwatch, uv));
}

void sigwatch_free(struct sigwatch *s)
{
    if (s) {
        uv_close((uv_handle_t *)&s->uv, on_signal_closed);
    }
}

/* A thread that is started meanwhile takes no signals: one that the main thread holds back would go there. */
static sigset_t block_signals(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    return before;
}

struct work {
    uv_work_t uv;
    void (*work)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

static void on_work(uv_work_t *req)
{
    struct work *w = CONTAINER_OF(req, struct work, uv);
    w->work(w->ctx);
}

static void on_work_done(uv_work_t *req, int status)
{
    struct work *w = CONTAINER_OF(req, struct work, uv);
    assert(status == 0); /* only uv_cancel() sets another, and we never call it */
    w->done(w->ctx);
    free(w);
}

void loop_work(struct loop *loop, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct work *w = mem_zalloc(sizeof *w);
    w->work = work;
    w->done = done;
    w->ctx = ctx;
    sigset_t before = block_signals(); /* libuv's helper threads start here, and inherit that */
    must(uv_queue_work(&loop->uv, &w->uv, on_work, on_work_done));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct loop_thread {
    struct loop *loop;
    pthread_t thread;
};

static void *thread_main(void *arg)
{
    struct loop_thread *t = arg;
    uv_ref((uv_handle_t *)&t->loop->mailbox.wake); /* there is always something to wait for */
    loop_run(t->loop);
    uv_unref((uv_handle_t *)&t->loop->mailbox.wake);
    return NULL;
}

static int start_thread(struct loop_thread *t, const char *name)
{
    sigset_t before = block_signals();
    int rc = pthread_create(&t->thread, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        pthread_setname_np(t->thread, name);
    }
    return rc;
}

int loop_thread_new(const char *name, struct loop_thread **out_thread, struct err *err)
{
    struct loop_thread *t = mem_zalloc(sizeof *t);
    t->loop = loop_new();
    int rc = start_thread(t, name);
    if (rc != 0) {
        loop_free(t->loop);
        free(t);
        return err_set_errno(err, rc, "cannot start a thread");
    }
    *out_thread = t;
    return 0;
}

struct loop *loop_thread_loop(struct loop_thread *t)
{
    return t->loop;
}

static void stop_own_loop(void *ctx)
{
    loop_stop(ctx);
}

void loop_thread_stop(struct loop_thread *t)
{
    loop_post(t->loop, stop_own_loop, t->loop);
    pthread_join(t->thread, NULL);
}

void loop_thread_free(struct loop_thread *t)
{
    if (t) {
        loop_free(t->loop);
        free(t);
    }
}
