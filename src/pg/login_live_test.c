/* SPDX-License-Identifier: Apache-2.0 */
/* Logins against real servers; live_test.py makes them and sets the environment. */
#include "pg/login.h"

#include "base/compiler.h"
#include "base/str.h"
#include "net/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

struct attempt {
    struct loop *loop;
    struct timer *patience;
    struct upstream *up;
    struct login_error error;
    bool done;
    bool cancelled_ok;
};

static void on_patience(void *ctx)
{
    fail_msg("%s", "waited in vain");
}

static int setup(void **state)
{
    struct attempt *a = calloc(1, sizeof *a);
    a->loop = loop_new();
    a->patience = timer_new(a->loop, on_patience, a);
    timer_start(a->patience, PATIENCE_MS);
    *state = a;
    return 0;
}

static int teardown(void **state)
{
    struct attempt *a = *state;
    upstream_free(a->up);
    timer_free(a->patience);
    loop_free(a->loop);
    free(a);
    return 0;
}

static void on_login(void *ctx, struct upstream *up, const struct login_error *error)
{
    struct attempt *a = ctx;
    a->done = true;
    a->up = up;
    if (error) {
        a->error = *error;
    }
    loop_stop(a->loop);
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    assert_non_null(value);
    return value;
}

/* The cluster's conninfo with more keywords after it. */
static void try(struct attempt *a, const char *cluster, const char *more, bool require_ssl)
{
    char url[1024];
    const char *const extra[][2] = {{"application_name", "live"}, {"options", "-c busbar.session=token"}};
    snprintf(url, sizeof url, "%s %s", env(cluster), more);
    struct login_params params = {.url = url, .require_ssl = require_ssl, .extra = extra, .extra_n = 2};
    a->done = false;
    login_start(a->loop, &params, on_login, a);
    assert_false(a->done);
    loop_run(a->loop);
    assert_true(a->done);
}

static void expect_up(const struct attempt *a)
{
    if (!a->up) {
        fail_msg("login failed: %s %s", a->error.err.sqlstate, a->error.err.msg);
    }
}

static void expect_error(const struct attempt *a, const char *sqlstate, const char *words, bool from_server)
{
    assert_null(a->up);
    assert_string_equal(a->error.err.sqlstate, sqlstate);
    if (!strstr(a->error.err.msg, words)) {
        fail_msg("\"%s\" is not in \"%s\"", words, a->error.err.msg);
    }
    assert_int_equal(a->error.from_server, from_server);
    assert_null(strchr(a->error.err.msg, '\n'));
}

static void raw_write(struct upstream *up, const void *p, size_t n)
{
    ssize_t done = up->ssl ? SSL_write(up->ssl, p, (int)n) : write(up->fd, p, n);
    assert_int_equal(done, n);
}

