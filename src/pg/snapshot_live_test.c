/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot and COPY out of it, on a real server. */
#include "pg/snapshot.h"

#include "base/buf.h"
#include "net/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct observed {
    struct loop *loop;
    struct timer *guard; /* keeps the loop going, and ends a test that hangs */
    struct pg_snapshot *snapshot;
    char visible[256];
    struct buf rows;
    size_t rows_n, pause_at;
    bool copied, failed, lost;
    char sqlstate[6];
};

static void on_taken(void *ctx, const char *visible)
{
    struct observed *o = ctx;
    snprintf(o->visible, sizeof o->visible, "%s", visible);
    loop_stop(o->loop);
}

static void on_row(void *ctx, const char *p, size_t n)
{
    struct observed *o = ctx;
    buf_put(&o->rows, p, n);
    if (++o->rows_n == o->pause_at) {
        pg_snapshot_pause(o->snapshot, true);
        loop_stop(o->loop);
    }
}

static void on_copied(void *ctx)
{
    struct observed *o = ctx;
    o->copied = true;
    loop_stop(o->loop);
}

static void on_failed(void *ctx, const struct err *err, bool lost)
{
    struct observed *o = ctx;
    o->failed = true;
    o->lost = lost;
    memcpy(o->sqlstate, err->sqlstate, sizeof o->sqlstate);
    loop_stop(o->loop);
}

static const struct pg_snapshot_events events = {on_taken, on_row, on_copied, on_failed};

static void on_guard(void *ctx)
{
    struct observed *o = ctx;
    loop_stop(o->loop);
}

static const char *url(void)
{
    const char *text = getenv("BUSBAR_TEST_PLAIN");
    assert_non_null(text);
    return text;
}

static void run_sql(const char *sql)
{
    PGconn *conn = PQconnectdb(url());
    PGresult *result = PQexec(conn, sql);
    assert_true(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(conn);
}

static void begin(struct observed *o, const char *to)
{
    struct login_params params = {.url = to};
    *o = (struct observed){.loop = loop_new(), .rows = BUF_INIT(1 << 20)};
    o->guard = timer_new(o->loop, on_guard, o);
    timer_start(o->guard, 30000);
    o->snapshot = pg_snapshot_new(o->loop, &params, &events, o);
}

static void end(struct observed *o)
{
    pg_snapshot_free(o->snapshot);
    timer_free(o->guard);
    loop_free(o->loop);
    buf_deinit(&o->rows);
}

static void copy(struct observed *o, const char *sql)
{
    o->copied = false;
    buf_reset(&o->rows);
    o->rows_n = 0;
    pg_snapshot_copy(o->snapshot, sql);
    loop_run(o->loop);
}

static void sees_one_moment(void **state)
{
    (void)state;
    struct observed o;
    run_sql("DROP TABLE IF EXISTS moment; CREATE TABLE moment (t text); INSERT INTO moment VALUES ('a'), "
            "(E'b\\tc')");
    begin(&o, url());
    pg_snapshot_take(o.snapshot);
    loop_run(o.loop);
    assert_non_null(strchr(o.visible, ':'));
    run_sql("INSERT INTO moment VALUES ('later')");
    copy(&o, "COPY (SELECT t FROM public.moment ORDER BY t) TO STDOUT");
    assert_true(o.copied);
    assert_string_equal(buf_cstr(&o.rows), "a\nb\\tc\n");
    pg_snapshot_take(o.snapshot);
    loop_run(o.loop);
    copy(&o, "COPY (SELECT t FROM public.moment WHERE t = 'later') TO STDOUT");
    assert_string_equal(buf_cstr(&o.rows), "later\n");
    copy(&o, "COPY (SELECT 1 WHERE false) TO STDOUT");
    assert_true(o.copied);
    assert_int_equal(o.rows_n, 0);
    pg_snapshot_release(o.snapshot);
    pg_snapshot_take(o.snapshot); /* waits for the release */
    loop_run(o.loop);
    copy(&o, "COPY (SELECT '\\x00ff'::bytea, '2024-02-03 00:00+02'::timestamptz, 0.1::float8) TO STDOUT");
    assert_string_equal(buf_cstr(&o.rows), "\\\\x00ff\t2024-02-02 22:00:00+00\t0.1\n");
    end(&o);
}

static void stops_and_goes_on(void **state)
{
    (void)state;
    struct observed o;
    begin(&o, url());
    pg_snapshot_take(o.snapshot);
    loop_run(o.loop);
    o.pause_at = 10;
    copy(&o, "COPY (SELECT n FROM generate_series(1, 50000) n) TO STDOUT");
    assert_int_equal(o.rows_n, 10);
    assert_false(o.copied);
    pg_snapshot_pause(o.snapshot, false);
    loop_run(o.loop);
    assert_true(o.copied);
    assert_int_equal(o.rows_n, 50000);
    end(&o);
}

static void failures_are_told(void **state)
{
    (void)state;
    struct observed o;
    begin(&o, url());
    pg_snapshot_take(o.snapshot);
    loop_run(o.loop);
    copy(&o, "COPY (SELECT 1 / (n - 100) FROM generate_series(1, 200) n) TO STDOUT");
    assert_true(o.failed);
    assert_false(o.lost);
    assert_string_equal(o.sqlstate, "22012");
    assert_false(pg_snapshot_usable(o.snapshot));
    end(&o);

    begin(&o, url());
    pg_snapshot_take(o.snapshot);
    loop_run(o.loop);
    run_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'busbar snapshot'");
    loop_run(o.loop);
    assert_true(o.failed);
    assert_true(o.lost);
    end(&o);

    begin(&o, "host=127.0.0.1 port=1 user=nobody");
    pg_snapshot_take(o.snapshot);
    loop_run(o.loop);
    assert_true(o.failed);
    assert_true(o.lost);
    end(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_one_moment),
        cmocka_unit_test(stops_and_goes_on),
        cmocka_unit_test(failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
