/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected client: the service's side of its session (sync/session.h). What it has asked for is done one
 * after the other; in between it follows a flow.
 */
#pragma once

#include "hub/encode.h"
#include "hub/flow.h"
#include "hub/known.h"
#include "hub/marker.h"
#include "sync/session.h"

enum {
    CLIENT_FULL = 1024 * 1024, /* bytes that wait for a client, at which what can wait does */
    CLIENT_PIECE = 8,          /* frames of rows that are sent together */
};

enum action_kind { ACTION_RESUME, ACTION_SUBSCRIBE, ACTION_UNSUBSCRIBE };

/* Something asked for that changes what a client sees. */
struct action {
    struct action *next;
    enum action_kind kind;
    struct arena arena;
    struct str *ids; /* of subscriptions */
    size_t n;
    lsn_t position;   /* where the client is told of it; of ACTION_RESUME from the beginning */
    lsn_t not_before; /* ... which is not before */
    unsigned tries;   /* that failed and may not fail again */
    struct client *client;
    struct marker_wait *wait; /* for what had been committed when a subscription was asked for */
};

struct client {
    struct client *next, **prev; /* of the hub's */
    struct hub *hub;             /* NULL: gone, and the client is only waiting for its end */
    struct sync_session *session;
    struct known *known; /* NULL before it is admitted */
    enum dialect dialect;
    bool started;
    struct fresh_start {
        bool waits;   /* for what it begins with to be on the disk */
        size_t first; /* of the migrations that it is told */
        lsn_t position;
    } fresh;

    struct flow *flow; /* what it follows; NULL while it joins */
    struct client *next_in_flow, **prev_in_flow;

    struct late_start *late_start;          /* a start that waits for the stream to catch up */
    struct late_subscribe *late;            /* subscriptions that wait for the schema to catch up */
    struct leave *leaves;                   /* unsubscribed, and to be answered when that is on the disk */
    struct action *actions, **actions_tail; /* the first is under way when there is a join */
    struct join *join;
    struct plan *part; /* of the join: what is told */
    struct encode_rows rows;
    bool begun;        /* rows are being told */
    bool sent;         /* ... and some have been sent */
    bool waiting_disk; /* the join is done, all but for its state to be on the disk */
    struct plan *joined_plan;
    struct view *joined_view;
};

extern const struct sync_service client_service;

bool client_is_full(const struct client *c);
/* A transaction for all clients of a flow, of one view. */
void client_deliver_all(struct hub *hub, struct client *clients, struct model *model,
                        const struct txn_head *head, bool migrates, const struct view_ops *ops);
/* It cannot be served for now, and is to come back. It has left its flow. */
void client_drop(struct client *c, const char *why);
/* What it has can not be kept up to date: it will have to load it again. */
void client_forget_subscriptions(struct client *c);
/* Leaves the hub, for good. */
void client_end(struct client *c, enum sync_end why);

/* All that is to be kept of it is on the disk. */
void client_saved(struct client *c);

/* --- client_actions.c --- */
/* The join that is done waited for the disk alone. */
void client_finish_action(struct client *c);
void client_act(struct client *c, enum action_kind kind, const struct str *ids, size_t n, lsn_t position);
/* Goes on with what was asked for, if it can. */
void client_go_on(struct client *c);
void client_go_on_soon(struct client *c); /* from the loop */
/* Forgets what was asked for. */
void client_stop_actions(struct client *c);
/* True: none of its data had been sent, and none will. */
bool client_cancel_subscribe(struct client *c, struct str id);
