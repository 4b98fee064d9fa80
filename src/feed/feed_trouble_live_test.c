/* SPDX-License-Identifier: Apache-2.0 */
/* A feed in trouble: the server goes down, its replication slot or publication is lost, the log's disk is
 * full. */
#include "feed/feed_fixture.h"

#include <sys/mount.h>
#include <sys/stat.h>

static void restart_server(struct bench *b)
{
    assert_int_equal(system(getenv("BUSBAR_TEST_RESTART")), 0);
}

/* When a backend is killed the server ends all others, and recovers from its WAL. */
static void crash_server(struct bench *b)
{
    assert_false(try_sql(b, "COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(over_restarts_of_the_server),
        LIVE(a_lost_slot_begins_anew),
        LIVE(an_empty_log_begins_anew),
        LIVE(an_invalidated_slot_begins_anew),
        LIVE(a_full_disk_is_waited_for),
        LIVE(a_publication_that_was_missing),
        LIVE(a_table_taken_out_of_the_publication),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
