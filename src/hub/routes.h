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
enum route_how {
    ROUTE_TABLE, /* all changes of the table concern it */
    ROUTE_ROW,   /* the row's value does, before or after the change */
    ROUTE_LEFT,  /* … before, and after it no more, or the row has another key: told besides */
};
/* Called for each target that a change may concern, as often as it leads there. */
typedef void (*route_fn)(void *ctx, void *target, enum route_how how);
/* Follows all changes of a transaction. -1: the log is damaged. */
MUST_USE int routes_follow(struct routes *rs, struct str record, const struct relations *relations,
                           route_fn fn, void *ctx, struct err *err);
MUST_USE int routes_follow_change(struct routes *rs, const struct change *change,
                                  const struct relations *relations, route_fn fn, void *ctx, struct err *err);

enum route_row { ROUTE_OLD, ROUTE_NEW };
/* A hash of table and primary key of a row of the change that was followed last, within its calls of fn and
 * after them. false: there is no such row, or nobody goes by values of its table. */
bool routes_row_hash(struct routes *rs, enum route_row which, uint32_t *out_hash);
