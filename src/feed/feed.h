/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed: committed transactions from a replication slot to the owner's loop and into the log (txlog/).
 *
 * It runs on a thread of its own; all of this header is for the thread of the owner's loop. A transaction is
 * handed on when it has come, and confirmed to the server when the log is on the disk, so it is handed on
 * once and never lost: after a crash between the two it comes again.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "repl/relation.h"
#include "repl/txn.h"

struct feed;
struct loop;
struct txlog;

#define FEED_PUBLICATION "electric_publication"

enum {
    FEED_SLOT = 64,                         /* bytes of a slot's name, with NUL */
    FEED_BATCH_BYTES = 1024 * 1024,         /* of transactions in one batch, and one more */
    FEED_UNDELIVERED = 64 * 1024 * 1024,    /* bytes the owner has not taken, at which reading stops */
    FEED_SYNC_BYTES = 8 * 1024 * 1024,      /* unsynced bytes at which the log is synced at once; else: */
    FEED_SYNC_MS = 2,                       /* so long after the first of them */
    FEED_POSITION_BYTES = 16 * 1024 * 1024, /* of WAL that holds nothing for us, confirmed at once; else: */
    FEED_POSITION_MS = 5000,                /* so long after the first of it */
};

struct feed_options {
    const char *url;
    bool require_ssl;
    const char *folder; /* of the log: made when it is missing */
    uint64_t window;    /* bytes of transactions to keep */
};

/* Borrowed during the call. */
struct feed_batch {
    struct txn *const *txns; /* commit order; txn_ref() to keep one */
    size_t n;
    const struct relation *const *relations; /* versions that are new; ahead of their use */
    size_t relations_n;
    lsn_t position; /* everything up to here has been seen, also when nothing of it concerns us */
};

/* None comes before feed_new() has returned. They must not free the feed. */
struct feed_events {
    /* The log holds everything up to where the server was when the connection was made; what comes now is
     * new. Again after each on_down(). What the log holds is to be read now, not before. */
    void (*on_ready)(void *ctx);
    /* Nothing comes for now, and why: the connection is lost, or was not to be had, or the log cannot be
     * written. Each reason is told once in a row. */
    void (*on_down)(void *ctx, const char *reason);
    void (*on_batch)(void *ctx, const struct feed_batch *batch);
    /* Everything up to here survives whatever happens. */
    void (*on_durable)(void *ctx, lsn_t lsn);
    /* The log has begun anew, for the slot was lost or the database is another one: transactions, history and
     * states of before are gone, and so is what is put before this returns. Every client is behind the
     * window. */
    void (*on_reset)(void *ctx, const char *reason);
};

/* *events outlives the feed; the rest is copied. Fails when there can be no thread. A log that cannot be
 * opened is a reason to be down, and is tried again: the busbar before us may be about to end. */
MUST_USE int feed_new(struct loop *loop, const struct feed_options *options, const struct feed_events *events,
                      void *ctx, struct feed **out_feed, struct err *err);
/* Syncs what has come and closes. Waits for the thread: at most the time of two writes of the log.
 * No callback comes afterwards; no reader of the log may be open. Takes NULL. */
void feed_free(struct feed *f);

/* For readers on any thread, as long as the feed lives. From the first on_ready(), on_batch() or on_reset()
 * on; NULL before. */
struct txlog *feed_log(struct feed *f);

/*
 * Small states (txlog.h has their limits), written with the next sync: `done` (may be NULL) is called when
 * they are on the disk, in the order given. Keys and values are copied. They are read back from the log only
 * when done.
 */
typedef void (*feed_done_fn)(void *ctx);
void feed_put(struct feed *f, char kind, struct str key, struct str value, feed_done_fn done, void *ctx);
void feed_delete(struct feed *f, char kind, struct str key, feed_done_fn done, void *ctx);
/* From the log: when feed_log() is there. 1: a copy of the value was appended to out; 0: there is none. */
MUST_USE int feed_get(struct feed *f, char kind, struct str key, struct buf *out, struct err *err);

struct feed_stats {
    const char *state; /* "opening", "connecting", …, "ready" */
    bool ready;
    lsn_t position, durable, oldest;      /* seen; safe; where clients can resume from */
    uint64_t transactions, bytes;         /* received since the start */
    uint64_t log_transactions, log_bytes; /* in the log */
    uint64_t connects, resets;
    uint64_t lag_ms; /* age of the newest transaction when it came; 0 since the server had no more */
    /* As of the last look at the server, every FEED_LOOK_MS; 0 before the first. */
    uint64_t lag_bytes;      /* WAL that the server has and we have not */
    uint64_t retained_bytes; /* WAL that the server keeps for the slot */
};
enum { FEED_LOOK_MS = 10000 };
void feed_stats(const struct feed *f, struct feed_stats *out);
