/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service says over HTTP: /api/status, /api/health, /api/migrations, /metrics.
 *
 * The application owns a struct api_state and a fill function:
 *   - api_state is read at each request, so it is enough to write its fields when something happens. Until
 * `ready` /api/status and /api/migrations answer 503; `reason` says why, in words for people.
 *   - fill is called at each request that shows numbers, and sets what it has; the struct comes zeroed.
 * What is in the database (how many migrations, how many tables) is asked of it by the service connection.
 */
#pragma once

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

struct api_numbers {
    unsigned workers;
    uint64_t connections;       /* now, those not yet logged in among them */
    uint64_t sessions;          /* now */
    uint64_t connections_total; /* since the start, as everything below */
    uint64_t connections_dropped;
    uint64_t sessions_total;
    uint64_t logins_refused; /* by the proxy */
    uint64_t logins_failed;  /* by PostgreSQL */
    uint64_t login_ms;       /* that all logins to PostgreSQL took together */
    uint64_t cancels, timeouts;
    uint64_t bytes_from_clients, bytes_from_server;
    uint64_t messages_from_clients, messages_from_server;
    uint64_t statements_inspected; /* looked at by the grammar */
    uint64_t ddlx_statements;
    uint64_t migrations_recorded, migrations_refused;
};

enum { API_TEXT_MAX = 4 * 1024 * 1024 }; /* of /api/health and /metrics */

typedef void (*api_fill_fn)(void *ctx, struct api_numbers *out_numbers);

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
/* Drops all connections. Takes NULL. */
void api_free(struct api *api);
