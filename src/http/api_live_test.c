/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints over a socket and a real database; src/pg/live_test.py makes it and sets the environment. */
#include "http/api.h"

#include "base/buf.h"
#include "pg/client.h"
#include "schema/fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zip.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

struct bench {
    struct loop *loop;
    struct timer *patience;
    struct pg_client *client;
    struct api *api;
    struct api_state state;
    bool up, answered;
    int fd;
    struct watch *watch;
    struct buf in;
    bool eof;
};

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

static void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct bench *b = ctx;
    b->up = state == PG_CLIENT_UP;
    loop_stop(b->loop);
}

static void fill(void *ctx, struct proxy_stats *n, struct sync_stats *s)
{
    n->sessions = 4;
    n->migrations_recorded = 11;
}

static void on_answer(void *ctx, const struct pg_result *r)
{
    struct bench *b = ctx;
    if (!r->ok) {
        fail_msg("%s", r->err.msg);
    }
    b->answered = true;
    loop_stop(b->loop);
}

static void sql(struct bench *b, const char *text)
{
    b->answered = false;
    pg_client_exec_script(b->client, text, on_answer, b);
    while (!b->answered) {
        loop_run(b->loop);
    }
}

/* What of schema busbar the api uses. */
static const char schema[] =
    "DROP SCHEMA IF EXISTS busbar CASCADE; CREATE SCHEMA busbar;"
    "CREATE TABLE busbar.migration (seq bigint, version text);"
    "CREATE TABLE busbar.electrified (n int); INSERT INTO busbar.electrified VALUES (1);"
    "CREATE TABLE busbar.command (id bigint, seq bigint, ops jsonb);"
    "CREATE FUNCTION busbar.history(after text) RETURNS TABLE (seq bigint, version text, priority int, id "
    "bigint,"
    " query text, ops text) LANGUAGE sql AS 'SELECT seq, version, 1, id, '''', ops::text FROM "
    "busbar.migration JOIN"
    " busbar.command USING (seq) ORDER BY 4'";

static void open_api(struct bench *b, const char *cluster)
{
    struct err err = ERR_INIT;
    struct pg_client_options client = {.url = getenv(cluster), .application_name = "api live"};
    struct api_options options = {
        .http.listen.address = "127.0.0.1", .state = &b->state, .version = "0.1.0", .fill = fill, .ctx = b};
    assert_non_null(client.url);
    b->client = pg_client_new(b->loop, &client, on_state, b);
    options.client = b->client;
    assert_int_equal(api_new(b->loop, &options, &b->api, &err), 0);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    b->loop = loop_new();
    b->patience = timer_new(b->loop, on_patience, b);
    timer_start(b->patience, PATIENCE_MS);
    b->fd = -1;
    buf_init(&b->in, 1 << 24);
    open_api(b, "BUSBAR_TEST_PLAIN");
    while (!b->up) {
        loop_run(b->loop);
    }
    sql(b, schema);
    b->state.ready = b->state.guard = true;
    *state = b;
    return 0;
}

static void disconnect(struct bench *b)
{
    watch_free(take_ptr(&b->watch));
    if (b->fd >= 0) {
        close(b->fd);
    }
    b->fd = -1;
    b->eof = false;
    buf_reset(&b->in);
}

static int teardown(void **state)
{
    struct bench *b = *state;
    disconnect(b);
    api_free(b->api);
    pg_client_free(b->client);
    timer_free(b->patience);
    loop_free(b->loop);
    buf_deinit(&b->in);
    free(b);
    return 0;
}

