/* SPDX-License-Identifier: Apache-2.0 */
/* The recorded history tried out as clients would apply it: which migrations they cannot, and why. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum { HISTORY_FAULTS = 100 }; /* found by trial; past it the rest of the history counts as faulty unseen */

struct history_command {
    struct str version; /* commands of a version are neighbours */
    struct str ops;     /* JSON */
};

struct history_fault {
    struct str version; /* of the command that was given */
    const char *reason;
};

/*
 * Leaves a migration out when SQLite or a renderer does not take it after those before it, and when it
 * changes, or refers to, a table that one left out would have changed: clients could not follow such a table
 * any more, until it is dropped. Faults in the history's order, in `a`. Returns 0; -1 when nothing can be
 * said (ERR_LIMIT: too long for a proof).
 *
 * Blocks for as long as some proofs (dialect/proof.h); keeps nothing, so any thread will do.
 */
MUST_USE int history_sift(struct arena *a, const struct history_command *commands, size_t n,
                          struct history_fault **out_faults, size_t *out_n, struct err *err);
