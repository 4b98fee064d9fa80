/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include "base/mem.h"
#include "base/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTENER_BACKLOG = 511, ACCEPTS_PER_TURN = 64 };

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
    bool reuse_port;
    bool inherited;
    struct listening sockets[LISTENER_SOCKETS];
    int n;
    char *socket_path; /* of the unix socket that we made, and which file that was */
    struct stat socket_file;
    struct timer *resume; /* out of descriptors: accepting rests for a moment */
};

static void print_local_peer(int fd, char *out, size_t size)
{
    struct ucred who;
    socklen_t n = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0) {
        snprintf(out, size, "unix pid=%d uid=%u", who.pid, who.uid);
    } else {
        snprintf(out, size, "unix");
    }
}

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

static void set_up_tcp(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* False when nobody waits. */
static bool accept_one(struct listening *at)
{
    struct listener *l = at->owner;
    struct sockaddr_storage sa;
    socklen_t size = sizeof sa;
    struct peer peer = {.address = (const struct sockaddr *)&sa};
    int fd = accept4(at->fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            rest_for_a_moment(l);
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (sa.ss_family == AF_UNIX) {
        print_local_peer(fd, peer.text, sizeof peer.text);
    } else {
        set_up_tcp(fd);
        print_peer(&sa, peer.text, sizeof peer.text);
    }
    l->fn(l->ctx, fd, &peer);
    return true;
}

static void on_connection(void *ctx, int events)
{
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && accept_one(ctx); i++) {
    }
}

/* Returns the bound descriptor, or -1 with errno. Port 0 is fixed by the first address for the following
 * ones. */
static int bind_one(const struct listener *l, const struct sockaddr *sa, socklen_t size, bool dual)
{
    int on = 1, v6only = !dual;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (sa->sa_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (l->reuse_port && sa->sa_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
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
    switch (sa.ss_family) {
    case AF_INET6:
        return ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
    case AF_INET:
        return ntohs(((struct sockaddr_in *)&sa)->sin_port);
    default:
        return 0;
    }
}

static void add_socket(struct listener *l, int fd)
{
    struct listening *at = &l->sockets[l->n++];
    *at = (struct listening){.owner = l, .fd = fd, .watch = watch_new(l->loop, fd, on_connection, at)};
}

static int add_address(struct listener *l, const char *ip, bool dual)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(l->port)};
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(l->port)};
    int fd;
    if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1) {
        fd = bind_one(l, (struct sockaddr *)&in6, sizeof in6, dual);
    } else if (inet_pton(AF_INET, ip, &in4.sin_addr) == 1) {
        fd = bind_one(l, (struct sockaddr *)&in4, sizeof in4, false);
    } else {
        errno = EADDRNOTAVAIL;
        fd = -1;
    }
    if (fd < 0) {
        return -1;
    }
    add_socket(l, fd);
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

/* A socket file on which nobody answers was left behind by a process that was killed. With reuse_port one
 * that is in use is replaced: whoever has it keeps serving those who came that way. */
static int clear_way(const struct listener *l, const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    bool refused = connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0 && errno == ECONNREFUSED;
    close(fd);
    if ((refused || l->reuse_port) && unlink(sa->sun_path) < 0 && errno != ENOENT) {
        return -1;
    }
    return 0;
}

static int add_unix(struct listener *l, const char *folder, unsigned mode, struct err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int n = snprintf(sa.sun_path, sizeof sa.sun_path, "%s/.s.PGSQL.%u", folder, l->port);
    if (n < 0 || (size_t)n >= sizeof sa.sun_path) {
        return err_set(err, ERR_INPUT, "the path of the unix socket is too long: %s", folder);
    }
    int fd = clear_way(l, &sa) < 0 ? -1 : bind_one(l, (struct sockaddr *)&sa, sizeof sa, false);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot listen on %s", sa.sun_path);
    }
    add_socket(l, fd);
    l->socket_path = mem_strdup(sa.sun_path);
    if (chmod(sa.sun_path, mode) < 0 || stat(sa.sun_path, &l->socket_file) < 0) {
        return err_set_errno(err, errno, "cannot set up %s", sa.sun_path);
    }
    return 0;
}

static int add_inherited(struct listener *l, const int *fds, size_t n, struct err *err)
{
    l->inherited = true;
    if (n > LISTENER_SOCKETS) {
        return err_set(err, ERR_LIMIT, "more than %d sockets were handed over", LISTENER_SOCKETS);
    }
    for (size_t i = n; i-- > 0;) {
        uint16_t port = bound_port(fds[i]);
        add_socket(l, fds[i]);
        l->port = port ? port : l->port;
    }
    return 0;
}

static int open_sockets(struct listener *l, const struct listen_options *o, struct err *err)
{
    l->port = o->port;
    if (o->inherited_n > 0) {
        return add_inherited(l, o->inherited, o->inherited_n, err);
    }
    if (add_all(l, o->address, o->ipv6) < 0) {
        return err_set_errno(err, errno, "cannot listen on %s port %u", o->address ? o->address : "*",
                             o->port);
    }
    return o->socket_folder ? add_unix(l, o->socket_folder, o->socket_mode, err) : 0;
}

int listener_new(struct loop *loop, const struct listen_options *options, listener_fn fn, void *ctx,
                 struct listener **out_listener, struct err *err)
{
    struct listener *l = mem_zalloc(sizeof *l);
    l->loop = loop;
    l->fn = fn;
    l->ctx = ctx;
    l->reuse_port = options->reuse_port;
    l->resume = timer_new(loop, on_resume, l);
    if (open_sockets(l, options, err) < 0) {
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

void listener_accept_waiting(struct listener *l)
{
    for (int i = 0; i < l->n && !l->inherited; i++) {
        while (accept_one(&l->sockets[i])) {
        }
    }
}

/* The next process may have put its own socket in our place. */
static void remove_socket_file(struct listener *l)
{
    struct stat now;
    if (l->socket_path && stat(l->socket_path, &now) == 0 && now.st_ino == l->socket_file.st_ino &&
        now.st_dev == l->socket_file.st_dev) {
        unlink(l->socket_path);
    }
    free(l->socket_path);
}

void listener_free(struct listener *l)
{
    if (!l) {
        return;
    }
    remove_socket_file(l);
    for (int i = 0; i < l->n; i++) {
        watch_free(l->sockets[i].watch);
        close(l->sockets[i].fd);
    }
    timer_free(l->resume);
    free(l);
}
