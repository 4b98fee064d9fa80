/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns one socket. Invariant: either `unsent` is empty and `iov` may borrow pieces until the next flush, or
 * `unsent` holds copies and the socket is watched for writing; order is never mixed.
 */
#include "net/stream.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/tls.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { STREAM_IOV = 4 }; /* neighbours are one piece: more are rare, and an idle stream is small */

struct stream {
    struct loop *loop;
    int fd;
    SSL *ssl;
    struct watch *watch;
    const struct stream_events *events;
    void *ctx;
    struct iovec iov[STREAM_IOV];
    int iov_n;
    struct buf unsent;
    bool reading;
    bool ended;          /* on_closed was called with NULL: nothing more to read */
    bool closed;         /* on_closed was called with an error */
    bool want_write;     /* the socket did not take all */
    bool read_scheduled; /* TLS holds bytes that no descriptor event will announce */
    bool own_ssl;        /* made by stream_start_tls() */
    bool handshaking;
    bool read_wants_write; /* TLS must write before it can read on, … */
    bool write_wants_read; /* … and the other way round: key updates, renegotiation */
    struct stream **gone;  /* set while a callback runs: tells the caller that the stream was freed */
};

static int read_event(const struct stream *s)
{
    return s->read_wants_write ? WATCH_WRITE : WATCH_READ;
}

static int write_event(const struct stream *s)
{
    return s->write_wants_read ? WATCH_READ : WATCH_WRITE;
}

static void update_watch(struct stream *s)
{
    int events = 0;
    if (s->handshaking) {
        events = read_event(s);
    } else if (!s->closed) {
        events = (s->reading ? read_event(s) : 0) | (s->want_write ? write_event(s) : 0);
    }
    watch_set(s->watch, events);
}

static void fail(struct stream *s, const struct err *err)
{
    if (s->closed) {
        return;
    }
    s->closed = true;
    s->handshaking = false;
    s->iov_n = 0;
    buf_deinit(&s->unsent);
    s->want_write = false;
    update_watch(s);
    s->events->on_closed(s->ctx, err);
}

/* Outcome of one read or write: a byte count, or one of these. */
enum { IO_AGAIN = -1, IO_END = -2, IO_FAILED = -3, IO_TLS_FAILED = -4 };

static void fail_io(struct stream *s, ssize_t outcome, const char *what)
{
    struct err err;
    char reason[128];
    if (outcome == IO_TLS_FAILED) {
        err_set(&err, ERR_PEER, "%s: TLS: %s", what, tls_reason(reason, sizeof reason));
    } else {
        err_set_errno(&err, outcome == IO_END ? EPIPE : errno, "%s", what);
    }
    fail(s, &err);
}

/* What OpenSSL keeps is per thread: an error left behind by one session would be taken for the next one's. */
static void tls_begin(struct stream *s)
{
    ERR_clear_error();
    errno = 0;
    if (s->own_ssl) {
        tls_session_turn(s->ssl);
    }
}

/* *crossed: whether it waits for `crossing`, which the operation does not usually wait for. */
static ssize_t tls_outcome(struct stream *s, int rc, int crossing, bool *crossed)
{
    int code = SSL_get_error(s->ssl, rc);
    *crossed = code == crossing;
    switch (code) {
    case SSL_ERROR_NONE:
        return rc;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return IO_END;
    case SSL_ERROR_SYSCALL:
        if (errno == 0) {
            return IO_END; /* the peer closed without a TLS goodbye, as PostgreSQL may */
        }
        return IO_FAILED;
    default:
        return IO_TLS_FAILED;
    }
}

static ssize_t read_some(struct stream *s, char *p, size_t n)
{
    if (s->ssl) {
        tls_begin(s);
        ssize_t rc = tls_outcome(s, SSL_read(s->ssl, p, (int)n), SSL_ERROR_WANT_WRITE, &s->read_wants_write);
        update_watch(s);
        return rc;
    }
    ssize_t rc = recv(s->fd, p, n, 0);
    if (rc > 0) {
        return rc;
    }
    if (rc == 0) {
        return IO_END;
    }
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAILED;
}

static void schedule_pending(struct stream *s);

/* One read a turn: other sessions get theirs, and the level-triggered watch calls again. */
static void read_once(struct stream *s)
{
    char *p = loop_read_buffer(s->loop);
    ssize_t n = read_some(s, p, LIMIT_READ);
    if (n == IO_AGAIN) {
        return;
    }
    if (n == IO_END) {
        s->ended = true;
        s->reading = false;
        update_watch(s);
        s->events->on_closed(s->ctx, NULL);
        return;
    }
    if (n < 0) {
        fail_io(s, n, "read failed");
        return;
    }
    struct stream *self = s;
    s->gone = &self;
    s->events->on_data(s->ctx, p, (size_t)n);
    if (!self) {
        return;
    }
    s->gone = NULL;
    schedule_pending(s);
}

