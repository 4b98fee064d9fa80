/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connected byte stream on the loop, plain or TLS, with gathered writes and back-pressure.
 *
 * Reading: on_data gets what arrived, borrowed until it returns, at most LIMIT_READ bytes a call; while
 * paused nothing is read and the kernel holds the peer back. Writing: stream_write() borrows until the next
 * stream_flush(), which sends all in one writev; what the kernel does not take is copied and sent later, and
 * no memory is held while nothing waits. The owner stops its source when stream_unsent() passes
 * LIMIT_OUTPUT_HIGH and goes on at on_drained. Past LIMIT_OUTPUT the stream fails.
 */
#pragma once

#include "base/err.h"
#include "net/loop.h"

struct stream;
struct ssl_st;
struct tls_facts;
struct tls_server;

struct stream_events {
    void (*on_data)(void *ctx, const char *p, size_t n);
    void (*on_drained)(void *ctx); /* all output is with the kernel again */
    /* err NULL: the peer sends no more; what is written still goes out, and fails later if nobody is there.
     * Else the stream has failed, and is of no more use. Each at most once. */
    void (*on_closed)(void *ctx, const struct err *err);
    void (*on_secured)(
        void *ctx); /* the handshake of stream_start_tls() is done; NULL if that is not called */
};

/* Takes over fd (closed by stream_free). ssl: an established TLS session on fd that the caller keeps alive
 * until after stream_free(), or NULL. *events outlives the stream. Starts paused. */
struct stream *stream_new(struct loop *loop, int fd, struct ssl_st *ssl, const struct stream_events *events,
                          void *ctx);
/* Drops what is unsent; says goodbye to a TLS client when there is nothing unsent. Takes NULL. */
void stream_free(struct stream *s);

/*
 * Makes a plain stream the server side of TLS. prefix (copied): what was already read of the client's
 * handshake. What was written and flushed before has gone out in the clear, what is written from now on waits
 * for the handshake. That runs by itself, paused or not, and ends in on_secured, or in on_closed with one
 * line for the log; how long it may take is for the owner to limit. Holds a reference to *tls.
 */
void stream_start_tls(struct stream *s, struct tls_server *tls, const void *prefix, size_t n);
/* Of a stream that stream_start_tls() has secured. */
void stream_tls_facts(const struct stream *s, struct tls_facts *out);
/* "TLSv1.3" and "TLS_AES_256_GCM_SHA384", static texts; NULL without TLS. */
const char *stream_tls_version(const struct stream *s);
const char *stream_tls_cipher(const struct stream *s);

void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

void stream_write(struct stream *s, const void *p, size_t n);
void stream_flush(struct stream *s);
size_t stream_unsent(const struct stream *s);
