/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop and what hangs on it: timers, descriptor watches, signals, blocking work.
 *
 * One loop a thread; every object lives and dies on the loop that made it. Objects are freed with their
 * _free function, which detaches at once (no callback comes afterwards) and releases the memory when the
 * loop has let go of it. Callbacks may free the object they belong to.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct timer;
struct watch;
struct sigwatch;

struct loop *loop_new(void);
void loop_free(struct loop *loop); /* every object on it must have been freed; runs what is left of closing */
void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop);
uint64_t loop_now_ms(const struct loop *loop); /* monotonic, cached per turn */
void *loop_uv(struct loop *loop);              /* the uv_loop_t, for net/http alone */
char *
loop_read_buffer(struct loop *loop); /* LIMIT_READ bytes for one read; valid until the callback returns */

typedef void (*timer_fn)(void *ctx);
struct timer *timer_new(struct loop *loop, timer_fn fn, void *ctx);
void timer_start(struct timer *t, uint64_t after_ms); /* once; starting again moves it */
void timer_stop(struct timer *t);
void timer_free(struct timer *t); /* takes NULL */

enum { WATCH_READ = 1, WATCH_WRITE = 2 };
typedef void (*watch_fn)(void *ctx, int events); /* level-triggered; an error shows as both bits */
/* Watches a non-blocking descriptor that the caller owns and keeps open until after watch_free(); or has
 * closed without a copy left, when nothing on this loop has come to watch its number since. Nothing is
 * watched at first. */
struct watch *watch_new(struct loop *loop, int fd, watch_fn fn, void *ctx);
void watch_set(struct watch *w, int events); /* cheap when nothing changes */
void watch_free(struct watch *w);            /* takes NULL */

typedef void (*sigwatch_fn)(void *ctx, int signum);
struct sigwatch *sigwatch_new(struct loop *loop, int signum, sigwatch_fn fn, void *ctx);
void sigwatch_free(struct sigwatch *s); /* takes NULL */

/* Runs `work` on a helper thread, then `done` on the loop. Cannot be cancelled: ctx must live until done. */
void loop_work(struct loop *loop, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);

/* From any thread: runs fn on the loop's thread, soon, in the order given. What is still waiting when the
 * loop is freed runs then. */
typedef void (*post_fn)(void *ctx);
void loop_post(struct loop *loop, post_fn fn, void *ctx);
/* On the loop's thread: what is waiting with this ctx will not run. */
void loop_post_forget(struct loop *loop, const void *ctx);

/* A thread that runs a loop of its own. It takes no signals: those go to the thread that made it. */
struct loop_thread;
MUST_USE int loop_thread_new(const char *name, struct loop_thread **out_thread, struct err *err);
struct loop *
loop_thread_loop(struct loop_thread *t); /* for loop_post(); objects are made on the thread itself */
/* Ends the loop and waits for the thread. Its objects must have been freed, on the thread itself. */
void loop_thread_stop(struct loop_thread *t);
void loop_thread_free(struct loop_thread *t); /* after loop_thread_stop(); as loop_free(). Takes NULL */

/* Runs fn once at the end of this turn of the loop, before it waits again. */
typedef void (*defer_fn)(void *ctx);
void loop_defer(struct loop *loop, defer_fn fn, void *ctx);
