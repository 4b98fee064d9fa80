/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time that the loop spends inside the session, by a clock around each call: no sockets, no other process.
 * Prints one line a case: name, calls, the longest call and all calls together in µs; of RUNS runs, the
 * medians.
 *
 * A long statement comes in reads of LIMIT_READ bytes, each in the same buffer, as from a socket. Short ones
 * are timed BATCH at a time, a round trip (the messages of the client, the answer of the server) counting as
 * one call.
 */
#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "measure.h"
#include "proxy/session.h"
#include "sql/statement.h"
#include "wire/message.h"

#include <stdio.h>
#include <stdlib.h>

enum { RUNS = 51, BATCH = 1000, LONG_STATEMENT = 1024 * 1024, ROWS = 600 };

static const char select_text[] = "SELECT abalance FROM pgbench_accounts WHERE aid = 483920;";

/* One run of a case. */
struct cost {
    double longest, total; /* µs */
    size_t calls;
};

static void discard(void *ctx, const char *p, size_t n)
{
    *(size_t *)ctx += n;
}

static void nothing(void *ctx)
{
}

static const struct session_out out = {discard, discard, nothing, nothing, nothing};

static void must(int rc, const struct err *err)
{
    if (rc < 0) {
        fprintf(stderr, "session_cost: %s\n", err->msg);
        exit(1);
    }
}

/* --- messages --- */

static void put_message(struct buf *b, char type, const void *body, size_t n)
{
    buf_put_byte(b, type);
    buf_put_u32be(b, (uint32_t)n + 4);
    buf_put(b, body, n);
}

/* The unnamed statement. */
static void put_parse_unnamed(struct buf *b, struct str text)
{
    put_parse(b, STR(""), text);
}

static void put_bind_to_sync(struct buf *b)
{
    put_bind(b, STR(""), STR(""), NULL, 0);
    put_message(b, 'D', "P", 2);
    put_execute(b, STR(""));
    put_sync(b);
}

/* One row of one column, as pgbench -S gets it. */
static void put_row(struct buf *b)
{
    static const char description[] = "\0\1abalance\0\0\0\100\0\0\3\0\0\0\27\0\4\377\377\377\377\0";
    put_message(b, 'T', description, sizeof description);
    put_message(b, 'D',
                "\0\1\0\0\0\1"
                "0",
                7);
    put_command_complete(b, STR("SELECT 1"));
    put_ready(b, 'I');
}

/* --- short statements --- */

struct exchange {
    struct buf client, server;
};

static struct cost time_exchange(const struct exchange *x)
{
    size_t bytes = 0;
    struct session_counters counters = {0};
    struct err err;
    struct session *s = session_new(&out, &bytes, "", &counters);
    double began = now_us();
    for (int i = 0; i < BATCH; i++) {
        must(session_feed_client(s, x->client.p, x->client.n, &err), &err);
        must(session_feed_server(s, x->server.p, x->server.n, &err), &err);
    }
    double each = (now_us() - began) / BATCH;
    session_free(s);
    return (struct cost){.longest = each, .total = each, .calls = 1};
}

static struct cost time_look(const void *ctx)
{
    struct str text = str_c(select_text);
    volatile bool plain = false; /* or the calls could go */
    double began = now_us();
    for (int i = 0; i < BATCH; i++) {
        plain = statement_is_plain(text, true, true);
    }
    double each = (now_us() - began) / BATCH;
    if (!plain) {
        exit(1);
    }
    return (struct cost){.longest = each, .total = each, .calls = 1};
}

static struct cost time_simple(const void *ctx)
{
    struct exchange x = {BUF_INIT(LIMIT_READ), BUF_INIT(LIMIT_READ)};
    put_query(&x.client, str_c(select_text));
    put_row(&x.server);
    struct cost cost = time_exchange(&x);
    buf_deinit(&x.client);
    buf_deinit(&x.server);
    return cost;
}

/* What stands around the statements of a transaction. */
static struct cost time_block(const void *ctx)
{
    struct exchange x = {BUF_INIT(LIMIT_READ), BUF_INIT(LIMIT_READ)};
    put_query(&x.client, STR("BEGIN"));
    put_query(&x.client, STR("COMMIT"));
    put_command_complete(&x.server, STR("BEGIN"));
    put_ready(&x.server, 'T');
    put_command_complete(&x.server, STR("COMMIT"));
    put_ready(&x.server, 'I');
    struct cost cost = time_exchange(&x);
    buf_deinit(&x.client);
    buf_deinit(&x.server);
    return cost;
}

static struct cost time_extended(const void *ctx)
{
    bool parse = ctx != NULL;
    struct exchange x = {BUF_INIT(LIMIT_READ), BUF_INIT(LIMIT_READ)};
    if (parse) {
        put_parse_unnamed(&x.client, str_c(select_text));
        put_message(&x.server, '1', NULL, 0);
    }
    put_bind_to_sync(&x.client);
    put_message(&x.server, '2', NULL, 0);
    put_row(&x.server);
    struct cost cost = time_exchange(&x);
    buf_deinit(&x.client);
    buf_deinit(&x.server);
    return cost;
}

/* --- long ones --- */

