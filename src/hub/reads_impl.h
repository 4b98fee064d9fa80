/* SPDX-License-Identifier: Apache-2.0 */
/* What reads.c (a read) and reads_pool.c (the connections) know of each other. */
#pragma once

#include "hub/reads.h"
#include "pg/snapshot.h"
#include "shapes/overlay.h"
#include "shapes/snapshot.h"

enum read_state { WAITING, TAKING, MARKING, NOTING, READY, COPYING, FAILED };

struct read {
    struct read *next, **prev; /* among those that wait for a connection, in order, or those that have one */
    struct reads *pool;
    const struct read_events *events;
    void *ctx;
    enum read_state state;
    uint64_t ready_ms; /* since when, and what was noted then */
    size_t ready_bytes;
    lsn_t position, noted; /* noted: the overlay has everything up to here */
    size_t noted_bytes;
    struct pg_snapshot *conn;
    uint64_t paused_ms;  /* since when its owner takes no rows; 0: it does */
    unsigned in_the_way; /* how often it was found so, in succession */
    struct buf lock;     /* a statement: holds off what a snapshot does not protect from, such as TRUNCATE */
    unsigned takes;
    struct timer *pause; /* until the next */
    struct arena arena;  /* of the snapshot */
    struct snapshot snapshot;
    struct marker_wait *wait;
    struct overlay *overlay;
    const struct layer *layer;
    struct str user;
    const struct value *keys; /* left to ask for */
    size_t keys_n;
    bool by_keys;
    bool raw; /* rows as the snapshot has them */
    struct value *values;
    char *line;
    size_t line_cap;
    enum read_failure how;
    struct err err;
};

struct reads {
    struct loop *loop;
    struct login_params params;
    char *url;
    const struct past *past;
    struct marker *marker;
    struct pg_client *client;
    struct pg_query *looking; /* for who is in the way */
    struct timer *patrol;
    bool patrolling;
    struct read *waiting, **waiting_tail, *running;
    struct pg_snapshot *idle[READS_CONNECTIONS];
    size_t idle_n, open;
    uint64_t snapshots, queries;
};

/* --- reads.c --- */

extern const struct pg_snapshot_events read_snapshot_events;

/* Told from the loop, so never inside the call that asked. */
void read_fail(struct read *r, enum read_failure how, const struct err *err);

/* --- reads_pool.c --- */

/* Waits for a connection, and begins to take a snapshot when it has one. */
void reads_enter(struct read *r);
void reads_leave(struct read *r);
void reads_lose(struct read *r);    /* its connection is of no use any more */
void reads_begin(struct reads *rs); /* those that wait, as far as they can */
