/* SPDX-License-Identifier: Apache-2.0 */
/* Relations as the server has described them, by oid: in a connection, or in one streamed transaction. */
#pragma once

#include "repl/relation.h"

#include <stdbool.h>
#include <stddef.h>

struct described {
    struct relation *relation; /* owned */
    uint64_t order;            /* of description; 0: not in this connection */
    uint32_t xid;              /* the (sub)transaction that it holds for, where that matters */
};

/* By oid, ascending. */
struct catalog {
    struct described *items;
    size_t n, cap;
};

struct described *catalog_find(const struct catalog *c, uint32_t oid); /* NULL: it is not there */
/* Takes d.relation over, in place of an earlier one. Says whether the relation is new here. */
bool catalog_put(struct catalog *c, struct described d);
/* Those that hold for this (sub)transaction; how many there were. */
size_t catalog_forget(struct catalog *c, uint32_t xid);
void catalog_deinit(struct catalog *c); /* may run twice */