static void fail_handshake(struct stream *s, ssize_t outcome)
{
    struct err err;
    if (outcome == IO_TLS_FAILED) {
        tls_session_reason(s->ssl, &err);
    } else if (outcome == IO_END) {
        err_set(&err, ERR_PEER, "the client closed the connection");
    } else {
        err_set_errno(&err, errno, "read failed");
    }
    err_context(&err, "TLS handshake failed");
    /* Unread bytes would make the kernel reset the connection, and our alert would be lost. */
    ignore_result(recv(s->fd, loop_read_buffer(s->loop), LIMIT_READ, MSG_DONTWAIT));
    fail(s, &err);
}

static void send_unsent(struct stream *s, bool tell);

static void secured(struct stream *s)
{
    struct stream *self = s;
    s->gone = &self;
    update_watch(s);
    schedule_pending(s);
    if (s->unsent.n > 0) {
        send_unsent(s, true);
    }
    if (!self) {
        return;
    }
    s->gone = NULL;
    if (!s->closed) {
        s->events->on_secured(s->ctx);
    }
}

/* One step; it goes on when the descriptor is ready for more. */
static void handshake(struct stream *s)
{
    tls_begin(s);
    ssize_t rc = tls_outcome(s, SSL_accept(s->ssl), SSL_ERROR_WANT_WRITE, &s->read_wants_write);
    if (rc == IO_AGAIN) {
        update_watch(s);
        return;
    }
    s->handshaking = false;
    if (rc < 0) {
        fail_handshake(s, rc);
        return;
    }
    secured(s);
}

static void on_read_again(void *ctx)
{
    struct stream *s = ctx;
    if (!s->read_scheduled) { /* freed meanwhile: stream_free() left the shell for us */
        free(s);
        return;
    }
    s->read_scheduled = false;
    if (s->handshaking) {
        handshake(s);
    } else if (s->reading && !s->closed) {
        read_once(s);
    }
}

static void schedule_read(struct stream *s)
{
    if (!s->read_scheduled) {
        s->read_scheduled = true;
        loop_defer(s->loop, on_read_again, s);
    }
}

static void schedule_pending(struct stream *s)
{
    if (s->ssl && s->reading && !s->handshaking && SSL_has_pending(s->ssl)) {
        schedule_read(s);
    }
}

static ssize_t write_some(struct stream *s, const char *p, size_t n)
{
    if (s->ssl) {
        tls_begin(s);
        int rc = SSL_write(s->ssl, p, n > INT_MAX ? INT_MAX : (int)n);
        return tls_outcome(s, rc, SSL_ERROR_WANT_READ, &s->write_wants_read);
    }
    ssize_t rc = send(s->fd, p, n, MSG_NOSIGNAL);
    return rc >= 0 ? rc : errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_FAILED;
}

/* Sends what was left over. Calls on_drained when that was the last of it. */
static void send_unsent(struct stream *s, bool tell)
{
    size_t sent = 0;
    while (sent < s->unsent.n) {
        ssize_t n = write_some(s, s->unsent.p + sent, s->unsent.n - sent);
        if (n == IO_AGAIN) {
            break;
        }
        if (n < 0) {
            fail_io(s, n, "write failed");
            return;
        }
        sent += (size_t)n;
    }
    s->want_write = sent < s->unsent.n;
    if (s->want_write) {
        buf_consume(&s->unsent, sent);
    } else {
        buf_deinit(&s->unsent);
    }
    update_watch(s);
    if (!s->want_write && tell) {
        s->events->on_drained(s->ctx);
    }
}

static void on_events(void *ctx, int events)
{
    struct stream *s = ctx;
    struct stream *self = s;
    if (s->handshaking) {
        handshake(s);
        return;
    }
    s->gone = &self;
    if (events & write_event(s) && s->want_write) {
        send_unsent(s, true);
    }
    if (!self) {
        return;
    }
    s->gone = NULL;
    if (events & read_event(s) && s->reading && !s->closed) {
        read_once(s);
    }
}