static void on_client(void *ctx, int events)
{
    struct bench *b = ctx;
    char chunk[65536];
    ssize_t n = read(b->fd, chunk, sizeof chunk);
    if (n > 0) {
        buf_put(&b->in, chunk, (size_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        b->eof = true;
        watch_set(b->watch, 0);
        loop_stop(b->loop);
    }
}

static void send_request(struct bench *b, const char *method, const char *target)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[1024];
    int n =
        snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", method, target);
    disconnect(b);
    in.sin_port = htons(api_port(b->api));
    b->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(b->fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(write(b->fd, text, (size_t)n), n);
    fcntl(b->fd, F_SETFL, O_NONBLOCK);
    b->watch = watch_new(b->loop, b->fd, on_client, b);
    watch_set(b->watch, WATCH_READ);
}

/* Returns the body; the whole answer is in b->in. */
static struct str fetch(struct bench *b, const char *method, const char *target, int status)
{
    char line[32];
    send_request(b, method, target);
    while (!b->eof) {
        loop_run(b->loop);
    }
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    if (strncmp(buf_cstr(&b->in), line, strlen(line)) != 0) {
        fail_msg("%s: expected %d, got %s", target, status, buf_cstr(&b->in));
    }
    const char *body = memmem(b->in.p, b->in.n, "\r\n\r\n", 4);
    assert_non_null(body);
    return (struct str){body + 4, b->in.n - (size_t)(body + 4 - b->in.p)};
}

static void expect(struct bench *b, const char *target, int status, const char *header, const char *body)
{
    struct str got = fetch(b, "GET", target, status);
    if (body && !str_eq(got, str_c(body))) {
        fail_msg("%s: expected %s, got %.*s", target, body, STR_ARG(got));
    }
    if (header && !memmem(b->in.p, b->in.n, header, strlen(header))) {
        fail_msg("%s: no %s in %s", target, header, buf_cstr(&b->in));
    }
}

static void status_says_whether_it_is_ready(void **state)
{
    struct bench *b = *state;
    expect(b, "/api/status", 200, "access-control-allow-origin: *\r\n", "Connection to Postgres is up!");
    b->state.ready = false;
    expect(b, "/api/status", 503, "text/plain", "Initializing connection to Posgres...");
}

static void other_paths_and_methods_are_not_found(void **state)
{
    static const char *const paths[] = {"/",   "/api",      "/api/", "/api/status/", "/api/migrations/x",
                                        "/ws", "/metrics/x"};
    struct bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        expect(b, paths[i], 404, NULL, "Not found");
    }
    assert_true(str_eq(fetch(b, "POST", "/api/status", 404), STR("Not found")));
    assert_true(str_eq(fetch(b, "DELETE", "/api/migrations", 404), STR("Not found")));
    expect(b, "/proxy", 404, NULL, "Migrations proxy is not configured to accept WebSocket connections");
}

static void health_counts_what_is_in_the_database(void **state)
{
    struct bench *b = *state;
    sql(b, "INSERT INTO busbar.migration VALUES (1, 'a'), (2, 'b')");
    expect(b, "/api/health", 200, "content-type: application/json\r\n", NULL);
    json_t *json = json_loads(strstr(buf_cstr(&b->in), "\r\n\r\n") + 4, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "status")), "ready");
    assert_int_equal(json_integer_value(json_object_get(json, "migrations")), 2);
    assert_int_equal(json_integer_value(json_object_get(json, "electrified_tables")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "sessions")), 4);
    assert_string_equal(json_string_value(json_object_get(json_object_get(json, "postgres"), "state")), "up");
    json_decref(json);
    expect(b, "/metrics", 200, "\nbusbar_migrations 2\n", NULL);
    expect(b, "/metrics", 200, "\nbusbar_migrations_captured_total 11\n", NULL);
    expect(b, "/metrics", 200, "content-type: text/plain; version=0.0.4; charset=utf-8\r\n", NULL);
    b->state.ready = false;
    expect(b, "/api/health", 503, "\"status\":\"starting\"", NULL);
    expect(b, "/metrics", 200, "\nbusbar_ready 0\n", NULL);
}

/* The table is locked: numbers come without it, and a second later at most. */
static void health_does_not_wait_for_the_database(void **state)
{
    struct bench *b = *state;
    struct pg_client *service = b->client;
    b->up = false;
    struct pg_client_options options = {.url = getenv("BUSBAR_TEST_PLAIN"), .application_name = "locker"};
    b->client = pg_client_new(b->loop, &options, on_state, b);
    while (!b->up) {
        loop_run(b->loop);
    }
    sql(b, "BEGIN; LOCK TABLE busbar.migration");
    expect(b, "/api/health", 200, "\"migrations\":null,", NULL);
    send_request(b, "GET", "/api/migrations?dialect=sqlite"); /* waits; its client leaves */
    disconnect(b);
    pg_client_free(b->client);
    b->client = service;
    expect(b, "/api/health", 200, "\"migrations\":0,", NULL);
}

static void add_history(struct bench *b)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(65536);
    const char *table =
        fx_create_table(&a, (struct fx_table){.name = "d",
                                              .columns = fx_column(&a, "id", "uuid", "uuid", NOT_NULL),
                                              .primary_key = "\"id\"",
                                              .sql = "CREATE TABLE d (id uuid PRIMARY KEY)"});
    const char *column = fx_add_column(&a, "d", fx_column(&a, "n", "integer", "int4", NULLABLE),
                                       "ALTER TABLE d ADD COLUMN n integer");
    struct str first = fx_command(&a, table, NULL), second = fx_command(&a, column, NULL);
    buf_printf(&text,
               "INSERT INTO busbar.migration VALUES (1, '0001'), (2, '0002');"
               "INSERT INTO busbar.command VALUES (1, 1, $j$%.*s$j$), (2, 2, $j$%.*s$j$)",
               STR_ARG(first), STR_ARG(second));
    sql(b, buf_cstr(&text));
}

