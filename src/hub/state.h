/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept about a client over disconnections and restarts, as a value. Pure. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "repl/lsn.h"

enum { STATE_MAX = 16 * 1024 * 1024 }; /* bytes of one client's */

struct subscription_state {
    char *id;
    char *request; /* SatSubsReq */
    size_t request_n;
    lsn_t lsn; /* 0: its data has not been sent whole */
    bool unsubscribed;
    lsn_t gone_lsn; /* UINT64_MAX: the client is yet to be told */
    bool leaving;   /* to be unsubscribed, which is kept as if it were, and the client yet to be told */
};

struct client_state {
    char *user_id; /* NULL: nothing is known of the client */
    lsn_t acked_lsn;
    struct subscription_state *subscriptions; /* in the order in which they were made */
    size_t n, cap;
};

void client_state_deinit(struct client_state *s); /* *s is empty and usable afterwards */
/* Everything but the user is forgotten. */
void client_state_clear(struct client_state *s);
struct subscription_state *client_state_add(struct client_state *s, struct str id, struct str request);
/* NULL when there is none. */
struct subscription_state *client_state_find(const struct client_state *s, struct str id);
void client_state_remove(struct client_state *s, struct str id);

void client_state_encode(const struct client_state *s, struct buf *out);
/* Fails with ERR_INTERNAL: these bytes are ours. */
MUST_USE int client_state_decode(struct str bytes, struct client_state *out, struct err *err);
