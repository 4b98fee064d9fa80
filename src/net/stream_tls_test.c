/* SPDX-License-Identifier: Apache-2.0 */
/* A stream that becomes the server side of TLS. The client is OpenSSL on a thread of its own, blocking. */
#include "net/stream.h"

#include "base/buf.h"
#include "base/limits.h"
#include "net/tls.h"
#include "net/tls_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cmocka.h>

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    void (*play)(struct client *c);
    pthread_t thread;
    char got[64];
    size_t total;
    bool clean; /* the server said goodbye */
};

struct side {
    struct loop *loop;
    int fd; /* the stream's */
    struct stream *stream;
    struct timer *patience;
    struct tls_server *tls;
    struct client client;
    struct buf got;
    bool secured, closed, drained, echo, greet, free_on_secured;
    struct err err;
};

/* ---- the server's events ---- */

static void on_data(void *ctx, const char *p, size_t n)
{
    struct side *s = ctx;
    buf_put(&s->got, p, n);
    if (s->echo) {
        stream_write(s->stream, p, n);
        stream_flush(s->stream);
        if (stream_unsent(s->stream) > LIMIT_OUTPUT_HIGH) {
            stream_pause(s->stream);
        }
    }
}

static void on_drained(void *ctx)
{
    struct side *s = ctx;
    s->drained = true;
    if (s->echo) {
        stream_resume(s->stream);
        return;
    }
    loop_stop(s->loop);
}

static void on_closed(void *ctx, const struct err *err)
{
    struct side *s = ctx;
    s->closed = true;
    s->err = err ? *err : (struct err)ERR_INIT;
    loop_stop(s->loop);
}

static void on_secured(void *ctx)
{
    struct side *s = ctx;
    s->secured = true;
    if (s->free_on_secured) {
        stream_free(s->stream);
        s->stream = NULL;
        loop_stop(s->loop);
        return;
    }
    if (s->greet) {
        stream_write(s->stream, "welcome", 7);
        stream_flush(s->stream);
    }
    stream_resume(s->stream);
}

static void on_tick(void *ctx)
{
    loop_stop(ctx);
}

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

/* ---- fixture ---- */

static char folder[64];
static char cert[200], key[200];

static int group_setup(void **state)
{
    strcpy(folder, "/tmp/busbar-tls-XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    struct identity id = identity_new(&(struct certificate_wish){.name = "server"});
    write_cert(folder, "server.crt", &id, cert);
    write_key(folder, "server.key", &id, NULL, key);
    identity_free(&id);
    signal(SIGPIPE, SIG_IGN); /* for the clients: the server's side does without */
    return 0;
}

static int group_teardown(void **state)
{
    unlink(cert);
    unlink(key);
    rmdir(folder);
    return 0;
}

static int setup(void **state)
{
    static const struct stream_events events = {on_data, on_drained, on_closed, on_secured};
    struct side *s = calloc(1, sizeof *s);
    struct tls_options options = {.cert_file = cert, .key_file = key};
    struct timeval patience = {.tv_sec = 20};
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 || tls_server_new(&options, &s->tls, NULL, &s->err) < 0) {
        return -1;
    }
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    s->loop = loop_new();
    s->got = (struct buf)BUF_INIT(LIMIT_OUTPUT);
    s->fd = fd[0];
    s->stream = stream_new(s->loop, fd[0], NULL, &events, s);
    s->patience = timer_new(s->loop, on_patience, s);
    timer_start(s->patience, 20000);
    s->client.fd = fd[1];
    s->client.ctx = SSL_CTX_new(TLS_client_method());
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct side *s = *state;
    stream_free(s->stream);
    if (s->client.thread) {
        pthread_join(s->client.thread, NULL);
    }
    timer_free(s->patience);
    loop_free(s->loop);
    tls_server_unref(s->tls);
    SSL_free(s->client.ssl);
    SSL_CTX_free(s->client.ctx);
    if (s->client.fd >= 0) {
        close(s->client.fd);
    }
    buf_deinit(&s->got);
    free(s);
    return 0;
}

/* ---- what clients do ---- */

