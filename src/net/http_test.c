/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http.h"

#include "base/buf.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, BIG = 12 * 1024 * 1024 };

struct bench {
    struct loop *loop;
    struct timer *patience, *tick;
    struct http_server *server;
    struct http_request *held;
    int requests, cancels;
    bool ticked;
    char *big;
    /* One client. */
    int fd;
    struct watch *watch;
    struct buf in;
    bool eof, paused;
};

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

static void on_cancel(void *ctx)
{
    struct bench *b = ctx;
    b->cancels++;
    b->held = NULL;
}

static void on_request(void *ctx, struct http_request *r)
{
    struct bench *b = ctx;
    struct str path = http_request_path(r);
    char text[512];
    b->requests++;
    if (str_eq(path, STR("/held"))) {
        b->held = r;
        http_request_on_cancel(r, on_cancel, b);
    } else if (str_eq(path, STR("/big"))) {
        http_respond(r, 200, "application/zip", b->big, BIG);
    } else if (str_eq(path, STR("/empty"))) {
        http_respond(r, 204, NULL, NULL, 0);
    } else if (str_eq(path, STR("/free"))) {
        http_server_free(take_ptr(&b->server));
    } else {
        const char *a = http_request_query(r, "a");
        int n = snprintf(text, sizeof text, "%d %.*s a=%s", http_request_method(r), STR_ARG(path),
                         a ? a : "(none)");
        http_request_header(r, "access-control-allow-origin", "*");
        http_respond(r, path.n > 1 && path.p[1] == '4' ? 404 : 200, "text/plain", text, (size_t)n);
    }
}

static void on_tick(void *ctx)
{
    struct bench *b = ctx;
    b->ticked = true;
    loop_stop(b->loop);
}

static void start_server(struct bench *b, unsigned max)
{
    struct err err = ERR_INIT;
    struct http_options options = {.listen.address = "127.0.0.1", .max_connections = max};
    if (http_server_new(b->loop, &options, on_request, b, &b->server, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    b->loop = loop_new();
    b->patience = timer_new(b->loop, on_patience, b);
    b->tick = timer_new(b->loop, on_tick, b);
    timer_start(b->patience, PATIENCE_MS);
    b->fd = -1;
    b->big = malloc(BIG);
    memset(b->big, 'z', BIG);
    buf_init(&b->in, 4 * BIG);
    start_server(b, 0);
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
    http_server_free(b->server);
    timer_free(b->patience);
    timer_free(b->tick);
    loop_free(b->loop);
    buf_deinit(&b->in);
    free(b->big);
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
    }
}

static void on_stop(void *ctx)
{
    loop_stop(ctx);
}

static void turn(struct bench *b)
{
    loop_defer(b->loop, on_stop, b->loop);
    loop_run(b->loop);
}

static void connect_client(struct bench *b)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    disconnect(b);
    in.sin_port = htons(http_server_port(b->server));
    b->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(b->fd, (struct sockaddr *)&in, sizeof in), 0);
    fcntl(b->fd, F_SETFL, O_NONBLOCK);
    b->watch = watch_new(b->loop, b->fd, on_client, b);
    watch_set(b->watch, WATCH_READ);
}

static void send_text(struct bench *b, const char *text)
{
    size_t n = strlen(text);
    while (n > 0) {
        ssize_t sent = send(b->fd, text, n, MSG_NOSIGNAL);
        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            turn(b);
            continue;
        }
        text += sent;
        n -= (size_t)sent;
    }
}

/* Waits until the client has the text, or the server has closed. */
static void expect(struct bench *b, const char *text)
{
    while (!memmem(buf_cstr(&b->in), b->in.n, text, strlen(text))) {
        if (b->eof) {
            fail_msg("\"%s\" is not in \"%s\"", text, buf_cstr(&b->in));
        }
        turn(b);
    }
}

static void expect_eof(struct bench *b)
{
    while (!b->eof) {
        turn(b);
    }
}

static void get(struct bench *b, const char *target)
{
    char text[9000];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    send_text(b, text);
}

static void an_answer_has_status_headers_and_body(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    get(b, "/x?a=1");
    expect(b, "0 /x a=1");
    expect(b, "HTTP/1.1 200 OK\r\n");
    expect(b, "content-type: text/plain\r\n");
    expect(b, "content-length: 8\r\n");
    expect(b, "access-control-allow-origin: *\r\n\r\n0 /x");
    get(b, "/4");
    expect(b, "HTTP/1.1 404 Not Found\r\n");
    buf_reset(&b->in);
    get(b, "/empty");
    expect(b, "HTTP/1.1 204");
    expect(b, "\r\n\r\n");
    assert_null(memmem(buf_cstr(&b->in), b->in.n, "content-length", 14));
    assert_false(b->eof);
}

