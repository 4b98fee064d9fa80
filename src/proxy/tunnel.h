/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /proxy: a WebSocket whose binary messages carry the bytes of a PostgreSQL session, both ways; where one
 * message ends and the next begins means nothing (spec of the published client's proxy-tunnel command).
 *
 * Each is relayed to the proxy through a socket pair, so that what is at its other end is a client like any
 * other: limits, TLS, login, cancel requests, counts, drain. Back-pressure: a side for which more than
 * LIMIT_OUTPUT_HIGH bytes wait stops the other one from being read.
 */
#pragma once

#include <stddef.h>

struct http_server;
struct loop;
struct proxy;
struct tunnels;

/* Serves them on the HTTP server's port. loop, http and proxy are of one thread; http and proxy live until
 * tunnels_stop(). */
struct tunnels *tunnels_new(struct loop *loop, struct http_server *http, struct proxy *proxy);
/* No new ones: 503. Those that are open end with their sessions. Takes NULL. */
void tunnels_stop(struct tunnels *t);
/* `none` is called once when none is open, perhaps before this returns. Takes NULL, of which there is none.
 */
void tunnels_await_none(struct tunnels *t, void (*none)(void *ctx), void *ctx);
/* Cuts those that are open. Takes NULL. */
void tunnels_free(struct tunnels *t);
