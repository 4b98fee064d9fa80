/* SPDX-License-Identifier: Apache-2.0 */
#include "app/notify.h"

#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_LIMIT = 512, MESSAGE_LIMIT = 1024, SEND_PATIENCE_US = 100000 };

/* A path, or with '@' a name in the abstract name space (unix(7)): a zero byte, then the name without an end.
 */
static int fill_address(const char *name, struct notify *n, struct err *err)
{
    size_t length = strlen(name);
    bool abstract = name[0] == '@';
    if ((name[0] != '/' && !abstract) || length < 2) {
        return err_set(err, ERR_INPUT, "NOTIFY_SOCKET is neither an absolute path nor an abstract name");
    }
    if (length + (abstract ? 0 : 1) > sizeof n->address.sun_path) {
        return err_set(err, ERR_LIMIT, "NOTIFY_SOCKET is too long");
    }
    n->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(n->address.sun_path, name, length);
    if (abstract) {
        n->address.sun_path[0] = '\0';
    }
    n->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
    return 0;
}

/* Not connected: a manager that was replaced is found again. Waits for room in its queue, but not for one
 * that hangs. */
static int open_socket(const char *name, struct notify *n, struct err *err)
{
    struct timeval patience = {.tv_usec = SEND_PATIENCE_US};
    if (fill_address(name, n, err) < 0) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot create a socket for NOTIFY_SOCKET");
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    n->fd = fd;
    return 0;
}

/* WATCHDOG_PID says which process is meant, as the variables are inherited. */
static uint64_t watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t value;
    if (!usec || !str_to_u64(str_c(usec), UINT64_MAX, &value)) {
        return 0;
    }
    uint64_t ms = value / 1000;
    bool ours = !pid || (str_to_u64(str_c(pid), UINT64_MAX, &value) && value == (uint64_t)getpid());
    return ours ? ms : 0;
}

int notify_open(struct notify *out, struct err *err)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct notify n = NOTIFY_INIT;
    int result = name ? open_socket(name, &n, err) : 0;
    n.watchdog_ms = n.fd >= 0 ? watchdog_ms() : 0;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    *out = n;
    return result;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0) {
        close(n->fd);
    }
    *n = (struct notify)NOTIFY_INIT;
}

static void send_text(const struct notify *n, const char *text)
{
    ssize_t sent;
    if (n->fd < 0) {
        return;
    }
    do {
        sent = sendto(n->fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&n->address,
                      n->address_size);
    } while (sent < 0 && errno == EINTR);
}

/* A line break in the status (it may quote PostgreSQL) would begin another variable. */
static void send_status(const struct notify *n, const char *variables, const char *fmt, va_list ap)
    PRINTF_LIKE(3, 0);
static void send_status(const struct notify *n, const char *variables, const char *fmt, va_list ap)
{
    char status[STATUS_LIMIT];
    char message[MESSAGE_LIMIT];
    vsnprintf(status, sizeof status, fmt, ap);
    for (char *p = status; *p; p++) {
        *p = (unsigned char)*p < ' ' ? ' ' : *p;
    }
    snprintf(message, sizeof message, "%sSTATUS=%s\n", variables, status);
    send_text(n, message);
}

void notify_status(const struct notify *n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_status(n, "", fmt, ap);
    va_end(ap);
}

void notify_ready(const struct notify *n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_status(n, "READY=1\n", fmt, ap);
    va_end(ap);
}

void notify_stopping(const struct notify *n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    send_status(n, "STOPPING=1\n", fmt, ap);
    va_end(ap);
}

/* The time tells the manager which reload an answer belongs to (Type=notify-reload). */
void notify_reloading(const struct notify *n)
{
    char message[MESSAGE_LIMIT];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading\n",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    send_text(n, message);
}

void notify_extend_timeout(const struct notify *n, uint64_t ms)
{
    char message[MESSAGE_LIMIT];
    snprintf(message, sizeof message, "EXTEND_TIMEOUT_USEC=%llu\n", (unsigned long long)ms * 1000);
    send_text(n, message);
}

void notify_watchdog(const struct notify *n)
{
    send_text(n, "WATCHDOG=1\n");
}
