/* SPDX-License-Identifier: Apache-2.0 */
/* The service connection and the installer against real servers; live_test.py makes them and sets the
 * environment. */
#include "pg/client.h"
#include "pg/install.h"

#include "base/compiler.h"
#include "base/log.h"
#include "net/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

struct bench {
    struct loop *loop;
    struct timer *patience;
    struct pg_client *client, *other;
    char url[512];
    enum pg_client_state state;
    int ups, downs;
    struct login_error why;
    /* Of the last query. */
    int answers, failures;
    bool ok;
    char text[256], sqlstate[6], message[512];
    size_t rows;
    /* Of the last installation. */
    bool outcome_seen;
    struct install_outcome outcome;
    char secret[128], reason[512], hint[512], version[64];
};

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    b->loop = loop_new();
    b->patience = timer_new(b->loop, on_patience, b);
    timer_start(b->patience, PATIENCE_MS);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    pg_client_free(b->client);
    pg_client_free(b->other);
    timer_free(b->patience);
    loop_free(b->loop);
    free(b);
    return 0;
}

static void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct bench *b = ctx;
    b->state = state;
    b->ups += state == PG_CLIENT_UP;
    b->downs += state == PG_CLIENT_DOWN;
    if (why) {
        b->why = *why;
    }
    loop_stop(b->loop);
}

static struct pg_client *connect_to(struct bench *b, const char *cluster, const char *more)
{
    struct pg_client_options options = {.url = b->url, .application_name = "busbar live"};
    const char *base = getenv(cluster);
    assert_non_null(base);
    snprintf(b->url, sizeof b->url, "%s %s", base, more);
    struct pg_client *c = pg_client_new(b->loop, &options, on_state, b);
    int ups = b->ups;
    while (b->ups == ups) {
        loop_run(b->loop);
    }
    return c;
}

static void on_answer(void *ctx, const struct pg_result *r)
{
    struct bench *b = ctx;
    b->answers++;
    b->failures += !r->ok;
    b->ok = r->ok;
    b->rows = r->rows;
    b->text[0] = '\0';
    if (r->ok && r->rows > 0 && pg_result_cstr(r, 0, 0)) {
        snprintf(b->text, sizeof b->text, "%s", pg_result_cstr(r, 0, 0));
    }
    snprintf(b->sqlstate, sizeof b->sqlstate, "%s", r->err.sqlstate);
    snprintf(b->message, sizeof b->message, "%s", r->err.msg);
    loop_stop(b->loop);
}

static void wait_answers(struct bench *b, int n)
{
    while (b->answers < n) {
        loop_run(b->loop);
    }
}

static void query(struct bench *b, struct pg_client *c, const char *sql)
{
    int answers = b->answers;
    pg_client_query(c, sql, NULL, 0, on_answer, b);
    assert_int_equal(b->answers, answers);
    wait_answers(b, answers + 1);
}

static void expect_text(struct bench *b, struct pg_client *c, const char *sql, const char *expected)
{
    query(b, c, sql);
    if (!b->ok) {
        fail_msg("%s: %s %s", sql, b->sqlstate, b->message);
    }
    assert_string_equal(b->text, expected);
}

static void script(struct bench *b, struct pg_client *c, const char *sql)
{
    int answers = b->answers;
    pg_client_exec_script(c, sql, on_answer, b);
    wait_answers(b, answers + 1);
}

static void on_params(void *ctx, const struct pg_result *r)
{
    assert_true(r->ok);
    assert_int_equal(r->rows, 3);
    assert_int_equal(r->cols, 3);
    assert_string_equal(pg_result_cstr(r, 2, 0), "3");
    assert_string_equal(pg_result_cstr(r, 2, 1), "it's");
    assert_null(pg_result_cstr(r, 2, 2));
    assert_false(pg_result_is_true(r, 0, 2));
    on_answer(ctx, r);
}

static void queries_have_parameters_and_rows(void **state)
{
    struct bench *b = *state;
    const char *params[] = {"it's", NULL};
    b->client = connect_to(b, "BUSBAR_TEST_TLS", "");
    pg_client_query(b->client, "SELECT n, $1::text, $2::boolean FROM generate_series(1, 3) n", params, 2,
                    on_params, b);
    wait_answers(b, 1);
    expect_text(b, b->client, "SELECT ''", "");
    query(b, b->client, "SELECT 1 WHERE false");
    assert_true(b->ok && b->rows == 0);
    expect_text(b, b->client, "SELECT current_setting('application_name')", "busbar live");
    expect_text(b, b->client, "SELECT current_setting('search_path')", "pg_catalog");
    assert_true(pg_client_server_version(b->client) >= 140000);
}

