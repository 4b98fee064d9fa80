/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One upstream login for a proxy session: libpq connects and authenticates (every method, TLS mode and
 * multi-host form it knows), then hands the connection over and is out of the way.
 *
 * The session gets a non-blocking descriptor on which the server has said ReadyForQuery and nothing is
 * outstanding. Without TLS nothing of libpq is left; with TLS the PGconn stays, because the SSL object's BIO
 * reads and writes through it.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct login;
struct pg_cancel;

struct login_params {
    const char *url; /* postgres:// URL or libpq conninfo text */
    /* TLS mandatory: sslmode=require, or the url's verify-ca / verify-full. Otherwise the url's disable,
     * allow, prefer or verify-*, else prefer. Unix sockets never use TLS. */
    bool require_ssl;
    /* libpq keywords that override the url's: user, password, application_name, client_encoding, options, …
     * A value NULL is skipped. `options` is the exception: it follows the url's own (the later -c wins).
     * Settings that libpq has no keyword for (TimeZone, DateStyle, search_path, …) go into options as -c
     * name=value, with spaces and backslashes of the value escaped by a backslash. */
    const char *const (*extra)[2];
    size_t extra_n;
    uint64_t timeout_ms; /* for the whole login, names looked up included; 0: LOGIN_TIMEOUT_MS */
};

enum { LOGIN_TIMEOUT_MS = 5000 };

struct upstream_parameter {
    const char *name;
    const char *value;
};

/* What the session takes over. */
struct upstream {
    int fd;    /* non-blocking, close-on-exec; with TLS it belongs to `keep` */
    void *ssl; /* SSL * when TLS is on, else NULL. Handshake done; use SSL_read / SSL_write only */
    int backend_pid;
    struct upstream_parameter *parameters; /* what the server reported at login; one block of memory */
    size_t parameters_n;
    struct pg_cancel *cancel;
    void *keep; /* libpq's connection, only with TLS */
};

/* Closes the socket at once without a Terminate message (after half a frame it would be read as the frame's
 * end): a session that wants a polite end sends its own first. Takes NULL. */
void upstream_free(struct upstream *up);
/* Gives back the memory of the parameters, once they have been told to the client. */
void upstream_drop_parameters(struct upstream *up);

/* Why a login failed: as the server gave it, else 08001 (no connection made) or 08006 (lost on the way). */
struct login_error {
    struct err err;   /* ERR_UPSTREAM; sqlstate is always set; msg is one line, as the server wrote it */
    bool from_server; /* the server itself said so */
    char detail[512]; /* "" when there is none */
    char hint[512];   /* "" when there is none */
};

/* Exactly one of up and error is not NULL. `up` is the callee's from now on; `error` is valid during the
 * call. The handle of login_start() is gone when this is called. */
typedef void (*login_fn)(void *ctx, struct upstream *up, const struct login_error *error);

/* Copies what it needs of params. Never fails and never calls fn before it returned. */
struct login *login_start(struct loop *loop, const struct login_params *params, login_fn fn, void *ctx);
/* Gives up; no callback comes. Takes NULL. */
void login_cancel(struct login *login);

/* Asks the server to cancel what the connection is running, from a helper thread, as PQcancel blocks.
 * May be called any number of times; the connection may be gone before it is done. `fn` (may be NULL) is
 * called on the loop; error is NULL when the request was delivered, which does not say that it took effect.
 */
typedef void (*cancel_fn)(void *ctx, const struct err *error);
void cancel_send(struct loop *loop, struct pg_cancel *cancel, cancel_fn fn, void *ctx);

/* A pg_cancel is counted: a table of cancel keys may keep one past its upstream. Both take NULL. */
struct pg_cancel *cancel_ref(struct pg_cancel *cancel);
void cancel_unref(struct pg_cancel *cancel);
