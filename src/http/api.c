/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes and the life of a request that has to ask the database: a struct call is in the api's list from its
 * query until its answer. It ends with the query's result, with its timer, or with the client; whichever
 * comes first takes the others back.
 */
#include "http/api.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/metrics.h"
#include "http/migrations.h"
#include "pg/client.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNTS_MS = 1000, HISTORY_MS = 15000, CALLS = 200 };

struct api {
    struct loop *loop;
    struct http_server *server;
    struct pg_client *client;
    const struct api_state *state;
    const char *version;
    api_fill_fn fill;
    uint64_t *history_faults;
    void *ctx;
    double start_time;
    struct call *calls;
    unsigned calls_n;
};

typedef void (*answer_fn)(struct call *c, const struct pg_result *result); /* NULL: no answer in time */

struct call {
    struct api *api;
    struct call *next, **prev;
    struct http_request *request;
    struct pg_query *query; /* NULL once answered */
    struct timer *timer;
    answer_fn answer;
    enum dialect dialect;
    char *after;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- answers ---- */

static void respond_text(struct http_request *r, int status, const char *text)
{
    http_respond(r, status, "text/plain; charset=utf-8", text, strlen(text));
}

/* The message may hold what the client has sent: then it need not be UTF-8. */
static void respond_error(struct http_request *r, int status, const char *message)
{
    json_t *object = json_pack("{s:s}", "error", message);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    const char *body = text ? text : "{\"error\":\"the request is not UTF-8\"}";
    http_respond(r, status, "application/json", body, strlen(body));
    free(text);
    json_decref(object);
}

/* ---- calls ---- */

static void free_call(struct call *c)
{
    pg_query_forget(c->query);
    timer_free(c->timer);
    *c->prev = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    c->api->calls_n--;
    free(c->after);
    free(c);
}

static void finish_call(struct call *c, const struct pg_result *result)
{
    c->answer(c, result);
    free_call(c);
}

static void on_result(void *ctx, const struct pg_result *result)
{
    struct call *c = ctx;
    c->query = NULL;
    finish_call(c, result);
}

static void on_timeout(void *ctx)
{
    finish_call(ctx, NULL);
}

static void on_client_gone(void *ctx)
{
    free_call(ctx);
}

static struct call *start_call(struct api *api, struct http_request *r, const char *sql, uint64_t timeout_ms,
                               answer_fn answer)
{
    struct call *c = mem_zalloc(sizeof *c);
    c->api = api;
    c->request = r;
    c->answer = answer;
    c->next = api->calls;
    c->prev = &api->calls;
    if (c->next) {
        c->next->prev = &c->next;
    }
    api->calls = c;
    api->calls_n++;
    c->timer = timer_new(api->loop, on_timeout, c);
    timer_start(c->timer, timeout_ms);
    c->query = pg_client_query(api->client, sql, NULL, 0, on_result, c);
    http_request_on_cancel(r, on_client_gone, c);
    return c;
}

/* ---- numbers ---- */

static void write_numbers(struct api *api, struct http_request *r, const struct pg_result *counts)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(API_TEXT_MAX);
    struct metrics m = {
        .state = api->state,
        .version = api->version,
        .postgres_state = pg_client_state_name(pg_client_state(api->client)),
        .start_time = api->start_time,
        .now = now(),
    };
    if (api->fill) {
        api->fill(api->ctx, &m.numbers, &m.sync);
    }
    m.counted = counts && counts->ok && counts->rows == 1 &&
                str_to_u64(pg_result_get(counts, 0, 0), UINT64_MAX, &m.migrations) &&
                str_to_u64(pg_result_get(counts, 0, 1), UINT64_MAX, &m.electrified_tables);
    if (str_eq(http_request_path(r), STR("/metrics"))) {
        metrics_measure_process(&m);
        metrics_write_text(&m, &out);
        http_respond(r, 200, "text/plain; version=0.0.4; charset=utf-8", out.p, out.n);
    } else {
        metrics_write_json(&m, &out);
        http_respond(r, api->state->ready ? 200 : 503, "application/json", out.p, out.n);
    }
}

static void on_counts(struct call *c, const struct pg_result *result)
{
    write_numbers(c->api, c->request, result);
}

/* What the database is asked is left out when it does not answer: numbers are wanted most when something is
 * wrong. */
static void get_numbers(struct api *api, struct http_request *r)
{
    if (!api->state->ready || api->calls_n >= CALLS) {
        write_numbers(api, r, NULL);
        return;
    }
    start_call(api, r,
               "SELECT (SELECT count(*) FROM busbar.migration), (SELECT count(*) FROM busbar.electrified)",
               COUNTS_MS, on_counts);
}

/* ---- status ---- */

static void get_status(struct api *api, struct http_request *r)
{
    if (api->state->ready) {
        respond_text(r, 200, "Connection to Postgres is up!");
    } else if (pg_client_state(api->client) == PG_CLIENT_DOWN) {
        respond_text(r, 503, "Database connection failure.");
    } else {
        respond_text(r, 503,
                     "Initializing connection to Posgres..."); /* published tools know this spelling */
    }
}