static void errors_are_the_servers_and_harm_nothing(void **state)
{
    struct bench *b = *state;
    b->client = connect_to(b, "BUSBAR_TEST_TLS", "");
    query(b, b->client, "SELECT 1 / 0");
    assert_false(b->ok);
    assert_string_equal(b->sqlstate, "22012");
    assert_string_equal(b->message, "division by zero");
    query(b, b->client, "SELECT n / (n - 3) FROM generate_series(1, 5) n"); /* after two good rows */
    assert_string_equal(b->sqlstate, "22012");
    assert_int_equal(b->rows, 0);
    script(b, b->client, "SELECT 1; SELECT nonsense; SELECT 3");
    assert_string_equal(b->sqlstate, "42703");
    script(b, b->client, "SELECT 1; SELECT 7 UNION SELECT 8 ORDER BY 1; SET LOCAL work_mem = '1MB'");
    assert_true(b->ok);
    assert_int_equal(b->rows, 2);
    assert_string_equal(b->text, "7");
    script(b, b->client, "");
    assert_true(b->ok);
    expect_text(b, b->client, "SELECT 'on'", "on");
    assert_int_equal(b->state, PG_CLIENT_UP);
    assert_int_equal(b->downs, 0);
}

static void copy_ends_the_connection_and_it_comes_back(void **state)
{
    struct bench *b = *state;
    b->client = connect_to(b, "BUSBAR_TEST_PLAIN", "");
    script(b, b->client, "COPY (SELECT 1) TO STDOUT");
    assert_false(b->ok);
    while (b->ups < 2) {
        loop_run(b->loop);
    }
    expect_text(b, b->client, "SELECT 'back'", "back");
}

static void a_result_too_big_fails_alone(void **state)
{
    struct bench *b = *state;
    b->client = connect_to(b, "BUSBAR_TEST_PLAIN", "");
    query(b, b->client, "SELECT repeat('x', 1000000) FROM generate_series(1, 100)");
    assert_string_equal(b->sqlstate, "54000");
    expect_text(b, b->client, "SELECT 'on'", "on");
}

static void a_full_queue_refuses(void **state)
{
    struct bench *b = *state;
    b->client = connect_to(b, "BUSBAR_TEST_PLAIN", "");
    for (int i = 0; i < PG_CLIENT_QUEUE + 5; i++) {
        pg_client_query(b->client, "SELECT 1", NULL, 0, on_answer, b);
    }
    wait_answers(b, PG_CLIENT_QUEUE + 5);
    assert_int_equal(b->failures, 5);
    expect_text(b, b->client, "SELECT 'on'", "on");
}

static void pending_queries_fail_when_the_connection_drops(void **state)
{
    struct bench *b = *state;
    char sql[512];
    b->client = connect_to(b, "BUSBAR_TEST_TLS", "");
    b->other = connect_to(b, "BUSBAR_TEST_TLS", "");
    query(b, b->client, "SELECT pg_backend_pid()");
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%s)", b->text);
    b->answers = b->failures = 0;
    pg_client_query(b->client, "SELECT pg_sleep(600)", NULL, 0, on_answer, b);
    pg_client_query(b->client, "SELECT 2", NULL, 0, on_answer, b);
    pg_query_forget(pg_client_query(b->client, "SELECT 3", NULL, 0, on_answer, b));
    pg_client_query(b->other, sql, NULL, 0, on_answer, b);
    wait_answers(b, 3);
    assert_int_equal(b->failures, 2);
    assert_int_equal(b->downs, 1);
    assert_string_equal(b->why.err.sqlstate, "57P01");
    query(b, b->client, "SELECT 1");
    assert_string_equal(b->sqlstate, "08003"); /* while down: at once */
    while (b->ups < 3) {
        loop_run(b->loop);
    }
    expect_text(b, b->client, "SELECT 'back'", "back");
}