static void head_has_the_length_alone(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    send_text(b, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(b, "content-length: 13\r\n");
    expect(b, "\r\n\r\n");
    get(b, "/next");
    expect(b, "0 /next");
    assert_null(memmem(buf_cstr(&b->in), b->in.n, "1 /x", 4));
}

static void queries_are_decoded(void **state)
{
    static const struct {
        const char *target, *answer;
    } rows[] = {
        {"/x", "0 /x a=(none)"},
        {"/x?", "0 /x a=(none)"},
        {"/x?a", "0 /x a="},
        {"/x?a=", "0 /x a="},
        {"/x?b=1&a=2&a=3", "0 /x a=2"},
        {"/x?aa=1&a=2", "0 /x a=2"},
        {"/x?a=%31%2b+%26", "0 /x a=1+ &"},
        {"/%78?a=b=c", "0 /x a=b=c"},
        {"/x?a=%C3%A9", "0 /x a=\xc3\xa9"},
    };
    struct bench *b = *state;
    connect_client(b);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&b->in);
        get(b, rows[i].target);
        expect(b, "\r\n\r\n0 /x a=");
        if (!strstr(buf_cstr(&b->in), rows[i].answer)) {
            fail_msg("%s: %s", rows[i].target, buf_cstr(&b->in));
        }
    }
}

static void pipelined_and_fragmented_requests_are_answered(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    send_text(b, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 "
                 "HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(b, "0 /1");
    expect(b, "0 /2");
    expect(b, "0 /3");
    static const char text[] = "GET /split?a=%41 HTTP/1.1\r\nHost: h\r\n\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char one[2] = {text[i], '\0'};
        send_text(b, one);
        turn(b);
    }
    expect(b, "0 /split a=A");
    assert_int_equal(b->requests, 4);
}

