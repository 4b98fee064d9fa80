/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection for a command that does one thing after the other: every call blocks until the server has
 * answered. The loop has no part in it. libpq reads the URL and its environment (PGSSLMODE, PGPASSFILE, …) as
 * psql does.
 *
 * What waits looks up ten times a second, calls the owner's `keep_on` and, when that says so, asks the server
 * to cancel. One thread at a time.
 */
#pragma once

#include "pg/result.h"

struct sync_connection;

/* Called while a statement runs, `waited_ms` after it was sent. False: the statement is cancelled (57014). It
 * may use other connections, not this one. */
typedef bool (*sync_keep_on_fn)(void *ctx, unsigned waited_ms);
/* A notice or warning of the server; the texts are valid during the call. */
typedef void (*sync_notice_fn)(void *ctx, const char *severity, const char *message);

struct sync_options {
    const char *url; /* URL or libpq connection string; its text never appears in an error */
    const char *application_name;
    sync_keep_on_fn keep_on; /* NULL: never give up */
    sync_notice_fn notice;   /* NULL: notices are dropped */
    void *ctx;
};

/* Connects; 10 s are the limit unless the URL has a connect_timeout. No text of `options` is kept. */
MUST_USE int sync_open(const struct sync_options *options, struct sync_connection **out, struct err *err);
void sync_close(struct sync_connection *c); /* takes NULL */

/* False once the server has closed the connection; costs no round trip. */
bool sync_is_up(struct sync_connection *c);
/* A transaction block is open, failed or not. */
bool sync_in_transaction(const struct sync_connection *c);

/* What came of one call. The caller runs sync_answer_deinit() in any case. */
struct sync_answer {
    struct pg_result result; /* ok, or why not; the rows of the last statement that gave any */
    size_t completed;        /* statements that ended well */
    size_t position;         /* of the error: 1-based, in characters of the text sent; 0 unknown */
    const char *context;     /* where in a function it happened; "" when nowhere */
};

void sync_answer_deinit(struct sync_answer *a); /* may run twice */

/*
 * Runs a text of one statement or several by the simple protocol; nothing may be left of an earlier answer in
 * *out. 0 when all went well. -1 otherwise: out->result.err and its neighbours say why. COPY FROM STDIN and
 * TO STDOUT are refused.
 */
MUST_USE int sync_script(struct sync_connection *c, const char *sql, struct sync_answer *out);
/* Runs one statement with $1… from params (text; NULL entries are NULL values). */
MUST_USE int sync_query(struct sync_connection *c, const char *sql, const char *const *params,
                        size_t params_n, struct sync_answer *out);

/*
 * The settings of a URL as the environment of a PostgreSQL program ("PGHOST=…", in the arena), so that no
 * password stands in an argument list. Ends with NULL. Fails with ERR_INPUT.
 */
MUST_USE int sync_environment(struct arena *a, const char *url, const char ***out, struct err *err);
