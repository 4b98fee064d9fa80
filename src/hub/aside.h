/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large transactions are followed on a thread of their own, so that nobody else has to wait while thousands
 * of views go through millions of rows. Flows that stand before one enter here; for all that wait for the
 * same, what each has to look at is found in one pass (hub/parts.h), then one view after the other follows
 * it.
 */
#pragma once

#include "hub/parts.h"
#include "hub/past.h"
#include "shapes/view.h"

struct aside;
struct loop;
struct txn_facts;

enum aside_outcome {
    ASIDE_LOST = -3,  /* the log cannot be read */
    ASIDE_AGAIN = -2, /* it is gone: whoever goes on from where he is will meet that */
    ASIDE_PASSED = 0, /* it concerns the flow in nothing */
    /* or what view_apply() returned */
};

/* A flow's passage; the flow embeds it, and leaves it and all that it names alone from aside_enter() until
 * `end`. */
struct passage {
    struct passage *next;
    lsn_t lsn; /* of the transaction */
    /* On the loop. `begin` makes view, forest and arena ready; false: the flow has ended, `end` is not
     * called. */
    bool (*begin)(struct passage *p, const struct txn_head *head, const struct txn_facts *facts);
    /* What ops borrow stays until it returns. */
    void (*end)(struct passage *p, const struct txn_head *head, int outcome, const struct view_ops *ops,
                const struct err *err);
    struct view *view;
    const struct forest *forest;
    struct str user;
    struct arena *arena;
    struct part part;
};

/* past: borrowed. The thread is made when there is something to do. */
struct aside *aside_new(struct loop *loop, const struct past *past);
/* Waits for the view that is being looked at; no passage is told any more. Takes NULL. */
void aside_free(struct aside *a);
/* lsn, begin, end, view, forest and user are set. Nothing is told before this has returned. */
void aside_enter(struct aside *a, struct passage *p);
