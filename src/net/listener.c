/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENER_ADDRESSES = 2, LISTENER_BACKLOG = 511, ACCEPTS_PER_TURN = 64 };

struct listening {
    struct listener *owner;
    int fd;
    struct watch *watch;
};

struct listener {
    struct loop *loop;
    listener_fn fn;
    void *ctx;
    uint16_t port;
    struct listening sockets[LISTENER_ADDRESSES];
    int n;
    struct timer *resume; /* out of descriptors: accepting rests for a moment */
};

static void print_peer(const struct sockaddr_storage *sa, char *out, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        snprintf(out, size, "[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)sa;
        inet_ntop(AF_INET, &in4->sin_addr, ip, sizeof ip);
        snprintf(out, size, "%s:%u", ip, ntohs(in4->sin_port));
    }
}

static void rest_for_a_moment(struct listener *l)
{
    for (int i = 0; i < l->n; i++) {
        watch_set(l->sockets[i].watch, 0);
    }
    timer_start(l->resume, 100);
}

static void on_resume(void *ctx)
{
    struct listener *l = ctx;
    for (int i = 0; i < l->n; i++) {
        watch_set(l->sockets[i].watch, WATCH_READ);
    }
}

static void on_connection(void *ctx, int events)
{
    struct listening *at = ctx;
    struct listener *l = at->owner;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa;
        socklen_t size = sizeof sa;
        char peer[INET6_ADDRSTRLEN + 16];
        int fd = accept4(at->fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                rest_for_a_moment(l);
            }
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        print_peer(&sa, peer, sizeof peer);
        l->fn(l->ctx, fd, peer);
    }
}

/* Returns the bound descriptor, or -1 with errno. Port 0 is fixed by the first address for the following
 * ones. */
static int bind_one(const struct sockaddr *sa, socklen_t size, bool dual)
{
    int on = 1, v6only = !dual;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (sa->sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    }
    if (bind(fd, sa, size) < 0 || listen(fd, LISTENER_BACKLOG) < 0) {
        int code = errno;
        close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t size = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &size) < 0) {
        return 0;
    }
    return ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                          : ((struct sockaddr_in *)&sa)->sin_port);
}

static int add_address(struct listener *l, const char *ip, bool dual)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(l->port)};
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(l->port)};
    int fd;
    if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1) {
        fd = bind_one((struct sockaddr *)&in6, sizeof in6, dual);
    } else if (inet_pton(AF_INET, ip, &in4.sin_addr) == 1) {
        fd = bind_one((struct sockaddr *)&in4, sizeof in4, false);
    } else {
        errno = EADDRNOTAVAIL;
        fd = -1;
    }
    if (fd < 0) {
        return -1;
    }
    struct listening *at = &l->sockets[l->n++];
    *at = (struct listening){.owner = l, .fd = fd, .watch = watch_new(l->loop, fd, on_connection, at)};
    l->port = bound_port(fd);
    return 0;
}

/* No IPv6 on the machine is not a fault where both families were only wished for. */
static bool family_missing(int code)
{
    return code == EAFNOSUPPORT || code == EADDRNOTAVAIL || code == EPROTONOSUPPORT;
}

static int add_all(struct listener *l, const char *address, bool ipv6)
{
    if (!address) {
        if (ipv6 && (add_address(l, "::", true) == 0 || !family_missing(errno))) {
            return l->n > 0 ? 0 : -1;
        }
        return add_address(l, "0.0.0.0", false);
    }
    if (strcmp(address, "localhost") != 0) {
        return add_address(l, address, false);
    }
    if (add_address(l, "127.0.0.1", false) < 0) {
        return -1;
    }
    if (ipv6 && add_address(l, "::1", false) < 0 && !family_missing(errno)) {
        return -1;
    }
    return 0;
}

int listener_new(struct loop *loop, const char *address, bool ipv6, uint16_t port, listener_fn fn, void *ctx,
                 struct listener **out_listener, struct err *err)
{
    struct listener *l = mem_zalloc(sizeof *l);
    l->loop = loop;
    l->fn = fn;
    l->ctx = ctx;
    l->port = port;
    l->resume = timer_new(loop, on_resume, l);
    if (add_all(l, address, ipv6) < 0) {
        err_set_errno(err, errno, "cannot listen on %s port %u", address ? address : "*", port);
        listener_free(l);
        return -1;
    }
    on_resume(l);
    *out_listener = l;
    return 0;
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

void listener_free(struct listener *l)
{
    if (!l) {
        return;
    }
    for (int i = 0; i < l->n; i++) {
        watch_free(l->sockets[i].watch);
        close(l->sockets[i].fd);
    }
    timer_free(l->resume);
    free(l);
}
