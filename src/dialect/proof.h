/* SPDX-License-Identifier: Apache-2.0 */
/* The proof that SQLite clients can follow: the history or what is new after it, run in an in-memory SQLite.
 */
#pragma once

#include "dialect/render.h"

enum {
    PROOF_MAX_MS = 10000,              /* of processor time */
    PROOF_MAX_TEXT = 16 * 1024 * 1024, /* bytes of statements */
    PROOF_MAX_PAGES = 16384,           /* of 4 kB, in the database */
    PROOF_MAX_REPLAY = 10000,          /* recorded ADD COLUMNs times tables; about 10 µs each */
};

/*
 * ops[i] is the JSON of one command (schema/ops.h), in order; the first n_recorded are recorded already, the
 * rest are on trial, on the tables as the recorded part leaves them, which hold a row, as clients' tables do.
 * What is recorded may be the history, or the tables concerned as busbar.pending() makes them.
 * Without new commands the recorded ones are on trial, each.
 *
 * Returns 0, or -1 with one of
 * - ERR_INPUT, SQLSTATE UB004: SQLite refuses something new; the message is for the author of the migration;
 * - ERR_INTERNAL: a recorded command fails, ops are malformed, or the result is not what the model says;
 * - ERR_LIMIT: one of the bounds above was reached.
 *
 * Blocks the caller for its whole duration, some 0.1 s for a long history on trial; keeps nothing, so any
 * thread will do.
 */
MUST_USE int proof_run(const struct str *ops, size_t n, size_t n_recorded, struct err *err);

struct proof_commands {
    const struct str *ops;
    size_t n, n_recorded;
};

/* The same, and *out_notes gets, in the arena, what the new commands leave out for SQLite clients. */
MUST_USE int proof_run_noting(const struct proof_commands *c, struct arena *a, struct notes *out_notes,
                              struct err *err);
