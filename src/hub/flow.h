/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view at a position, and the clients that follow it (docs/adr/0014-sync-state.md).
 *
 *   CATCHING_UP   reads what came after its position, some at a time, as fast as its clients take it
 *   APART         stands before a large transaction, which is followed elsewhere (hub/aside.h)
 *   READING       stands at a transaction that needs rows: nothing goes on before they are there
 *   LIVE          at the hub's position: takes each transaction as it comes
 *
 * When it has caught up, its clients join the live flow of an equal view, if there is one.
 */
#pragma once

#include "hub/plan.h"
#include "shapes/view.h"

struct client;
struct hub;
struct flow;

enum flow_state { FLOW_CATCHING_UP, FLOW_APART, FLOW_READING, FLOW_LIVE };

/* Takes over plan and view, which stand at `position`. Without clients it is gone at the end of the turn. */
struct flow *flow_new(struct hub *hub, struct plan *plan, struct view *view, struct str user, lsn_t position);
void flow_add(struct flow *s, struct client *c);
void flow_remove(struct flow *s, struct client *c);
/* For the hub alone, at its end. */
void flow_free(struct flow *s);

enum flow_state flow_state(const struct flow *s);
lsn_t flow_position(const struct flow *s);
struct plan *flow_plan(const struct flow *s);
/* At a transaction boundary, with everything up to its position delivered: a client may leave it for another.
 */
bool flow_at_rest(const struct flow *s);
/* The view, for the last client that leaves; NULL: others need it, or it is in the middle of something. */
struct view *flow_take_view(struct flow *s, struct client *c);
/* A client has room again. */
void flow_go_on(struct flow *s);

/* --- for the hub --- */

/* What is to be known of a transaction before a view looks at it. */
struct txn_facts {
    const struct txn_summary *summary; /* borrowed */
    bool migrates;
};

bool flow_concerned(const struct flow *s, const struct txn_facts *facts);
/* A live flow takes the next transaction. */
void flow_take(struct flow *s, const struct txn_head *head, struct str record, const struct txn_facts *facts);
/* A live flow does not take the next transaction, if it may concern it, but catches up with it. */
void flow_stay_behind(struct flow *s, const struct txn_facts *facts);
/* False: it was marked in this turn already. Turns count from 1. */
bool flow_mark(struct flow *s, uint64_t turn);
struct str flow_key(const struct flow *s);
struct flow *flow_next(const struct flow *s);
