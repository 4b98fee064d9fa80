/* SPDX-License-Identifier: Apache-2.0 */
#include "app/inherited.h"

#include "base/compiler.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool socket_is(int fd, int option, int value)
{
    int found;
    socklen_t size = sizeof found;
    return getsockopt(fd, SOL_SOCKET, option, &found, &size) == 0 && found == value;
}

static int check_socket(int fd, struct inherited_socket *out, struct err *err)
{
    struct sockaddr_storage sa;
    socklen_t size = sizeof sa;
    if (!socket_is(fd, SO_TYPE, SOCK_STREAM) || !socket_is(fd, SO_ACCEPTCONN, 1) ||
        getsockname(fd, (struct sockaddr *)&sa, &size) < 0) {
        return err_set(err, ERR_INPUT, "descriptor %d is not a listening stream socket", fd);
    }
    switch (sa.ss_family) {
    case AF_INET:
        out->port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
        return 0;
    case AF_INET6:
        out->port = ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
        return 0;
    case AF_UNIX:
        out->port = 0;
        return 0;
    default:
        return err_set(err, ERR_INPUT, "descriptor %d is neither a TCP nor a unix socket", fd);
    }
}

static int take(int fd, struct str name, struct inherited_socket *out, struct err *err)
{
    out->fd = fd;
    snprintf(out->name, sizeof out->name, "%.*s", STR_ARG(name));
    if (check_socket(fd, out, err) < 0) {
        return -1;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        return err_set_errno(err, errno, "descriptor %d", fd);
    }
    return 0;
}

/* The variables are inherited by children of children: LISTEN_PID says which process is meant. */
static bool meant_for_us(void)
{
    const char *text = getenv("LISTEN_PID");
    uint64_t pid;
    return text && str_to_u64(str_c(text), UINT64_MAX, &pid) && pid == (uint64_t)getpid();
}

static int take_all(struct inherited *out, struct err *err)
{
    const char *count = getenv("LISTEN_FDS");
    struct str names = str_c(getenv("LISTEN_FDNAMES"));
    uint64_t n;
    if (!count || !meant_for_us()) {
        return 0;
    }
    if (!str_to_u64(str_c(count), INHERITED_SOCKETS, &n)) {
        return err_set(err, ERR_LIMIT, "LISTEN_FDS=%.20s is not a number up to %d", count, INHERITED_SOCKETS);
    }
    for (int fd = INHERITED_FIRST; fd < INHERITED_FIRST + (int)n; fd++) {
        if (take(fd, str_cut(&names, ':'), &out->of[out->n], err) < 0) {
            return -1;
        }
        out->n++;
    }
    return 0;
}

int inherited_read(struct inherited *out, struct err *err)
{
    *out = (struct inherited){0};
    int result = take_all(out, err);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return result < 0 ? err_context(err, "socket activation") : 0;
}

static int belongs_to_neither(const struct inherited_socket *s, uint16_t proxy_port, uint16_t http_port,
                              struct err *err)
{
    char where[32] = "a unix socket";
    if (s->port) {
        snprintf(where, sizeof where, "port %u", (unsigned)s->port);
    }
    return err_set(
        err, ERR_INPUT,
        "socket activation: descriptor %d, named \"%s\", on %s is neither the proxy's (port %u) nor "
        "HTTP's (port %u): name it, FileDescriptorName=proxy or =http",
        s->fd, s->name, where, (unsigned)proxy_port, (unsigned)http_port);
}

int inherited_split(const struct inherited *in, uint16_t proxy_port, uint16_t http_port,
                    struct inherited_split *out, struct err *err)
{
    struct inherited_split split = {.proxy_n = 0};
    for (size_t i = 0; i < in->n; i++) {
        const struct inherited_socket *s = &in->of[i];
        bool is_proxy = strcmp(s->name, "proxy") == 0;
        bool is_http = strcmp(s->name, "http") == 0;
        bool by_port = !is_proxy && !is_http && s->port;
        if (is_proxy || (by_port && s->port == proxy_port)) {
            split.proxy[split.proxy_n++] = s->fd;
        } else if (is_http || (by_port && s->port == http_port)) {
            split.http[split.http_n++] = s->fd;
        } else {
            return belongs_to_neither(s, proxy_port, http_port, err);
        }
    }
    *out = split;
    return 0;
}
