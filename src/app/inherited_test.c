/* SPDX-License-Identifier: Apache-2.0 */
/* Real sockets on the descriptors where whoever starts us puts them. */
#include "app/inherited.h"

#include "app/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs these above */
#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64];
static struct inherited in;
static struct err err;

static int setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/busbar-test-XXXXXX");
    err = (struct err)ERR_INIT;
    return mkdtemp(folder) ? 0 : -1;
}

/* Closes what the test opened, and what cmocka or the runner may have left open there. */
static void close_all(void)
{
    for (int fd = INHERITED_FIRST; fd < INHERITED_FIRST + INHERITED_SOCKETS + 2; fd++) {
        close(fd);
    }
}

static int teardown(void **state)
{
    struct err ignored;
    close_all();
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return folder_remove(folder, &ignored);
}

/* Puts fd where the n-th socket is expected. */
static void place(int fd, int n)
{
    assert_true(fd >= 0);
    if (fd != INHERITED_FIRST + n) {
        assert_int_equal(dup2(fd, INHERITED_FIRST + n), INHERITED_FIRST + n);
        close(fd);
    }
}

static int tcp(int family, int type)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = socket(family, type, 0);
    if (family == AF_INET) {
        assert_int_equal(bind(fd, (struct sockaddr *)&in4, sizeof in4), 0);
    } else {
        assert_int_equal(bind(fd, (struct sockaddr *)&in6, sizeof in6), 0);
    }
    return fd;
}

static uint16_t port_of(int n)
{
    struct sockaddr_in sa;
    socklen_t size = sizeof sa;
    assert_int_equal(getsockname(INHERITED_FIRST + n, (struct sockaddr *)&sa, &size), 0);
    return ntohs(sa.sin_port);
}

static void place_tcp(int n)
{
    int fd = tcp(AF_INET, SOCK_STREAM);
    assert_int_equal(listen(fd, 1), 0);
    place(fd, n);
}

static void place_unix(int n)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/%d", folder, n);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 1), 0);
    place(fd, n);
}

static int read_with(const char *count, const char *names)
{
    char pid[24];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names) {
        setenv("LISTEN_FDNAMES", names, 1);
    }
    return inherited_read(&in, &err);
}