static void an_idle_connection_that_ends_is_noticed(void **state)
{
    struct bench *b = *state;
    b->client = connect_to(b, "BUSBAR_TEST_PLAIN", "");
    b->other = connect_to(b, "BUSBAR_TEST_PLAIN", "");
    query(b, b->client, "SELECT pg_backend_pid()");
    char sql[512];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%s)", b->text);
    query(b, b->other, sql);
    while (b->downs < 1 || b->ups < 3) {
        loop_run(b->loop);
    }
    expect_text(b, b->client, "SELECT 'back'", "back");
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void attempts_back_off(void **state)
{
    struct bench *b = *state;
    struct pg_client_options options = {.url = "host=127.0.0.1 port=1 user=u", .application_name = "x"};
    b->client = pg_client_new(b->loop, &options, on_state, b);
    assert_int_equal(b->downs, 0);
    uint64_t start = wall_ms();
    while (b->downs < 4) {
        loop_run(b->loop);
    }
    uint64_t took = wall_ms() - start; /* 0.2 + 0.4 + 0.8 s, each ± 20 % */
    assert_in_range(took, 1100, 2500);
    assert_string_equal(b->why.err.sqlstate, "08001");
}

static void on_free_client(void *ctx, const struct pg_result *r)
{
    struct bench *b = ctx;
    on_answer(ctx, r);
    pg_client_free(take_ptr(&b->client));
}

static void on_state_free(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct bench *b = ctx;
    on_state(ctx, state, why);
    pg_client_free(take_ptr(&b->client));
}

static void a_callback_may_free_the_client(void **state)
{
    struct bench *b = *state;
    b->client = connect_to(b, "BUSBAR_TEST_TLS", "");
    pg_client_query(b->client, "SELECT 1", NULL, 0, on_free_client, b);
    pg_client_query(b->client, "SELECT 2", NULL, 0, on_answer, b);
    wait_answers(b, 1);
    assert_null(b->client);
    struct pg_client_options options = {.url = b->url, .application_name = "x"};
    b->client = pg_client_new(b->loop, &options, on_state_free, b);
    while (b->client) {
        loop_run(b->loop);
    }
    options.url = "host=127.0.0.1 port=1 user=u";
    b->client = pg_client_new(b->loop, &options, on_state_free, b);
    while (b->client) {
        loop_run(b->loop);
    }
    b->client = pg_client_new(b->loop, &options, on_state,
                              b); /* freed while connecting, with a refused query waiting */
    pg_client_query(b->client, "SELECT 2", NULL, 0, on_answer, b);
}

/* ---- installer ---- */

static const struct embedded_file none[] = {{NULL, NULL}};
static const struct embedded_file first[] = {
    {"0001_first.sql", "CREATE TABLE busbar.settings (name text PRIMARY KEY, value text NOT NULL);"
                       "INSERT INTO busbar.settings VALUES ('secret', 'hush');"},
    {NULL, NULL}};
static const struct embedded_file second[] = {
    {"0001_first.sql", "SELECT 1 / 0"}, {"0002_second.sql", "CREATE TABLE busbar.two (n int)"}, {NULL, NULL}};
static const struct embedded_file broken[] = {
    {"0001_first.sql", "SELECT 1 / 0"},
    {"0002_second.sql", "SELECT 1 / 0"},
    {"0003_third.sql", "CREATE TABLE busbar.three (n int); SELECT nonsense"},
    {NULL, NULL}};
static const struct embedded_file routines[] = {
    {"a.sql",
     "CREATE OR REPLACE FUNCTION busbar.guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"},
    {"b.sql", "CREATE OR REPLACE FUNCTION busbar.count() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT 2"},
    {NULL, NULL}};
static const struct embedded_file triggers[] = {
    {"event_triggers.sql",
     "DROP EVENT TRIGGER IF EXISTS busbar_guard; CREATE EVENT TRIGGER busbar_guard ON sql_drop "
     "EXECUTE FUNCTION busbar.guard();"},
    {NULL, NULL}};

static void on_installed(void *ctx, const struct install_outcome *o)
{
    struct bench *b = ctx;
    b->outcome = *o;
    b->outcome_seen = true;
    snprintf(b->secret, sizeof b->secret, "%s", o->secret ? o->secret : "");
    snprintf(b->reason, sizeof b->reason, "%s", o->guard_reason);
    snprintf(b->hint, sizeof b->hint, "%s", o->hint);
    snprintf(b->version, sizeof b->version, "%s", o->server_version ? o->server_version : "");
    loop_stop(b->loop);
}

static void install(struct bench *b, struct pg_client *c, const struct install_sql *sql)
{
    b->outcome_seen = false;
    install_start(c, sql, on_installed, b);
    while (!b->outcome_seen) {
        loop_run(b->loop);
    }
}

static void expect_ready(struct bench *b, struct pg_client *c, const struct install_sql *sql, bool changed)
{
    install(b, c, sql);
    if (!b->outcome.ready) {
        fail_msg("not ready: %s %s", b->outcome.err.sqlstate, b->outcome.err.msg);
    }
    assert_int_equal(b->outcome.changed, changed);
    assert_string_equal(b->secret, "hush");
    assert_true(atoi(b->version) >= 14);
}

