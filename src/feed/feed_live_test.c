/* SPDX-License-Identifier: Apache-2.0 */
/* The feed against a real server; pg/live_test.py makes it and sets the environment. Each test has a database
 * of its own. */
#include "feed/feed.h"

#include "base/mem.h"
#include "net/loop.h"
#include "pg/client.h"
#include "pg/install.h"
#include "txlog/txlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
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

static void on_patience(void *ctx)
{
    struct bench *b = ctx;
    fail_msg("waited in vain; the feed is %s", b->one.reason[0] ? b->one.reason : "silent");
}

/* --- the database --- */

static void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct bench *b = ctx;
    b->up = state == PG_CLIENT_UP;
    b->prepared = false;
    loop_stop(b->loop);
}

static void on_answer(void *ctx, const struct pg_result *r)
{
    struct bench *b = ctx;
    const char *text = r->ok && r->rows > 0 ? pg_result_cstr(r, 0, 0) : NULL;
    b->answered = true;
    b->ok = r->ok;
    snprintf(b->text, sizeof b->text, "%s", text ? text : "");
    snprintf(b->error, sizeof b->error, "%s %s", r->err.sqlstate, r->err.msg);
    loop_stop(b->loop);
}

static bool ask(struct bench *b, const char *text)
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

static bool try_sql(struct bench *b, const char *text)
{
    if (!b->prepared) {
        b->prepared = ask(b, "SET search_path = public");
    }
    return ask(b, text);
}

/* The first value of the last answer. */
static const char *sql(struct bench *b, const char *text)
{
    if (!try_sql(b, text)) {
        fail_msg("%s: %s", text, b->error);
    }
    return b->text;
}

static void connect_to(struct bench *b, const char *database)
{
    struct pg_client_options options = {.url = b->url, .application_name = "busbar live"};
    const char *base = getenv("BUSBAR_TEST_TLS");
    assert_non_null(base);
    pg_client_free(b->client);
    b->up = false;
    snprintf(b->url, sizeof b->url, "%s dbname=%s", base, database);
    b->client = pg_client_new(b->loop, &options, on_state, b);
}

static void on_installed(void *ctx, const struct install_outcome *outcome)
{
    struct bench *b = ctx;
    if (!outcome->ready) {
        fail_msg("%s", outcome->err.msg);
    }
    b->answered = true;
    loop_stop(b->loop);
}

static void install(struct bench *b)
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

static void restart_server(struct bench *b)
{
    assert_int_equal(system(getenv("BUSBAR_TEST_RESTART")), 0);
}

/* When a backend is killed the server ends all others, and recovers from its WAL. */
static void crash_server(struct bench *b)
{
    assert_false(try_sql(b, "COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'"));
}

/* The server takes a moment to notice that nobody streams from it any more. */
static void drop_slot(struct bench *b)
{
    while (!try_sql(b, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                       " WHERE database = current_database()")) {
    }
}

/* --- a feed --- */

static void on_down(void *ctx, const char *reason)
{
    struct told *t = ctx;
    t->down++;
    snprintf(t->reason, sizeof t->reason, "%s", reason);
    loop_stop(t->bench->loop);
}

static void note_change(struct told *t, const struct change *c)
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

