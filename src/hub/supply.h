/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows that a view needs while it is moved from transaction to transaction (shapes/view.h): read at their
 * positions, of one snapshot for as long as that is good. What transactions that have come already will need
 * is read along (shapes/ahead.h), so that one round trip serves all that have queued up during the last one.
 */
#pragma once

#include "hub/reads.h"
#include "shapes/ahead.h"

struct hub;

struct supply {
    struct hub *hub;
    /* Every need is met; or none will be. Not inside a call of the supply's. */
    void (*met)(void *ctx);
    void (*failed)(void *ctx, enum read_failure how, const struct err *err);
    void *ctx;

    /* The transaction at hand. */
    struct view *view;
    const struct forest *forest;
    struct str user;
    lsn_t before, position;
    const struct view_need *need; /* not met yet */
    bool waiting;                 /* the view does, to be told */

    struct read *read; /* NULL: none is held */
    struct ahead *ahead;
    lsn_t seen; /* by `ahead`: the transactions up to here */
    size_t seen_bytes;
    bool filling; /* rows that come are for `ahead` */
};

/* Before a transaction is applied, so that what is held moves on with it, or is let go of. */
void supply_follow(struct supply *s, lsn_t position, struct str record);
/* After view_apply() said VIEW_NEEDS, for the transaction between `before` and `position`. true: every need
 * is met; false: that is told later. View, forest and user are borrowed until supply_forget(). */
bool supply_meet(struct supply *s, struct view *view, const struct forest *forest, struct str user,
                 lsn_t before, lsn_t position);
/* Lets go of what is held, and of the view; nothing is told any more. */
void supply_forget(struct supply *s);
