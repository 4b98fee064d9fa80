/* SPDX-License-Identifier: Apache-2.0 */
/* Streams and watches on real sockets of this machine. */
#include "net/stream.h"

#include "base/buf.h"
#include "base/limits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct side {
    struct loop *loop;
    struct stream *stream;
    struct timer *patience;
    int peer; /* the other end, blocking */
    struct buf got;
    bool closed, drained, free_on_data;
    struct err err;
};

static void on_data(void *ctx, const char *p, size_t n)
{
    struct side *s = ctx;
    buf_put(&s->got, p, n);
    if (s->free_on_data) {
        stream_free(s->stream);
        s->stream = NULL;
        loop_stop(s->loop);
    }
}

static void on_drained(void *ctx)
{
    struct side *s = ctx;
    s->drained = true;
    loop_stop(s->loop);
}

static void on_closed(void *ctx, const struct err *err)
{
    struct side *s = ctx;
    s->closed = true;
    s->err = err ? *err : (struct err)ERR_INIT;
    loop_stop(s->loop);
}

static void on_tick(void *ctx)
{
    loop_stop(ctx);
}

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

/* A TCP connection over the loopback: what a reset does, no socketpair shows. */
static int setup(void **state)
{
    static const struct stream_events events = {on_data, on_drained, on_closed};
    struct side *s = calloc(1, sizeof *s);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof sa;
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&sa, size) < 0 || listen(listening, 1) < 0 ||
        getsockname(listening, (struct sockaddr *)&sa, &size) < 0 ||
        connect(fd, (struct sockaddr *)&sa, size) < 0) {
        return -1;
    }
    s->peer = accept(listening, NULL, NULL);
    close(listening);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    s->loop = loop_new();
    s->got = (struct buf)BUF_INIT(LIMIT_OUTPUT);
    s->stream = stream_new(s->loop, fd, NULL, &events, s);
    s->patience = timer_new(s->loop, on_patience, s);
    timer_start(s->patience, 20000);
    *state = s;
    return s->peer < 0;
}

static int teardown(void **state)
{
    struct side *s = *state;
    stream_free(s->stream);
    timer_free(s->patience);
    loop_free(s->loop);
    close(s->peer);
    buf_deinit(&s->got);
    free(s);
    return 0;
}

static void test_pieces_go_out_in_order_and_in_one(void **state)
{
    struct side *s = *state;
    char out[16] = "";
    static const char text[] = "abcdef";
    stream_write(s->stream, text, 2);
    stream_write(s->stream, text + 2, 2); /* a neighbour */
    stream_write(s->stream, text, 1);
    stream_flush(s->stream);
    assert_int_equal(read(s->peer, out, sizeof out), 5);
    assert_string_equal(out, "abcda");
    assert_int_equal(stream_unsent(s->stream), 0);
}

static void test_more_pieces_than_one_call_takes(void **state)
{
    struct side *s = *state;
    char out[2000];
    static const char text[] = "0123456789";
    for (int i = 0; i < 1000; i++) {
        stream_write(s->stream, &text[(i * 7) % 10], 1);
    }
    stream_flush(s->stream);
    assert_int_equal(recv(s->peer, out, 1000, MSG_WAITALL), 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(out[i], text[(i * 7) % 10]);
    }
}

static void *read_all(int fd, size_t n)
{
    char *out = malloc(n);
    assert_int_equal(recv(fd, out, n, MSG_WAITALL), (ssize_t)n);
    return out;
}

static void test_what_the_kernel_does_not_take_is_copied_and_drained(void **state)
{
    struct side *s = *state;
    enum { SIZE = 16 * 1024 * 1024 };
    char *text = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        text[i] = (char)(i * 31 + i / 251);
    }
    stream_write(s->stream, text, SIZE);
    stream_flush(s->stream);
    size_t waiting = stream_unsent(s->stream);
    assert_true(waiting > LIMIT_OUTPUT_HIGH);
    stream_write(s->stream, "end", 3);
    stream_flush(s->stream);
    char *first = read_all(s->peer, SIZE - waiting); /* what the kernel had taken */
    assert_memory_equal(first, text, SIZE - waiting);
    fcntl(s->peer, F_SETFL, O_NONBLOCK);
    char *rest = malloc(waiting + 3);
    size_t have = 0;
    while (have < waiting + 3) {
        if (!s->drained) {
            struct timer *tick = timer_new(s->loop, on_tick, s->loop);
            timer_start(tick, 1);
            loop_run(s->loop);
            timer_free(tick);
        }
        ssize_t n = recv(s->peer, rest + have, waiting + 3 - have, 0);
        have += n > 0 ? (size_t)n : 0;
    }
    assert_true(s->drained);
    assert_memory_equal(rest, text + SIZE - waiting, waiting);
    assert_memory_equal(rest + waiting, "end", 3);
    free(rest);
    free(first);
    free(text);
}

static void test_nothing_is_read_while_paused(void **state)
{
    struct side *s = *state;
    assert_int_equal(write(s->peer, "x", 1), 1);
    struct timer *tick = timer_new(s->loop, on_tick, s->loop);
    timer_start(tick, 20);
    loop_run(s->loop);
    timer_free(tick);
    assert_int_equal(s->got.n, 0);
    stream_resume(s->stream);
    shutdown(s->peer, SHUT_WR);
    loop_run(s->loop);
    assert_true(s->closed);
    assert_int_equal(s->err.kind, ERR_NONE);
    assert_string_equal(buf_cstr(&s->got), "x");
}

/* libuv stops watching at POLLERR; the bytes before the reset, and the reset itself, must arrive all the
 * same. */
static void test_a_reset_is_noticed_after_what_came_before_it(void **state)
{
    struct side *s = *state;
    enum { SIZE = 3 * LIMIT_READ };
    char *text = calloc(1, SIZE);
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(write(s->peer, text, SIZE), SIZE);
    setsockopt(s->peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(s->peer);
    s->peer = -1;
    stream_resume(s->stream);
    loop_run(s->loop);
    assert_true(s->closed);
    assert_int_equal(s->err.kind, ERR_SYSTEM);
    free(text);
}

static void test_a_callback_may_free_the_stream(void **state)
{
    struct side *s = *state;
    s->free_on_data = true;
    assert_int_equal(write(s->peer, "x", 1), 1);
    stream_resume(s->stream);
    loop_run(s->loop);
    assert_null(s->stream);
}

static void test_a_peer_that_never_reads_reaches_the_limit(void **state)
{
    struct side *s = *state;
    enum { SIZE = 8 * 1024 * 1024 };
    char *text = calloc(1, SIZE);
    for (int i = 0; i < 2 * (LIMIT_OUTPUT / SIZE) && !s->closed; i++) {
        stream_write(s->stream, text, SIZE);
        stream_flush(s->stream);
    }
    assert_true(s->closed);
    assert_int_equal(s->err.kind, ERR_LIMIT);
    free(text);
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(test_pieces_go_out_in_order_and_in_one),
        LIVE(test_more_pieces_than_one_call_takes),
        LIVE(test_what_the_kernel_does_not_take_is_copied_and_drained),
        LIVE(test_nothing_is_read_while_paused),
        LIVE(test_a_reset_is_noticed_after_what_came_before_it),
        LIVE(test_a_callback_may_free_the_stream),
        LIVE(test_a_peer_that_never_reads_reaches_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