static void expect_not_ready(struct bench *b, struct pg_client *c, const struct install_sql *sql, bool fatal,
                             const char *words)
{
    install(b, c, sql);
    assert_false(b->outcome.ready);
    assert_int_equal(b->outcome.fatal, fatal);
    if (!strstr(b->outcome.err.msg, words)) {
        fail_msg("\"%s\" is not in \"%s\"", words, b->outcome.err.msg);
    }
}

/* A client of a database of its own. */
static struct pg_client *fresh_database(struct bench *b, const char *name, const char *owner)
{
    char sql[256], more[256];
    struct pg_client *super = connect_to(b, "BUSBAR_TEST_TLS", "");
    snprintf(sql, sizeof sql, "CREATE DATABASE %s OWNER %s", name, owner);
    query(b, super, sql);
    assert_true(b->ok);
    pg_client_free(super);
    snprintf(more, sizeof more, "dbname=%s user=%s", name, owner);
    return connect_to(b, "BUSBAR_TEST_TLS", more);
}

static void installs_once_and_upgrades(void **state)
{
    struct bench *b = *state;
    const struct install_sql v1 = {first, routines, triggers}, v2 = {second, routines, triggers};
    const struct install_sql v3 = {broken, routines, triggers};
    b->client = fresh_database(b, "inst", "postgres");
    expect_ready(b, b->client, &v1, true);
    assert_true(b->outcome.guard);
    uint64_t start = wall_ms();
    expect_ready(b, b->client, &v1, false);
    assert_true(b->outcome.guard);
    assert_true(wall_ms() - start < 300);
    expect_text(b, b->client,
                "SELECT string_agg(version || ':' || name, ' ' ORDER BY version) FROM busbar.schema_version",
                "0:routines 1:0001_first.sql");

    expect_not_ready(b, b->client, &v3, false, "0002_second.sql: division by zero");
    assert_string_equal(b->outcome.err.sqlstate, "22012");
    expect_ready(b, b->client, &v2, true); /* runs only the second */
    expect_not_ready(b, b->client, &v3, false, "0003_third.sql");
    expect_text(b, b->client, "SELECT to_regclass('busbar.three') IS NULL", "t");
    expect_ready(b, b->client, &v2, false);

    expect_not_ready(b, b->client, &v1, true, "newer version of Busbar");

    query(b, b->client, "DROP EVENT TRIGGER busbar_guard"); /* somebody's doing: mended at the next start */
    expect_ready(b, b->client, &v2, true);
    assert_true(b->outcome.guard);
    query(b, b->client, "ALTER EVENT TRIGGER busbar_guard DISABLE");
    expect_ready(b, b->client, &v2, true);
    assert_true(b->outcome.guard);
}

static void without_the_privilege_there_is_no_guard(void **state)
{
    struct bench *b = *state;
    const struct install_sql v1 = {first, routines, triggers};
    b->client = fresh_database(b, "unguarded", "limited");
    expect_ready(b, b->client, &v1, true);
    assert_false(b->outcome.guard);
    assert_non_null(strstr(b->reason, "permission denied to create event trigger"));
    expect_ready(b, b->client, &v1, true); /* tried again, in case the role may by now */
    assert_false(b->outcome.guard);
    b->other = connect_to(b, "BUSBAR_TEST_TLS", "dbname=unguarded");
    expect_ready(b, b->other, &v1, true);
    assert_true(b->outcome.guard);
}

static void what_must_be_mended_is_said(void **state)
{
    struct bench *b = *state;
    const struct install_sql v1 = {first, routines, triggers};
    b->client = connect_to(b, "BUSBAR_TEST_PLAIN", "");
    expect_not_ready(b, b->client, &v1, true, "not configured with wal_level=logical.");
    assert_non_null(strstr(b->hint, "ALTER SYSTEM"));
    pg_client_free(b->client);

    b->client = fresh_database(b, "elsewhere", "postgres");
    script(b, b->client, "CREATE SCHEMA electric; CREATE TABLE electric.schema_migrations (version bigint)");
    assert_true(b->ok);
    expect_not_ready(b, b->client, &v1, true, "made by ElectricSQL itself");
    expect_text(b, b->client, "SELECT count(*) FROM pg_namespace WHERE nspname = 'busbar'", "0");
    pg_client_free(b->client);

    b->client = connect_to(b, "BUSBAR_TEST_TLS", "user=limited dbname=elsewhere");
    query(b, b->client, "SELECT 1");
    b->other = connect_to(b, "BUSBAR_TEST_TLS", "dbname=elsewhere");
    query(b, b->other, "DROP SCHEMA electric CASCADE");
    expect_not_ready(b, b->client, &v1, false, "permission denied for database");
    assert_string_equal(b->outcome.err.sqlstate, "42501");
    assert_non_null(strstr(b->hint, "needs CREATE on the database"));
    expect_ready(b, b->other, &v1, true);
    expect_not_ready(b, b->client, &v1, false, "permission denied");
}

