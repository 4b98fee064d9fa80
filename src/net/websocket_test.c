/* SPDX-License-Identifier: Apache-2.0 */
/* A raw client against net/http and net/websocket. */
#include "net/websocket.h"

#include "base/mem.h"
#include "net/http.h"
#include "net/ws_fixture.h"
#include "net/ws_reader.h"

#include <time.h>

enum { PATIENCE_MS = 20000, BIG = 8 * 1024 * 1024, MESSAGE_MAX = 1024 * 1024 };

struct bench {
    struct loop *loop;
    struct timer *patience, *tick;
    bool ticked;
    struct http_server *server;
    struct websocket_options options;
    /* The server's end. */
    struct websocket *ws;
    int opened, messages, drained, closed, code;
    struct buf got; /* all messages, each followed by "|" */
    bool pause_at_message, free_at_message, free_at_closed;
    char peer[64];
    struct raw client;
    struct buf out; /* its frames */
};

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

static void on_tick(void *ctx)
{
    struct bench *b = ctx;
    b->ticked = true;
    loop_stop(b->loop);
}

static void on_message(void *ctx, struct str message)
{
    struct bench *b = ctx;
    b->messages++;
    if (message.n < 100) {
        buf_put_str(&b->got, message);
        buf_put_byte(&b->got, '|');
    }
    if (b->pause_at_message) {
        websocket_pause(b->ws);
    }
    if (b->free_at_message) {
        websocket_free(take_ptr(&b->ws));
    }
}

static void on_drained(void *ctx)
{
    struct bench *b = ctx;
    b->drained++;
}

static void on_closed(void *ctx, int code)
{
    struct bench *b = ctx;
    b->closed++;
    b->code = code;
    if (b->free_at_closed) {
        websocket_free(take_ptr(&b->ws));
    }
}

static const struct websocket_events events = {on_message, on_drained, on_closed};

static int check(void *ctx, const struct http_upgrade *u, struct http_upgrade_answer *out)
{
    for (size_t i = 0; i < u->n_subprotocols; i++) {
        if (str_eq(u->subprotocols[i], STR("good"))) {
            out->subprotocol = u->subprotocols[i];
            return 101;
        }
    }
    snprintf(out->text, sizeof out->text, "%zu are no good", u->n_subprotocols);
    return u->n_subprotocols ? 503 : 400;
}

static void on_upgraded(void *ctx, int fd, const char *peer)
{
    struct bench *b = ctx;
    snprintf(b->peer, sizeof b->peer, "%s", peer);
    b->opened++;
    websocket_free(b->ws);
    b->ws = websocket_new(b->loop, fd, &b->options, &events, b);
}