static int count_entries(struct str bytes)
{
    zip_error_t error;
    zip_t *z =
        zip_open_from_source(zip_source_buffer_create(bytes.p, bytes.n, 0, &error), ZIP_RDONLY, &error);
    assert_non_null(z);
    int n = (int)zip_get_num_entries(z, 0);
    zip_close(z);
    return n;
}

static void migrations_come_as_an_archive(void **state)
{
    struct bench *b = *state;
    expect(b, "/api/migrations?dialect=sqlite", 204, NULL, "");
    add_history(b);
    assert_int_equal(count_entries(fetch(b, "GET", "/api/migrations?dialect=sqlite", 200)), 4);
    assert_non_null(strstr(buf_cstr(&b->in), "content-type: application/zip\r\n"));
    size_t length = (size_t)atoi(strstr(buf_cstr(&b->in), "content-length: ") + 16);
    assert_int_equal(fetch(b, "HEAD", "/api/migrations?dialect=sqlite", 200).n, 0);
    assert_int_equal(atoi(strstr(buf_cstr(&b->in), "content-length: ") + 16), length);
    assert_int_equal(count_entries(fetch(b, "GET", "/api/migrations?dialect=postgresql&version=", 200)), 4);
    assert_int_equal(count_entries(fetch(b, "GET", "/api/migrations?version=0001&dialect=postgresql", 200)),
                     2);
    expect(b, "/api/migrations?dialect=sqlite&version=0002", 204, NULL, "");
    expect(b, "/api/migrations?dialect=sqlite&version=9", 204, NULL, "");
}

static void bad_requests_are_refused_in_json(void **state)
{
    struct bench *b = *state;
    expect(b, "/api/migrations", 403, "content-type: application/json\r\n",
           "{\"error\":\"missing required parameter 'dialect'\"}");
    expect(b, "/api/migrations?dialect=mysql", 403, NULL,
           "{\"error\":\"unsupported dialect \\\"mysql\\\"\"}");
    expect(b, "/api/migrations?dialect=", 403, NULL, "{\"error\":\"unsupported dialect \\\"\\\"\"}");
    expect(b, "/api/migrations?dialect=%22%5C", 403, NULL,
           "{\"error\":\"unsupported dialect \\\"\\\"\\\\\\\"\"}");
    expect(b, "/api/migrations?dialect=%ff", 403, NULL, "{\"error\":\"the request is not UTF-8\"}");
    b->state.ready = false;
    snprintf(b->state.reason, sizeof b->state.reason, "%s", "the database is being prepared");
    expect(b, "/api/migrations?dialect=sqlite", 503, NULL, "{\"error\":\"the database is being prepared\"}");
}

static void a_history_that_cannot_be_had_is_an_error(void **state)
{
    struct bench *b = *state;
    add_history(b);
    sql(b, "DELETE FROM busbar.command WHERE id = 1");
    expect(b, "/api/migrations?dialect=sqlite", 500, NULL,
           "{\"error\":\"the history of migrations cannot be rendered\"}");
    sql(b, "DROP FUNCTION busbar.history");
    expect(b, "/api/migrations?dialect=sqlite", 503, NULL,
           "{\"error\":\"the history of migrations cannot be read\"}");
}

static void on_stop(void *ctx)
{
    loop_stop(ctx);
}

static void freed_with_requests_waiting(void **state)
{
    struct bench *b = *state;
    add_history(b);
    for (int i = 0; i < 2; i++) {
        send_request(b, "GET", "/api/migrations?dialect=sqlite");
    }
    send_request(b, "GET", "/api/health");
    for (int i = 0; i < 3; i++) {
        loop_defer(b->loop, on_stop, b->loop);
        loop_run(b->loop);
    }
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(status_says_whether_it_is_ready),
        LIVE(other_paths_and_methods_are_not_found),
        LIVE(health_counts_what_is_in_the_database),
        LIVE(health_does_not_wait_for_the_database),
        LIVE(migrations_come_as_an_archive),
        LIVE(bad_requests_are_refused_in_json),
        LIVE(a_history_that_cannot_be_had_is_an_error),
        LIVE(freed_with_requests_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
