/* SPDX-License-Identifier: Apache-2.0 */
/* The replication connection, and what repl/ makes of it, with a real server; live_test.py makes it and sets
 * the environment. */
#include "pg/client.h"
#include "pg/replication.h"

#include "base/compiler.h"
#include "net/loop.h"
#include "repl/assemble.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATIENCE_MS = 30000 };

struct bench {
    struct loop *loop;
    struct timer *patience;
    struct pg_client *client;
    struct replication *r;
    struct replication_options options;
    char url[512];
    bool connected; /* the client */
    /* Of the last query, of either. */
    int answers;
    bool ok;
    char text[512], sqlstate[6];
    size_t rows, cols;
    /* Of the replication connection. */
    bool up, ended, clean, from_server;
    struct err why;
    size_t messages, blocks, keepalives;
    uint64_t wal_end;
    bool confirm, pause;
    const char *free_at; /* the callback that frees it */
    struct assemble *a;
    struct relations relations;
    struct buf seen; /* transactions as text */
    lsn_t position;
};

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

static bool freed_at(struct bench *b, const char *where)
{
    loop_stop(b->loop);
    if (b->free_at && strcmp(b->free_at, where) == 0) {
        replication_free(take_ptr(&b->r));
        return true;
    }
    return false;
}

/* --- what comes out --- */

static void on_relation(void *ctx, const struct relation *r)
{
    struct bench *b = ctx;
    relations_put(&b->relations, relation_copy(r));
}

static void show_tuple(struct bench *b, const struct tuple *t, char open)
{
    struct value values[8];
    struct err err;
    if (t->columns == 0) {
        return;
    }
    assert_in_range(t->columns, 1, ARRAY_LEN(values));
    assert_int_equal(tuple_values(t, values, &err), 0);
    buf_put_byte(&b->seen, open);
    for (uint32_t i = 0; i < t->columns; i++) {
        buf_put_c(&b->seen, i ? "," : "");
        if (!values[i].p) {
            buf_put_c(&b->seen, "-");
        } else if (values[i].n > 40) {
            buf_printf(&b->seen, "%c*%u", values[i].p[0], values[i].n);
        } else {
            buf_put(&b->seen, values[i].p, values[i].n);
        }
    }
}

static void show_change(struct bench *b, const struct change *c)
{
    if (c->kind == CHANGE_MESSAGE) {
        buf_printf(&b->seen, " M:%.*s", STR_ARG(c->content));
        return;
    }
    const struct relation *r = relations_get(&b->relations, c->relation);
    assert_non_null(r);
    buf_printf(&b->seen, " %c:%.*s", " IUDT"[c->kind], STR_ARG(r->name));
    show_tuple(b, &c->old, '<');
    show_tuple(b, &c->new, '>');
}

/* A large one by its number of changes. */
static void on_txn(void *ctx, struct txn *txn)
{
    struct bench *b = ctx;
    struct txn_cursor cursor = txn_changes(txn_bytes(txn));
    struct change change;
    struct err err;
    if (txn_head(txn)->changes > 20) {
        buf_printf(&b->seen, "[%u changes]", txn_head(txn)->changes);
    } else {
        buf_put_c(&b->seen, "[");
        while (txn_next(&cursor, &change, &err) == 1) {
            show_change(b, &change);
        }
        buf_put_c(&b->seen, "]");
    }
    assert_true(txn_head(txn)->end_lsn > b->position);
    b->position = txn_head(txn)->end_lsn;
    txn_unref(txn);
}

static void on_position(void *ctx, lsn_t lsn)
{
    struct bench *b = ctx;
    b->position = lsn;
}

static void on_message(void *ctx, lsn_t lsn, struct str prefix, struct str content)
{
    struct bench *b = ctx;
    buf_printf(&b->seen, "(M:%.*s)", STR_ARG(content));
}

static const struct assemble_events assemble_events = {on_relation, on_txn, on_position, on_message};

/* --- the connection --- */

static void on_up(void *ctx)
{
    struct bench *b = ctx;
    b->up = true;
    freed_at(b, "up");
}

