/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot of the database, held by a connection of its own, and what COPY reads from it.
 *
 * Values are printed as clients of the sync service expect them, whatever role and database say: bytea in
 * hex, dates ISO, UTC, shortest floats.
 */
#pragma once

#include "base/err.h"
#include "pg/login.h"

struct loop;
struct pg_snapshot;

/* Any of these may free the snapshot. None is called before the function that asked has returned. */
struct pg_snapshot_events {
    /* Taken. visible: pg_current_snapshot(), "xmin:xmax:xip,…"; valid during the call. */
    void (*taken)(void *ctx, const char *visible);
    /* One row, in COPY's text format, with its newline; valid during the call. */
    void (*row)(void *ctx, const char *p, size_t n);
    void (*copied)(void *ctx); /* the last row has come */
    /* Nothing follows; all that is left is to free it. lost: the connection is gone, so another may do
     * better. */
    void (*failed)(void *ctx, const struct err *err, bool lost);
};

/* Connects when it is first needed. params is copied, but for its `extra`, which is not used. */
struct pg_snapshot *pg_snapshot_new(struct loop *loop, const struct login_params *params,
                                    const struct pg_snapshot_events *events, void *ctx);
/* Closes the connection at once, whatever runs. Takes NULL. */
void pg_snapshot_free(struct pg_snapshot *s);
/* For the next user of an idle connection. events NULL: nobody's; what happens then is seen by
 * pg_snapshot_usable(). */
void pg_snapshot_set_owner(struct pg_snapshot *s, const struct pg_snapshot_events *events, void *ctx);

bool pg_snapshot_usable(const struct pg_snapshot *s); /* false: it has failed */

/* Of the server's process; 0: not connected. */
int pg_snapshot_pid(const struct pg_snapshot *s);

/* Locks that each transaction takes before its snapshot: a statement, copied. NULL, and at first: none. */
void pg_snapshot_set_lock(struct pg_snapshot *s, const char *sql);
/* Takes a new snapshot, in place of the one there was. Not while a COPY runs. */
void pg_snapshot_take(struct pg_snapshot *s);
/* Runs a COPY (…) TO STDOUT in the snapshot. One after the other. */
void pg_snapshot_copy(struct pg_snapshot *s, const char *sql);
/* Stops and goes on reading rows; some more may come after stopping. */
void pg_snapshot_pause(struct pg_snapshot *s, bool paused);
/* Ends the transaction; the connection stays for the next take. Not while a COPY runs. */
void pg_snapshot_release(struct pg_snapshot *s);
