/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder know of each other. */
#pragma once

#include "hub/aside.h"
#include "hub/client.h"
#include "hub/flow.h"
#include "hub/hub.h"
#include "hub/join.h"
#include "hub/marker.h"
#include "hub/past.h"
#include "hub/reads.h"
#include "hub/routes.h"
#include "hub/versions.h"

/* Flows that have something to do, in the order in which they came to have it. */
struct ready_flows {
    struct flow *first, **end;
    bool posted; /* they will run */
};

struct hub {
    struct loop *loop;
    struct hub_options options;
    struct feed *feed; /* NULL: not followed yet */
    bool ready;        /* the log reaches the present */
    char trouble[600]; /* why nothing comes; "" */
    struct past past;
    struct recent *recent; /* the past's */
    struct aside *aside;   /* where large transactions are followed */
    struct versions *versions;
    struct marker *marker;
    struct reads *reads;
    lsn_t position; /* everything up to here has been handed to the live flows */
    lsn_t seen;     /* ... when nothing is queued */
    lsn_t durable;
    struct txn **queue; /* come, but not yet handed on: queue[head], … */
    size_t queue_head, queue_n, queue_cap;
    struct flow *flows;
    struct ready_flows ready_flows;
    size_t turn_bytes; /* looked at by flows that catch up, in this turn of theirs */
    struct routes *routes;
    struct flow **marked; /* those that the transaction at hand may concern */
    size_t marked_n, marked_cap;
    uint64_t turn;
    struct client *clients;
    struct known_clients *known;
    struct encoder *encoder;
    struct timer *settler;
    struct timer *saver;     /* writes what is dirty, now and then */
    struct sync_stats stats; /* what is counted here */
};

/* NULL: there is none. */
struct flow *hub_live_flow(const struct hub *hub, struct str key);
struct txn_facts txn_facts_of(const struct relations *relations, const struct txn_summary *summary);

/* The need of a view, as a query of a read. */
static inline void read_need(struct read *r, const struct forest *forest, struct str user,
                             const struct view_need *need)
{
    const struct layer *layer = &forest->layers[need->layer];
    if (need->whole) {
        read_whole(r, layer, user);
    } else {
        read_keys(r, layer, user, need->keys, need->n);
    }
}