static ssize_t raw_read(struct upstream *up, char *p, size_t n)
{
    for (;;) {
        ssize_t got = up->ssl ? SSL_read(up->ssl, p, (int)n) : read(up->fd, p, n);
        bool again = up->ssl ? got <= 0 && SSL_get_error(up->ssl, (int)got) == SSL_ERROR_WANT_READ
                             : got < 0 && errno == EAGAIN;
        if (!again) {
            return got;
        }
        struct pollfd pfd = {.fd = up->fd, .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    }
}

static void send_query(struct upstream *up, const char *sql)
{
    char message[512];
    size_t n = strlen(sql) + 1;
    uint32_t size = htonl((uint32_t)n + 4);
    message[0] = 'Q';
    memcpy(message + 1, &size, 4);
    memcpy(message + 5, sql, n);
    raw_write(up, message, n + 5);
}

/* Reads until ReadyForQuery; the bytes seen are in out. */
static size_t read_answer(struct upstream *up, char *out, size_t size)
{
    size_t n = 0;
    for (;;) {
        size_t at = 0;
        while (n - at >= 5) {
            uint32_t len;
            memcpy(&len, out + at + 1, 4);
            len = ntohl(len) + 1;
            if (len > n - at) {
                break;
            }
            if (out[at] == 'Z') {
                return n;
            }
            at += len;
        }
        ssize_t got = raw_read(up, out + n, size - n);
        assert_true(got > 0);
        n += (size_t)got;
    }
}

static void expect_answer(struct upstream *up, const char *sql, const char *bytes)
{
    char out[8192];
    send_query(up, sql);
    size_t n = read_answer(up, out, sizeof out);
    if (!memmem(out, n, bytes, strlen(bytes))) {
        fail_msg("\"%s\" is not in the answer to %s", bytes, sql);
    }
}

static const char *parameter(const struct upstream *up, const char *name)
{
    for (size_t i = 0; i < up->parameters_n; i++) {
        if (strcmp(up->parameters[i].name, name) == 0) {
            return up->parameters[i].value;
        }
    }
    return NULL;
}

static void a_plain_login_leaves_a_bare_socket(void **state)
{
    struct attempt *a = *state;
    try(a, "BUSBAR_TEST_TLS", "sslmode=disable", false);
    expect_up(a);
    assert_null(a->up->ssl);
    assert_null(a->up->keep);
    assert_true(fcntl(a->up->fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(a->up->fd, F_GETFL) & O_NONBLOCK);
    assert_true(a->up->backend_pid > 0);
    assert_true(atoi(parameter(a->up, "server_version")) >= 14);
    assert_string_equal(parameter(a->up, "application_name"), "live");
    assert_string_equal(parameter(a->up, "in_hot_standby"), "off");
    assert_true(a->up->parameters_n >= 13);
    expect_answer(a->up, "SELECT current_setting('busbar.session') || 42", "token42");
    upstream_drop_parameters(a->up);
    assert_null(a->up->parameters);
    expect_answer(a->up, "SELECT 'still' || 'there'", "stillthere");
}

static void a_tls_login_gives_the_ssl_object(void **state)
{
    struct attempt *a = *state;
    try(a, "BUSBAR_TEST_TLS", "", true);
    expect_up(a);
    assert_non_null(a->up->ssl);
    assert_non_null(a->up->keep);
    assert_true(fcntl(a->up->fd, F_GETFL) & O_NONBLOCK);
    expect_answer(a->up, "SELECT 'ssl=' || ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "ssl=t");
}

static void tls_is_preferred_without_being_asked_for(void **state)
{
    struct attempt *a = *state;
    try(a, "BUSBAR_TEST_TLS", "", false);
    expect_up(a);
    assert_non_null(a->up->ssl);
}

static void a_server_without_tls_is_refused_only_when_tls_is_required(void **state)
{
    struct attempt *a = *state;
    try(a, "BUSBAR_TEST_PLAIN", "", true);
    expect_error(a, "08001", "server does not support SSL", false);
    try(a, "BUSBAR_TEST_PLAIN", "", false);
    expect_up(a);
    assert_null(a->up->ssl);
}

static void the_certificate_is_verified_when_the_url_says_so(void **state)
{
    struct attempt *a = *state;
    char more[512];
    snprintf(more, sizeof more, "sslmode=verify-full sslrootcert=%s", env("BUSBAR_TEST_CA"));
    try(a, "BUSBAR_TEST_TLS", more, true);
    expect_up(a);
    upstream_free(a->up);
    snprintf(more, sizeof more, "host=localhost sslmode=verify-full sslrootcert=%s", env("BUSBAR_TEST_CA"));
    try(a, "BUSBAR_TEST_TLS", more, true); /* the name is looked up by us, and still verified */
    expect_up(a);
    upstream_free(a->up);
    a->up = NULL;
    try(a, "BUSBAR_TEST_TLS", "sslmode=verify-full sslrootcert=/dev/null", true);
    expect_error(a, "08001", "certificate", false);
}

static void every_password_method_works(void **state)
{
    static const char *const rows[] = {
        "user=scram password=secret sslmode=disable",
        "user=scram password=secret",
        "user=md5 password=secret sslmode=disable",
        "user=md5 password=secret",
        "user=clear password=secret",
    };
    struct attempt *a = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        try(a, "BUSBAR_TEST_TLS", rows[i], false);
        expect_up(a);
        assert_int_equal(a->up->ssl == NULL, strstr(rows[i], "disable") != NULL);
        expect_answer(a->up, "SELECT 'user=' || current_user", "user=");
        upstream_free(a->up);
        a->up = NULL;
    }
}

static void refusals_are_the_servers(void **state)
{
    struct attempt *a = *state;
    try(a, "BUSBAR_TEST_TLS", "user=scram password=wrong", true);
    expect_error(a, "28P01", "password authentication failed for user \"scram\"", true);
    try(a, "BUSBAR_TEST_TLS", "user=md5 password=wrong", false);
    expect_error(a, "28P01", "password authentication failed for user \"md5\"", true);
    try(a, "BUSBAR_TEST_TLS", "user=clear password=wrong",
        false); /* the second try, without TLS, meets pg_hba.conf */
    expect_error(a, "28P01", "password authentication failed for user \"clear\"", true);
    try(a, "BUSBAR_TEST_TLS", "user=scram", true);
    expect_error(a, "28P01", "no password supplied", false);
    try(a, "BUSBAR_TEST_TLS", "dbname=nowhere", true);
    expect_error(a, "3D000", "database \"nowhere\" does not exist", true);
    try(a, "BUSBAR_TEST_TLS", "user=crowded", true);
    expect_error(a, "53300", "too many connections for role \"crowded\"", true);
    try(a, "BUSBAR_TEST_TLS", "user=stranger", true);
    expect_error(a, "28000", "no pg_hba.conf entry", true);
    try(a, "BUSBAR_TEST_TLS", "client_encoding=KLINGON", true);
    expect_error(a, "22023", "client_encoding", true);
}

static int listen_somewhere(uint16_t *out_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
    *out_port = ntohs(in.sin_port);
    return fd;
}

static void try_url(struct attempt *a, const char *url, uint64_t timeout_ms)
{
    struct login_params params = {.url = url, .timeout_ms = timeout_ms};
    a->done = false;
    login_start(a->loop, &params, on_login, a);
    assert_false(a->done);
    loop_run(a->loop);
}

static void servers_that_are_none(void **state)
{
    struct attempt *a = *state;
    char url[256];
    uint16_t port;
    int fd = listen_somewhere(&port); /* accepts by backlog, never answers */
    snprintf(url, sizeof url, "postgres://u@127.0.0.1:%u/d?sslmode=disable", port);
    try_url(a, url, 150);
    expect_error(a, "08001", "no answer from the database server", false);
    close(fd);
    try_url(a, url, 5000);
    expect_error(a, "08001", "Connection refused", false);
    try_url(a, "postgres://u@h/d?nope=1", 5000);
    expect_error(a, "08001", "URL cannot be read", false);
    try_url(a, "host=127.0.0.1 port=99999 user=u", 5000);
    expect_error(a, "08001", "port", false);
    try_url(a, "host=/nonexistent user=u", 5000);
    expect_error(a, "08001", "No such file or directory", false);
}

/* The first address does not answer: its share of the time passes, then the next one is tried. */
static void the_next_address_is_tried(void **state)
{
    struct attempt *a = *state;
    char url[512];
    uint16_t port;
    int fd = listen_somewhere(&port);
    close(fd);
    const char *real = strstr(env("BUSBAR_TEST_PLAIN"), "port=");
    snprintf(url, sizeof url, "host=127.0.0.1,127.0.0.1 user=postgres dbname=postgres port=%u,%d", port,
             atoi(real + 5));
    try_url(a, url, 5000);
    expect_up(a);
    expect_answer(a->up, "SELECT 'second' || 'address'", "secondaddress");
}

/* libpq looks for a standby at both addresses and takes the first one in the end: it opens three sockets, and
 * each gets the descriptor of the one before. */
static void a_new_socket_has_the_old_ones_number(void **state)
{
    struct attempt *a = *state;
    char url[512];
    int port = atoi(strstr(env("BUSBAR_TEST_PLAIN"), "port=") + 5);
    snprintf(url, sizeof url,
             "host=127.0.0.1,127.0.0.1 user=postgres dbname=postgres port=%d,%d "
             "target_session_attrs=prefer-standby",
             port, port);
    try_url(a, url, 5000);
    expect_up(a);
    expect_answer(a->up, "SELECT 'third' || 'socket'", "thirdsocket");
}

static void on_never(void *ctx, struct upstream *up, const struct login_error *error)
{
    fail_msg("%s", "called after login_cancel()");
}

static void on_stop(void *ctx)
{
    loop_stop(ctx);
}

/* Given up after 0, 1, 2, … turns of the loop: whatever stage that is, nothing is called and nothing leaks.
 */
static void a_login_can_be_given_up_at_any_time(void **state)
{
    static const char *const hosts[] = {"", "host=localhost"};
    struct attempt *a = *state;
    char url[1024];
    for (int turns = 0; turns < 24; turns++) {
        snprintf(url, sizeof url, "%s user=scram password=secret %s", env("BUSBAR_TEST_TLS"),
                 hosts[turns % 2]);
        struct login_params params = {.url = url, .require_ssl = true};
        struct login *login = login_start(a->loop, &params, on_never, a);
        for (int i = 0; i < turns / 2 && i < 7; i++) {
            loop_defer(a->loop, on_stop, a->loop);
            loop_run(a->loop);
        }
        login_cancel(login);
    }
}

static void on_cancelled(void *ctx, const struct err *error)
{
    struct attempt *a = ctx;
    a->done = true;
    a->cancelled_ok = error == NULL;
    loop_stop(a->loop);
}

static void expect_cancel(struct attempt *a)
{
    char out[8192];
    expect_up(a);
    send_query(a->up, "SELECT pg_sleep(600)");
    struct pollfd pfd = {.fd = a->up->fd, .events = POLLIN};
    do { /* a request that arrives before the query has begun has no effect */
        a->done = false;
        cancel_send(a->loop, a->up->cancel, on_cancelled, a);
        loop_run(a->loop);
        assert_true(a->done && a->cancelled_ok);
    } while (poll(&pfd, 1, 50) == 0);
    size_t n = read_answer(a->up, out, sizeof out);
    assert_non_null(memmem(out, n, "57014", 5));
}

static void a_running_query_is_cancelled(void **state)
{
    struct attempt *a = *state;
    try(a, "BUSBAR_TEST_PLAIN", "", false);
    expect_cancel(a);
    upstream_free(a->up);
    try(a, "BUSBAR_TEST_TLS", "", true);
    expect_cancel(a);
}

static void a_cancel_key_may_outlive_its_connection(void **state)
{
    struct attempt *a = *state;
    try(a, "BUSBAR_TEST_PLAIN", "", false);
    struct pg_cancel *cancel = cancel_ref(a->up->cancel);
    upstream_free(take_ptr(&a->up));
    cancel_send(a->loop, cancel, NULL, NULL);
    cancel_send(a->loop, cancel, on_cancelled, a);
    cancel_unref(cancel);
    a->done = false;
    loop_run(a->loop);
    assert_true(a->cancelled_ok);
}

/* Half a frame is on its way when the session dies: what the server has not got must not be made up by us. */
static void freeing_sends_nothing_more(void **state)
{
    static const char *const clusters[] = {"BUSBAR_TEST_PLAIN", "BUSBAR_TEST_TLS"};
    static const char sql[] = "CREATE TABLE half_sent ()";
    struct attempt *a = *state;
    for (size_t i = 0; i < ARRAY_LEN(clusters); i++) {
        char message[5 + sizeof sql] = {'Q'};
        uint32_t size = htonl(sizeof sql + 4);
        try(a, clusters[i], "", false);
        expect_up(a);
        memcpy(message + 1, &size, 4);
        memcpy(message + 5, sql, sizeof sql);
        raw_write(a->up, message,
                  sizeof message - 2); /* ")" and the NUL are missing; 'X' and a NUL would complete it */
        int pid = a->up->backend_pid;
        upstream_free(a->up);
        try(a, clusters[i], "", false);
        char wait[256];
        snprintf(wait, sizeof wait,
                 "DO $$BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = %d) LOOP PERFORM "
                 "pg_sleep(0.01), "
                 "pg_stat_clear_snapshot(); END LOOP; END$$",
                 pid);
        expect_answer(a->up, wait, "DO");
        expect_answer(a->up, "SELECT 'half=' || (to_regclass('half_sent') IS NULL)", "half=true");
        upstream_free(take_ptr(&a->up));
    }
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(a_plain_login_leaves_a_bare_socket),
        LIVE(a_tls_login_gives_the_ssl_object),
        LIVE(tls_is_preferred_without_being_asked_for),
        LIVE(a_server_without_tls_is_refused_only_when_tls_is_required),
        LIVE(the_certificate_is_verified_when_the_url_says_so),
        LIVE(every_password_method_works),
        LIVE(refusals_are_the_servers),
        LIVE(servers_that_are_none),
        LIVE(the_next_address_is_tried),
        LIVE(a_new_socket_has_the_old_ones_number),
        LIVE(a_login_can_be_given_up_at_any_time),
        LIVE(a_running_query_is_cancelled),
        LIVE(a_cancel_key_may_outlive_its_connection),
        LIVE(freeing_sends_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
