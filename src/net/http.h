/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server on the loop. The bytes of HTTP are libwebsockets' business, the sockets are a
 * listener's; what requests mean is the handler's.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "net/listener.h"
#include "net/loop.h"

struct http_server;
struct http_request;

struct http_options {
    struct listen_options listen;
    unsigned max_connections; /* more are closed as they come; 0: HTTP_CONNECTIONS */
};

enum {
    HTTP_CONNECTIONS = 1000,
    HTTP_HEADERS = 8192, /* bytes of one request's line and headers */
    HTTP_BODY_DROPPED =
        65536,              /* a request body up to this is read and dropped; past it the connection closes */
    HTTP_IDLE_S = 60,       /* a connection that is kept alive */
    HTTP_STALL_S = 20,      /* a client that sends its request, or takes its answer, too slowly */
    HTTP_SUBPROTOCOLS = 16, /* offered in one upgrade */
    HTTP_UPGRADES = 2,      /* paths with WebSockets */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_OTHER };

/*
 * Every request gets exactly one of: http_respond(), at once or later; or its cancel callback, when the
 * client is gone before. It is valid until then. The handler may free anything, the server too.
 */
typedef void (*http_handler_fn)(void *ctx, struct http_request *r);
typedef void (*http_cancel_fn)(void *ctx);

/* Fails when no address could be bound, or libwebsockets has no libuv support on this machine. */
MUST_USE int http_server_new(struct loop *loop, const struct http_options *options, http_handler_fn handler,
                             void *ctx, struct http_server **out_server, struct err *err);
uint16_t http_server_port(const struct http_server *s);
/* Stops listening and drops all connections. No callback comes afterwards, and requests that were not
 * answered are gone. Takes NULL. */
void http_server_free(struct http_server *s);

enum http_method http_request_method(const struct http_request *r);
struct str
http_request_path(const struct http_request *r); /* percent-decoded, without the query; begins with "/" */
/* The first value of a query parameter, percent-decoded; "" when it has none; NULL when it is not there. */
const char *http_request_query(const struct http_request *r, const char *name);
const char *http_request_peer(const struct http_request *r); /* IP address */

/* To be told when the client is gone before the answer. NULL takes it back. */
void http_request_on_cancel(struct http_request *r, http_cancel_fn fn, void *ctx);
/* One more header of the answer; both are string constants. At most four. */
void http_request_header(struct http_request *r, const char *name, const char *value);

/*
 * Answers; the request is gone afterwards. content_type may be NULL. The body is copied; for HEAD only its
 * length is sent. 204 and 304 have no body.
 */
void http_respond(struct http_request *r, int status, const char *content_type, const void *body, size_t n);

/* A client that wants a WebSocket. */
struct http_upgrade {
    struct str subprotocols[HTTP_SUBPROTOCOLS]; /* as offered, in the client's order */
    size_t n_subprotocols;
    const char *peer; /* IP address */
};

struct http_upgrade_answer {
    struct str subprotocol; /* 101: one of those offered, or "" for none */
    char text[256];         /* else: the body, plain text */
};

/* Returns 101, or the HTTP status of a refusal. */
typedef int (*http_upgrade_fn)(void *ctx, const struct http_upgrade *u, struct http_upgrade_answer *out);
/* The handshake is done; fd, non-blocking, is the callee's (net/websocket.h), and the server knows nothing of
 * it any more: it does not count among its connections. peer is valid during the call. */
typedef void (*http_upgraded_fn)(void *ctx, int fd, const char *peer);

/* Requests to this path (a constant) are upgrades: what is none is answered with 400, "Bad request". At most
 * HTTP_UPGRADES paths. */
void http_server_upgrade_at(struct http_server *s, const char *path, http_upgrade_fn check,
                            http_upgraded_fn upgraded, void *ctx);
