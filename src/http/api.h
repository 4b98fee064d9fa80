/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service says over HTTP: /api/status, /api/health, /api/migrations, /metrics.
 *
 * The application owns a struct api_state and a fill function:
 *   - api_state is read at each request, so it is enough to write its fields when something happens. Until
 * `ready` /api/status and /api/migrations answer 503; `reason` says why, in words for people.
 *   - fill is called at each request that shows numbers, and sets what it has; the structs come zeroed.
 * What is in the database (how many migrations, how many tables) is asked of it by the service connection.
 */
#pragma once

#include "base/proxy_stats.h"
#include "base/sync_stats.h"
#include "http/findings.h"
#include "net/http.h"

struct api;
struct pg_client;

struct api_state {
    bool ready;
    bool guard;             /* the event triggers are there */
    char reason[600];       /* why not ready; "" when ready */
    char guard_reason[300]; /* why there is no guard; "" when there is */
    char server_version[64];
    struct findings drift;    /* electrified tables that are not what clients have */
    struct findings unusable; /* recorded migrations that clients cannot apply */
};

enum { API_TEXT_MAX = 4 * 1024 * 1024 }; /* of /api/health and /metrics */

typedef void (*api_fill_fn)(void *ctx, struct proxy_stats *out_proxy, struct sync_stats *out_sync);

struct api_options {
    struct http_options http;
    struct pg_client *client;      /* lives longer than the api */
    const struct api_state *state; /* likewise */
    const char *version;           /* of the program; likewise */
    api_fill_fn fill;              /* may be NULL */
    uint64_t *history_faults;      /* counts how often the history could not be rendered; may be NULL */
    void *ctx;
};

/* Fails when the port cannot be had. */
MUST_USE int api_new(struct loop *loop, const struct api_options *options, struct api **out_api,
                     struct err *err);
uint16_t api_port(const struct api *api);
struct http_server *api_server(const struct api *api); /* for what else is served on its port */
/* Drops all connections. Takes NULL. */
void api_free(struct api *api);