static void on_request(void *ctx, struct http_request *r)
{
    http_respond(r, 200, "text/plain", "plain", 5);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    struct err err = ERR_INIT;
    struct http_options options = {.listen.address = "127.0.0.1"};
    b->loop = loop_new();
    b->patience = timer_new(b->loop, on_patience, b);
    b->tick = timer_new(b->loop, on_tick, b);
    timer_start(b->patience, PATIENCE_MS);
    raw_init(&b->client, b->loop);
    b->free_at_closed = true;
    b->options = (struct websocket_options){.max_message = MESSAGE_MAX, .text_refusal = "no text"};
    buf_init(&b->out, 4 * BIG);
    buf_init(&b->got, BIG);
    assert_int_equal(http_server_new(b->loop, &options, on_request, b, &b->server, &err), 0);
    http_server_upgrade_at(b->server, "/ws", check, on_upgraded, b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    raw_close(&b->client);
    websocket_free(b->ws);
    http_server_free(b->server);
    timer_free(b->patience);
    timer_free(b->tick);
    loop_free(b->loop);
    buf_deinit(&b->out);
    buf_deinit(&b->got);
    free(b);
    return 0;
}

static void wait_ms(struct bench *b, uint64_t ms)
{
    b->ticked = false;
    timer_start(b->tick, ms);
    while (!b->ticked) {
        loop_run(b->loop);
    }
}

static void send_frame(struct bench *b, int first, const char *content, size_t n)
{
    buf_reset(&b->out);
    put_client_frame(&b->out, first, content, n);
    raw_send(&b->client, b->out.p, b->out.n);
}

static void open_websocket(struct bench *b)
{
    raw_connect(&b->client, http_server_port(b->server));
    raw_send_text(&b->client, WS_UPGRADE "Sec-WebSocket-Protocol: good\r\n\r\n");
    raw_expect_text(&b->client, "\r\n\r\n");
    assert_non_null(b->ws);
    buf_reset(&b->client.in);
}

static void expect_message(struct bench *b, const char *all)
{
    while (!strstr(buf_cstr(&b->got), all)) {
        assert_false(b->client.eof);
        raw_turn(&b->client);
    }
}

static void a_handshake_is_answered(void **state)
{
    struct bench *b = *state;
    raw_connect(&b->client, http_server_port(b->server));
    raw_send_text(&b->client,
                  WS_UPGRADE "Sec-WebSocket-Protocol: bad , good\r\nSec-WebSocket-Protocol: worse\r\n\r\n");
    raw_expect_text(&b->client, "\r\n\r\n");
    raw_expect_text(&b->client, "HTTP/1.1 101 Switching Protocols\r\n");
    raw_expect_text(&b->client,
                    "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"); /* RFC 6455 section 1.3 */
    raw_expect_text(&b->client, "sec-websocket-protocol: good\r\n");
    assert_string_equal(b->peer, "127.0.0.1");
    send_frame(b, WS_FIN | WS_OP_BINARY, "hello", 5);
    expect_message(b, "hello|");
    struct packet *p = packet_new("answer", 6);
    websocket_send(b->ws, p);
    packet_unref(p);
    raw_expect_text(&b->client, "\x82\x06"
                                "answer");
    send_frame(b, WS_FIN | WS_OP_CLOSE, "\x03\xe8", 2);
    raw_expect_text(&b->client, "\x88\x02\x03\xe8");
    raw_expect_eof(&b->client);
    assert_int_equal(b->closed, 1);
    assert_int_equal(b->code, 1000);
}

static void what_is_no_handshake_is_refused(void **state)
{
#define HEAD "GET /ws HTTP/1.1\r\nHost: h\r\n"
#define KEY  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    static const struct {
        const char *request, *answer, *body;
    } rows[] = {
        {HEAD "\r\n", "400", "Bad request"},
        {HEAD "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", "400",
         "Bad request"},
        {HEAD "Connection: upgrade\r\nUpgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 8\r\n\r\n", "400",
         "Bad request"},
        {HEAD "Connection: close-ish\r\nUpgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n\r\n",
         "400", "Bad request"},
        {HEAD "Connection: upgrade\r\n" KEY "Sec-WebSocket-Version: 13\r\n\r\n", "400", "Bad request"},
        {HEAD "Connection: upgrade\r\nUpgrade: h2c\r\n" KEY "Sec-WebSocket-Version: 13\r\n\r\n", "400",
         "Bad request"},
        {HEAD "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: short\r\n"
              "Sec-WebSocket-Version: 13\r\n\r\n",
         "400", "Bad request"},
        {"POST /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: "
         "0\r\n" KEY "Sec-WebSocket-Version: 13\r\n\r\n",
         "400", "Bad request"},
        {WS_UPGRADE "\r\n", "400", "0 are no good"},
        {WS_UPGRADE "Sec-WebSocket-Protocol: a, b,,c\r\n\r\n", "503", "3 are no good"},
        {WS_UPGRADE "Sec-WebSocket-Protocol: 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\r\n\r\n", "400",
         "Bad request"},
    };
    struct bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        raw_connect(&b->client, http_server_port(b->server));
        raw_send_text(&b->client, rows[i].request);
        raw_expect_text(&b->client, rows[i].body);
        raw_expect_text(&b->client, "content-type: text/plain");
        assert_memory_equal(b->client.in.p + 9, rows[i].answer, 3);
        /* The connection goes on. */
        buf_reset(&b->client.in);
        raw_send_text(&b->client, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
        raw_expect_text(&b->client, "plain");
    }
    assert_int_equal(b->opened, 0);
}