static bool client_connect(struct client *c)
{
    c->ssl = SSL_new(c->ctx);
    SSL_set_fd(c->ssl, c->fd);
    return SSL_connect(c->ssl) == 1;
}

static void client_read_to_end(struct client *c)
{
    char text[16384];
    for (;;) {
        int n = SSL_read(c->ssl, text, sizeof text);
        if (n <= 0) {
            c->clean = SSL_get_error(c->ssl, n) == SSL_ERROR_ZERO_RETURN;
            return;
        }
        if (c->total < sizeof c->got) {
            size_t room = sizeof c->got - c->total;
            memcpy(c->got + c->total, text, (size_t)n < room ? (size_t)n : room);
        }
        c->total += (size_t)n;
    }
}

static void say_hello(struct client *c)
{
    if (client_connect(c)) {
        SSL_write(c->ssl, "hello", 5);
        client_read_to_end(c);
    }
}

static void say_hello_and_goodbye(struct client *c)
{
    if (client_connect(c)) {
        SSL_write(c->ssl, "hello", 5);
        SSL_shutdown(c->ssl);
        client_read_to_end(c); /* the other direction stays open */
    }
}

static void say_hello_and_hang_up(struct client *c)
{
    if (client_connect(c)) {
        SSL_write(c->ssl, "hello", 5);
    }
    close(c->fd);
    c->fd = -1;
}

enum { BULK = 20 * 1024 * 1024 };

