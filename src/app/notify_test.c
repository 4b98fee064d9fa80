/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager's side of the protocol: a datagram socket, by path and by abstract name. */
#include "app/notify.h"

#include "app/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs these above */
#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char folder[64], path[108];
static int manager = -1;
static struct notify notify = NOTIFY_INIT;
static struct err err;

static int setup(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/busbar-test-XXXXXX");
    bool made = mkdtemp(folder) != NULL;
    snprintf(path, sizeof path, "%s/notify", folder);
    err = (struct err)ERR_INIT;
    return made ? 0 : -1;
}

static int teardown(void **state)
{
    struct err ignored;
    notify_close(&notify);
    notify_close(&notify);
    if (manager >= 0) {
        close(manager);
    }
    manager = -1;
    return folder_remove(folder, &ignored);
}

static void bind_manager(struct sockaddr_un *sa, socklen_t size)
{
    sa->sun_family = AF_UNIX;
    manager = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(manager, (struct sockaddr *)sa, size), 0);
}

static void open_by_path(void)
{
    struct sockaddr_un sa = {0};
    memcpy(sa.sun_path, path, strlen(path) + 1);
    bind_manager(&sa, sizeof sa);
    setenv("NOTIFY_SOCKET", path, 1);
    assert_int_equal(notify_open(&notify, &err), 0);
}

/* The next datagram; fails when none is there. */
static const char *received(void)
{
    static char text[2048];
    struct pollfd watched = {.fd = manager, .events = POLLIN};
    assert_int_equal(poll(&watched, 1, 0), 1);
    ssize_t n = recv(manager, text, sizeof text - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    return text;
}

static void assert_nothing_received(void)
{
    struct pollfd watched = {.fd = manager, .events = POLLIN};
    assert_int_equal(poll(&watched, 1, 0), 0);
}

static void events_are_told(void **state)
{
    open_by_path();
    notify_status(&notify, "waiting for %s", "the database");
    assert_string_equal(received(), "STATUS=waiting for the database\n");
    notify_ready(&notify, "%d sessions", 3);
    assert_string_equal(received(), "READY=1\nSTATUS=3 sessions\n");
    notify_stopping(&notify, "stopping");
    assert_string_equal(received(), "STOPPING=1\nSTATUS=stopping\n");
    notify_extend_timeout(&notify, 30000);
    assert_string_equal(received(), "EXTEND_TIMEOUT_USEC=30000000\n");
    notify_watchdog(&notify);
    assert_string_equal(received(), "WATCHDOG=1\n");
    assert_nothing_received();
}

static void a_reload_has_its_time(void **state)
{
    struct timespec now;
    long long usec;
    open_by_path();
    notify_reloading(&notify);
    clock_gettime(CLOCK_MONOTONIC, &now);
    assert_int_equal(sscanf(received(), "RELOADING=1\nMONOTONIC_USEC=%lld\n", &usec), 1);
    long long ago = (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000 - usec;
    assert_true(ago >= 0 && ago < 60000000);
}

static void a_status_is_one_line_and_has_a_limit(void **state)
{
    char text[2000];
    open_by_path();
    notify_status(&notify, "%s", "a\nREADY=1\r\tb");
    assert_string_equal(received(), "STATUS=a READY=1  b\n");
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    notify_ready(&notify, "%s", text);
    const char *message = received();
    assert_memory_equal(message, "READY=1\nSTATUS=xxx", strlen("READY=1\nSTATUS=xxx"));
    assert_int_equal(strlen(message), strlen("READY=1\nSTATUS=") + 511 + 1);
}

static void an_abstract_name_is_understood(void **state)
{
    struct sockaddr_un sa = {0};
    char name[64];
    int n = snprintf(name, sizeof name, "@busbar-notify-test-%d", (int)getpid());
    memcpy(sa.sun_path + 1, name + 1, (size_t)n - 1);
    bind_manager(&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n));
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(notify_open(&notify, &err), 0);
    notify_ready(&notify, "here");
    assert_string_equal(received(), "READY=1\nSTATUS=here\n");
}

static void children_do_not_inherit_it(void **state)
{
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    open_by_path();
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
}

static uint64_t watchdog_of(const char *usec, const char *pid)
{
    setenv("WATCHDOG_USEC", usec, 1);
    if (pid) {
        setenv("WATCHDOG_PID", pid, 1);
    }
    open_by_path();
    uint64_t ms = notify.watchdog_ms;
    notify_close(&notify);
    close(manager);
    manager = -1;
    unlink(path);
    return ms;
}

static void the_watchdog_is_meant_for_one_process(void **state)
{
    char pid[24];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_int_equal(watchdog_of("30000000", NULL), 30000);
    assert_int_equal(watchdog_of("30000000", pid), 30000);
    assert_int_equal(watchdog_of("30000000", "1"), 0);
    assert_int_equal(watchdog_of("30000000", "x"), 0);
    assert_int_equal(watchdog_of("soon", NULL), 0);
    assert_int_equal(watchdog_of("", NULL), 0);
}

static void without_a_manager_nothing_happens(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "1000000", 1);
    assert_int_equal(notify_open(&notify, &err), 0);
    assert_int_equal(notify.fd, -1);
    assert_int_equal(notify.watchdog_ms, 0);
    notify_ready(&notify, "to nobody");
    notify_watchdog(&notify);
}

static void a_manager_that_is_replaced_is_found_again(void **state)
{
    struct sockaddr_un sa = {0};
    open_by_path();
    close(manager);
    notify_ready(&notify, "to nobody");
    assert_int_equal(unlink(path), 0);
    notify_ready(&notify, "to nobody");
    memcpy(sa.sun_path, path, strlen(path) + 1);
    bind_manager(&sa, sizeof sa);
    notify_ready(&notify, "to the next one");
    assert_string_equal(received(), "READY=1\nSTATUS=to the next one\n");
}

static void a_manager_that_does_not_read_is_not_waited_for(void **state)
{
    struct timespec before, after;
    open_by_path();
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int i = 0; i < 20; i++) {
        notify_status(&notify, "%d", i); /* the queue has room for ten (net.unix.max_dgram_qlen) */
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec < 10);
    assert_string_equal(received(), "STATUS=0\n");
}

static void a_name_that_is_none_is_refused(void **state)
{
    char longest[200];
    static const char *const bad[] = {"", "@", "/", "relative", "vsock:2:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        assert_int_equal(notify_open(&notify, &err), -1);
        assert_non_null(strstr(err.msg, "NOTIFY_SOCKET"));
        assert_int_equal(notify.fd, -1);
        assert_null(getenv("NOTIFY_SOCKET"));
    }
    memset(longest, 'x', sizeof longest);
    longest[0] = '/';
    longest[108] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    assert_int_equal(notify_open(&notify, &err), -1);
    assert_string_equal(err.msg, "NOTIFY_SOCKET is too long");
}

int main(void)
{
#define NOTIFY_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        NOTIFY_TEST(events_are_told),
        NOTIFY_TEST(a_reload_has_its_time),
        NOTIFY_TEST(a_status_is_one_line_and_has_a_limit),
        NOTIFY_TEST(an_abstract_name_is_understood),
        NOTIFY_TEST(children_do_not_inherit_it),
        NOTIFY_TEST(the_watchdog_is_meant_for_one_process),
        NOTIFY_TEST(without_a_manager_nothing_happens),
        NOTIFY_TEST(a_manager_that_is_replaced_is_found_again),
        NOTIFY_TEST(a_manager_that_does_not_read_is_not_waited_for),
        NOTIFY_TEST(a_name_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
