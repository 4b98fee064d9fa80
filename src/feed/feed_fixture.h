/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: feeds against a real server; pg/live_test.py makes it and sets the environment. Each test has a
 * database of its own. */
#pragma once

#include "base/mem.h"
#include "feed/feed.h"
#include "net/loop.h"
#include "pg/client.h"
#include "pg/install.h"
#include "txlog/txlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60000, WINDOW = 512 * 1024 * 1024 };

/* One feed, and what it has told. */
struct told {
    struct bench *bench;
    struct feed *feed;
    char folder[100];
    int ready, down, resets, done;
    char reason[512], reset_reason[512];
    struct relations relations;
    lsn_t position; /* what was seen, handed on or in the log */
    lsn_t handed, durable;
    int *ids; /* of the rows inserted into items, as they came */
    size_t n;
    size_t big;   /* rows of table big */
    bool is_read; /* what the log had at the start */
};

struct bench {
    struct loop *loop;
    struct timer *patience;
    struct pg_client *client;
    char url[512], database[32], folder[64];
    struct told one, two;
    bool up, prepared, answered, ok;
    char text[64], error[600];
};

static inline void on_patience(void *ctx)
{
    struct bench *b = ctx;
    fail_msg("waited in vain; the feed is %s", b->one.reason[0] ? b->one.reason : "silent");
}

/* --- the database --- */

static inline void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct bench *b = ctx;
    b->up = state == PG_CLIENT_UP;
    b->prepared = false;
    loop_stop(b->loop);
}

static inline void on_answer(void *ctx, const struct pg_result *r)
{
    struct bench *b = ctx;
    const char *text = r->ok && r->rows > 0 ? pg_result_cstr(r, 0, 0) : NULL;
    b->answered = true;
    b->ok = r->ok;
    snprintf(b->text, sizeof b->text, "%s", text ? text : "");
    snprintf(b->error, sizeof b->error, "%s %s", r->err.sqlstate, r->err.msg);
    loop_stop(b->loop);
}

static inline bool ask(struct bench *b, const char *text)
{
    while (!b->up) {
        loop_run(b->loop);
    }
    b->answered = false;
    pg_client_exec_script(b->client, text, on_answer, b);
    while (!b->answered) {
        loop_run(b->loop);
    }
    return b->ok;
}

static inline bool try_sql(struct bench *b, const char *text)
{
    if (!b->prepared) {
        b->prepared = ask(b, "SET search_path = public");
    }
    return ask(b, text);
}

/* The first value of the last answer. */
static inline const char *sql(struct bench *b, const char *text)
{
    if (!try_sql(b, text)) {
        fail_msg("%s: %s", text, b->error);
    }
    return b->text;
}

static inline void connect_to(struct bench *b, const char *database)
{
    struct pg_client_options options = {.url = b->url, .application_name = "busbar live"};
    const char *base = getenv("BUSBAR_TEST_TLS");
    assert_non_null(base);
    pg_client_free(b->client);
    b->up = false;
    snprintf(b->url, sizeof b->url, "%s dbname=%s", base, database);
    b->client = pg_client_new(b->loop, &options, on_state, b);
}

static inline void on_installed(void *ctx, const struct install_outcome *outcome)
{
    struct bench *b = ctx;
    if (!outcome->ready) {
        fail_msg("%s", outcome->err.msg);
    }
    b->answered = true;
    loop_stop(b->loop);
}

static inline void install(struct bench *b)
{
    while (!b->up) {
        loop_run(b->loop);
    }
    b->answered = false;
    install_start(b->client, &install_embedded, on_installed, b);
    while (!b->answered) {
        loop_run(b->loop);
    }
}

/* The server takes a moment to notice that nobody streams from it any more. */
static inline void drop_slot(struct bench *b)
{
    while (!try_sql(b, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                       " WHERE database = current_database()")) {
    }
}

/* --- a feed --- */

static inline void on_down(void *ctx, const char *reason)
{
    struct told *t = ctx;
    t->down++;
    snprintf(t->reason, sizeof t->reason, "%s", reason);
    loop_stop(t->bench->loop);
}

static inline void note_change(struct told *t, const struct change *c)
{
    struct err err;
    struct value values[16];
    const struct relation *r = c->relation ? relations_get(&t->relations, c->relation) : NULL;
    if (c->kind != CHANGE_INSERT) {
        return;
    }
    assert_non_null(r);
    assert_int_equal(tuple_values(&c->new, values, &err), 0);
    if (str_eq(r->name, STR("items"))) {
        const struct value *id = &values[relation_column(r, STR("id"))];
        uint64_t number;
        assert_true(str_to_u64((struct str){id->p, id->n}, INT32_MAX, &number));
        t->ids = mem_realloc(t->ids, (t->n + 1) * sizeof *t->ids);
        t->ids[t->n++] = (int)number;
    }
    t->big += str_eq(r->name, STR("big"));
}

