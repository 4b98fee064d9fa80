/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager is told, by the protocol of sd_notify(3): one datagram an event, VARIABLE=value a
 * line, to the unix socket that NOTIFY_SOCKET names. Without that variable every function does nothing.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: nobody wants to be told */
    struct sockaddr_un address;
    socklen_t address_size;
    uint64_t watchdog_ms; /* how long we may be silent; 0: for as long as we like */
};

#define NOTIFY_INIT \
    {               \
        .fd = -1    \
    }

/*
 * Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and removes them from the environment, so that no child
 * speaks for us: call it before there are threads or children. On failure *out is NOTIFY_INIT.
 */
MUST_USE int notify_open(struct notify *out, struct err *err);
void notify_close(struct notify *n); /* may run twice */

/* `status` is for people (systemctl status), one line. What cannot be delivered is lost. */
void notify_status(const struct notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);
void notify_ready(const struct notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);
void notify_reloading(const struct notify *n); /* then notify_ready(), whatever came of it */
void notify_stopping(const struct notify *n, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Asks not to be killed for this long, while starting or stopping. */
void notify_extend_timeout(const struct notify *n, uint64_t ms);
void notify_watchdog(const struct notify *n); /* we are alive: at least every watchdog_ms / 2 */
