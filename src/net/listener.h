/* SPDX-License-Identifier: Apache-2.0 */
/* Listening TCP sockets on the loop: one port on every address that a name stands for. */
#pragma once

#include "base/err.h"
#include "net/loop.h"

struct listener;

/* fd: connected, non-blocking, the callee's from now on. peer: "address:port", valid during the call. */
typedef void (*listener_fn)(void *ctx, int fd, const char *peer);

/*
 * address: an IP address, "localhost" (both loopback addresses, as far as the machine has them), or NULL for
 * every address (dual stack when ipv6, else IPv4 only). port 0 takes a free one. Fails when no address could
 * be bound; the message names address, port and reason.
 */
MUST_USE int listener_new(struct loop *loop, const char *address, bool ipv6, uint16_t port, listener_fn fn,
                          void *ctx, struct listener **out_listener, struct err *err);
uint16_t listener_port(const struct listener *l);
void listener_free(struct listener *l); /* takes NULL */