static void other_paths_are_not_upgraded(void **state)
{
    struct bench *b = *state;
    raw_connect(&b->client, http_server_port(b->server));
    raw_send_text(&b->client,
                  "GET /other HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" KEY
                  "Sec-WebSocket-Version: 13\r\n\r\n");
    raw_expect_text(&b->client, "HTTP/1.1 200 OK");
}

static uint64_t cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void expect_rest(struct bench *b)
{
    uint64_t before = cpu_ms();
    wait_ms(b, 200);
    assert_true(cpu_ms() - before < 100);
}

/* libwebsockets has read ahead, and means to write, when the socket leaves it. */
static void an_upgrade_may_follow_other_requests(void **state)
{
    struct bench *b = *state;
    raw_connect(&b->client, http_server_port(b->server));
    raw_send_text(&b->client,
                  "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n" WS_UPGRADE
                  "Sec-WebSocket-Protocol: good\r\n\r\n");
    raw_expect_text(&b->client, "sec-websocket-protocol: good\r\n\r\n");
    expect_rest(b);
    send_frame(b, WS_FIN | WS_OP_BINARY, "hello", 5);
    expect_message(b, "hello|");
    expect_rest(b);
    raw_close(&b->client);
    while (b->closed == 0) {
        raw_turn(&b->client);
    }
    assert_int_equal(b->code, 1006);
    expect_rest(b);
}

static void the_server_may_go_before_its_websockets(void **state)
{
    struct bench *b = *state;
    open_websocket(b);
    http_server_free(take_ptr(&b->server));
    wait_ms(b, 20);
    send_frame(b, WS_FIN | WS_OP_BINARY, "still", 5);
    expect_message(b, "still|");
}

static void messages_come_in_any_pieces(void **state)
{
    struct bench *b = *state;
    open_websocket(b);
    put_client_frame(&b->out, WS_FIN | WS_OP_BINARY, "one", 3);
    put_client_frame(&b->out, WS_OP_BINARY, "tw", 2);
    put_client_frame(&b->out, WS_FIN | WS_OP_PING, "?", 1);
    put_client_frame(&b->out, WS_FIN | WS_OP_CONTINUATION, "o", 1);
    for (size_t i = 0; i < b->out.n; i++) {
        raw_send(&b->client, b->out.p + i, 1);
        raw_turn(&b->client);
    }
    expect_message(b, "one|two|");
    raw_expect_text(&b->client, "\x8a\x01?");
}

static void the_largest_message_passes_and_no_larger(void **state)
{
    struct bench *b = *state;
    char *content = calloc(1, MESSAGE_MAX + 1);
    open_websocket(b);
    send_frame(b, WS_FIN | WS_OP_BINARY, content, MESSAGE_MAX);
    while (b->messages == 0) {
        raw_turn(&b->client);
    }
    send_frame(b, WS_FIN | WS_OP_BINARY, content, MESSAGE_MAX + 1);
    raw_expect(&b->client, "\x88\x11\x03\xf1Message too big", 19);
    raw_expect_eof(&b->client);
    assert_int_equal(b->messages, 1);
    free(content);
}