static void two_services_start_together(void **state)
{
    struct bench *b = *state;
    const struct install_sql v1 = {first, routines, triggers};
    b->client = fresh_database(b, "twins", "postgres");
    b->other = connect_to(b, "BUSBAR_TEST_TLS", "dbname=twins");
    b->outcome_seen = false;
    install_start(b->client, &v1, on_installed, b);
    install(b, b->other, &v1);
    assert_true(b->outcome.ready);
    b->outcome_seen = false;
    while (!b->outcome_seen) {
        loop_run(b->loop);
    }
    assert_true(b->outcome.ready);
    assert_string_equal(b->secret, "hush");
}

static void on_stop(void *ctx)
{
    loop_stop(ctx);
}

static void an_installation_may_be_given_up(void **state)
{
    struct bench *b = *state;
    const struct install_sql v1 = {first, routines, triggers};
    b->client = fresh_database(b, "givenup", "postgres");
    for (int turns = 0; turns < 12; turns++) {
        struct install *in = install_start(b->client, &v1, on_installed, b);
        b->other = NULL;
        b->outcome_seen = false;
        for (int i = 0; i < turns; i++) {
            loop_defer(b->loop, on_stop, b->loop);
            loop_run(b->loop);
        }
        if (!b->outcome_seen) {
            install_cancel(in);
        }
        query(b, b->client, "SELECT pg_current_xact_id_if_assigned() IS NULL");
        assert_true(b->ok); /* not in an aborted transaction */
        assert_string_equal(b->text, "t");
    }
    expect_ready(b, b->client, &v1, !b->outcome_seen);
}

static void a_connection_lost_on_the_way_is_no_fatal_failure(void **state)
{
    static const struct embedded_file suicidal[] = {
        {"0001_first.sql", "CREATE TABLE busbar.gone (n int); SELECT pg_terminate_backend(pg_backend_pid())"},
        {NULL, NULL}};
    struct bench *b = *state;
    const struct install_sql v1 = {suicidal, none, none};
    b->client = fresh_database(b, "lost", "postgres");
    expect_not_ready(b, b->client, &v1, false, "0001_first.sql");
    while (b->state != PG_CLIENT_UP) {
        loop_run(b->loop);
    }
    expect_text(b, b->client, "SELECT count(*) FROM pg_namespace WHERE nspname = 'busbar'", "0");
}

/* The files of sql/ as they are. */
static void the_embedded_files_install(void **state)
{
    struct bench *b = *state;
    b->client = fresh_database(b, "embedded", "postgres");
    for (int i = 0; i < 2; i++) {
        uint64_t start = wall_ms();
        install(b, b->client, &install_embedded);
        if (!b->outcome.ready) {
            fail_msg("not ready: %s %s", b->outcome.err.sqlstate, b->outcome.err.msg);
        }
        assert_true(b->outcome.guard);
        assert_int_equal(b->outcome.changed, i == 0);
        assert_int_equal(strlen(b->secret), 64);
        print_message("embedded files, start %d: %d ms\n", i + 1, (int)(wall_ms() - start));
    }
    expect_text(b, b->client, "SELECT count(*) FROM busbar.history('')", "0");
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(queries_have_parameters_and_rows),
        LIVE(errors_are_the_servers_and_harm_nothing),
        LIVE(copy_ends_the_connection_and_it_comes_back),
        LIVE(a_result_too_big_fails_alone),
        LIVE(a_full_queue_refuses),
        LIVE(pending_queries_fail_when_the_connection_drops),
        LIVE(an_idle_connection_that_ends_is_noticed),
        LIVE(attempts_back_off),
        LIVE(a_callback_may_free_the_client),
        LIVE(installs_once_and_upgrades),
        LIVE(without_the_privilege_there_is_no_guard),
        LIVE(what_must_be_mended_is_said),
        LIVE(two_services_start_together),
        LIVE(an_installation_may_be_given_up),
        LIVE(a_connection_lost_on_the_way_is_no_fatal_failure),
        LIVE(the_embedded_files_install),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
