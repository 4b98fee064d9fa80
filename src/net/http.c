/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libwebsockets 4.1 as HTTP server on our loop.
 *
 * Reading. libwebsockets does not read from a connection that is busy with a request, and does not stop
 * watching it either: bytes or an end of file that arrive then would make the level-triggered loop spin. So
 * while a request waits, for its answer or for the client to take it, reading is switched off
 * (lws_rx_flow_control) and a watch of our own on a duplicate of the descriptor tells when the client is gone
 * or takes more. Writing needs reading switched on again: libwebsockets serves no write event of a connection
 * that is flow-controlled.
 *
 * Teardown. With a foreign libuv loop lws_context_destroy() has to be called twice: the first call starts
 * closing its handles, the second frees the context and may only come when libuv has let go of all of them.
 * No callback tells when: we note at creation which handles the context has put on the loop, and look whether
 * they are still there, once a turn, from the close callback of a handle of our own.
 *
 * WebSockets. Every upgrade is made an ordinary request; one to a path for WebSockets is checked and
 * answered by us, and then the socket leaves libwebsockets (net/http_upgrade.c).
 */
#include "net/http.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/http_upgrade.h"
#include "net/listener.h"

#include <assert.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { WRITE_CHUNK = 16384, HEAD_SIZE = 2048, EXTRA_HEADERS = 4, CONTEXT_HANDLES = 8, QUERY_ARGS = 64 };

struct upgrade_path {
    const char *path;
    http_upgrade_fn check;
    http_upgraded_fn upgraded;
    void *ctx;
};

struct http_server {
    struct loop *loop;
    http_handler_fn handler;
    void *ctx;
    struct upgrade_path upgrades[HTTP_UPGRADES];
    size_t upgrades_n;
    struct listener *listener;
    struct lws_context *lws;
    void *foreign_loops[1];
    struct http_request *requests;
    unsigned connections, max_connections;
    bool closing, destroy_begun;
    uv_handle_t *handles[CONTEXT_HANDLES]; /* what the context has on the loop for as long as it lives */
    size_t handles_n;
    uv_timer_t marker; /* closed again and again while the context goes down */
};

/* A second look at a connection's socket, see above. Freed by libuv. */
struct sentry {
    uv_poll_t uv;
    struct http_request *request; /* NULL: closing */
    int fd;
};

struct http_request {
    struct http_server *server;
    struct http_request *next, **prev;
    struct lws *wsi;
    struct session *session;
    enum http_method method;
    bool close_after;
    char *path;
    char *args[QUERY_ARGS]; /* "name=value", decoded */
    size_t args_n;
    char peer[64];
    http_cancel_fn cancel;
    void *cancel_ctx;
    const char *headers[EXTRA_HEADERS][2];
    size_t headers_n;
    struct sentry *sentry;
    /* The answer: LWS_PRE bytes of room, then out_n bytes of which out_sent are gone. */
    unsigned char *out;
    size_t out_n, out_sent;
};

/* What libwebsockets keeps for us with each connection. */
struct session {
    struct http_request *request;
};

static void drop_request(struct http_request *r);

/* ---- sentry ---- */

static void on_sentry_closed(uv_handle_t *handle)
{
    struct sentry *s = CONTAINER_OF(handle, struct sentry, uv);
    close(s->fd);
    free(s);
}

static void stop_sentry(struct http_request *r)
{
    struct sentry *s = take_ptr(&r->sentry);
    if (s) {
        s->request = NULL;
        uv_close((uv_handle_t *)&s->uv, on_sentry_closed);
    }
}

static void on_sentry(uv_poll_t *handle, int status, int events)
{
    struct http_request *r = CONTAINER_OF(handle, struct sentry, uv)->request;
    if (!r) {
        return;
    }
    if (status < 0 || (events & UV_DISCONNECT)) {
        struct lws *wsi = r->wsi;
        drop_request(r);
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
        return;
    }
    stop_sentry(r);
    lws_rx_flow_control(r->wsi, 1);
    lws_callback_on_writable(r->wsi);
}