static inline struct txlog_reader begin_reader(struct told *t)
{
    struct txlog_reader r;
    struct err err;
    if (txlog_read_begin(feed_log(t->feed), &r, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return r;
}

/* What was in hand when the feed ended is in the log. Read once, when it is open. */
static inline void read_log(struct told *t)
{
    if (t->is_read) {
        return;
    }
    t->is_read = true;
    struct txlog_reader r = begin_reader(t);
    struct err err;
    struct str record;
    int rc;
    assert_int_equal(txlog_read_relations(&r, &t->relations, &err), 0);
    while ((rc = txlog_next(&r, t->position, &t->position, &record, &err)) == 1) {
        struct txn_cursor c = txn_changes(record);
        struct change change;
        while (txn_next(&c, &change, &err) == 1) {
            note_change(t, &change);
        }
    }
    txlog_read_end(&r);
}

static inline void on_ready(void *ctx)
{
    struct told *t = ctx;
    read_log(t);
    t->ready++;
    loop_stop(t->bench->loop);
}

static inline void on_batch(void *ctx, const struct feed_batch *batch)
{
    struct told *t = ctx;
    struct err err;
    read_log(t);
    for (size_t i = 0; i < batch->relations_n; i++) {
        relations_put(&t->relations, relation_copy(batch->relations[i]));
    }
    for (size_t i = 0; i < batch->n; i++) {
        struct txn_cursor c = txn_changes(txn_bytes(batch->txns[i]));
        struct change change;
        lsn_t lsn = txn_head(batch->txns[i])->end_lsn;
        assert_true(lsn > t->handed);
        t->handed = lsn;
        while (lsn > t->position && txn_next(&c, &change, &err) == 1) {
            note_change(t, &change);
        }
    }
    assert_true(batch->position >= t->handed);
    t->handed = batch->position;
    t->position = t->handed > t->position ? t->handed : t->position;
    loop_stop(t->bench->loop);
}

static inline void on_durable(void *ctx, lsn_t lsn)
{
    struct told *t = ctx;
    assert_true(lsn > t->durable);
    t->durable = lsn;
    loop_stop(t->bench->loop);
}

static inline void on_reset(void *ctx, const char *reason)
{
    struct told *t = ctx;
    t->resets++;
    t->durable = t->handed = t->position = 0;
    snprintf(t->reset_reason, sizeof t->reset_reason, "%s", reason);
    loop_stop(t->bench->loop);
}

static inline void start_feed(struct told *t)
{
    static const struct feed_events events = {on_ready, on_down, on_batch, on_durable, on_reset};
    struct err err;
    struct feed_options options = {.url = t->bench->url, .folder = t->folder, .window = WINDOW};
    relations_deinit(&t->relations);
    t->ready = t->down = 0;
    t->handed = t->durable = 0;
    t->is_read = false;
    if (feed_new(t->bench->loop, &options, &events, t, &t->feed, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

static inline void stop_feed(struct told *t)
{
    feed_free(take_ptr(&t->feed));
}

static inline void wait_ready(struct told *t, int n)
{
    while (t->ready < n) {
        loop_run(t->bench->loop);
    }
}

static inline void wait_rows(struct told *t, size_t n)
{
    while (t->n < n) {
        loop_run(t->bench->loop);
    }
}

static inline void wait_durable(struct told *t)
{
    while (t->durable < t->handed) {
        loop_run(t->bench->loop);
    }
}

/* Rows 1 … n have come, each once and in their order. */
static inline void expect_rows(const struct told *t, size_t n)
{
    assert_int_equal(t->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(t->ids[i], i + 1);
    }
}

/* Inserts of items in the log. */
static inline size_t rows_in_log(struct told *t)
{
    struct txlog_reader r = begin_reader(t);
    struct told seen = {.bench = t->bench, .feed = t->feed, .position = r.head.oldest};
    txlog_read_end(&r);
    read_log(&seen);
    relations_deinit(&seen.relations);
    free(seen.ids);
    return seen.n;
}

/* --- life --- */

static inline int setup(void **state)
{
    static int number;
    struct bench *b = calloc(1, sizeof *b);
    char text[100];
    b->loop = loop_new();
    b->patience = timer_new(b->loop, on_patience, b);
    timer_start(b->patience, PATIENCE_MS);
    snprintf(b->folder, sizeof b->folder, "/tmp/busbar-feed-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    b->one.bench = b->two.bench = b;
    snprintf(b->one.folder, sizeof b->one.folder, "%s/one/log", b->folder);
    snprintf(b->two.folder, sizeof b->two.folder, "%s/two/log", b->folder);
    snprintf(b->database, sizeof b->database, "feed_%d", ++number);
    connect_to(b, "postgres");
    snprintf(text, sizeof text, "CREATE DATABASE %s", b->database);
    sql(b, text);
    connect_to(b, b->database);
    install(b);
    sql(b, "CREATE TABLE items (id int PRIMARY KEY, name text); CREATE TABLE other (t text)");
    sql(b, "CALL electric.electrify('items')");
    *state = b;
    return 0;
}

static inline int teardown(void **state)
{
    struct bench *b = *state;
    stop_feed(&b->one);
    stop_feed(&b->two);
    free(b->one.ids);
    free(b->two.ids);
    relations_deinit(&b->one.relations);
    relations_deinit(&b->two.relations);
    timer_stop(b->patience);
    timer_start(b->patience, PATIENCE_MS);
    drop_slot(b);
    pg_client_free(b->client);
    timer_free(b->patience);
    loop_free(b->loop);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", b->folder, (char *)NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    free(b);
    return 0;
}

#define LIVE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
