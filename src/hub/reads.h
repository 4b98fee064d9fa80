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
struct reads;
struct read;

enum {
    READS_CONNECTIONS = 4,             /* to the database, at most */
    READS_WAIT_MS = 30000,             /* for a connection, with which nothing has been read yet */
    READS_OVERLAY = 256 * 1024 * 1024, /* bytes of rows that were changed since the position, in one read */
};

/* `past` and `marker` live longer. */
struct reads *reads_new(struct loop *loop, const struct login_params *params, const struct past *past,
                        struct marker *marker);
void reads_free(struct reads *rs); /* every read must have been freed. Takes NULL */

enum read_failure {
    READ_LOST,    /* the connection, or the server: to be tried again by whoever wants it */
    READ_REFUSED, /* the server says no; it will again */
    READ_TOO_FAR, /* the position is too far back: it has been trimmed away, a table was truncated since, or
                     too much changed */
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
void read_free(struct read *r); /* takes NULL */

/* False: another read is to be started in its place: this one is old, or has seen many changes, or has had
 * its turn while others wait for its connection. */
bool read_is_good(const struct read *r);
/* Moves a ready read to a later position that has come by: cheaper than another. -1: it cannot be, and is of
 * no use any more. */
MUST_USE int read_advance(struct read *r, lsn_t position, struct err *err);

/* All rows that the layer admits. layer and user are borrowed until done. */
void read_whole(struct read *r, const struct layer *layer, struct str user);
/* Those with one of n keys (query_by_keys(); borrowed until done). Rows with other keys may come as well,
 * when they were changed since the position: who asks looks. */
void read_keys(struct read *r, const struct layer *layer, struct str user, const struct value *keys,
               size_t n);
/* Stops and goes on with rows; a few may still come. */
void read_pause(struct read *r, bool paused);
