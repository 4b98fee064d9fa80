/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a connection over from libpq.
 *
 * Without TLS the descriptor is duplicated and libpq's own is replaced by a socket whose other end is closed,
 * so that the Terminate which PQfinish() sends reaches nobody. With TLS the PGconn stays (its BIO serves the
 * SSL object) and the same replacement happens when the upstream is freed.
 */
#include "pg/login.h"

#include "base/mem.h"
#include "pg/cancel.h"
#include "pg/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct login {
    login_fn fn;
    void *ctx;
    struct connecting *connecting;
};

/* Every GUC_REPORT setting of PostgreSQL 14 to 18. */
static const char *const reported[] = {
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "default_transaction_read_only",
    "in_hot_standby",
    "is_superuser",
    "session_authorization",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "scram_iterations",
    "search_path",
};

static void copy_parameters(struct upstream *up, PGconn *conn)
{
    const char *values[ARRAY_LEN(reported)];
    size_t bytes = 0;
    for (size_t i = 0; i < ARRAY_LEN(reported); i++) {
        values[i] = PQparameterStatus(conn, reported[i]);
        bytes += values[i] ? strlen(values[i]) + 1 : 0;
    }
    up->parameters = mem_alloc(ARRAY_LEN(reported) * sizeof *up->parameters + bytes);
    char *text = (char *)(up->parameters + ARRAY_LEN(reported));
    for (size_t i = 0; i < ARRAY_LEN(reported); i++) {
        if (values[i]) {
            size_t size = strlen(values[i]) + 1;
            memcpy(text, values[i], size);
            up->parameters[up->parameters_n++] = (struct upstream_parameter){reported[i], text};
            text += size;
        }
    }
}

void upstream_drop_parameters(struct upstream *up)
{
    free(up->parameters);
    up->parameters = NULL;
    up->parameters_n = 0;
}

/* Puts a socket that nobody listens to in the place of libpq's. */
static int replace_socket(PGconn *conn)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        return -1;
    }
    close(pair[1]);
    int rc = dup3(pair[0], PQsocket(conn), O_CLOEXEC);
    close(pair[0]);
    return rc < 0 ? -1 : 0;
}

/* Without descriptors left for the replacement the connection is at least shut for what PQfinish() would
 * write. */
static void finish_silently(PGconn *conn)
{
    if (replace_socket(conn) < 0) {
        shutdown(PQsocket(conn), SHUT_RDWR);
    }
    PQfinish(conn);
}

void upstream_free(struct upstream *up)
{
    if (!up) {
        return;
    }
    upstream_drop_parameters(up);
    cancel_unref(up->cancel);
    if (up->keep) {
        finish_silently(up->keep);
    } else if (up->fd >= 0) {
        close(up->fd);
    }
    free(up);
}

/* What the server sent after ReadyForQuery and libpq has already read would be lost: let libpq digest it. */
static void digest_early_messages(PGconn *conn)
{
    PGnotify *notify;
    while ((notify = PQnotifies(conn)) != NULL) {
        PQfreemem(notify);
    }
}

/* Returns -1 with errno when no descriptor is left; conn is then untouched. */
static int detach(struct upstream *up, PGconn *conn)
{
    if (PQsslInUse(conn)) {
        up->fd = PQsocket(conn);
        up->ssl = PQsslStruct(conn, "OpenSSL");
        up->keep = conn;
        return up->ssl ? 0 : -1;
    }
    up->fd = fcntl(PQsocket(conn), F_DUPFD_CLOEXEC, 0);
    if (up->fd < 0) {
        return -1;
    }
    if (replace_socket(conn) < 0) {
        close(up->fd);
        up->fd = -1;
        return -1;
    }
    PQfinish(conn);
    return 0;
}

static struct upstream *take_over(PGconn *conn, struct login_error *error)
{
    struct upstream *up = mem_zalloc(sizeof *up);
    digest_early_messages(conn);
    up->fd = -1;
    up->backend_pid = PQbackendPID(conn);
    up->cancel = cancel_new(conn);
    copy_parameters(up, conn);
    if (detach(up, conn) < 0) {
        err_set_sqlstate(&error->err, ERR_SYSTEM, "53300",
                         "the connection to the database cannot be taken over: %s", strerror(errno));
        up->keep = NULL;
        up->fd = -1;
        upstream_free(up);
        PQfinish(conn);
        return NULL;
    }
    return up;
}

static void on_connected(void *ctx, PGconn *conn, const struct login_error *error)
{
    struct login *login = ctx;
    struct login_error own = {0};
    login_fn fn = login->fn;
    void *fn_ctx = login->ctx;
    struct upstream *up = conn ? take_over(conn, &own) : NULL;
    free(login);
    fn(fn_ctx, up, up ? NULL : error ? error : &own);
}

struct login *login_start(struct loop *loop, const struct login_params *params, login_fn fn, void *ctx)
{
    struct login *login = mem_zalloc(sizeof *login);
    login->fn = fn;
    login->ctx = ctx;
    login->connecting = connect_start(loop, params, on_connected, login);
    return login;
}

void login_cancel(struct login *login)
{
    if (login) {
        connect_cancel(login->connecting);
        free(login);
    }
}