/* ---- migrations ---- */

static int make_archive(struct call *c, const struct pg_result *result, struct buf *out, struct err *err)
{
    CLEANUP(mem_free_p) struct history_row *rows = mem_alloc_array(result->rows + 1, sizeof *rows);
    for (size_t i = 0; i < result->rows; i++) {
        rows[i] = (struct history_row){pg_result_get(result, i, 0), pg_result_get(result, i, 1)};
    }
    return migrations_zip(rows, result->rows, c->dialect, str_c(c->after), out, err);
}

static void on_history(struct call *c, const struct pg_result *result)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(MIGRATIONS_ZIP_MAX);
    struct err err = ERR_INIT;
    if (!result) {
        respond_error(c->request, 503, "the database does not answer");
        return;
    }
    if (!result->ok) {
        log_warning(NULL, "the history of migrations cannot be read: %s sqlstate=%s", result->err.msg,
                    result->err.sqlstate);
        respond_error(c->request, 503, "the history of migrations cannot be read");
        return;
    }
    switch (make_archive(c, result, &out, &err)) {
    case MIGRATIONS_NONE:
        http_respond(c->request, 204, NULL, NULL, 0);
        break;
    case MIGRATIONS_SOME:
        http_respond(c->request, 200, "application/zip", out.p, out.n);
        break;
    default:
        log_error(NULL, "the history of migrations cannot be rendered: %s", err.msg);
        if (c->api->history_faults) {
            ++*c->api->history_faults;
        }
        respond_error(c->request, 500, "the history of migrations cannot be rendered");
        break;
    }
}

/* Returns false when the request has been answered with what is wrong. */
static bool take_dialect(struct http_request *r, enum dialect *out_dialect)
{
    const char *name = http_request_query(r, "dialect");
    char message[HTTP_HEADERS + 64];
    if (!name) {
        respond_error(r, 403, "missing required parameter 'dialect'");
        return false;
    }
    if (strcmp(name, "sqlite") == 0 || strcmp(name, "postgresql") == 0) {
        *out_dialect = name[0] == 's' ? DIALECT_SQLITE : DIALECT_POSTGRES;
        return true;
    }
    snprintf(message, sizeof message, "unsupported dialect \"%s\"", name);
    respond_error(r, 403, message);
    return false;
}

static void get_migrations(struct api *api, struct http_request *r)
{
    enum dialect dialect;
    const char *after = http_request_query(r, "version");
    if (!take_dialect(r, &dialect)) {
        return;
    }
    if (!api->state->ready) {
        respond_error(r, 503, api->state->reason[0] ? api->state->reason : "the service is starting");
        return;
    }
    if (api->calls_n >= CALLS) {
        respond_error(r, 503, "too many requests");
        return;
    }
    struct call *c = start_call(api, r, "SELECT version, ops FROM busbar.history('') ORDER BY seq, id",
                                HISTORY_MS, on_history);
    c->dialect = dialect;
    c->after = mem_strdup(after ? after : "");
}

/* ---- routes ---- */

static void get_proxy(struct api *api, struct http_request *r)
{
    respond_text(r, 404, "Migrations proxy is not configured to accept WebSocket connections");
}

static const struct {
    const char *path;
    void (*get)(struct api *api, struct http_request *r);
} routes[] = {
    {"/api/status", get_status}, {"/api/health", get_numbers}, {"/api/migrations", get_migrations},
    {"/metrics", get_numbers},   {"/proxy", get_proxy},
};

static void on_request(void *ctx, struct http_request *r)
{
    struct str path = http_request_path(r);
    if (str_starts_with(path, STR("/api/"))) {
        http_request_header(r, "access-control-allow-origin", "*");
        http_request_header(r, "cache-control", "no-store");
    }
    for (size_t i = 0; i < ARRAY_LEN(routes) && http_request_method(r) != HTTP_OTHER; i++) {
        if (str_eq(path, str_c(routes[i].path))) {
            routes[i].get(ctx, r);
            return;
        }
    }
    respond_text(r, 404, "Not found");
}

int api_new(struct loop *loop, const struct api_options *options, struct api **out_api, struct err *err)
{
    struct api *api = mem_zalloc(sizeof *api);
    api->loop = loop;
    api->client = options->client;
    api->state = options->state;
    api->version = options->version;
    api->fill = options->fill;
    api->history_faults = options->history_faults;
    api->ctx = options->ctx;
    api->start_time = now();
    if (http_server_new(loop, &options->http, on_request, api, &api->server, err) < 0) {
        free(api);
        return -1;
    }
    *out_api = api;
    return 0;
}

uint16_t api_port(const struct api *api)
{
    return http_server_port(api->server);
}

struct http_server *api_server(const struct api *api)
{
    return api->server;
}

void api_free(struct api *api)
{
    if (!api) {
        return;
    }
    http_server_free(api->server);
    while (api->calls) {
        free_call(api->calls);
    }
    free(api);
}
