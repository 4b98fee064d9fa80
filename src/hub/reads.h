/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of the database as it was at a position of the stream (docs/adr/0014-sync-state.md).
 *
 * PostgreSQL is asked in a snapshot that is later than the position; what has changed in between is put back
 * from the log. A few connections serve all reads; the rest wait their turn.
 */
#pragma once

#include "base/err.h"
#include "hub/past.h"
#include "shapes/query.h"

struct loop;
struct login_params;
struct marker;
struct pg_client;
struct reads;
struct read;

enum {
    /* To the database, at work; LIMIT_READ_CONNECTIONS with those that wait for clients. */
    READS_CONNECTIONS = 4,
    READS_OVERLAY = 256 * 1024 * 1024, /* bytes of rows that were changed since the position, in one read */
};

/* `past`, `marker` and `client` live longer. */
struct reads *reads_new(struct loop *loop, const struct login_params *params, const struct past *past,
                        struct marker *marker, struct pg_client *client);
void reads_free(struct reads *rs); /* every read must have been freed. Takes NULL */

/* Snapshots taken, and queries run in them. */
void reads_count(const struct reads *rs, uint64_t *out_snapshots, uint64_t *out_queries);

enum read_failure {
    READ_LOST,      /* the connection, or the server: to be tried again by whoever wants it */
    READ_REFUSED,   /* the server says no; it will again */
    READ_TOO_FAR,   /* the position is too far back: it has been trimmed away, a table was truncated since, or
                       too much changed */
    READ_GIVES_WAY, /* somebody waited for its locks, or its connection: to be tried again */
};

/* Any of these but `row` may free the read. None is called before the function that asked has returned. */
struct read_events {
    void (*ready)(void *ctx);                        /* queries may follow, one at a time */
    void (*row)(void *ctx, const struct value *row); /* in the order of the table's columns; borrowed */
    void (*done)(void *ctx);                         /* of one query */
    void (*failed)(void *ctx, enum read_failure how,
                   const struct err *err); /* and only read_free() is left */
};

/* At a position that has come by. tables: those that will be asked for (borrowed, as are the events). */
struct read *read_start(struct reads *rs, lsn_t position, const struct table *const *tables, size_t n,
                        const struct read_events *events, void *ctx);
/* Right after the start: read_changed() will be asked for layers of the forest, which is borrowed. */
void read_index(struct read *r, const struct forest *forest);
void read_free(struct read *r); /* takes NULL */

/* False: another read is to be started in its place: this one is old, or has seen many changes, or has had
 * its turn while others wait for its connection. */
bool read_is_good(const struct read *r);
/* Moves a ready read behind a transaction, the next one that changes any of its tables: cheaper than another.
 * -1: it cannot be, and is of no use any more. */
MUST_USE int read_advance(struct read *r, lsn_t position, struct str record, struct err *err);

/* All rows that the layer admits. layer and user are borrowed until done. */
void read_whole(struct read *r, const struct layer *layer, struct str user);
/* Those with one of n keys (query_by_keys(); borrowed until done). Rows with other keys may come as well,
 * when they were changed since the position: who asks looks. */
void read_keys(struct read *r, const struct layer *layer, struct str user, const struct value *keys,
               size_t n);
/* The same rows as the snapshot has them, not as they were at the position. */
void read_snapshot(struct read *r, const struct layer *layer, struct str user, const struct value *keys,
                   size_t n);
/* What makes them those at the position, and at any that a ready read is moved to: such a row that is as it
 * was then; and those with one of the keys that had been changed by then, or since. */
bool read_is_unchanged(struct read *r, const struct layer *layer, const struct value *row);
void read_changed(struct read *r, const struct layer *layer, const struct value *keys, size_t n,
                  void (*fn)(void *ctx, const struct value *row), void *ctx);
/* Stops and goes on with rows; a few may still come. */
void read_pause(struct read *r, bool paused);
