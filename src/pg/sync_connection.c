/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libpq is used in its asynchronous form all the same: only so can a waiting call be interrupted, and only so
 * is every result of a text of several statements seen. Signals are the owner's business: it blocks them and
 * looks at what is pending in keep_on().
 */
#include "pg/sync_connection.h"

#include "base/mem.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEP_MS = 100, CONNECT_MS = 10000, CANCEL_TEXT = 256 };

struct sync_connection {
    PGconn *conn;
    struct sync_options options; /* its texts are not used after sync_open() */
    bool cancelled;              /* the running statement */
    uint64_t started_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void sync_close(struct sync_connection *c)
{
    if (c) {
        PQfinish(c->conn);
        free(c);
    }
}

static void on_notice(void *ctx, const PGresult *result)
{
    const struct sync_connection *c = ctx;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (c->options.notice && severity && message) {
        c->options.notice(c->options.ctx, severity, message);
    }
}

static bool keeps_on(struct sync_connection *c)
{
    return !c->options.keep_on || c->options.keep_on(c->options.ctx, (unsigned)(now_ms() - c->started_ms));
}

/* libpq explains a URL it cannot read by quoting it, password included: that text is not used. */
static int look_at_url(const char *url, bool *out_has_timeout, struct err *err)
{
    char *reason = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &reason);
    PQfreemem(reason);
    if (!options) {
        return err_set(err, ERR_INPUT, "the database URL cannot be read");
    }
    *out_has_timeout = getenv("PGCONNECT_TIMEOUT") != NULL;
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        *out_has_timeout |= o->val && strcmp(o->keyword, "connect_timeout") == 0;
    }
    PQconninfoFree(options);
    return 0;
}

/* PQconnectPoll() may change the socket: it is asked for each time. Returns false when the time or patience
 * is over. */
static bool poll_connection(struct sync_connection *c, bool limited)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
        struct pollfd p = {PQsocket(c->conn), state == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};
        int n = poll(&p, 1, STEP_MS);
        if (n > 0) {
            state = PQconnectPoll(c->conn);
        } else if (!keeps_on(c) || (limited && now_ms() - c->started_ms > CONNECT_MS)) {
            return false;
        }
    }
    return true;
}

/* What libpq says ends in a line break and may have several lines. */
static int set_connect_error(PGconn *conn, struct err *err)
{
    struct str text = str_trim(str_c(PQerrorMessage(conn)));
    err_set_sqlstate(err, ERR_UPSTREAM, "08001", "%.*s", STR_ARG(text));
    for (char *p = err->msg; *p; p++) {
        *p = *p == '\n' || *p == '\t' ? ' ' : *p;
    }
    return -1;
}

int sync_open(const struct sync_options *options, struct sync_connection **out, struct err *err)
{
    bool has_timeout = false;
    if (look_at_url(options->url, &has_timeout, err) < 0) {
        return -1;
    }
    const char *keywords[] = {"dbname", "application_name", "client_encoding", NULL};
    const char *values[] = {options->url, options->application_name, "UTF8", NULL};
    struct sync_connection *c = mem_zalloc(sizeof *c);
    c->options = *options;
    c->started_ms = now_ms();
    c->conn = PQconnectStartParams(keywords, values, 1);
    if (!c->conn) {
        abort(); /* out of memory, see base/mem.h */
    }
    PQsetNoticeReceiver(c->conn, on_notice, c);
    bool in_time = PQstatus(c->conn) == CONNECTION_BAD || poll_connection(c, !has_timeout);
    if (PQstatus(c->conn) == CONNECTION_OK) {
        *out = c;
        return 0;
    }
    if (in_time) {
        set_connect_error(c->conn, err);
    } else {
        err_set_sqlstate(err, ERR_UPSTREAM, "08001", "no answer from the database server %s",
                         PQhost(c->conn));
    }
    sync_close(c);
    return -1;
}

bool sync_is_up(struct sync_connection *c)
{
    struct pollfd p = {PQsocket(c->conn), POLLIN, 0};
    if (PQstatus(c->conn) == CONNECTION_OK && poll(&p, 1, 0) > 0) {
        ignore_result(PQconsumeInput(c->conn)); /* the status tells */
    }
    return PQstatus(c->conn) == CONNECTION_OK;
}

bool sync_in_transaction(const struct sync_connection *c)
{
    PGTransactionStatusType status = PQtransactionStatus(c->conn);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR;
}