static void put_insert(struct buf *b, const char *value)
{
    buf_put_c(b, "INSERT INTO events (id, kind, note, amount) VALUES ");
    for (int i = 0; b->n < LONG_STATEMENT; i++) {
        buf_printf(b, "%s(%d, 'kind-%d', %s, %d.%02d)", i ? ", " : "", i, i % 13, value, i % 1000, i % 100);
    }
}

/* Time of each call is taken; what follows of the message in the next reads is the same statement's. */
static struct cost time_message(const struct buf *message, const struct buf *answer)
{
    size_t bytes = 0;
    struct session_counters counters = {0};
    struct err err;
    struct session *s = session_new(&out, &bytes, "", &counters);
    char *read_buffer = mem_alloc(LIMIT_READ);
    struct cost cost = {0};
    for (size_t at = 0; at < message->n; cost.calls++) {
        size_t n = message->n - at < LIMIT_READ ? message->n - at : LIMIT_READ;
        memcpy(read_buffer, message->p + at, n);
        double began = now_us();
        must(session_feed_client(s, read_buffer, n, &err), &err);
        double took = now_us() - began;
        cost.longest = took > cost.longest ? took : cost.longest;
        cost.total += took;
        at += n;
    }
    must(session_feed_server(s, answer->p, answer->n, &err), &err);
    if (bytes < message->n) {
        fprintf(stderr, "session_cost: the statement did not go through\n");
        exit(1);
    }
    free(read_buffer);
    session_free(s);
    return cost;
}

struct insert {
    const char *value; /* of a column, as SQL */
    bool parse;        /* by Parse, not by Query */
};

static struct cost time_insert(const void *ctx)
{
    const struct insert *insert = ctx;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(2 * LONG_STATEMENT);
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(4 * LONG_STATEMENT);
    CLEANUP(buf_deinit) struct buf answer = BUF_INIT(LIMIT_READ);
    put_insert(&text, insert->value);
    if (insert->parse) {
        put_parse_unnamed(&message, buf_str(&text));
        put_bind_to_sync(&message);
        put_message(&answer, '1', NULL, 0);
        put_message(&answer, '2', NULL, 0);
        put_message(&answer, 'n', NULL, 0);
    } else {
        put_query(&message, buf_str(&text));
    }
    put_command_complete(&answer, STR("INSERT 0 1"));
    put_ready(&answer, 'I');
    return time_message(&message, &answer);
}

/* --- COPY --- */

/* One row a message, as servers and most drivers send them. Out: by the server, else by the client. */
static struct cost time_copy(const void *ctx)
{
    bool to_client = ctx != NULL;
    size_t bytes = 0;
    struct session_counters counters = {0};
    struct err err;
    struct cost cost = {0};
    CLEANUP(buf_deinit) struct buf messages = BUF_INIT(LIMIT_READ);
    CLEANUP(buf_deinit) struct buf begin = BUF_INIT(LIMIT_READ);
    struct session *s = session_new(&out, &bytes, "", &counters);
    char row[100];
    memset(row, 'x', sizeof row);
    for (int i = 0; i < ROWS; i++) {
        put_message(&messages, 'd', row, sizeof row);
    }
    put_query(&begin, STR("COPY t FROM STDIN"));
    must(session_feed_client(s, begin.p, begin.n, &err), &err);
    must(session_feed_server(s, to_client ? "H\0\0\0\7\0\0\0" : "G\0\0\0\7\0\0\0", 8, &err), &err);
    double before = now_us();
    int rc = to_client ? session_feed_server(s, messages.p, messages.n, &err)
                       : session_feed_client(s, messages.p, messages.n, &err);
    cost.total = cost.longest = now_us() - before;
    cost.calls = 1;
    must(rc, &err);
    session_free(s);
    return cost;
}

/* --- all --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, RUNS, sizeof *values, by_value);
    return values[RUNS / 2];
}

static void report(const char *name, struct cost (*run)(const void *ctx), const void *ctx)
{
    double longest[RUNS], total[RUNS];
    size_t calls = 0;
    for (int i = 0; i < RUNS; i++) {
        struct cost cost = run(ctx);
        longest[i] = cost.longest;
        total[i] = cost.total;
        calls = cost.calls;
    }
    printf("%s\t%zu\t%.4f\t%.4f\n", name, calls, median(longest), median(total));
    fflush(stdout);
}

int main(void)
{
    static const struct insert query = {"'a note of some length'", false};
    static const struct insert parse = {"'a note of some length'", true};
    static const struct insert query_semicolons = {"'a note; with one'", false};
    static const struct insert parse_semicolons = {"'a note; with one'", true};
    log_set_level(LOG_ERROR);
    report("look at a SELECT", time_look, NULL);
    report("SELECT, simple", time_simple, NULL);
    report("BEGIN and COMMIT, simple", time_block, NULL);
    report("SELECT, extended", time_extended, "parse");
    report("SELECT, prepared", time_extended, NULL);
    report("64 kB of COPY rows of 100 bytes, out", time_copy, "out");
    report("64 kB of COPY rows of 100 bytes, in", time_copy, NULL);
    report("1 MB INSERT, Query", time_insert, &query);
    report("1 MB INSERT, Parse", time_insert, &parse);
    report("1 MB INSERT with ; in values, Query", time_insert, &query_semicolons);
    report("1 MB INSERT with ; in values, Parse", time_insert, &parse_semicolons);
    return 0;
}
