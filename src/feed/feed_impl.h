/* SPDX-License-Identifier: Apache-2.0 */
/* Private to feed: what the owner's side (feed.c) and the thread's side (feeder.c) share. */
#pragma once

#include "feed/feed.h"
#include "txlog/txlog.h"

#include <pthread.h>
#include <stdatomic.h>

struct feeder;
struct loop_thread;

enum feed_state {
    FEED_OPENING, /* the log */
    FEED_CONNECTING,
    FEED_ASKING,    /* who the server is, and what of the slot */
    FEED_CREATING,  /* the slot is dropped and made, the history read, the log begun anew */
    FEED_STREAMING, /* what happened while we were away */
    FEED_READY,
    FEED_STALLED, /* the log cannot be written: nothing is read, the connection stays */
    FEED_WAITING, /* for the next attempt */
    FEED_STATES,
};

/* What the thread tells the owner. Freed by feed.c. */
enum event_kind { EVENT_READY, EVENT_DOWN, EVENT_BATCH, EVENT_DURABLE, EVENT_RESET, EVENT_DONE };

struct event {
    struct event *next;
    enum event_kind kind;
    char *reason;            /* DOWN, RESET */
    struct feed_batch batch; /* BATCH: owns its arrays, its references and copies */
    size_t bytes;            /* of it, counted in feed.undelivered */
    lsn_t lsn;               /* DURABLE */
    feed_done_fn done;       /* DONE */
    void *ctx;
};

/* Written by the thread, read anywhere. */
struct feed_numbers {
    _Atomic uint64_t state, position, durable, oldest, transactions, bytes, log_transactions, log_bytes,
        connects, resets, server, retained, lag_ms;
};

/* What is posted to the owner's loop: it may come when the feed is gone. */
struct wake {
    struct feed *feed; /* NULL: it is */
};

struct feed {
    struct loop *loop;
    const struct feed_events *events;
    void *ctx;
    struct txlog *log; /* set by the thread before it tells anything but being down */
    struct loop_thread *thread;
    struct feeder *feeder; /* the thread's own, once it runs */
    struct wake *wake;
    pthread_mutex_t lock;        /* for the next two */
    struct event *first, **last; /* when there are some, `wake` is on its way */
    atomic_size_t undelivered;
    atomic_bool paused; /* the thread wants to be told when they get fewer */
    struct feed_numbers numbers;
    uint64_t resets; /* that the owner has been told of */
};

/* Thread. Takes the event over. */
void feed_post(struct feed *f, struct event *e);

/* A state to write; freed by the feeder. */
struct put {
    struct put *next;
    char kind;
    struct str key, value; /* behind the struct; value.p NULL: to delete */
    uint64_t resets;       /* that had been told when it was made: a later log does not take it */
    feed_done_fn done;
    void *ctx;
};