/* Without a descriptor for the sentry the connection is as good as gone: -1. */
static int start_sentry(struct http_request *r, int events)
{
    if (!r->sentry) {
        struct sentry *s = mem_zalloc(sizeof *s);
        s->fd = fcntl(lws_get_socket_fd(r->wsi), F_DUPFD_CLOEXEC, 0);
        if (s->fd < 0 || uv_poll_init(loop_uv(r->server->loop), &s->uv, s->fd) != 0) {
            if (s->fd >= 0) {
                close(s->fd);
            }
            free(s);
            return -1;
        }
        s->request = r;
        r->sentry = s;
    }
    lws_rx_flow_control(r->wsi, 0);
    return uv_poll_start(&r->sentry->uv, events | UV_DISCONNECT, on_sentry) == 0 ? 0 : -1;
}

/* ---- requests ---- */

static void free_request(struct http_request *r)
{
    stop_sentry(r);
    *r->prev = r->next;
    if (r->next) {
        r->next->prev = r->prev;
    }
    if (r->session) {
        r->session->request = NULL;
    }
    for (size_t i = 0; i < r->args_n; i++) {
        free(r->args[i]);
    }
    free(r->path);
    free(r->out);
    free(r);
}

/* The client is gone. */
static void drop_request(struct http_request *r)
{
    http_cancel_fn cancel = r->cancel;
    void *ctx = r->cancel_ctx;
    free_request(r);
    if (cancel) {
        cancel(ctx);
    }
}

static enum http_method method_of(struct lws *wsi)
{
    if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0) {
        return HTTP_GET;
    }
    return lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0 ? HTTP_HEAD : HTTP_OTHER;
}

static void copy_args(struct http_request *r)
{
    char arg[HTTP_HEADERS + 1];
    int n;
    while (r->args_n < QUERY_ARGS &&
           (n = lws_hdr_copy_fragment(r->wsi, arg, sizeof arg, WSI_TOKEN_HTTP_URI_ARGS, (int)r->args_n)) >=
               0) {
        r->args[r->args_n++] = mem_strndup(arg, (size_t)n);
    }
}

/* A body of unknown or unreasonable length is not waited for: the connection ends with the answer. */
static bool body_is_unwelcome(struct lws *wsi, enum http_method method)
{
    char text[24];
    uint64_t length;
    int n = lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_CONTENT_LENGTH);
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0) {
        return true;
    }
    if (n == 0) {
        return method == HTTP_OTHER;
    }
    return n < 0 || !str_to_u64((struct str){text, (size_t)n}, HTTP_BODY_DROPPED, &length);
}

static struct http_request *new_request(struct http_server *server, struct lws *wsi, struct session *session,
                                        const char *path, size_t path_n)
{
    struct http_request *r = mem_zalloc(sizeof *r);
    r->server = server;
    r->wsi = wsi;
    r->session = session;
    r->method = method_of(wsi);
    r->close_after = body_is_unwelcome(wsi, r->method);
    r->path = mem_strndup(path, path_n);
    copy_args(r);
    lws_get_peer_simple(wsi, r->peer, sizeof r->peer);
    r->next = server->requests;
    r->prev = &server->requests;
    if (r->next) {
        r->next->prev = &r->next;
    }
    server->requests = r;
    session->request = r;
    return r;
}

enum http_method http_request_method(const struct http_request *r)
{
    return r->method;
}

struct str http_request_path(const struct http_request *r)
{
    return str_c(r->path);
}

const char *http_request_peer(const struct http_request *r)
{
    return r->peer;
}

const char *http_request_query(const struct http_request *r, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < r->args_n; i++) {
        if (strncmp(r->args[i], name, n) == 0 && (r->args[i][n] == '=' || r->args[i][n] == '\0')) {
            return r->args[i][n] ? r->args[i] + n + 1 : r->args[i] + n;
        }
    }
    return NULL;
}

void http_request_on_cancel(struct http_request *r, http_cancel_fn fn, void *ctx)
{
    r->cancel = fn;
    r->cancel_ctx = ctx;
}

