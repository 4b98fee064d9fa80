/* SPDX-License-Identifier: Apache-2.0 */
#include "app/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEPT_FIRST = 15432, KEPT_LAST = 15931, ATTEMPTS = 100 };

/* Like the server: SO_REUSEADDR, so that connections of an earlier one that linger do not count. 0 or errno.
 */
static int try_bind(int family, const void *address, socklen_t size, uint16_t *out_port)
{
    int on = 1;
    struct sockaddr_storage bound;
    socklen_t bound_size = sizeof bound;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int code = bind(fd, address, size) < 0 || getsockname(fd, (struct sockaddr *)&bound, &bound_size) < 0
                   ? errno
                   : 0;
    close(fd);
    if (code == 0) {
        *out_port = ntohs(family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                            : ((struct sockaddr_in6 *)&bound)->sin6_port);
    }
    return code;
}

static int try_ipv4(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return try_bind(AF_INET, &address, sizeof address, port);
}

static int try_ipv6(uint16_t port)
{
    struct sockaddr_in6 address = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    return try_bind(AF_INET6, &address, sizeof address, &port);
}

bool port_is_free(uint16_t port, bool *out_has_ipv6)
{
    int code6 = try_ipv6(port);
    *out_has_ipv6 = code6 == 0;
    return try_ipv4(&port) == 0 && code6 != EADDRINUSE;
}

int port_find_free(bool to_keep, uint16_t *out_port, bool *out_has_ipv6, struct err *err)
{
    for (unsigned port = KEPT_FIRST; to_keep && port <= KEPT_LAST; port++) {
        if (port_is_free((uint16_t)port, out_has_ipv6)) {
            *out_port = (uint16_t)port;
            return 0;
        }
    }
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        *out_port = 0;
        if (try_ipv4(out_port) == 0 && port_is_free(*out_port, out_has_ipv6)) {
            return 0;
        }
    }
    return err_set(err, ERR_SYSTEM, "found no free port on the loopback address");
}