static void an_old_client_is_closed(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    send_text(b, "GET /x HTTP/1.0\r\n\r\n");
    expect(b, "0 /x");
    expect_eof(b);
    connect_client(b);
    send_text(b, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(b, "0 /x");
    expect_eof(b);
}

static void wait_held(struct bench *b)
{
    while (!b->held) {
        turn(b);
    }
}

static uint64_t cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Runs the loop for a while; it must have nothing to do in it. */
static void expect_rest(struct bench *b)
{
    uint64_t before = cpu_ms();
    b->ticked = false;
    timer_start(b->tick, 200);
    while (!b->ticked) {
        loop_run(b->loop);
    }
    assert_true(cpu_ms() - before < 100);
}

static void an_answer_may_come_later(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    send_text(b, "GET /held HTTP/1.1\r\nHost: h\r\n\r\nGET /after HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_held(b);
    expect_rest(b); /* with the next request waiting in the socket */
    assert_int_equal(b->in.n, 0);
    http_respond(b->held, 200, "text/plain", "late", 4);
    expect(b, "\r\n\r\nlate");
    expect(b, "0 /after");
    assert_int_equal(b->cancels, 0);
}

static void a_client_that_leaves_is_told(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 3; i++) {
        connect_client(b);
        get(b, "/held");
        wait_held(b);
        if (i == 1) {
            struct linger reset = {.l_onoff = 1};
            setsockopt(b->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        } else if (i == 2) {
            get(b, "/never");
        }
        disconnect(b);
        while (b->cancels <= i) {
            turn(b);
        }
    }
    assert_int_equal(b->requests, 3);
}

static void a_slow_reader_gets_all_and_costs_nothing(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    watch_set(b->watch, 0);
    get(b, "/big");
    get(b, "/after"); /* waits in the socket all the time */
    expect_rest(b);
    expect_rest(b);
    watch_set(b->watch, WATCH_READ);
    while (b->in.n <= BIG && !b->eof) {
        turn(b);
    }
    expect(b, "0 /after");
    const char *body = memmem(buf_cstr(&b->in), b->in.n, "\r\n\r\n", 4);
    assert_non_null(body);
    assert_memory_equal(body + 4, b->big, BIG);
}

static void a_reader_that_leaves_in_the_middle_harms_nobody(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < 3; i++) {
        connect_client(b);
        get(b, "/big");
        while (b->in.n == 0) {
            turn(b);
        }
        watch_set(b->watch, 0);
        for (int t = 0; t < i * 5; t++) {
            turn(b);
        }
        disconnect(b);
    }
    connect_client(b);
    get(b, "/x");
    expect(b, "0 /x");
}

static void request_bodies_are_dropped(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    send_text(
        b, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /y HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(b, "2 /x");
    expect(b, "0 /y");
    connect_client(b);
    send_text(b, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\nhello");
    expect(b, "2 /x");
    expect_eof(b);
    connect_client(b);
    send_text(b, "DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(b, "2 /x");
    expect_eof(b);
    connect_client(b);
    send_text(b, "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect(b, "2 /x");
    expect_eof(b);
}

static void upgrades_are_not_on_offer(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    send_text(b, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: "
                 "websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    expect(b, "HTTP/1.1 200 OK");
    expect(b, "0 /ws");
    connect_client(b);
    send_text(b, "GET /h2 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                 "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
    expect(b, "HTTP/1.1 200 OK");
    expect(b, "0 /h2");
    connect_client(b);
    send_text(b, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: gopher\r\n\r\n");
    expect_eof(b);
    connect_client(b);
    send_text(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    expect_eof(b);
    connect_client(b);
    send_text(b, "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_eof(b);
}

static void headers_have_a_limit(void **state)
{
    struct bench *b = *state;
    char text[20000];
    connect_client(b);
    memset(text, 'x', sizeof text);
    memcpy(text, "GET /", 5);
    snprintf(text + 15000, 100, " HTTP/1.1\r\nHost: h\r\n\r\n");
    send_text(b, text);
    expect_eof(b);
    assert_int_equal(b->requests, 0);
    connect_client(b);
    get(b, "/x");
    expect(b, "0 /x");
}

static void connections_have_a_limit(void **state)
{
    struct bench *b = *state;
    int fds[3];
    http_server_free(b->server);
    start_server(b, 3);
    for (int i = 0; i < 3; i++) {
        connect_client(b);
        get(b, "/x");
        expect(b, "0 /x");
        fds[i] = b->fd;
        watch_free(take_ptr(&b->watch));
        b->fd = -1;
    }
    connect_client(b);
    expect_eof(b);
    close(fds[0]);
    do { /* until the server has seen that one is gone */
        connect_client(b);
        get(b, "/x");
        while (!b->eof && b->in.n == 0) {
            turn(b);
        }
    } while (b->eof);
    close(fds[1]);
    close(fds[2]);
}

static void a_port_in_use_is_said(void **state)
{
    struct bench *b = *state;
    struct err err = ERR_INIT;
    struct http_server *second = NULL;
    struct http_options options = {.listen = {.address = "127.0.0.1", .port = http_server_port(b->server)}};
    assert_true(options.listen.port > 0);
    assert_int_equal(http_server_new(b->loop, &options, on_request, b, &second, &err), -1);
    assert_null(second);
    assert_int_equal(err.code, EADDRINUSE);
}

static void a_shared_port_is_listened_on_twice(void **state)
{
    struct bench *b = *state;
    struct err err = ERR_INIT;
    struct http_server *second = NULL;
    struct http_options options = {.listen.address = "127.0.0.1", .listen.reuse_port = true};
    http_server_free(b->server);
    assert_int_equal(http_server_new(b->loop, &options, on_request, b, &b->server, &err), 0);
    options.listen.port = http_server_port(b->server);
    assert_int_equal(http_server_new(b->loop, &options, on_request, b, &second, &err), 0);
    assert_int_equal(http_server_port(second), options.listen.port);
    http_server_free(take_ptr(&b->server)); /* the old process ends: the new one gets everybody */
    b->server = second;
    connect_client(b);
    get(b, "/x");
    expect(b, "0 /x");
}

static void start_on(struct bench *b, const int *sockets, size_t n)
{
    struct err err = ERR_INIT;
    struct http_options options = {.listen.inherited = sockets, .listen.inherited_n = n};
    if (http_server_new(b->loop, &options, on_request, b, &b->server, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

static int listening(int family, const struct sockaddr *sa, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, sa, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static void a_socket_is_taken_over_and_handed_on(void **state)
{
    struct bench *b = *state;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int socket = listening(AF_INET, (struct sockaddr *)&in, sizeof in);
    int next = dup(socket);
    http_server_free(b->server);
    start_on(b, &socket, 1);
    connect_client(b);
    get(b, "/x");
    expect(b, "0 /x");
    struct http_server *old = b->server;
    connect_client(b); /* who waits in the queue when the server ends … */
    get(b, "/y");
    http_server_free(old);
    start_on(b, &next, 1);
    expect(b, "0 /y"); /* … is served by the next one */
}

static void a_unix_socket_is_served(void **state)
{
    struct bench *b = *state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int n = snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "busbar-http-test-%d", (int)getpid());
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int socket_fd = listening(AF_UNIX, (struct sockaddr *)&un, size);
    http_server_free(b->server);
    start_on(b, &socket_fd, 1);
    b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(b->fd, (struct sockaddr *)&un, size), 0);
    b->watch = watch_new(b->loop, b->fd, on_client, b);
    watch_set(b->watch, WATCH_READ);
    get(b, "/x");
    expect(b, "0 /x");
}

static void a_server_may_be_freed_at_any_time(void **state)
{
    struct bench *b = *state;
    connect_client(b);
    get(b, "/held");
    wait_held(b);
    http_server_free(take_ptr(&b->server));
    expect_eof(b);
    assert_int_equal(b->cancels, 0);
    start_server(b, 0);
    connect_client(b);
    get(b, "/big");
    while (b->in.n == 0) {
        turn(b);
    }
    http_server_free(take_ptr(&b->server));
    expect_eof(b);
    start_server(b, 0);
    connect_client(b);
    get(b, "/free");
    expect_eof(b);
    assert_null(b->server);
    start_server(b, 0); /* freed by the teardown without a turn */
}

/* Whatever comes, the server is there for the next one. */
static void noise_is_survived(void **state)
{
    static const char *const bits[] = {"GET ",
                                       "/",
                                       "/x?a=",
                                       "%",
                                       "%0",
                                       "%00",
                                       "%zz",
                                       " HTTP/1.1\r\n",
                                       "Host: h\r\n",
                                       "\r\n",
                                       "\r\n\r\n",
                                       "POST ",
                                       "Content-Length: ",
                                       "-1\r\n",
                                       "18446744073709551616\r\n",
                                       "\n",
                                       "Upgrade: websocket\r\n",
                                       "Upgrade: h2c\r\n",
                                       ":",
                                       "Upgrade: x\r\n",
                                       "&",
                                       ";",
                                       "..",
                                       "?",
                                       "Connection: close\r\n",
                                       "Transfer-Encoding: chunked\r\n",
                                       "\xff\xfe",
                                       "OPTIONS "};
    struct bench *b = *state;
    srand(7);
    for (int round = 0; round < 300; round++) {
        connect_client(b);
        send_text(b, round % 2 ? "GET /" : "");
        for (int i = 0; i < 25 && !b->eof; i++) {
            const char *bit = bits[(size_t)rand() % ARRAY_LEN(bits)];
            ignore_result(send(b->fd, bit, strlen(bit), MSG_NOSIGNAL)); /* the server may have had enough */
            if (rand() % 4 == 0) {
                turn(b);
            }
        }
        turn(b);
    }
    connect_client(b);
    get(b, "/x");
    expect(b, "0 /x");
}

int main(void)
{
#define HTTP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        HTTP_TEST(an_answer_has_status_headers_and_body),
        HTTP_TEST(head_has_the_length_alone),
        HTTP_TEST(queries_are_decoded),
        HTTP_TEST(pipelined_and_fragmented_requests_are_answered),
        HTTP_TEST(an_old_client_is_closed),
        HTTP_TEST(an_answer_may_come_later),
        HTTP_TEST(a_client_that_leaves_is_told),
        HTTP_TEST(a_slow_reader_gets_all_and_costs_nothing),
        HTTP_TEST(a_reader_that_leaves_in_the_middle_harms_nobody),
        HTTP_TEST(request_bodies_are_dropped),
        HTTP_TEST(upgrades_are_not_on_offer),
        HTTP_TEST(headers_have_a_limit),
        HTTP_TEST(connections_have_a_limit),
        HTTP_TEST(a_port_in_use_is_said),
        HTTP_TEST(a_shared_port_is_listened_on_twice),
        HTTP_TEST(a_socket_is_taken_over_and_handed_on),
        HTTP_TEST(a_unix_socket_is_served),
        HTTP_TEST(a_server_may_be_freed_at_any_time),
        HTTP_TEST(noise_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