void http_request_header(struct http_request *r, const char *name, const char *value)
{
    assert(r->headers_n < EXTRA_HEADERS);
    r->headers[r->headers_n][0] = name;
    r->headers[r->headers_n++][1] = value;
}

/* ---- answers ---- */

static int put_header(struct lws *wsi, const char *name, const char *value, unsigned char **p,
                      unsigned char *end)
{
    char with_colon[64];
    snprintf(with_colon, sizeof with_colon, "%s:", name);
    return lws_add_http_header_by_name(wsi, (const unsigned char *)with_colon, (const unsigned char *)value,
                                       (int)strlen(value), p, end);
}

/* The content-length goes out as any header: libwebsockets would else count the bytes itself, those of the
 * head too. */
static size_t put_head(struct http_request *r, int status, const char *content_type, size_t n,
                       unsigned char *at)
{
    unsigned char *p = at, *end = at + HEAD_SIZE;
    char length[24];
    int bad = lws_add_http_header_status(r->wsi, (unsigned)status, &p, end);
    if (content_type) {
        bad |= put_header(r->wsi, "content-type", content_type, &p, end);
    }
    if (status != 204 && status != 304) {
        snprintf(length, sizeof length, "%zu", n);
        bad |= put_header(r->wsi, "content-length", length, &p, end);
    }
    for (size_t i = 0; i < r->headers_n; i++) {
        bad |= put_header(r->wsi, r->headers[i][0], r->headers[i][1], &p, end);
    }
    if (r->close_after) {
        bad |= put_header(r->wsi, "connection", "close", &p, end);
    }
    bad |= lws_finalize_http_header(r->wsi, &p, end);
    assert(!bad); /* HEAD_SIZE is enough for what callers may add */
    return (size_t)(p - at);
}

void http_respond(struct http_request *r, int status, const char *content_type, const void *body, size_t n)
{
    bool bodiless = r->method == HTTP_HEAD || status == 204 || status == 304;
    assert(!r->out);
    r->cancel = NULL;
    r->out = mem_alloc(LWS_PRE + HEAD_SIZE + (bodiless ? 0 : n));
    r->out_n = put_head(r, status, content_type, n, r->out + LWS_PRE);
    if (!bodiless && n > 0) {
        memcpy(r->out + LWS_PRE + r->out_n, body, n);
        r->out_n += n;
    }
    if (r->sentry) {
        stop_sentry(r);
        lws_rx_flow_control(r->wsi, 1);
    }
    lws_callback_on_writable(r->wsi);
}