/* Reads what comes back while it writes. */
static void send_bulk(struct client *c)
{
    char text[50000];
    size_t sent = 0;
    memset(text, 'b', sizeof text);
    if (!client_connect(c)) {
        return;
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    SSL_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
    while (c->total < BULK) {
        char back[16384];
        size_t left = BULK - sent;
        int n = left ? SSL_write(c->ssl, text, (int)(left < sizeof text ? left : sizeof text)) : 0;
        sent += n > 0 ? (size_t)n : 0;
        n = SSL_read(c->ssl, back, sizeof back);
        c->total += n > 0 ? (size_t)n : 0;
        if (n <= 0 && SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) {
            break;
        }
    }
    close(c->fd);
    c->fd = -1;
}

static void update_keys(struct client *c)
{
    if (!client_connect(c)) {
        return;
    }
    for (int i = 0; i < 20000; i++) {
        if (SSL_key_update(c->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 || SSL_do_handshake(c->ssl) != 1) {
            return;
        }
    }
    SSL_write(c->ssl, "hello", 5);
    client_read_to_end(c);
}

static void ask_for_key_updates(struct client *c)
{
    if (!client_connect(c)) {
        return;
    }
    for (int i = 0; i < 100; i++) {
        if (SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(c->ssl) != 1) {
            return;
        }
        SSL_write(c->ssl, "x", 1);
    }
    client_read_to_end(c);
}

static void renegotiate(struct client *c)
{
    if (client_connect(c)) {
        SSL_write(c->ssl, "hello", 5);
        SSL_renegotiate(c->ssl);
        c->total = SSL_do_handshake(c->ssl) == 1;
    }
    close(c->fd);
    c->fd = -1;
}

static void *client_main(void *ctx)
{
    struct client *c = ctx;
    c->play(c);
    ERR_clear_error();
    return NULL;
}

static void start(struct side *s, void (*play)(struct client *))
{
    s->client.play = play;
    assert_int_equal(pthread_create(&s->client.thread, NULL, client_main, &s->client), 0);
}

static void join(struct side *s)
{
    pthread_join(s->client.thread, NULL);
    s->client.thread = 0;
}

static void run_until_got(struct side *s, size_t n)
{
    while (s->got.n < n && !s->closed) {
        struct timer *tick = timer_new(s->loop, on_tick, s->loop);
        timer_start(tick, 1);
        loop_run(s->loop);
        timer_free(tick);
    }
}

/* ---- tests ---- */

static void a_plain_stream_becomes_a_tls_stream(void **state)
{
    struct side *s = *state;
    s->greet = true;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, say_hello);
    run_until_got(s, 5);
    assert_true(s->secured);
    assert_string_equal(buf_cstr(&s->got), "hello");
    assert_string_equal(stream_tls_version(s->stream), "TLSv1.3");
    assert_non_null(strstr(stream_tls_cipher(s->stream), "AES"));
    stream_free(s->stream);
    s->stream = NULL;
    join(s);
    assert_memory_equal(s->client.got, "welcome", 7);
    assert_true(s->client.clean);
}

/* Direct TLS: the first bytes were read before anybody knew what they are. */
static void with_prefix(struct side *s, size_t most)
{
    char hello[4096];
    ssize_t n = -1;
    start(s, say_hello);
    while (n < 0) {
        n = recv(s->fd, hello, most, 0);
    }
    stream_start_tls(s->stream, s->tls, hello, (size_t)n);
    run_until_got(s, 5);
    assert_string_equal(buf_cstr(&s->got), "hello");
}

static void one_byte_already_read_comes_first(void **state)
{
    with_prefix(*state, 1);
}

static void half_a_client_hello_comes_first(void **state)
{
    with_prefix(*state, 100);
}

static void a_whole_client_hello_comes_first(void **state)
{
    with_prefix(*state, 4096);
}

static void what_is_written_early_waits_for_the_handshake(void **state)
{
    struct side *s = *state;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    stream_write(s->stream, "early", 5);
    stream_flush(s->stream);
    assert_int_equal(stream_unsent(s->stream), 5);
    start(s, say_hello);
    run_until_got(s, 5);
    stream_free(s->stream);
    s->stream = NULL;
    join(s);
    assert_memory_equal(s->client.got, "early", 5);
}

static void garbage_ends_the_handshake_with_a_reason(void **state)
{
    struct side *s = *state;
    assert_int_equal(write(s->client.fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    stream_start_tls(s->stream, s->tls, NULL, 0);
    loop_run(s->loop);
    assert_true(s->closed);
    assert_false(s->secured);
    assert_string_equal(s->err.msg, "TLS handshake failed: http request");
}

static void a_start_up_packet_is_no_handshake(void **state)
{
    struct side *s = *state;
    assert_int_equal(write(s->client.fd, "\0\0\0\x14\0\3\0\0user\0x\0\0\0\0\0", 20), 20);
    stream_start_tls(s->stream, s->tls, NULL, 0);
    loop_run(s->loop);
    assert_string_equal(s->err.msg, "TLS handshake failed: wrong version number");
}

static void a_client_that_leaves_ends_the_handshake(void **state)
{
    struct side *s = *state;
    assert_int_equal(write(s->client.fd, "\x16\3\1\1", 4), 4);
    close(s->client.fd);
    s->client.fd = -1;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    loop_run(s->loop);
    assert_string_equal(s->err.msg, "TLS handshake failed: the client closed the connection");
}

static void a_client_without_a_common_cipher_is_told(void **state)
{
    struct side *s = *state;
    SSL_CTX_set_max_proto_version(s->client.ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(s->client.ctx, "ECDHE-ECDSA-AES128-SHA");
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, say_hello);
    loop_run(s->loop);
    assert_string_equal(s->err.msg, "TLS handshake failed: no shared cipher");
}

static void half_a_goodbye_leaves_the_other_half(void **state)
{
    struct side *s = *state;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, say_hello_and_goodbye);
    loop_run(s->loop);
    assert_true(s->closed);
    assert_int_equal(s->err.kind, ERR_NONE);
    assert_string_equal(buf_cstr(&s->got), "hello");
    stream_write(s->stream, "answer", 6);
    stream_flush(s->stream);
    stream_free(s->stream);
    s->stream = NULL;
    join(s);
    assert_memory_equal(s->client.got, "answer", 6);
    assert_true(s->client.clean);
}

static void an_end_without_goodbye_is_an_end(void **state)
{
    struct side *s = *state;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, say_hello_and_hang_up);
    loop_run(s->loop);
    assert_true(s->closed);
    assert_int_equal(s->err.kind, ERR_NONE);
    assert_string_equal(buf_cstr(&s->got), "hello");
}

static void much_goes_both_ways(void **state)
{
    struct side *s = *state;
    s->echo = true;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, send_bulk);
    loop_run(s->loop);
    join(s);
    assert_int_equal(s->client.total, BULK);
    assert_int_equal(s->got.n, BULK);
}

