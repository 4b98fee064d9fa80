/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A service connection: always trying to be connected, one query after the other.
 *
 * Every session starts with search_path = pg_catalog (names in its queries carry their schema), UTF-8, no
 * statement timeout and read-write transactions, whatever role and database say.
 */
#pragma once

#include "pg/login.h"
#include "pg/result.h"

struct loop;
struct pg_client;
struct pg_query;

enum pg_client_state { PG_CLIENT_CONNECTING, PG_CLIENT_UP, PG_CLIENT_DOWN };

struct pg_client_options {
    const char *url;
    bool require_ssl;
    const char *application_name;
};

enum { PG_CLIENT_QUEUE = 1000 }; /* queries waiting; one more fails at once with 53400 */

/* why: the reason when DOWN, else NULL. After DOWN the next attempt follows by itself, after 0.2 s, doubling
 * up to 10 s, or 0.5 s while the server is starting, each ± 20 %. The callback may free the client. */
typedef void (*pg_client_state_fn)(void *ctx, enum pg_client_state state, const struct login_error *why);

/* Starts connecting; the first state told is UP or DOWN, and never before this has returned. */
struct pg_client *pg_client_new(struct loop *loop, const struct pg_client_options *options,
                                pg_client_state_fn fn, void *ctx);
/* Closes at once. Callbacks of waiting queries are not called. Takes NULL. */
void pg_client_free(struct pg_client *c);

enum pg_client_state pg_client_state(const struct pg_client *c);
const char *pg_client_state_name(enum pg_client_state state);
/* 150004 for 15.4; 0 until the connection was up once. */
int pg_client_server_version(const struct pg_client *c);

/* Called exactly once a query, never before pg_client_query() has returned. The result is valid during the
 * call. */
typedef void (*pg_query_fn)(void *ctx, const struct pg_result *result);

/*
 * Runs one statement with $1… from params (text; NULL entries are NULL values; copied). Text results. Queries
 * run in the order given; while the connection is not up they fail with 08003. A query is never sent twice.
 */
struct pg_query *pg_client_query(struct pg_client *c, const char *sql, const char *const *params,
                                 size_t params_n, pg_query_fn fn, void *ctx);
/* Runs a text of several statements by the simple protocol; the result has the rows of the last that gave
 * any. */
struct pg_query *pg_client_exec_script(struct pg_client *c, const char *sql, pg_query_fn fn, void *ctx);
/* The owner has lost interest: the query runs, its callback does not. Only before the callback. Takes NULL.
 */
void pg_query_forget(struct pg_query *q);
