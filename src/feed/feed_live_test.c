/* SPDX-License-Identifier: Apache-2.0 */
/* A feed when all is well: what it tells and keeps, over its own restarts, and when another one wants the
 * same. */
#include "feed/feed_fixture.h"

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

static void on_done(void *ctx)
{
    struct told *t = ctx;
    t->done++;
    loop_stop(t->bench->loop);
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
    const struct CMUnitTest tests[] = {
        LIVE(each_transaction_once),
        LIVE(an_idle_slot_advances),
        LIVE(a_second_feed_waits_and_takes_over),
        LIVE(a_second_process_waits_for_the_log),
        LIVE(the_history_is_whole),
        LIVE(states_are_kept),
        LIVE(a_slow_owner_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