static int finish_answer(struct http_request *r)
{
    struct lws *wsi = r->wsi;
    bool close_after = r->close_after;
    free_request(r);
    return close_after || lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int write_answer(struct http_request *r)
{
    while (r->out_sent < r->out_n) {
        if (lws_send_pipe_choked(r->wsi)) {
            lws_set_timeout(r->wsi, PENDING_TIMEOUT_HTTP_CONTENT, HTTP_STALL_S);
            return start_sentry(r, UV_WRITABLE);
        }
        size_t n = r->out_n - r->out_sent < WRITE_CHUNK ? r->out_n - r->out_sent : WRITE_CHUNK;
        if (lws_write(r->wsi, r->out + LWS_PRE + r->out_sent, n, LWS_WRITE_HTTP) != (int)n) {
            return -1;
        }
        r->out_sent += n;
    }
    return finish_answer(r);
}

/* ---- libwebsockets callbacks ---- */

static int refuse_upgrade(struct http_server *server, struct lws *wsi, struct session *session, int status,
                          const char *text)
{
    struct http_request *r = new_request(server, wsi, session, "", 0);
    http_respond(r, status, "text/plain; charset=utf-8", text, strlen(text));
    return 0;
}

/* -1 when it succeeds, too: libwebsockets is to forget the connection. */
static int on_upgrade(struct http_server *server, const struct upgrade_path *at, struct lws *wsi,
                      struct session *session)
{
    struct upgrade u;
    struct http_upgrade_answer answer = {0};
    if (!upgrade_read(wsi, &u)) {
        return refuse_upgrade(server, wsi, session, 400, "Bad request");
    }
    int status = at->check(at->ctx, &u.request, &answer);
    if (status != 101) {
        return refuse_upgrade(server, wsi, session, status, answer.text);
    }
    int fd = upgrade_accept(wsi, server->loop, &u, answer.subprotocol);
    if (fd >= 0) {
        at->upgraded(at->ctx, fd, u.peer);
    }
    return -1;
}

static int on_request(struct http_server *server, struct lws *wsi, struct session *session, const char *path,
                      size_t n)
{
    if (server->closing) {
        return -1;
    }
    for (size_t i = 0; i < server->upgrades_n; i++) {
        if (str_eq((struct str){path, n}, str_c(server->upgrades[i].path))) {
            return on_upgrade(server, &server->upgrades[i], wsi, session);
        }
    }
    struct http_request *r = new_request(server, wsi, session, path, n);
    server->handler(server->ctx, r);
    r = session->request; /* the handler may have answered, or freed the server and r with it */
    if (!r || r->out) {
        return r ? 0 : -1;
    }
    lws_set_timeout(wsi, NO_PENDING_TIMEOUT,
                    0); /* the client cannot be blamed for how long the answer takes */
    return start_sentry(r, 0);
}

/*
 * libwebsockets compares the header's text again after this callback: spoiling it
 * makes the request an ordinary one, as RFC 9110 §7.8 wants. An upgrade that it knows nothing of has been
 * refused already (403) and its headers may be gone: then the connection ends.
 */
static int confirm_upgrade(struct lws *wsi, char *name)
{
    if (lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE) == 0) {
        return -1;
    }
    upgrade_spoil(name);
    return 0;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
    struct http_server *server = lws_context_user(lws_get_context(wsi));
    struct session *session = user;
    switch ((int)reason) {
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return confirm_upgrade(wsi, in);
    case LWS_CALLBACK_HTTP:
        return on_request(server, wsi, session, in, n);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return session && session->request && session->request->out ? write_answer(session->request) : 0;
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
        if (session && session->request) {
            drop_request(session->request);
        }
        return 0;
    case LWS_CALLBACK_RAW_ADOPT: /* what libwebsockets makes of CONNECT: nothing we serve */
    case LWS_CALLBACK_RAW_CONNECTED:
    case LWS_CALLBACK_RAW_RX:
        return -1;
    case LWS_CALLBACK_WSI_CREATE:
        server->connections++;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        server->connections--;
        return 0;
    }
    return 0;
}

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = on_http, .per_session_data_size = sizeof(struct session)},
    {NULL, NULL, 0, 0, 0, NULL, 0},
};

static void on_connection(void *ctx, int fd, const struct peer *peer)
{
    struct http_server *s = ctx;
    if (s->connections >= s->max_connections) {
        log_debug(NULL, "http: too many connections peer=%s", peer->text);
        close(fd);
        return;
    }
    lws_sock_file_fd_type socket = {.sockfd = fd};
    struct lws_vhost *vhost = lws_get_vhost_by_name(s->lws, "default");
    if (!lws_adopt_descriptor_vhost(vhost, LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP, socket, NULL, NULL)) {
        log_debug(NULL, "http: connection not taken peer=%s", peer->text); /* and closed */
    }
}

/* ---- life of the context ---- */

static void log_failure(int level, const char *line)
{
    struct str text = str_trim(str_c(line));
    log_warning(NULL, "libwebsockets: %.*s", STR_ARG(text));
}

/* What it calls an error later is mostly what a client has done. */
static void log_complaint(int level, const char *line)
{
    struct str text = str_trim(str_c(line));
    log_debug(NULL, "libwebsockets: %.*s", STR_ARG(text));
}

/* Walks the loop's handles, which are in the order of their making. */
struct walk {
    struct http_server *server;
    size_t skip; /* handles that were there before the context */
    size_t seen;
    size_t found; /* of those noted */
};

static void count_handle(uv_handle_t *handle, void *arg)
{
    ((struct walk *)arg)->seen++;
}

