/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   BEGIN → prove to be the proxy → adopt() → (nothing: end) → pending() → proof in SQLite → record() →
 * COMMIT
 *
 * Whatever fails ends the connection, and the transaction with it.
 */
#include "app/adopt.h"

#include "app/config.h"
#include "base/mem.h"
#include "dialect/proof.h"
#include "pg/client.h"
#include "proxy/token.h"

#include <stdlib.h>
#include <string.h>

struct adopt {
    struct pg_client *client;
    adopt_fn fn;
    void *ctx;
    bool indexes_only;
    uint64_t tables;
    char *version;
    char token[TOKEN_SIZE + 1];
    struct err token_err; /* why there is none */
};

typedef void step_fn(void *ctx, const struct pg_result *r);

void adopt_cancel(struct adopt *a)
{
    if (!a) {
        return;
    }
    pg_client_free(a->client);
    mem_wipe(a->token, sizeof a->token);
    free(a->version);
    free(a);
}

static void deliver(struct adopt *a, const struct adopt_outcome *outcome)
{
    a->fn(a->ctx, outcome);
    adopt_cancel(a);
}

static void fail(struct adopt *a, const struct err *err, const char *detail, const char *hint)
{
    deliver(a, &(struct adopt_outcome){.err = *err, .detail = detail, .hint = hint});
}

static void run(struct adopt *a, const char *sql, const char *param, step_fn *then)
{
    pg_client_query(a->client, sql, &param, param ? 1 : 0, then, a);
}

/* Ends with the failure when the query was refused. */
static bool went_well(struct adopt *a, const struct pg_result *r)
{
    if (!r->ok) {
        fail(a, &r->err, r->detail, r->hint);
    }
    return r->ok;
}

static void on_committed(void *ctx, const struct pg_result *r)
{
    struct adopt *a = ctx;
    if (went_well(a, r)) {
        deliver(a, &(struct adopt_outcome){
                       .ok = true, .tables = a->tables, .version = a->version, .detail = "", .hint = ""});
    }
}

static void on_recorded(void *ctx, const struct pg_result *r)
{
    struct adopt *a = ctx;
    if (went_well(a, r)) {
        const char *version = pg_result_cstr(r, 0, 0);
        a->version = mem_strdup(version ? version : "");
        run(a, "COMMIT", NULL, on_committed);
    }
}

static int prove(const struct pg_result *r, struct err *err)
{
    CLEANUP(mem_free_p) struct str *ops = mem_alloc_array(r->rows + 1, sizeof *ops);
    size_t recorded = 0;
    for (size_t i = 0; i < r->rows; i++) {
        recorded += pg_result_is_true(r, i, 0);
        ops[i] = pg_result_get(r, i, 1);
    }
    return proof_run(ops, r->rows, recorded, err);
}

static void on_pending(void *ctx, const struct pg_result *r)
{
    struct adopt *a = ctx;
    struct err err = ERR_INIT;
    if (!went_well(a, r)) {
        return;
    }
    if (prove(r, &err) < 0) {
        err_context(&err, "client apps cannot apply the change");
        fail(a, &err, "", "");
        return;
    }
    run(a, "SELECT busbar.record('[]')", NULL, on_recorded);
}

static void on_adopted(void *ctx, const struct pg_result *r)
{
    struct adopt *a = ctx;
    if (!went_well(a, r)) {
        return;
    }
    a->tables = pg_result_u64(r, 0, 0);
    if (a->tables == 0) {
        deliver(a, &(struct adopt_outcome){.ok = true, .version = "", .detail = "", .hint = ""});
        return;
    }
    run(a, "SELECT kind = 'recorded', convert_from(decode(ops, 'hex'), 'UTF8') FROM busbar.pending()", NULL,
        on_pending);
}

static void on_known(void *ctx, const struct pg_result *r)
{
    struct adopt *a = ctx;
    if (went_well(a, r)) {
        run(a, "SELECT busbar.adopt($1)", a->indexes_only ? "true" : "false", on_adopted);
    }
}

static void on_begun(void *ctx, const struct pg_result *r)
{
    struct adopt *a = ctx;
    if (went_well(a, r)) {
        run(a, "SELECT set_config('busbar.session', $1, true)", a->token, on_known);
    }
}

static void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct adopt *a = ctx;
    switch (state) {
    case PG_CLIENT_UP:
        if (a->token_err.kind != ERR_NONE) {
            fail(a, &a->token_err, "", "");
            return;
        }
        run(a, "BEGIN", NULL, on_begun);
        return;
    case PG_CLIENT_DOWN:
        fail(a, &why->err, why->detail, why->hint);
        return;
    case PG_CLIENT_CONNECTING:
        return;
    }
}

struct adopt *adopt_start(struct loop *loop, const struct config *config, const char *secret,
                          bool indexes_only, adopt_fn fn, void *ctx)
{
    struct adopt *a = mem_zalloc(sizeof *a);
    struct pg_client_options client = {.url = config->database.conninfo,
                                       .require_ssl = config->database.require_ssl,
                                       .application_name = "busbar"};
    a->fn = fn;
    a->ctx = ctx;
    a->indexes_only = indexes_only;
    ignore_result(token_make(secret, a->token, &a->token_err)); /* told when the connection is up */
    a->client = pg_client_new(loop, &client, on_state, a);
    return a;
}
