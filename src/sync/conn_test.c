/* SPDX-License-Identifier: Apache-2.0 */
/* A raw client, by way of HTTP and WebSocket, to a session; the service writes down what it is asked
 * (session_talk.h). */
#include "sync/conn.h"

#include "net/ws_fixture.h"
#include "sync/session_talk.h"

#include <time.h>

enum { PATIENCE_MS = 20000 };

struct bench {
    struct loop *loop;
    struct timer *patience;
    struct http_server *http;
    struct sync_server *server;
    struct sync_service service;
    struct talk talk;
    struct raw client;
};

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

static void on_request(void *ctx, struct http_request *r)
{
    http_respond(r, 404, NULL, NULL, 0);
}

static const char *not_ready(void *hub)
{
    return "subscribing";
}

static void start_service(struct bench *b, unsigned max_clients)
{
    struct err err = ERR_INIT;
    struct http_options options = {.listen.address = "127.0.0.1"};
    assert_int_equal(http_server_new(b->loop, &options, on_request, b, &b->http, &err), 0);
    b->service = talk_service;
    b->server = sync_server_new(b->loop, b->http,
                                &(struct sync_server_options){.service = &b->service,
                                                              .hub = &b->talk,
                                                              .instance = STR("instance"),
                                                              .max_clients = max_clients});
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    b->loop = loop_new();
    b->patience = timer_new(b->loop, on_patience, b);
    timer_start(b->patience, PATIENCE_MS);
    raw_init(&b->client, b->loop);
    buf_init(&b->talk.said, 1024 * 1024);
    b->talk.answers = true;
    start_service(b, 1);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    raw_close(&b->client);
    http_server_free(b->http);
    sync_server_free(b->server);
    assert_int_equal(b->talk.opened, b->talk.closed);
    timer_free(b->patience);
    loop_free(b->loop);
    buf_deinit(&b->talk.said);
    free(b);
    return 0;
}

static void come(struct bench *b)
{
    raw_connect(&b->client, http_server_port(b->http));
    raw_send_text(&b->client, WS_UPGRADE "Sec-WebSocket-Protocol: electric.0.12\r\n\r\n");
    raw_expect_text(&b->client, "sec-websocket-protocol: electric.0.12\r\n\r\n");
    buf_reset(&b->client.in);
}

static void send_auth(struct bench *b, const char *token)
{
    CLEANUP(buf_deinit) struct buf auth = BUF_INIT(1000), call_bytes = BUF_INIT(1000), out = BUF_INIT(1000);
    pb_str(&auth, 1, STR("c"));
    pb_str(&auth, 2, str_c(token));
    sat_put_call(&call_bytes, STR("authenticate"), 1, buf_str(&auth));
    put_client_frame(&out, WS_FIN | WS_OP_BINARY, call_bytes.p, call_bytes.n);
    raw_send(&b->client, out.p, out.n);
}

static const char authenticated[] =
    "\x82\x1d\x16\x0a\x0c"
    "authenticate\x10\x01\x1a\x0a\x0a\x08instance\x82\x13\x15\x0a\x10startReplication";

static void wait_closed(struct bench *b, int times)
{
    while (b->talk.closed < times) {
        raw_turn(&b->client);
    }
}

static void a_client_comes_and_goes(void **state)
{
    struct bench *b = *state;
    come(b);
    assert_int_equal(sync_server_clients(b->server), 1);
    send_auth(b, "u");
    raw_expect(&b->client, authenticated, sizeof authenticated - 1);
    assert_int_equal(b->client.in.n, sizeof authenticated - 1);
    raw_close(&b->client);
    wait_closed(b, 1);
    assert_int_equal(sync_server_clients(b->server), 0);
}

static void refusals_are_read(void **state)
{
    struct bench *b = *state;
    raw_connect(&b->client, http_server_port(b->http));
    raw_send_text(&b->client, WS_UPGRADE "Sec-WebSocket-Protocol: electric.0.9\r\n\r\n");
    raw_expect_text(&b->client, "this server requires >= 0.10.0");
    raw_send_text(&b->client, WS_UPGRADE "\r\n");
    raw_expect_text(&b->client, "Missing satellite websocket subprotocol");
    b->service.not_ready = not_ready;
    raw_send_text(&b->client, WS_UPGRADE "Sec-WebSocket-Protocol: electric.0.10\r\n\r\n");
    raw_expect_text(&b->client, "HTTP/1.1 503");
    raw_expect_text(&b->client, "Postgres connection is not ready: subscribing...");
    b->service.not_ready = talk_service.not_ready;
    come(b);
    struct raw second;
    raw_init(&second, b->loop);
    raw_connect(&second, http_server_port(b->http));
    raw_send_text(&second, WS_UPGRADE "Sec-WebSocket-Protocol: electric.0.12\r\n\r\n");
    raw_expect_text(&second, "Too many connections");
    raw_close(&second);
}

