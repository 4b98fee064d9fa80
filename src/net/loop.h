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
/* Watches a non-blocking descriptor that the caller owns and keeps open until after watch_free(). Nothing is
 * watched at first. */
struct watch *watch_new(struct loop *loop, int fd, watch_fn fn, void *ctx);
void watch_set(struct watch *w, int events); /* cheap when nothing changes */
void watch_free(struct watch *w);            /* takes NULL */

typedef void (*sigwatch_fn)(void *ctx, int signum);
struct sigwatch *sigwatch_new(struct loop *loop, int signum, sigwatch_fn fn, void *ctx);
void sigwatch_free(struct sigwatch *s); /* takes NULL */

/* Runs `work` on a helper thread, then `done` on the loop. Cannot be cancelled: ctx must live until done. */
void loop_work(struct loop *loop, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx);

/* Runs fn once at the end of this turn of the loop, before it waits again. */
typedef void (*defer_fn)(void *ctx);
void loop_defer(struct loop *loop, defer_fn fn, void *ctx);
