/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sync service in the middle: transactions from the feed on one side, clients on the other, views between
 * them.
 *
 * All on one loop.
 */
#pragma once

#include "base/err.h"
#include "base/sync_stats.h"
#include "feed/feed.h"

struct hub;
struct http_server;
struct loop;
struct pg_client;
struct sync_service;
struct token_rules;

struct hub_options {
    struct feed_options feed;         /* its texts are copied as far as they are needed later */
    struct pg_client *client;         /* lives longer */
    const struct token_rules *tokens; /* likewise */
    /* The state has changed: ready, or not and why. May be NULL. */
    void (*changed)(void *ctx);
    void *ctx;
};

/* Serves nobody before hub_follow(). */
struct hub *hub_new(struct loop *loop, const struct hub_options *options);
/* Opens the log and follows the database, which must have been prepared; the second time nothing. Fails as
 * feed_new(). */
MUST_USE int hub_follow(struct hub *hub, struct err *err);
/* Lets go of every client, and closes the log. Takes NULL. */
void hub_free(struct hub *hub);

/* What tokens are checked by from now on; who is there already stays. */
void hub_set_tokens(struct hub *hub, const struct token_rules *tokens);

/* For sync/conn.h: the calls of client_service get the hub. */
extern const struct sync_service client_service;
bool hub_is_ready(const struct hub *hub); /* clients can be served */
/* Why nothing comes from the database; NULL: it does, or that is not known yet. */
const char *hub_trouble(const struct hub *hub);

/* All but the clients dropped; texts are valid until the next turn of the loop. */
void hub_read_stats(const struct hub *hub, struct sync_stats *out);