static void sockets_are_taken_over(void **state)
{
    place_tcp(0);
    place_unix(1);
    assert_int_equal(read_with("2", "proxy:local"), 0);
    assert_int_equal(in.n, 2);
    assert_int_equal(in.of[0].fd, 3);
    assert_string_equal(in.of[0].name, "proxy");
    assert_int_equal(in.of[0].port, port_of(0));
    assert_int_equal(in.of[1].fd, 4);
    assert_string_equal(in.of[1].name, "local");
    assert_int_equal(in.of[1].port, 0);
    for (int fd = 3; fd <= 4; fd++) {
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
}

static void children_do_not_inherit_them(void **state)
{
    place_tcp(0);
    assert_int_equal(read_with("1", "proxy"), 0);
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
}

static void without_the_variables_there_are_none(void **state)
{
    assert_int_equal(inherited_read(&in, &err), 0);
    assert_int_equal(in.n, 0);
    assert_int_equal(read_with("0", NULL), 0);
    assert_int_equal(in.n, 0);
}

static void those_of_another_process_are_left_alone(void **state)
{
    place_tcp(0);
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    assert_int_equal(inherited_read(&in, &err), 0);
    assert_int_equal(in.n, 0);
    assert_false(fcntl(3, F_GETFD) & FD_CLOEXEC);
    assert_null(getenv("LISTEN_FDS"));
}

static void anything_else_is_refused(void **state)
{
    place(open("/dev/null", O_RDWR), 0);
    assert_int_equal(read_with("1", NULL), -1);
    assert_string_equal(err.msg, "socket activation: descriptor 3 is not a listening stream socket");
    place(tcp(AF_INET, SOCK_STREAM), 0); /* bound, does not listen */
    assert_int_equal(read_with("1", NULL), -1);
    place(tcp(AF_INET, SOCK_DGRAM), 0);
    assert_int_equal(read_with("1", NULL), -1);
    close(3);
    assert_int_equal(read_with("1", NULL), -1);
    place_tcp(0);
    assert_int_equal(read_with("2", NULL), -1);
    assert_string_equal(err.msg, "socket activation: descriptor 4 is not a listening stream socket");
}

static void the_number_has_a_limit(void **state)
{
    static const char *const bad[] = {"17", "-1", "x", "", "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(read_with(bad[i], NULL), -1);
        assert_non_null(strstr(err.msg, "LISTEN_FDS"));
    }
    for (int n = 0; n < INHERITED_SOCKETS; n++) {
        place_tcp(n);
    }
    assert_int_equal(read_with("16", NULL), 0);
    assert_int_equal(in.n, INHERITED_SOCKETS);
}

static void a_long_name_is_cut(void **state)
{
    char name[1000];
    memset(name, 'x', sizeof name);
    memcpy(name + sizeof name - 7, ":proxy", 7);
    place_tcp(0);
    place_tcp(1);
    assert_int_equal(read_with("2", name), 0);
    assert_int_equal(strlen(in.of[0].name), INHERITED_NAME - 1);
    assert_string_equal(in.of[1].name, "proxy");
}

static void names_decide(void **state)
{
    struct inherited_split split;
    place_tcp(0);
    place_unix(1);
    place_tcp(2);
    place_tcp(3);
    assert_int_equal(read_with("4", "proxy:proxy:http:http"), 0);
    assert_int_equal(inherited_split(&in, port_of(2), port_of(0), &split, &err), 0);
    assert_int_equal(split.proxy_n, 2);
    assert_int_equal(split.proxy[0], 3);
    assert_int_equal(split.proxy[1], 4);
    assert_int_equal(split.http_n, 2);
    assert_int_equal(split.http[0], 5);
    assert_int_equal(split.http[1], 6);
}

static void ports_decide_for_those_without_a_known_name(void **state)
{
    struct inherited_split split;
    int fd = tcp(AF_INET6, SOCK_STREAM);
    assert_int_equal(listen(fd, 1), 0);
    place(fd, 1);
    place_tcp(0);
    assert_int_equal(read_with("2", "busbar.socket"), 0);
    assert_string_equal(in.of[1].name, "");
    assert_int_equal(inherited_split(&in, in.of[1].port, in.of[0].port, &split, &err), 0);
    assert_int_equal(split.proxy_n, 1);
    assert_int_equal(split.proxy[0], 4);
    assert_int_equal(split.http_n, 1);
    assert_int_equal(split.http[0], 3);
}

static void a_socket_of_neither_is_a_fault(void **state)
{
    struct inherited_split split;
    char expected[512];
    place_tcp(0);
    assert_int_equal(read_with("1", "busbar.socket"), 0);
    assert_int_equal(inherited_split(&in, 1, 2, &split, &err), -1);
    snprintf(
        expected, sizeof expected,
        "socket activation: descriptor 3, named \"busbar.socket\", on port %u is neither the proxy's (port "
        "1) nor HTTP's (port 2): name it, FileDescriptorName=proxy or =http",
        (unsigned)port_of(0));
    assert_string_equal(err.msg, expected);
    place_unix(0);
    assert_int_equal(read_with("1", NULL), 0);
    assert_int_equal(inherited_split(&in, 0, 0, &split, &err), -1);
    assert_non_null(strstr(err.msg, "on a unix socket"));
}

int main(void)
{
    close_all();
#define INHERITED_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        INHERITED_TEST(sockets_are_taken_over),
        INHERITED_TEST(children_do_not_inherit_them),
        INHERITED_TEST(without_the_variables_there_are_none),
        INHERITED_TEST(those_of_another_process_are_left_alone),
        INHERITED_TEST(anything_else_is_refused),
        INHERITED_TEST(the_number_has_a_limit),
        INHERITED_TEST(a_long_name_is_cut),
        INHERITED_TEST(names_decide),
        INHERITED_TEST(ports_decide_for_those_without_a_known_name),
        INHERITED_TEST(a_socket_of_neither_is_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
