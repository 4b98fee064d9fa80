/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client on its way into a flow: what it has to be told before it can follow one, at the position where
 * it stands.
 *
 *   subscribe     the rows of the new shapes that it does not have yet, as inserts
 *   unsubscribe   the rows that it has and will not have any more, as gone
 *   resume        nothing but that; the index of its view is made for where it stands
 */
#pragma once

#include "hub/plan.h"
#include "hub/reads.h"
#include "shapes/view.h"

struct client;
struct hub;
struct join;

struct join_options {
    lsn_t position;
    struct str user;
    struct plan *whole;     /* all that it will have; a reference is taken, as of the others */
    struct plan *part;      /* what it is told of; NULL: nothing */
    struct plan *keep;      /* rows of this are not told; NULL: of none */
    struct view *keep_view; /* stands at the position already, and is taken over; NULL: it is made */
};

/* What becomes of it. None is called before join_start() has returned; after `ready` and `failed` the join is
 * gone. */
struct join_events {
    void (*begin)(void *ctx); /* rows follow */
    void (*row)(void *ctx, const struct table *table, const struct value *row);
    /* All rows have been told. The view stands at the position and belongs to the callee, as does the plan's
     * reference. */
    void (*ready)(void *ctx, struct plan *whole, struct view *view);
    void (*failed)(void *ctx, enum read_failure how, const struct err *err);
};

struct join *join_start(struct hub *hub, const struct join_options *options, const struct join_events *events,
                        void *ctx);
void join_cancel(struct join *j);             /* takes NULL */
void join_pause(struct join *j, bool paused); /* stops and goes on telling rows; a few may still come */