static void nothing_is_given_out_while_paused(void **state)
{
    struct side *s = *state;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, say_hello);
    while (!s->secured) {
        struct timer *tick = timer_new(s->loop, on_tick, s->loop);
        timer_start(tick, 1);
        loop_run(s->loop);
        timer_free(tick);
        stream_pause(s->stream);
    }
    stream_pause(s->stream);
    size_t before = s->got.n;
    struct timer *tick = timer_new(s->loop, on_tick, s->loop);
    timer_start(tick, 30);
    loop_run(s->loop);
    timer_free(tick);
    assert_int_equal(s->got.n, before);
    stream_resume(s->stream);
    run_until_got(s, 5);
    assert_string_equal(buf_cstr(&s->got), "hello");
}

static void renegotiation_is_refused(void **state)
{
    struct side *s = *state;
    SSL_CTX_set_max_proto_version(s->client.ctx, TLS1_2_VERSION);
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, renegotiate);
    loop_run(s->loop); /* until the client gives up: OpenSSL's takes the refusal for fatal */
    assert_string_equal(buf_cstr(&s->got), "hello");
    assert_true(s->closed);
    join(s);
    assert_int_equal(s->client.total, 0);
}

/* A timer's callback between them: the loop had its turns. */
struct turns {
    struct timer *timer;
    unsigned n;
};

static void on_turn(void *ctx)
{
    struct turns *t = ctx;
    t->n++;
    timer_start(t->timer, 1);
}

static void key_updates_without_end_leave_others_their_turn(void **state)
{
    struct side *s = *state;
    struct turns turns = {.timer = timer_new(s->loop, on_turn, &turns)};
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, update_keys);
    timer_start(turns.timer, 1);
    run_until_got(s, 5);
    timer_free(turns.timer);
    assert_string_equal(buf_cstr(&s->got), "hello");
    assert_true(turns.n > 10);
}

static void key_updates_that_want_an_answer_get_it(void **state)
{
    struct side *s = *state;
    s->echo = true;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, ask_for_key_updates);
    run_until_got(s, 100);
    assert_int_equal(s->got.n, 100);
    stream_free(s->stream);
    s->stream = NULL;
    join(s);
    assert_int_equal(s->client.total, 100);
}

static void the_stream_may_be_freed_when_it_is_secured(void **state)
{
    struct side *s = *state;
    s->free_on_secured = true;
    stream_start_tls(s->stream, s->tls, NULL, 0);
    start(s, say_hello);
    loop_run(s->loop);
    assert_null(s->stream);
    join(s);
}

static void the_stream_may_be_freed_in_the_handshake(void **state)
{
    struct side *s = *state;
    stream_start_tls(s->stream, s->tls, "\x16\3\1", 3);
    stream_free(s->stream); /* before its first turn */
    s->stream = NULL;
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(a_plain_stream_becomes_a_tls_stream),
        LIVE(one_byte_already_read_comes_first),
        LIVE(half_a_client_hello_comes_first),
        LIVE(a_whole_client_hello_comes_first),
        LIVE(what_is_written_early_waits_for_the_handshake),
        LIVE(garbage_ends_the_handshake_with_a_reason),
        LIVE(a_start_up_packet_is_no_handshake),
        LIVE(a_client_that_leaves_ends_the_handshake),
        LIVE(a_client_without_a_common_cipher_is_told),
        LIVE(half_a_goodbye_leaves_the_other_half),
        LIVE(an_end_without_goodbye_is_an_end),
        LIVE(much_goes_both_ways),
        LIVE(nothing_is_given_out_while_paused),
        LIVE(renegotiation_is_refused),
        LIVE(key_updates_without_end_leave_others_their_turn),
        LIVE(key_updates_that_want_an_answer_get_it),
        LIVE(the_stream_may_be_freed_when_it_is_secured),
        LIVE(the_stream_may_be_freed_in_the_handshake),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