static void what_is_no_message_closes(void **state)
{
    static const struct {
        struct str frame, answer;
    } rows[] = {
        {STR("\x82\x81\0\0\0\0\x63"),
         STR("\x82\x01\x00\x88\x36\x03\xefMessage not formatted according to Electric protocol")},
        {STR("\x81\x81\0\0\0\0\x63"),
         STR("\x88\x36\x03\xebMessage not formatted according to Electric protocol")},
    };
    struct bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        come(b);
        raw_send(&b->client, rows[i].frame.p, rows[i].frame.n);
        raw_expect(&b->client, rows[i].answer.p, rows[i].answer.n);
        assert_int_equal(b->client.in.n, rows[i].answer.n);
        raw_close(&b->client);
        wait_closed(b, (int)i + 1);
    }
}

static void a_token_expires_in_time(void **state)
{
    struct bench *b = *state;
    struct timespec now;
    char token[40];
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t at = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + 300;
    snprintf(token, sizeof token, "u@%lld", (long long)at);
    come(b);
    send_auth(b, token);
    raw_expect_text(&b->client, "instance");
    assert_null(memmem(b->client.in.p, b->client.in.n, "JWT", 3));
    raw_expect_text(&b->client, "\x88\x0d\x0f\xa0JWT-expired");
    clock_gettime(CLOCK_REALTIME, &now);
    assert_true((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 >= at);
}

static void a_stop_sends_everybody_away(void **state)
{
    struct bench *b = *state;
    come(b);
    sync_server_stop(b->server);
    raw_expect_text(&b->client, "\x88\x14\x03\xe9Server is stopping");
    struct raw late;
    raw_init(&late, b->loop);
    raw_connect(&late, http_server_port(b->http));
    raw_send_text(&late, WS_UPGRADE "Sec-WebSocket-Protocol: electric.0.12\r\n\r\n");
    raw_expect_text(&late, "HTTP/1.1 503");
    raw_close(&late);
}

static void a_client_that_cannot_follow_is_dropped(void **state)
{
    struct bench *b = *state;
    struct buf start_bytes = BUF_INIT(1000), out = BUF_INIT(1000);
    come(b);
    send_auth(b, "u");
    sat_put_call(&start_bytes, STR("startReplication"), 2, (struct str){"", 0});
    put_client_frame(&out, WS_FIN | WS_OP_BINARY, start_bytes.p, start_bytes.n);
    raw_send(&b->client, out.p, out.n);
    raw_expect(&b->client, "\x10\x02\x1a\x02\x10\x1e", 6);
    watch_set(b->client.watch, 0);
    struct buf row = BUF_INIT(20 * 1024 * 1024);
    packet_begin(&row);
    while (row.n < 10 * 1024 * 1024) {
        buf_put(&row, authenticated, sizeof authenticated);
    }
    struct packet *p = packet_end(&row);
    for (int i = 0; i < 20 && b->talk.closed == 0; i++) {
        struct delivery *d = delivery_new(DELIVERY_DATA, 1, 0);
        delivery_add(d, packet_ref(p));
        sync_session_send(b->talk.s, d);
        delivery_unref(d);
        raw_turn(&b->client);
    }
    wait_closed(b, 1);
    assert_int_equal(p->refs, 1);
    packet_unref(p);
    buf_deinit(&start_bytes);
    buf_deinit(&out);
}

int main(void)
{
#define CONN_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CONN_TEST(a_client_comes_and_goes),     CONN_TEST(refusals_are_read),
        CONN_TEST(what_is_no_message_closes),   CONN_TEST(a_token_expires_in_time),
        CONN_TEST(a_stop_sends_everybody_away), CONN_TEST(a_client_that_cannot_follow_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
