/* SPDX-License-Identifier: Apache-2.0 */
/* The transactions that have come, in order: the log, and behind it what it may not have on disk yet. */
#pragma once

#include "hub/recent.h"
#include "repl/relation.h"
#include "txlog/txlog.h"

struct past {
    struct txlog *log;
    struct recent *recent;
    struct relations relations; /* every version that a transaction refers to */
    lsn_t until;                /* what the log has behind it is none of ours yet */
};

/* 1: on to the next; 0: enough; -1: *err is filled. The record is borrowed until it returns. */
typedef int (*past_fn)(void *ctx, lsn_t lsn, struct str record, struct err *err);

enum past_outcome {
    PAST_END = 0, /* there is no more */
    PAST_STOPPED, /* fn had enough */
    PAST_GONE,    /* what follows the position has been trimmed away */
};

/* Calls fn with each transaction after a position. An enum past_outcome; -1: fn failed, or the log did.
 * Blocks for as long as that takes: fn says when it is enough. */
MUST_USE int past_walk(const struct past *p, lsn_t after, past_fn fn, void *ctx, struct err *err);

/* A transaction that stays for whoever reads it, on any thread. */
struct kept {
    struct str bytes;
    struct txn *txn; /* whose they are; NULL: the log's */
    struct txlog_record record;
};
/* The transaction at a position. PAST_STOPPED: *out is there; PAST_GONE; -1: as past_walk(). */
MUST_USE int past_keep(const struct past *p, lsn_t lsn, struct kept *out, struct err *err);
void kept_release(struct kept *k); /* may run twice, and on a zeroed one */