static void text_and_faults_close(void **state)
{
    static const struct {
        struct str bytes, answer;
        int code;
    } rows[] = {
        {STR("\x81\x81\0\0\0\0x"), STR("\x88\x09\x03\xebno text"), 1003},
        {STR("\x82\x01x"), STR("\x88\x1a\x03\xeaWebSocket protocol error"), 1002},
        {STR("GET / HTTP/1.1\r\n\r\n"), STR("\x88\x1a\x03\xeaWebSocket protocol error"), 1002},
    };
    struct bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        open_websocket(b);
        raw_send(&b->client, rows[i].bytes.p, rows[i].bytes.n);
        raw_expect(&b->client, rows[i].answer.p, rows[i].answer.n);
        raw_send_text(&b->client, "more that nobody reads");
        raw_expect_eof(&b->client); /* after all that was said: the connection was not reset */
        raw_close(&b->client);
        while (b->closed <= (int)i) {
            raw_turn(&b->client);
        }
        assert_int_equal(b->code, rows[i].code);
    }
}

static void a_close_comes_after_what_was_queued(void **state)
{
    struct bench *b = *state;
    open_websocket(b);
    struct packet *p = packet_new("last words", 10);
    websocket_send(b->ws, p);
    websocket_close(b->ws, 4000, "JWT-expired");
    websocket_send(b->ws, p);
    packet_unref(p);
    send_frame(b, WS_FIN | WS_OP_BINARY, "unheard", 7);
    raw_expect_text(&b->client, "\x82\x0alast words\x88\x0d\x0f\xa0JWT-expired");
    assert_int_equal(b->closed, 0);
    send_frame(b, WS_FIN | WS_OP_CLOSE, "\x0f\xa0", 2);
    raw_expect_eof(&b->client);
    assert_int_equal(b->code, 4000);
    assert_int_equal(b->messages, 0);
}

static void a_close_without_answer_ends_all_the_same(void **state)
{
    struct bench *b = *state;
    b->options.close_ms = 50;
    open_websocket(b);
    websocket_close(b->ws, 1001, "");
    raw_expect_text(&b->client, "\x88\x02\x03\xe9");
    raw_expect_eof(&b->client);
    assert_int_equal(b->code, 1001);
}

static void an_abort_ends_at_once(void **state)
{
    struct bench *b = *state;
    open_websocket(b);
    struct packet *p = packet_new("unsent", 6);
    websocket_send(b->ws, p);
    packet_unref(p);
    websocket_abort(b->ws);
    assert_int_equal(websocket_unsent(b->ws), 0);
    assert_int_equal(b->closed, 0);
    raw_expect_eof(&b->client);
    assert_int_equal(b->closed, 1);
    assert_int_equal(b->code, 1006);
    assert_int_equal(b->client.in.n, 0);
}

static void one_packet_goes_to_many_and_is_framed_once(void **state)
{
    struct bench *b = *state;
    static const size_t sizes[] = {0, 125, 126, 65535, 65536};
    static const char *const heads[] = {"\x82\x00", "\x82\x7d", "\x82\x7e\x00\x7e", "\x82\x7e\xff\xff",
                                        "\x82\x7f\0\0\0\0\0\1\0\0"};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct packet *p = packet_new(NULL, 0);
        packet_unref(p);
        char *content = calloc(1, sizes[i] + 1);
        p = packet_new(content, sizes[i]);
        size_t head = sizes[i] < 126 ? 2 : sizes[i] < 65536 ? 4 : 10;
        for (int client = 0; client < 2; client++) {
            open_websocket(b);
            websocket_send(b->ws, p);
            assert_int_equal(websocket_unsent(b->ws), head + sizes[i]);
            while (b->client.in.n < head + sizes[i]) {
                raw_turn(&b->client);
            }
            assert_int_equal(b->client.in.n, head + sizes[i]);
            assert_memory_equal(b->client.in.p, heads[i], head);
            assert_int_equal(websocket_unsent(b->ws), 0);
        }
        assert_int_equal(p->refs, 1);
        packet_unref(p);
        free(content);
    }
}