/* Polls come and go with connections; the handles that end last are of other kinds. */
static void note_handle(uv_handle_t *handle, void *arg)
{
    struct walk *w = arg;
    struct http_server *s = w->server;
    uv_handle_type type = uv_handle_get_type(handle);
    if (w->seen++ >= w->skip && (type == UV_IDLE || type == UV_TIMER)) {
        assert(s->handles_n < CONTEXT_HANDLES);
        s->handles[s->handles_n++] = handle;
    }
}

static void find_handle(uv_handle_t *handle, void *arg)
{
    struct walk *w = arg;
    for (size_t i = 0; i < w->server->handles_n; i++) {
        w->found += w->server->handles[i] == handle;
    }
}

static void on_marker_closed(uv_handle_t *handle);

static void close_marker(struct http_server *s)
{
    uv_timer_init(loop_uv(s->loop), &s->marker);
    uv_close((uv_handle_t *)&s->marker, on_marker_closed);
}

/* Runs at the end of a turn of the loop, outside of libwebsockets. */
static void on_marker_closed(uv_handle_t *handle)
{
    struct http_server *s = CONTAINER_OF(handle, struct http_server, marker);
    struct walk w = {.server = s};
    if (!s->destroy_begun) {
        s->destroy_begun = true;
        lws_context_destroy(s->lws);
    }
    uv_walk(loop_uv(s->loop), find_handle, &w);
    if (w.found > 0) {
        close_marker(s);
        return;
    }
    lws_context_destroy(s->lws);
    free(s);
}

void http_server_free(struct http_server *s)
{
    if (!s || s->closing) {
        return;
    }
    s->closing = true;
    listener_free(s->listener);
    while (s->requests) {
        free_request(s->requests);
    }
    if (s->lws) {
        close_marker(s);
    } else {
        free(s);
    }
}

static int create_context(struct http_server *s, struct err *err)
{
    struct walk before = {.server = s}, after = {.server = s};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER, /* the listener hands us connections */
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME,
        .foreign_loops = s->foreign_loops,
        .user = s,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .server_string = "busbar",
        .vhost_name = "default",
        .timeout_secs = HTTP_STALL_S,
        .timeout_secs_ah_idle = HTTP_STALL_S,
        .keepalive_timeout = HTTP_IDLE_S,
        .max_http_header_data2 = HTTP_HEADERS,
        .max_http_header_pool2 = (unsigned short)s->max_connections,
        .fd_limit_per_thread = s->max_connections + 8, /* its tables are as long as this */
    };
    lws_set_log_level(LLL_ERR, log_failure);
    s->foreign_loops[0] = loop_uv(s->loop);
    uv_walk(loop_uv(s->loop), count_handle, &before);
    after.skip = before.seen;
    s->lws = lws_create_context(&info);
    lws_set_log_level(LLL_ERR, log_complaint);
    if (!s->lws) {
        return err_set(
            err, ERR_INTERNAL,
            "libwebsockets cannot be set up; is its libuv support (libwebsockets-evlib-uv) installed?");
    }
    uv_walk(loop_uv(s->loop), note_handle, &after);
    return 0;
}

int http_server_new(struct loop *loop, const struct http_options *options, http_handler_fn handler, void *ctx,
                    struct http_server **out_server, struct err *err)
{
    struct http_server *s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->handler = handler;
    s->ctx = ctx;
    s->max_connections = options->max_connections ? options->max_connections : HTTP_CONNECTIONS;
    if (listener_new(loop, &options->listen, on_connection, s, &s->listener, err) < 0 ||
        create_context(s, err) < 0) {
        http_server_free(s);
        return -1;
    }
    *out_server = s;
    return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
    return listener_port(s->listener);
}

void http_server_upgrade_at(struct http_server *s, const char *path, http_upgrade_fn check,
                            http_upgraded_fn upgraded, void *ctx)
{
    assert(s->upgrades_n < HTTP_UPGRADES);
    s->upgrades[s->upgrades_n++] = (struct upgrade_path){path, check, upgraded, ctx};
}
