/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets on the loop: a TCP port on every address that a name stands for, a unix socket, and those
 * that were handed to the process. */
#pragma once

#include "base/err.h"
#include "net/loop.h"

#include <stddef.h>

struct listener;
struct sockaddr;

struct peer {
    char text[80];                  /* "address:port", or "unix pid=… uid=…" */
    const struct sockaddr *address; /* valid as long as the peer */
};

/* fd: connected, non-blocking, the callee's from now on. peer is valid during the call. */
typedef void (*listener_fn)(void *ctx, int fd, const struct peer *peer);

struct listen_options {
    /* An IP address, "localhost" (both loopback addresses, as far as the machine has them), or NULL for every
     * address (dual stack when ipv6, else IPv4 only). */
    const char *address;
    bool ipv6;
    uint16_t port;   /* 0 takes a free one */
    bool reuse_port; /* SO_REUSEPORT: the next process may listen before this one has stopped */
    /* A folder for a unix socket named as PostgreSQL names its own (.s.PGSQL.<port>), so that psql -h FOLDER
     * finds it; NULL: none. */
    const char *socket_folder;
    unsigned socket_mode; /* its permissions */
    /* Sockets that listen already (socket activation): taken over, instead of address and socket_folder. */
    const int *inherited;
    size_t inherited_n;
};

enum { LISTENER_SOCKETS = 16 };

/* Fails when an address could not be bound; the message names address, port and reason. The descriptors in
 * `inherited` are the caller's if it fails. */
MUST_USE int listener_new(struct loop *loop, const struct listen_options *options, listener_fn fn, void *ctx,
                          struct listener **out_listener, struct err *err);
uint16_t listener_port(const struct listener *l); /* as wished for when only unix sockets were inherited */
/* Accepts who has connected to a socket of our own: they would be reset when it closes. (Those of a socket
 * that was handed to us are for the next process.) */
void listener_accept_waiting(struct listener *l);
void listener_free(struct listener *l); /* takes NULL */