static void a_slow_reader_gets_all_in_order(void **state)
{
    struct bench *b = *state;
    enum { PACKETS = 400, SIZE = 50000 };
    open_websocket(b);
    watch_set(b->client.watch, 0);
    for (int i = 0; i < PACKETS; i++) {
        char *content = calloc(1, SIZE);
        memset(content, 'a' + i % 26, SIZE);
        struct packet *p = packet_new(content, SIZE);
        websocket_send(b->ws, p);
        packet_unref(p);
        free(content);
    }
    expect_rest(b);
    size_t waiting = websocket_unsent(b->ws);
    assert_true(waiting > 0);
    assert_int_equal(b->drained, 0);
    send_frame(b, WS_FIN | WS_OP_PING, "1", 1);
    send_frame(b, WS_FIN | WS_OP_PING, "2", 1);
    send_frame(b, WS_FIN | WS_OP_PING, "3", 1);
    expect_rest(b);
    assert_true(websocket_unsent(b->ws) < waiting + 10); /* one pong, not three */
    watch_set(b->client.watch, WATCH_READ);
    while (b->client.in.n < PACKETS * (SIZE + 4) + 6) {
        raw_turn(&b->client);
    }
    for (size_t i = 0; i < PACKETS; i++) {
        const char *at = b->client.in.p + i * (SIZE + 4);
        assert_memory_equal(at, "\x82\x7e\xc3\x50", 4);
        assert_int_equal(at[4], 'a' + (char)(i % 26));
        assert_int_equal(at[SIZE + 3], 'a' + (char)(i % 26));
    }
    assert_memory_equal(b->client.in.p + PACKETS * (SIZE + 4),
                        "\x8a\x01"
                        "1"
                        "\x8a\x01"
                        "3",
                        6);
    assert_true(b->drained > 0);
}

static void a_paused_one_is_not_read(void **state)
{
    struct bench *b = *state;
    open_websocket(b);
    b->pause_at_message = true;
    put_client_frame(&b->out, WS_FIN | WS_OP_BINARY, "a", 1);
    put_client_frame(&b->out, WS_FIN | WS_OP_BINARY, "b", 1);
    put_client_frame(&b->out, WS_FIN | WS_OP_BINARY, "c", 1);
    raw_send(&b->client, b->out.p, b->out.n);
    send_frame(b, WS_FIN | WS_OP_BINARY, "d", 1);
    for (int i = 1; i <= 4; i++) {
        while (b->messages < i) {
            raw_turn(&b->client);
        }
        expect_rest(b);
        assert_int_equal(b->messages, i);
        websocket_resume(b->ws);
    }
    assert_string_equal(buf_cstr(&b->got), "a|b|c|d|");
}

static void a_silent_client_is_pinged_and_closed(void **state)
{
    struct bench *b = *state;
    b->options.tick_ms = 60;
    open_websocket(b);
    raw_expect(&b->client, "\x89\x00", 2);
    assert_int_equal(b->closed, 0);
    raw_expect(&b->client,
               "\x88\x20\x0f\xa1"
               "Client not responding to pings",
               34);
    raw_close(&b->client);
    while (b->closed == 0) {
        raw_turn(&b->client);
    }
    assert_int_equal(b->code, WEBSOCKET_SILENT);
}

static void a_client_that_pongs_stays(void **state)
{
    struct bench *b = *state;
    b->options.tick_ms = 40;
    open_websocket(b);
    for (int i = 0; i < 5; i++) {
        raw_expect(&b->client, "\x89\x00", 2);
        buf_reset(&b->client.in);
        send_frame(b, WS_FIN | WS_OP_PONG, "", 0);
    }
    assert_int_equal(b->closed, 0);
}

static void a_client_that_talks_is_not_pinged(void **state)
{
    struct bench *b = *state;
    b->options.tick_ms = 200;
    open_websocket(b);
    for (int i = 0; i < 50; i++) {
        send_frame(b, WS_FIN | (i % 2 ? WS_OP_PONG : WS_OP_BINARY), "", 0);
        wait_ms(b, 10);
    }
    assert_int_equal(b->client.in.n, 0);
}

