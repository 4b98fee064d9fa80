/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one migration.
 *
 * In a transaction (the default): one text from BEGIN to COMMIT with the row of the migration table in it,
 * one round trip, all or nothing. Outside of one: statement by statement, each with its mark in our own
 * table, so that whatever happens the row tells how far it got; what may run in a transaction is committed
 * together with its mark.
 */
#pragma once

#include "base/buf.h"
#include "migrate/list.h"
#include "migrate/session.h"

struct run_options {
    uint64_t lock_timeout_ms; /* 0: wait as long as it takes */
    unsigned lock_retries;    /* further attempts when a lock could not be had */
};

/* Refuses what cannot be run the way its file wants, before anything is run. -1 was reported. */
MUST_USE int run_check(struct session *s, const struct migration *m, bool down);

enum {
    RUN_DOWN = 1,    /* the way back */
    RUN_DURABLE = 2, /* the COMMIT waits for the disk. Only the last of a run needs to: what is written after
                        it is on disk only together with all before it */
    RUN_FRESH = 4,   /* our own table has no row of it: a plain INSERT will do */
};

/* how: RUN_ bits. -1 was reported. */
MUST_USE int run_migration(struct session *s, const struct run_options *o, const struct migration *m,
                           unsigned how);

/* Runs m's up section in a transaction that ends with `tail` (statements with their ';') in the place of a
 * row in the migration table. -1 was reported. */
MUST_USE int run_seed(struct session *s, const struct run_options *o, const struct migration *m,
                      const char *tail);

/* Goes on behind the first `done` statements of one that stopped outside a transaction. */
MUST_USE int run_resume(struct session *s, const struct run_options *o, const struct migration *m, bool down,
                        size_t done);

/* Drops invalid indexes that CREATE INDEX CONCURRENTLY of these statements has left. -1 was reported. */
MUST_USE int run_drop_invalid(struct session *s, const struct migration *m, bool down);

/* SET LOCAL for what a transaction of ours needs; each ends with ';'. Returns how many statements it is. */
size_t run_put_settings(struct buf *out, const struct session *s, uint64_t lock_timeout_ms,
                        uint64_t timeout_ms);