static void on_data(void *ctx, uint64_t wal_start, struct str bytes)
{
    struct bench *b = ctx;
    struct err err;
    b->messages++;
    b->blocks += bytes.p[0] == 'S';
    if (assemble_feed(b->a, bytes, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    if (!freed_at(b, "data") && b->pause) {
        replication_pause(b->r);
    }
}

static void on_keepalive(void *ctx, uint64_t wal_end, int64_t server_us)
{
    struct bench *b = ctx;
    b->keepalives++;
    b->wal_end = wal_end;
    assert_true(server_us > 1700000000ll * 1000000);
    if (!freed_at(b, "keepalive") && b->confirm) {
        replication_confirm(b->r, wal_end);
    }
}

static void on_end(void *ctx, const struct login_error *why)
{
    struct bench *b = ctx;
    assert_false(b->ended);
    b->ended = true;
    b->clean = !why;
    if (why) {
        b->why = why->err;
        b->from_server = why->from_server;
    }
    freed_at(b, "end");
}

static const struct replication_events events = {on_up, on_data, on_keepalive, on_end};

static void on_answer(void *ctx, const struct pg_result *r)
{
    struct bench *b = ctx;
    b->answers++;
    b->ok = r->ok;
    b->rows = r->rows;
    b->cols = r->cols;
    b->text[0] = '\0';
    if (r->ok && r->rows > 0 && pg_result_cstr(r, 0, 0)) {
        snprintf(b->text, sizeof b->text, "%s", pg_result_cstr(r, 0, 0));
    }
    snprintf(b->sqlstate, sizeof b->sqlstate, "%s", r->err.sqlstate);
    if (!r->ok) {
        snprintf(b->text, sizeof b->text, "%s", r->err.msg);
    }
    loop_stop(b->loop);
}

static void on_query_free(void *ctx, const struct pg_result *r)
{
    struct bench *b = ctx;
    on_answer(ctx, r);
    freed_at(b, "answer");
}

#define WAIT_FOR(b, condition)   \
    do {                         \
        while (!(condition)) {   \
            loop_run((b)->loop); \
        }                        \
    } while (0)

static void connect_more(struct bench *b, const char *more)
{
    snprintf(b->url, sizeof b->url, "%s %s", getenv("BUSBAR_TEST_TLS"), more);
    b->options.url = b->url;
    b->options.application_name = "busbar live";
    b->up = b->ended = false;
    b->r = replication_new(b->loop, &b->options, &events, b);
    assert_false(b->up);
}

/* A command of the replication connection. */
static void ask(struct bench *b, const char *sql)
{
    int answers = b->answers;
    replication_query(b->r, sql, on_query_free, b);
    assert_int_equal(b->answers, answers);
    WAIT_FOR(b, b->answers > answers);
}

static void ask_well(struct bench *b, const char *sql)
{
    ask(b, sql);
    if (!b->ok) {
        fail_msg("%s: %s", sql, b->text);
    }
}

/* SQL by another connection. */
static void sql(struct bench *b, const char *text)
{
    int answers = b->answers;
    pg_client_exec_script(b->client, text, on_answer, b);
    WAIT_FOR(b, b->answers > answers);
    if (!b->ok) {
        fail_msg("%s: %s", text, b->text);
    }
}

/* Connected, a slot that lives as long as the connection, streaming. */
static void stream(struct bench *b, const char *more)
{
    connect_more(b, more);
    WAIT_FOR(b, b->up);
    ask_well(b, "CREATE_REPLICATION_SLOT live TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
    assemble_reset(b->a);
    b->position = 0;
    replication_start(b->r, "live", "Every \"thing's\"", 0);
}

/* Everything up to here. */
static void expect(struct bench *b, const char *text)
{
    sql(b, "SELECT pg_logical_emit_message(true, 'live', 'end')");
    WAIT_FOR(b, b->ended || strstr(buf_cstr(&b->seen), "[ M:end]"));
    assert_false(b->ended);
    b->seen.n -= strlen("[ M:end]");
    assert_string_equal(buf_cstr(&b->seen), text);
    buf_reset(&b->seen);
}

static void on_client(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct bench *b = ctx;
    b->connected = state == PG_CLIENT_UP;
    loop_stop(b->loop);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct pg_client_options options = {.url = getenv("BUSBAR_TEST_TLS"), .application_name = "live"};
    b->loop = loop_new();
    b->patience = timer_new(b->loop, on_patience, b);
    timer_start(b->patience, PATIENCE_MS);
    b->a = assemble_new(&(struct assemble_options){0}, &assemble_events, b);
    buf_init(&b->seen, 1024 * 1024);
    b->client = pg_client_new(b->loop, &options, on_client, b);
    WAIT_FOR(b, b->connected);
    sql(b, "SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
           "DROP PUBLICATION IF EXISTS \"Every \"\"thing's\"\"\"; CREATE PUBLICATION \"Every "
           "\"\"thing's\"\"\" FOR ALL TABLES;"
           "CREATE TABLE public.items (id int PRIMARY KEY, t text, n text);"
           "ALTER TABLE public.items REPLICA IDENTITY FULL, ALTER t SET STORAGE external");
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    replication_free(b->r);
    pg_client_free(b->client);
    assemble_free(b->a);
    relations_deinit(&b->relations);
    buf_deinit(&b->seen);
    timer_free(b->patience);
    loop_free(b->loop);
    free(b);
    return 0;
}

/* --- tests --- */

static void commands_are_answered_before_the_stream(void **state)
{
    struct bench *b = *state;
    connect_more(b, "");
    WAIT_FOR(b, b->up);
    assert_true(replication_server_version(b->r) >= 140000);
    ask(b, "SELECT nonsense"); /* harmless now; with a temporary slot it would be the end of that */
    assert_false(b->ok);
    assert_string_equal(b->sqlstate, "42703");
    ask_well(b, "IDENTIFY_SYSTEM");
    assert_int_equal(b->rows, 1);
    assert_int_equal(b->cols, 4);
    sql(b, "INSERT INTO public.items VALUES (1)");
    ask_well(b, "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ");
    ask_well(b, "CREATE_REPLICATION_SLOT live TEMPORARY LOGICAL pgoutput USE_SNAPSHOT");
    assert_string_equal(b->text, "live");
    sql(b, "INSERT INTO public.items VALUES (2)");
    ask_well(
        b, "SELECT count(*) FROM public.items; SELECT sum(id) FROM public.items; SET LOCAL work_mem = '1MB'");
    assert_string_equal(b->text, "1");
    assert_int_equal(b->rows, 1);
    ask_well(b, "COMMIT");
    replication_start(b->r, "live", "Every \"thing's\"", 0);
    expect(b, "[ I:items>2,-,-]");
}

static void changes_come_as_transactions(void **state)
{
    struct bench *b = *state;
    stream(b, "");
    sql(b, "INSERT INTO public.items VALUES (1, 'a', NULL), (2, '', 'x')");
    sql(b, "UPDATE public.items SET n = 'y' WHERE id = 1");
    sql(b, "UPDATE public.items SET id = 3 WHERE id = 1; DELETE FROM public.items WHERE id = 2");
    expect(b, "[ I:items>1,a,- I:items>2,,x][ U:items<1,a,->1,a,y][ U:items<1,a,y>3,a,y D:items<2,,x]");
    sql(b, "TRUNCATE public.items");
    sql(b, "BEGIN; INSERT INTO public.items VALUES (4); ROLLBACK");
    sql(b,
        "SELECT pg_logical_emit_message(true, 'live', 'in'), pg_logical_emit_message(false, 'live', 'out')");
    expect(b, "[ T:items](M:out)[ M:in]");
}

static void large_values_are_whole(void **state)
{
    struct bench *b = *state;
    stream(b, "");
    sql(b, "INSERT INTO public.items VALUES (1, repeat('x', 5000), 'a')");
    sql(b, "UPDATE public.items SET n = 'b'");
    sql(b, "UPDATE public.items SET t = repeat('y', 3000000)");
    sql(b, "DELETE FROM public.items");
    expect(b, "[ I:items>1,x*5000,a][ U:items<1,x*5000,a>1,x*5000,b]"
              "[ U:items<1,x*5000,b>1,y*3000000,b][ D:items<1,y*3000000,b]");
}

static void relations_change_between_transactions(void **state)
{
    struct bench *b = *state;
    stream(b, "");
    sql(b, "INSERT INTO public.items VALUES (1)");
    sql(b, "INSERT INTO public.items VALUES (2)");
    sql(b, "ALTER TABLE public.items ADD COLUMN more int DEFAULT 7");
    sql(b, "UPDATE public.items SET n = 'x' WHERE id = 1");
    sql(b, "BEGIN; ALTER TABLE public.items DROP COLUMN t; DELETE FROM public.items WHERE id = 1; COMMIT");
    sql(b, "CREATE TABLE public.others (id int PRIMARY KEY); INSERT INTO public.others VALUES (1);"
           "UPDATE public.others SET id = 2");
    expect(b, "[ I:items>1,-,-][ I:items>2,-,-][ U:items<1,-,-,7>1,-,x,7][ D:items<1,x,7]"
              "[ I:others>1 U:others>2]"); /* the old key alone is no old row */
    assert_int_equal(b->relations.n, 4);
    assert_null(relations_get(&b->relations, 5));
}

static void values_look_the_same_whatever_the_role_says(void **state)
{
    struct bench *b = *state;
    sql(b,
        "CREATE TYPE public.mood AS ENUM ('glad');CREATE TABLE public.looks (b bytea, d date, t timestamptz, "
        "i interval, f float8, e text, m public.mood);"
        "ALTER ROLE postgres SET bytea_output = 'escape'; ALTER ROLE postgres SET DateStyle = 'German, MDY';"
        "ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'; ALTER ROLE postgres SET IntervalStyle = 'iso_8601';"
        "ALTER ROLE postgres SET extra_float_digits = 0; ALTER ROLE postgres SET client_encoding = 'LATIN1';"
        "ALTER ROLE postgres SET search_path = public");
    stream(b, "");
    sql(b, "INSERT INTO public.looks VALUES ('\\x00ff', '2024-02-03', '2024-02-03 04:05:06.7+00', '1 day 2 "
           "hours', "
           "0.1::float8 + 0.2, U&'\\20AC', 'glad'); ALTER ROLE postgres RESET ALL");
    expect(
        b,
        "[ I:looks>\\x00ff,2024-02-03,2024-02-03 04:05:06.7+00,1 day 02:00:00,0.30000000000000004,€,glad]");
}

/* The second half waits for the first to be streamed, so that what is rolled back was sent before. */
static void large_transactions_are_streamed(void **state)
{
    struct bench *b = *state;
    stream(b, "options='-c logical_decoding_work_mem=64kB'");
    sql(b, "BEGIN; INSERT INTO public.items SELECT g FROM generate_series(1, 1000) g; SAVEPOINT a;"
           "INSERT INTO public.items SELECT g FROM generate_series(1001, 2000) g; SAVEPOINT b;"
           "SELECT pg_logical_emit_message(true, 'live', 'gone');"
           "INSERT INTO public.items SELECT g FROM generate_series(2001, 3000) g; RELEASE b;"
           "INSERT INTO public.items SELECT g FROM generate_series(3001, 4000) g");
    WAIT_FOR(b, b->blocks >= 2 && assemble_held(b->a) > 100000);
    size_t held = assemble_held(b->a);
    sql(b, "ROLLBACK TO a; UPDATE public.items SET n = 'x' WHERE id = 1;"
           "INSERT INTO public.items SELECT g FROM generate_series(5001, 6000) g");
    WAIT_FOR(b, assemble_held(b->a) < held);
    sql(b, "DELETE FROM public.items WHERE id <= 500; COMMIT");
    sql(b, "BEGIN; INSERT INTO public.items SELECT g FROM generate_series(7001, 12000) g");
    sql(b, "ROLLBACK");
    expect(b, "[2501 changes]");
    assert_int_equal(assemble_held(b->a), 0);
}

static void an_idle_server_tells_its_position(void **state)
{
    struct bench *b = *state;
    uint64_t lsn;
    b->confirm = true;
    stream(b, "");
    sql(b, "CREATE TABLE public.ddl (); DROP TABLE public.ddl; SELECT pg_current_wal_lsn()");
    assert_true(lsn_parse(str_c(b->text), &lsn));
    WAIT_FOR(b, b->wal_end >= lsn);
    do {
        sql(b, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'live'");
        assert_true(lsn_parse(str_c(b->text), &lsn));
    } while (lsn < b->wal_end);
    expect(b, "");
}

static void a_live_server_is_never_given_up(void **state)
{
    struct bench *b = *state;
    b->options.silence_ms = 3000; /* on a busy machine a server may be silent for a second */
    stream(b, "");
    size_t before = b->keepalives;
    WAIT_FOR(b, b->ended || b->keepalives > before + 2);
    assert_false(b->ended);
    expect(b, "");
}

static void a_silent_server_is_given_up(void **state)
{
    struct bench *b = *state;
    b->options.silence_ms = 200;
    stream(b, "");
    expect(b, "");
    sql(b, "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'live'");
    pid_t pid = (pid_t)atoi(b->text);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    WAIT_FOR(b, b->ended);
    kill(pid, SIGCONT);
    assert_false(b->clean);
    assert_string_equal(b->why.sqlstate, "08006");
    assert_non_null(strstr(b->why.msg, "no word from the database"));
}

static void a_pause_holds_the_server_back(void **state)
{
    struct bench *b = *state;
    b->pause = true;
    stream(b, "");
    sql(b, "INSERT INTO public.items SELECT g, repeat('x', 1000) FROM generate_series(1, 30000) g");
    for (size_t n = 1; n <= 3; n++) {
        WAIT_FOR(b, b->messages == n);
        sql(b, "SELECT 1");
        sql(b, "SELECT 2");
        assert_int_equal(b->messages, n);
        replication_resume(b->r);
    }
    b->pause = false;
    replication_resume(b->r);
    expect(b, "[30000 changes]");
}

static void refusals_end_the_connection(void **state)
{
    struct bench *b = *state;
    connect_more(b, "");
    WAIT_FOR(b, b->up);
    replication_start(b->r, "no \"such\" slot", "p", 0);
    WAIT_FOR(b, b->ended);
    assert_true(b->from_server);
    assert_string_equal(b->why.sqlstate, "42704");
    assert_non_null(strstr(b->why.msg, "no \"such\" slot"));
    replication_free(b->r);
    connect_more(b, "port=1");
    WAIT_FOR(b, b->ended);
    assert_string_equal(b->why.sqlstate, "08001");
    replication_free(b->r);
    connect_more(b, "user=crowded");
    WAIT_FOR(b, b->ended);
    assert_true(b->from_server);
    replication_free(b->r);
    stream(b, "");
    expect(b, "");
    sql(b, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'live'");
    WAIT_FOR(b, b->ended);
    assert_string_equal(b->why.sqlstate, "57P01");
}

static void a_query_fails_with_its_connection(void **state)
{
    struct bench *b = *state;
    connect_more(b, "");
    WAIT_FOR(b, b->up);
    ask_well(b, "SELECT pg_backend_pid()");
    char text[600];
    snprintf(text, sizeof text, "SELECT pg_terminate_backend(%s)", b->text);
    int answers = b->answers;
    replication_query(b->r, "SELECT pg_sleep(600)", on_answer, b);
    pg_client_exec_script(b->client, text, on_answer, b);
    WAIT_FOR(b, b->ended);
    WAIT_FOR(b, b->answers == answers + 2);
    assert_string_equal(b->why.sqlstate, "57P01");
    replication_query(b->r, "SELECT 1", on_answer, b); /* too late: as if never asked */
    replication_start(b->r, "live", "p", 0);
}

static void a_restart_is_an_end(void **state)
{
    struct bench *b = *state;
    b->confirm = true;
    stream(b, "");
    sql(b, "INSERT INTO public.items VALUES (1)");
    expect(b, "[ I:items>1,-,-]");
    FILE *restart = popen(getenv("BUSBAR_TEST_RESTART"), "r");
    assert_non_null(restart);
    WAIT_FOR(b, b->ended);
    assert_true(b->clean); /* it has waited until we had confirmed all */
    assert_int_equal(pclose(restart), 0);
    replication_free(b->r);
    WAIT_FOR(b, b->connected);
    stream(b, "");
    expect(b, "");
}

static void it_may_be_freed_at_any_time(void **state)
{
    static const char *const places[] = {"up", "answer", "data", "keepalive", "end"};
    struct bench *b = *state;
    b->options.silence_ms = 100;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        b->free_at = places[i];
        connect_more(b, "");
        WAIT_FOR(b, b->up);
        if (b->r) {
            ask(b, "CREATE_REPLICATION_SLOT live TEMPORARY LOGICAL pgoutput");
        }
        if (b->r) {
            replication_start(b->r, "live", "Every \"thing's\"", 0);
            sql(b, "TRUNCATE public.items; INSERT INTO public.items SELECT generate_series(1, 5000)");
        }
        if (b->r && i == 4) {
            sql(b, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots");
        }
        WAIT_FOR(b, !b->r);
        assemble_reset(b->a);
        b->position = 0;
    }
    b->free_at = NULL;
    connect_more(b, "");
    replication_free(take_ptr(&b->r));
    connect_more(b, "");
    WAIT_FOR(b, b->up);
    replication_query(b->r, "SELECT 1", on_answer, b);
    replication_free(take_ptr(&b->r));
    connect_more(b, "");
    WAIT_FOR(b, b->up);
    replication_start(b->r, "none", "p", 0);
    replication_free(take_ptr(&b->r));
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(commands_are_answered_before_the_stream),
        LIVE(changes_come_as_transactions),
        LIVE(large_values_are_whole),
        LIVE(relations_change_between_transactions),
        LIVE(values_look_the_same_whatever_the_role_says),
        LIVE(large_transactions_are_streamed),
        LIVE(an_idle_server_tells_its_position),
        LIVE(a_live_server_is_never_given_up),
        LIVE(a_silent_server_is_given_up),
        LIVE(a_pause_holds_the_server_back),
        LIVE(refusals_end_the_connection),
        LIVE(a_query_fails_with_its_connection),
        LIVE(a_restart_is_an_end),
        LIVE(it_may_be_freed_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
