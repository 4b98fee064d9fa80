/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's object, and what the steps before streaming (feeder_ask.c) and the rest (feeder.c) need of
 * each other. */
#pragma once

#include "feed/decide.h"
#include "feed/feeder.h"
#include "feed/history.h"
#include "feed/keep.h"
#include "feed/writer.h"

struct feeder {
    struct feed *feed;
    struct loop *loop;
    char *url, *folder;
    bool require_ssl;
    uint64_t window;
    enum feed_state state;
    bool stopped;
    char told[512]; /* the last reason for being down */
    struct replication *replication;
    struct assemble *assemble;
    struct history history;
    struct timer *retry, *sync, *move; /* try again; write the log; write its position */
    bool sync_due, move_due;
    uint64_t backoff_ms;
    struct look *look;
    /* Of this connection. */
    struct feed_facts facts;
    uint64_t xid;
    uint32_t pid, last_pid; /* of the server's process, and of the one before */
    bool published;         /* the publication was made for this connection */
    lsn_t target;           /* ready from here on */
    /* Of the log. */
    struct txlog_identity known;
    const char *gap; /* why it has to begin anew though the slot could go on; NULL: it has not */
    lsn_t position;  /* seen */
    lsn_t durable;   /* what the log has, as far as is known here */
    struct keep keep;
    struct writer *writer;
    struct event *batch; /* being collected; NULL: nothing has come */
    bool turn;           /* on_turn_end() will run */
    size_t txns_cap, relations_cap;
};

/* feeder.c */
void feeder_set_state(struct feeder *f, enum feed_state state);
void feeder_count(_Atomic uint64_t *n);
/* Three ways to give the connection up until the next attempt; its callback must be about to return. */
void feeder_wait(struct feeder *f, const struct err *why);
void feeder_fail(struct feeder *f, const char *what, const struct err *why);
void feeder_refuse(struct feeder *f, const char *reason);
void feeder_let_write_end(struct feeder *f);         /* before the log is written directly */
void feeder_begin_at(struct feeder *f, lsn_t start); /* the log was begun anew there */
void feeder_start_stream(struct feeder *f);          /* from the log's position */

/* feeder_ask.c: the connection is there. Ends in feeder_start_stream() or one of the three ways. */
void feeder_ask(struct feeder *f);