void sync_answer_deinit(struct sync_answer *a)
{
    pg_result_deinit(&a->result);
}

static void cancel(struct sync_connection *c)
{
    char text[CANCEL_TEXT];
    PGcancel *request = PQgetCancel(c->conn);
    c->cancelled = true;
    if (request) {
        ignore_result(
            PQcancel(request, text, sizeof text)); /* if it does not get there, the statement goes on */
        PQfreeCancel(request);
    }
}

static bool wait_for_result(struct sync_connection *c)
{
    while (PQisBusy(c->conn)) {
        struct pollfd p = {PQsocket(c->conn), POLLIN, 0};
        int n = poll(&p, 1, STEP_MS);
        if (n > 0 && !PQconsumeInput(c->conn)) {
            return false;
        }
        if (n <= 0 && !c->cancelled && !keeps_on(c)) {
            cancel(c);
        }
    }
    return true;
}

static void note_failure(const PGresult *res, struct sync_answer *out)
{
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
    uint64_t at;
    if (out->result.ok) {
        pg_result_fail_from(&out->result, res);
        out->position = position && str_to_u64(str_c(position), SIZE_MAX, &at) ? (size_t)at : 0;
        out->context = context ? arena_strdup(&out->result.arena, context) : "";
    }
}

/* The data of a COPY has no place in a text of statements; both directions are ended before they begin. */
static void refuse_copy(struct sync_connection *c, ExecStatusType status, struct sync_answer *out)
{
    char *data = NULL;
    pg_result_fail(&out->result, "0A000",
                   "COPY from standard input or to standard output is not possible here");
    if (status == PGRES_COPY_IN) {
        ignore_result(PQputCopyEnd(c->conn, "COPY FROM STDIN is not possible here"));
        return;
    }
    cancel(c);
    while (PQgetCopyData(c->conn, &data, 0) > 0) {
        PQfreemem(data);
    }
}

static void take_result(struct sync_connection *c, const PGresult *res, struct sync_answer *out)
{
    ExecStatusType status = PQresultStatus(res);
    switch (status) {
    case PGRES_TUPLES_OK:
        pg_result_clear_rows(&out->result);
        pg_result_add_rows(&out->result, res);
        out->completed++;
        break;
    case PGRES_COMMAND_OK:
        out->completed++;
        break;
    case PGRES_EMPTY_QUERY:
        break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        refuse_copy(c, status, out);
        break;
    case PGRES_BAD_RESPONSE:
    case PGRES_NONFATAL_ERROR:
    case PGRES_FATAL_ERROR:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_SYNC:
    case PGRES_PIPELINE_ABORTED:
        note_failure(res, out);
        break;
    }
}

static int collect(struct sync_connection *c, int sent, struct sync_answer *out)
{
    c->cancelled = false;
    c->started_ms = now_ms();
    while (sent && wait_for_result(c)) {
        PGresult *res = PQgetResult(c->conn);
        if (!res) {
            return out->result.ok ? 0 : -1;
        }
        take_result(c, res, out);
        PQclear(res);
    }
    pg_result_fail(&out->result, sent ? "08006" : "08003", PQerrorMessage(c->conn));
    return -1;
}

static void answer_init(struct sync_answer *out)
{
    *out = (struct sync_answer){.context = ""};
    pg_result_init(&out->result);
}

int sync_script(struct sync_connection *c, const char *sql, struct sync_answer *out)
{
    answer_init(out);
    return collect(c, PQsendQuery(c->conn, sql), out);
}

int sync_query(struct sync_connection *c, const char *sql, const char *const *params, size_t params_n,
               struct sync_answer *out)
{
    answer_init(out);
    return collect(c, PQsendQueryParams(c->conn, sql, (int)params_n, NULL, params, NULL, NULL, 0), out);
}

int sync_environment(struct arena *a, const char *url, const char ***out, struct err *err)
{
    char *reason = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &reason);
    PQfreemem(reason);
    if (!options) {
        return err_set(err, ERR_INPUT, "the database URL cannot be read");
    }
    size_t n = 0, count = 0;
    while (options[count].keyword) {
        count++;
    }
    const char **list = arena_alloc_array(a, count + 1, sizeof *list);
    for (size_t i = 0; i < count; i++) {
        if (options[i].val && options[i].envvar) {
            list[n++] = arena_printf(a, "%s=%s", options[i].envvar, options[i].val);
        }
    }
    PQconninfoFree(options);
    *out = list;
    return 0;
}
