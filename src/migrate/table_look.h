/* SPDX-License-Identifier: Apache-2.0 */
/* What the transaction on a connection has done to each table so far, and what came of one statement. */
#pragma once

#include "migrate/session.h"

struct table_state {
    uint64_t oid, file, scans, rows;
    const char *name;
    unsigned lock; /* index into the list of lock modes, 0: none that blocks anybody */
};

struct table_look {
    struct table_state *items; /* sorted by oid, in the arena */
    size_t n;
};

/* -1 was reported. */
MUST_USE int table_look_take(struct session *s, struct arena *a, struct table_look *out);

struct table_effect {
    const char *table;
    const char *lock;   /* the mode that is new; NULL: none */
    const char *blocks; /* what others cannot do meanwhile */
    bool rewritten;
    uint64_t scans, rows;
};

/* Of tables that were there before; in the arena. */
size_t table_look_compare(struct arena *a, const struct table_look *before, const struct table_look *after,
                          struct table_effect **out);
