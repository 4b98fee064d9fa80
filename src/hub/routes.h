/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which live flows a change may concern, without asking each: by table, and where all that a flow wants of a
 * table has a certain value in a column (a where like owner = 'alice', or the user), by that value. Pure.
 */
#pragma once

#include "repl/relation.h"
#include "repl/txn.h"
#include "shapes/forest.h"

struct routes;
struct route; /* of one flow; a list */

struct routes *routes_new(void);
void routes_free(struct routes *rs); /* takes NULL; no route may be left */

/* What concerns a view of the forest is told to `target`. Free with route_free() before the forest goes. */
struct route *route_new(struct routes *rs, const struct forest *f, struct str user, void *target);
void route_free(struct route *r); /* takes NULL */

/* False: no change of the relation concerns anybody. */
bool routes_have(struct routes *rs, const struct relation *r);
/* Called for each target that changes of the transaction may concern, as often as one of them leads there.
 * -1: the log is damaged. */
typedef void (*route_fn)(void *ctx, void *target);
MUST_USE int routes_follow(struct routes *rs, struct str record, const struct relations *relations,
                           route_fn fn, void *ctx, struct err *err);