static void a_slow_line_is_not_silence(void **state)
{
    struct bench *b = *state;
    static char chunk[100000];
    char *content = calloc(1, BIG);
    struct packet *p = packet_new(content, BIG);
    b->options.tick_ms = 60;
    b->options.close_ms = 100;
    open_websocket(b);
    watch_set(b->client.watch, 0);
    for (int i = 0; i < 3; i++) {
        websocket_send(b->ws, p);
    }
    for (int i = 0; i < 40; i++) {
        wait_ms(b, 10);
        assert_true(recv(b->client.fd, chunk, sizeof chunk, 0) > 0);
        assert_int_equal(b->closed, 0);
    }
    while (b->closed == 0) { /* nothing is taken any more */
        raw_turn(&b->client);
    }
    assert_int_equal(b->code, WEBSOCKET_SILENT);
    packet_unref(p);
    free(content);
}

static void it_may_be_freed_in_its_callbacks(void **state)
{
    struct bench *b = *state;
    open_websocket(b);
    b->free_at_message = true;
    put_client_frame(&b->out, WS_FIN | WS_OP_BINARY, "a", 1);
    put_client_frame(&b->out, WS_FIN | WS_OP_BINARY, "b", 1);
    raw_send(&b->client, b->out.p, b->out.n);
    raw_expect_eof(&b->client);
    assert_string_equal(buf_cstr(&b->got), "a|");
    b->free_at_message = false;
    for (int i = 0; i < 30; i++) { /* and at any other time */
        struct packet *p = packet_new("x", 1);
        open_websocket(b);
        websocket_send(b->ws, p);
        send_frame(b, WS_FIN | WS_OP_PING, "", 0);
        for (int t = 0; t < i % 5; t++) {
            raw_turn(&b->client);
        }
        websocket_free(take_ptr(&b->ws));
        packet_unref(p);
    }
    assert_int_equal(b->closed, 0);
}

static void clients_may_leave_at_any_time(void **state)
{
    struct bench *b = *state;
    char *content = calloc(1, BIG);
    for (int i = 0; i < 20; i++) {
        struct packet *p = packet_new(content, BIG);
        open_websocket(b);
        websocket_send(b->ws, p);
        packet_unref(p);
        for (int t = 0; t < i % 4; t++) {
            raw_turn(&b->client);
        }
        if (i % 2) {
            struct linger reset = {.l_onoff = 1};
            setsockopt(b->client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        raw_close(&b->client);
        while (b->closed <= i) {
            raw_turn(&b->client);
        }
    }
    free(content);
}

int main(void)
{
#define WS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WS_TEST(a_handshake_is_answered),
        WS_TEST(what_is_no_handshake_is_refused),
        WS_TEST(other_paths_are_not_upgraded),
        WS_TEST(an_upgrade_may_follow_other_requests),
        WS_TEST(the_server_may_go_before_its_websockets),
        WS_TEST(messages_come_in_any_pieces),
        WS_TEST(the_largest_message_passes_and_no_larger),
        WS_TEST(text_and_faults_close),
        WS_TEST(a_close_comes_after_what_was_queued),
        WS_TEST(a_close_without_answer_ends_all_the_same),
        WS_TEST(an_abort_ends_at_once),
        WS_TEST(one_packet_goes_to_many_and_is_framed_once),
        WS_TEST(a_slow_reader_gets_all_in_order),
        WS_TEST(a_paused_one_is_not_read),
        WS_TEST(a_silent_client_is_pinged_and_closed),
        WS_TEST(a_client_that_pongs_stays),
        WS_TEST(a_client_that_talks_is_not_pinged),
        WS_TEST(a_slow_line_is_not_silence),
        WS_TEST(it_may_be_freed_in_its_callbacks),
        WS_TEST(clients_may_leave_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
