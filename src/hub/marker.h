/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Everything that was committed before now has come by": a transactional logical message is sent through the
 * service connection, and whoever waits for it is called when it comes in the stream.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct loop;
struct marker;
struct marker_wait;
struct pg_client;

enum {
    MARKER_WAIT_MS = 30000,  /* for a server that takes the message */
    MARKER_ANSWER_MS = 2000, /* ... where a client waits for its answer, and no longer than three seconds */
};

/* err NULL: what was committed before marker_wait() has come by. Else the message could not be sent. */
typedef void (*marker_fn)(void *ctx, const struct err *err);

/* The client lives longer. */
struct marker *marker_new(struct loop *loop, struct pg_client *client);
void marker_free(struct marker *m); /* nobody is called any more. Takes NULL */

/* Never calls fn before it has returned. Those who come while one message is on its way share the next. */
struct marker_wait *marker_wait(struct marker *m, marker_fn fn, void *ctx);
struct marker_wait *marker_wait_to_answer(struct marker *m, marker_fn fn, void *ctx);
void marker_forget(struct marker_wait *w); /* only before fn was called. Takes NULL */

/* The stream begins again, maybe from a server that never had the message. */
void marker_send_again(struct marker *m);

/* A logical message that came in a transaction: one of ours calls those who wait for it. */
void marker_came(struct marker *m, struct str prefix, struct str content);
