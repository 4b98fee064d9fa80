/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the log on a thread of its own, one write at a time: what comes meanwhile need not wait for the
 * disk. All of this header is for the feed's thread, which may write the log itself only while no write is
 * under way.
 */
#pragma once

#include "feed/keep.h"

struct loop;
struct writer;

/* `ended` is called on the loop when a write has ended that nobody has waited for. */
MUST_USE int writer_new(struct loop *loop, void (*ended)(void *ctx), void *ctx, struct writer **out_writer,
                        struct err *err);
/* Waits for the thread. Nothing is under way. */
void writer_stop(struct writer *w);
/* After writer_stop(), when the loop is gone as well. Takes NULL. */
void writer_free(struct writer *w);

/* Takes what *k holds. Nothing of it may change the history, whose relations belong to the caller's thread.
 */
void writer_start(struct writer *w, struct keep *k, struct txlog *log);
bool writer_is_busy(const struct writer *w); /* until writer_end() */
/* Waits for it if need be. 0: written, and the puts are in *out_puts. -1: nothing is, and all of it is in *k
 * again, before what has come since. */
MUST_USE int writer_end(struct writer *w, struct keep *k, struct put **out_puts, struct err *err);