struct stream *stream_new(struct loop *loop, int fd, struct ssl_st *ssl, const struct stream_events *events,
                          void *ctx)
{
    struct stream *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->fd = fd;
    s->ssl = ssl;
    s->events = events;
    s->ctx = ctx;
    buf_init(&s->unsent, LIMIT_OUTPUT);
    if (ssl) {
        SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    s->watch = watch_new(loop, fd, on_events, s);
    return s;
}

void stream_start_tls(struct stream *s, struct tls_server *tls, const void *prefix, size_t n)
{
    assert(!s->ssl);
    if (s->closed) {
        return;
    }
    if (s->unsent.n > 0 || s->iov_n > 0) {
        struct err err;
        err_set(&err, ERR_PEER, "the client does not read");
        fail(s, &err); /* what waits would go out encrypted although it was meant to go before */
        return;
    }
    s->ssl = tls_session_new(tls, s->fd, prefix, n);
    s->own_ssl = true;
    s->handshaking = true;
    update_watch(s);
    schedule_read(s); /* the prefix may be all of the client's part */
}

void stream_tls_facts(const struct stream *s, struct tls_facts *out)
{
    assert(s->own_ssl && !s->handshaking);
    tls_session_facts(s->ssl, out);
}

const char *stream_tls_version(const struct stream *s)
{
    return s->ssl ? SSL_get_version(s->ssl) : NULL;
}

const char *stream_tls_cipher(const struct stream *s)
{
    return s->ssl ? SSL_get_cipher_name(s->ssl) : NULL;
}

/* The goodbye tells the client that nothing was cut off. */
static void free_tls(struct stream *s)
{
    if (!s->closed && !s->handshaking && s->unsent.n == 0 && s->iov_n == 0) {
        tls_begin(s);
        SSL_shutdown(s->ssl);
    }
    tls_session_free(s->ssl);
    ERR_clear_error();
}

void stream_free(struct stream *s)
{
    if (!s) {
        return;
    }
    if (s->own_ssl) {
        free_tls(s);
    }
    watch_free(s->watch);
    close(s->fd);
    buf_deinit(&s->unsent);
    if (s->gone) {
        *s->gone = NULL;
    }
    if (s->read_scheduled) {
        s->read_scheduled = false; /* on_read_again() frees the shell */
        return;
    }
    free(s);
}

void stream_pause(struct stream *s)
{
    if (s->reading) {
        s->reading = false;
        update_watch(s);
    }
}

void stream_resume(struct stream *s)
{
    if (s->reading || s->ended || s->closed) {
        return;
    }
    s->reading = true;
    update_watch(s);
    schedule_pending(s);
}

static void keep_copy(struct stream *s, const void *p, size_t n)
{
    buf_put(&s->unsent, p, n);
}

/* Copies the pieces from iov[first] on, of which `skip` bytes went out already. */
static void keep_iov(struct stream *s, int first, size_t skip)
{
    for (int i = first; i < s->iov_n; i++) {
        keep_copy(s, (const char *)s->iov[i].iov_base + skip, s->iov[i].iov_len - skip);
        skip = 0;
    }
    s->iov_n = 0;
}

static void send_iov(struct stream *s)
{
    struct msghdr msg = {.msg_iov = s->iov, .msg_iovlen = (size_t)s->iov_n};
    /* Almost always it is one piece, and send() costs the kernel less. */
    ssize_t n = s->iov_n == 1 ? send(s->fd, s->iov[0].iov_base, s->iov[0].iov_len, MSG_NOSIGNAL)
                              : sendmsg(s->fd, &msg, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        fail_io(s, IO_FAILED, "write failed");
        return;
    }
    size_t sent = n < 0 ? 0 : (size_t)n;
    int i = 0;
    while (i < s->iov_n && sent >= s->iov[i].iov_len) {
        sent -= s->iov[i++].iov_len;
    }
    keep_iov(s, i, sent);
}

void stream_flush(struct stream *s)
{
    if (s->closed || (s->iov_n == 0 && s->unsent.n == 0)) {
        return;
    }
    if (s->ssl) {
        keep_iov(s, 0, 0);
    } else if (s->iov_n > 0) {
        send_iov(s);
    }
    if (s->unsent.overflow) {
        struct err err;
        err_set(&err, ERR_LIMIT, "the peer does not read: more than %d bytes wait for it", LIMIT_OUTPUT);
        fail(s, &err);
    }
    if (!s->closed && !s->handshaking && s->unsent.n > 0 && !s->want_write) {
        send_unsent(s, false);
    }
}

void stream_write(struct stream *s, const void *p, size_t n)
{
    if (n == 0 || s->closed) {
        return;
    }
    if (s->unsent.n > 0) {
        keep_copy(s, p, n);
        return;
    }
    if (s->iov_n > 0) {
        struct iovec *last = &s->iov[s->iov_n - 1];
        if ((const char *)last->iov_base + last->iov_len == p) {
            last->iov_len += n;
            return;
        }
    }
    if (s->iov_n == STREAM_IOV) {
        stream_flush(s);
        stream_write(s, p, n);
        return;
    }
    s->iov[s->iov_n++] = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
}

size_t stream_unsent(const struct stream *s)
{
    return s->unsent.n;
}