static struct txlog_reader begin_reader(struct told *t)
{
    struct txlog_reader r;
    struct err err;
    if (txlog_read_begin(feed_log(t->feed), &r, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return r;
}

/* What was in hand when the feed ended is in the log. Read once, when it is open. */
static void read_log(struct told *t)
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

static void on_ready(void *ctx)
{
    struct told *t = ctx;
    read_log(t);
    t->ready++;
    loop_stop(t->bench->loop);
}

static void on_batch(void *ctx, const struct feed_batch *batch)
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

static void on_durable(void *ctx, lsn_t lsn)
{
    struct told *t = ctx;
    assert_true(lsn > t->durable);
    t->durable = lsn;
    loop_stop(t->bench->loop);
}

static void on_reset(void *ctx, const char *reason)
{
    struct told *t = ctx;
    t->resets++;
    t->durable = t->handed = t->position = 0;
    snprintf(t->reset_reason, sizeof t->reset_reason, "%s", reason);
    loop_stop(t->bench->loop);
}

static void on_done(void *ctx)
{
    struct told *t = ctx;
    t->done++;
    loop_stop(t->bench->loop);
}

static const struct feed_events events = {on_ready, on_down, on_batch, on_durable, on_reset};

static void start_feed(struct told *t)
{
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

static void stop_feed(struct told *t)
{
    feed_free(take_ptr(&t->feed));
}

static void wait_ready(struct told *t, int n)
{
    while (t->ready < n) {
        loop_run(t->bench->loop);
    }
}

static void wait_rows(struct told *t, size_t n)
{
    while (t->n < n) {
        loop_run(t->bench->loop);
    }
}

static void wait_durable(struct told *t)
{
    while (t->durable < t->handed) {
        loop_run(t->bench->loop);
    }
}

/* Rows 1 … n have come, each once and in their order. */
static void expect_rows(const struct told *t, size_t n)
{
    assert_int_equal(t->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(t->ids[i], i + 1);
    }
}

/* Inserts of items in the log. */
static size_t rows_in_log(struct told *t)
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

static int setup(void **state)
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

static int teardown(void **state)
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

/* --- tests --- */

static void each_transaction_once(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    start_feed(t);
    wait_ready(t, 1);
    sql(b, "INSERT INTO items VALUES (1, 'one')");
    sql(b, "INSERT INTO items VALUES (2, 'two'), (3, 'three')");
    wait_rows(t, 3);
    stop_feed(t); /* perhaps before they are confirmed */
    sql(b, "INSERT INTO items VALUES (4, 'four')");
    start_feed(t);
    wait_ready(t, 1);
    expect_rows(t, 4); /* ready means that it was told of them */
    for (int i = 5; i < 40; i++) {
        char text[100];
        snprintf(text, sizeof text, "INSERT INTO items VALUES (%d, repeat('x', %d))", i, i * 1000);
        sql(b, text);
        if (i % 12 == 0) {
            stop_feed(t);
            start_feed(t);
        }
    }
    wait_rows(t, 39);
    expect_rows(t, 39);
    wait_durable(t);
    assert_int_equal(rows_in_log(t), 39);
    assert_int_equal(t->resets, 0);
}

static void over_restarts_of_the_server(void **state)
{
    static void (*const how[])(struct bench *) = {restart_server, crash_server};
    struct bench *b = *state;
    struct told *t = &b->one;
    start_feed(t);
    wait_ready(t, 1);
    for (int i = 0; i < 4; i++) {
        char text[100];
        snprintf(text, sizeof text, "INSERT INTO items VALUES (%d, 'x')", 2 * i + 1);
        sql(b, text);
        int ready = t->ready;
        how[i % 2](b);
        snprintf(text, sizeof text, "INSERT INTO items VALUES (%d, 'y')", 2 * i + 2);
        while (!try_sql(b, text)) {
        }
        wait_ready(t, ready + 1);
    }
    wait_rows(t, 8);
    expect_rows(t, 8);
    assert_true(t->down > 0);
    assert_int_equal(t->resets, 0);
    wait_durable(t);
    assert_int_equal(rows_in_log(t), 8);
}

static bool slot_is_at(struct bench *b, const char *lsn)
{
    char text[300];
    snprintf(text, sizeof text,
             "SELECT confirmed_flush_lsn >= '%s' FROM pg_replication_slots WHERE database = "
             "current_database()",
             lsn);
    return strcmp(sql(b, text), "t") == 0;
}

/* With much WAL that is not for us at once, with little by the clock. */
static void an_idle_slot_advances(void **state)
{
    static const char *const others[] = {
        "INSERT INTO other SELECT repeat(md5(i::text), 30) FROM generate_series(1, 120000) i",
        "INSERT INTO other VALUES ('x')"};
    struct bench *b = *state;
    struct told *t = &b->one;
    char lsn[64];
    start_feed(t);
    wait_ready(t, 1);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        sql(b, others[i]);
        snprintf(lsn, sizeof lsn, "%s", sql(b, "SELECT pg_current_wal_flush_lsn()"));
        sql(b, "INSERT INTO other VALUES ('y')"); /* reaches beyond */
        while (!slot_is_at(b, lsn)) {
            loop_run(b->loop);
        }
    }
    struct feed_stats stats;
    feed_stats(t->feed, &stats);
    assert_true(stats.ready);
    assert_int_equal(stats.log_transactions, 0);
}

static void a_lost_slot_begins_anew(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    start_feed(t);
    wait_ready(t, 1);
    sql(b, "INSERT INTO items VALUES (1, 'one')");
    wait_rows(t, 1);
    assert_int_equal(t->resets, 0);
    sql(b, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = "
           "current_database()");
    drop_slot(b);
    sql(b, "INSERT INTO items VALUES (2, 'two')");
    while (t->resets == 0 || t->ready < 2) {
        loop_run(b->loop);
    }
    assert_string_equal(t->reset_reason, "the replication slot is gone");
    assert_int_equal(rows_in_log(t), 0);
    t->n = 0;
    sql(b, "INSERT INTO items VALUES (1 + 2, 'three')");
    wait_rows(t, 1);
    assert_int_equal(t->ids[0], 3);
}

static void an_empty_log_begins_anew(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    start_feed(t);
    wait_ready(t, 1);
    stop_feed(t);
    sql(b, "INSERT INTO items VALUES (1, 'one')");
    start_feed(&b->two);
    wait_ready(&b->two, 1);
    assert_int_equal(b->two.resets, 0); /* it had nothing to lose */
    stop_feed(&b->two);
    start_feed(t); /* whose slot is another one now, of the same name */
    wait_ready(t, 1);
    assert_int_equal(t->resets, 1);
    assert_string_equal(t->reset_reason, "the replication slot has moved on without this log");
}

static void a_second_feed_waits_and_takes_over(void **state)
{
    struct bench *b = *state;
    start_feed(&b->one);
    wait_ready(&b->one, 1);
    start_feed(&b->two);
    while (!strstr(b->two.reason, "Another instance of Busbar appears to be connected to this database")) {
        loop_run(b->loop);
    }
    sql(b, "INSERT INTO items VALUES (1, 'one')");
    wait_rows(&b->one, 1);
    assert_int_equal(b->one.down, 0);
    assert_int_equal(b->two.ready, 0);
    stop_feed(&b->one);
    wait_ready(&b->two, 1);
    sql(b, "INSERT INTO items VALUES (2, 'two')");
    wait_rows(&b->two, 1);
    assert_int_equal(b->two.ids[0], 2);
}

static void a_second_process_waits_for_the_log(void **state)
{
    struct bench *b = *state;
    start_feed(&b->one);
    wait_ready(&b->one, 1);
    snprintf(b->two.folder, sizeof b->two.folder, "%s", b->one.folder);
    start_feed(&b->two);
    while (!strstr(b->two.reason, "uses the log in")) {
        loop_run(b->loop);
    }
    stop_feed(&b->one);
    wait_ready(&b->two, 1);
    assert_int_equal(b->two.resets, 0);
}

/* The server gave up the slot for the sake of its disk. */
static void an_invalidated_slot_begins_anew(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    start_feed(t);
    wait_ready(t, 1);
    stop_feed(t);
    ask(b, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    sql(b, "SELECT pg_reload_conf()");
    while (strcmp(sql(b, "SELECT wal_status FROM pg_replication_slots WHERE database = current_database()"),
                  "lost") != 0) {
        sql(b, "CREATE TABLE IF NOT EXISTS filler (t text); INSERT INTO filler VALUES ('x')");
        sql(b, "SELECT pg_switch_wal()");
        ask(b, "CHECKPOINT");
    }
    ask(b, "ALTER SYSTEM RESET max_slot_wal_keep_size");
    sql(b, "SELECT pg_reload_conf()");
    start_feed(t);
    wait_ready(t, 1);
    assert_int_equal(t->resets, 1);
    assert_true(strstr(t->reset_reason, "was invalidated"));
    sql(b, "INSERT INTO items VALUES (1, 'one')");
    wait_rows(t, 1);
}

/* Nothing is confirmed that is not written; when there is room again, all of it is. */
static void a_full_disk_is_waited_for(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    char path[100], filler[120];
    snprintf(path, sizeof path, "%s/small", b->folder);
    snprintf(filler, sizeof filler, "%s/filler", path);
    if (mkdir(path, 0700) < 0 || mount("none", path, "tmpfs", 0, "size=4m") < 0) {
        skip(); /* needs to be root */
    }
    snprintf(t->folder, sizeof t->folder, "%s/small/log", b->folder);
    start_feed(t);
    wait_ready(t, 1);
    FILE *f = fopen(filler, "w");
    while (fputc('x', f) != EOF && fflush(f) == 0) {
        static const char block[4096];
        ignore_result(fwrite(block, 1, sizeof block, f));
    }
    fclose(f);
    sql(b, "INSERT INTO items VALUES (1, repeat('x', 300000))");
    while (t->down == 0) {
        loop_run(b->loop);
    }
    assert_non_null(strstr(t->reason, "the disk that holds the log is full"));
    sql(b, "INSERT INTO items VALUES (2, 'two')");
    assert_int_equal(rows_in_log(t), 0);
    assert_int_equal(unlink(filler), 0);
    wait_ready(t, 2);
    wait_rows(t, 2);
    expect_rows(t, 2);
    wait_durable(t);
    assert_int_equal(rows_in_log(t), 2);
    assert_int_equal(t->resets, 0);
    stop_feed(t);
    assert_int_equal(umount(path), 0);
}

static void expect_history(struct told *t, const char *const *versions, size_t n)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct txlog_reader r = begin_reader(t);
    struct txlog_migration m = {.seq = 0};
    struct err err;
    lsn_t last = 0;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(txlog_next_migration(&r, m.seq, &a, &m, &err), 1);
        if (strcmp(versions[i], "*") != 0) {
            assert_true(str_eq(m.version, str_c(versions[i])));
        }
        assert_true(m.n >= 1);
        assert_int_equal(m.ops[0].p[0], '[');
        assert_true(m.lsn >= last && m.lsn <= r.head.position);
        assert_true(m.commit_us > 0 && m.xid > 0);
        last = m.lsn;
    }
    assert_int_equal(txlog_next_migration(&r, m.seq, &a, &m, &err), 0);
    txlog_read_end(&r);
}

static void electrify(struct bench *b, const char *table, const char *version)
{
    char text[300];
    snprintf(text, sizeof text,
             "BEGIN; CREATE TABLE %s (id int PRIMARY KEY, t text);"
             " CALL electric.migration_version('%s'); CALL electric.electrify('%s'); COMMIT",
             table, version, table);
    sql(b, text);
}

static void the_history_is_whole(void **state)
{
    static const char *const versions[] = {"*", "before", "after", "away"};
    struct bench *b = *state;
    struct told *t = &b->one;
    electrify(b, "a", "before");
    start_feed(t);
    wait_ready(t, 1);
    expect_history(t, versions, 2);
    electrify(b, "b", "after");
    sql(b, "INSERT INTO items VALUES (1, 'one')");
    wait_rows(t, 1);
    wait_durable(t);
    expect_history(t, versions, 3);
    stop_feed(t);
    electrify(b, "c", "away");
    start_feed(t);
    wait_ready(t, 1);
    expect_history(t, versions, 4);
    /* What is mended by hand shows. */
    sql(b, "UPDATE busbar.migration SET unusable = 'no' WHERE version = 'after'; DELETE FROM busbar.command"
           " WHERE seq = (SELECT seq FROM busbar.migration WHERE version = 'away'); DELETE FROM"
           " busbar.migration WHERE version = 'away'");
    sql(b, "INSERT INTO items VALUES (2, 'two')");
    wait_rows(t, 2);
    wait_durable(t);
    expect_history(t, versions, 3);
    stop_feed(t);
    drop_slot(b);
    start_feed(t);
    wait_ready(t, 1);
    assert_int_equal(t->resets, 1);
    expect_history(t, versions, 3);
}

/* The server reads the WAL with the catalog of its time. */
static void a_publication_that_was_missing(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    start_feed(t);
    wait_ready(t, 1);
    sql(b, "SET busbar.maintenance = 'on'; DROP PUBLICATION electric_publication");
    sql(b, "INSERT INTO items VALUES (1, 'lost')");
    while (t->resets == 0 || t->ready < 2) {
        loop_run(b->loop);
    }
    assert_true(strstr(t->reset_reason, "publication"));
    assert_string_equal(sql(b, "SELECT count(*) FROM busbar.unpublished()"), "0");
    sql(b, "INSERT INTO items VALUES (2, 'two')");
    wait_rows(t, 1);
    assert_int_equal(t->ids[t->n - 1], 2);
}

static void a_table_taken_out_of_the_publication(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    start_feed(t);
    wait_ready(t, 1);
    sql(b, "SET busbar.maintenance = 'on'; ALTER PUBLICATION electric_publication DROP TABLE items");
    sql(b, "INSERT INTO items VALUES (1, 'lost')");
    install(b); /* the next start of the service */
    while (t->resets == 0 || t->ready < 2) {
        loop_run(b->loop);
    }
    sql(b, "INSERT INTO items VALUES (2, 'two')");
    wait_rows(t, 1);
    assert_int_equal(t->ids[0], 2);
}

static void states_are_kept(void **state)
{
    struct bench *b = *state;
    struct told *t = &b->one;
    struct err err;
    CLEANUP(buf_deinit) struct buf value = BUF_INIT(100);
    start_feed(t);
    wait_ready(t, 1);
    feed_put(t->feed, 'c', STR("client"), STR("old"), NULL, NULL);
    feed_put(t->feed, 'c', STR("client"), STR("new"), on_done, t);
    feed_put(t->feed, 'c', STR("empty"), STR(""), on_done, t);
    feed_put(t->feed, 'c', STR("gone"), STR("x"), on_done, t);
    feed_delete(t->feed, 'c', STR("gone"), on_done, t);
    while (t->done < 4) {
        loop_run(b->loop);
    }
    stop_feed(t);
    start_feed(t);
    wait_ready(t, 1);
    assert_int_equal(feed_get(t->feed, 'c', STR("client"), &value, &err), 1);
    assert_true(str_eq(buf_str(&value), STR("new")));
    buf_reset(&value);
    assert_int_equal(feed_get(t->feed, 'c', STR("empty"), &value, &err), 1);
    assert_int_equal(value.n, 0);
    assert_int_equal(feed_get(t->feed, 'c', STR("gone"), &value, &err), 0);
    feed_put(t->feed, 'c', STR("last"), STR("1"), on_done, t);
    stop_feed(t); /* at once: written, not told */
    assert_int_equal(t->done, 4);
    start_feed(t);
    wait_ready(t, 1);
    assert_int_equal(feed_get(t->feed, 'c', STR("last"), &value, &err), 1);
}

/* The owner is busy with something else: what piles up has a limit. */
static void a_slow_owner_is_waited_for(void **state)
{
    enum { ROWS = 160 };
    struct bench *b = *state;
    struct told *t = &b->one;
    struct feed_stats stats;
    uint64_t before = 0;
    start_feed(t);
    wait_ready(t, 1);
    sql(b, "CREATE TABLE big (id int PRIMARY KEY, t text); CALL electric.electrify('big')");
    CLEANUP(buf_deinit) struct buf command = BUF_INIT(4096);
    buf_printf(&command,
               "psql -Xq '%s' -c \"DO \\$\\$ BEGIN FOR i IN 1..%d LOOP INSERT INTO big VALUES (i, "
               "repeat('x', 1000000)); COMMIT; END LOOP; END \\$\\$\" >/dev/null 2>&1",
               b->url, ROWS);
    assert_int_equal(system(buf_cstr(&command)), 0);
    for (;;) { /* until nothing more comes */
        usleep(500000);
        feed_stats(t->feed, &stats);
        if (stats.bytes == before) {
            break;
        }
        before = stats.bytes;
    }
    assert_true(stats.bytes > FEED_UNDELIVERED);
    assert_true(stats.bytes < FEED_UNDELIVERED + 8 * 1024 * 1024);
    while (t->big < ROWS) {
        loop_run(b->loop);
    }
    wait_durable(t);
    feed_stats(t->feed, &stats);
    assert_true(stats.log_bytes > ROWS * 1000000ull);
}

int main(void)
{
#define LIVE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(each_transaction_once),
        LIVE(over_restarts_of_the_server),
        LIVE(an_idle_slot_advances),
        LIVE(a_lost_slot_begins_anew),
        LIVE(an_empty_log_begins_anew),
        LIVE(a_second_feed_waits_and_takes_over),
        LIVE(a_second_process_waits_for_the_log),
        LIVE(an_invalidated_slot_begins_anew),
        LIVE(a_full_disk_is_waited_for),
        LIVE(the_history_is_whole),
        LIVE(a_publication_that_was_missing),
        LIVE(a_table_taken_out_of_the_publication),
        LIVE(states_are_kept),
        LIVE(a_slow_owner_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
