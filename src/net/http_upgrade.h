/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of WebSockets (RFC 6455 section 4.2) on a connection of libwebsockets. Part of
 * net/http.c. */
#pragma once

#include "net/http.h"

struct lws;

enum { UPGRADE_OFFERED = 1024 /* bytes of Sec-WebSocket-Protocol */, UPGRADE_KEY = 24 };

struct upgrade {
    struct http_upgrade request;
    char offered[UPGRADE_OFFERED];
    char key[UPGRADE_KEY + 1];
    char peer[64];
};

/* libwebsockets would upgrade by itself: this makes the header's value one that it knows nothing of. */
void upgrade_spoil(char *name);
/* False: this is no valid upgrade to a WebSocket. */
MUST_USE bool upgrade_read(struct lws *wsi, struct upgrade *out);

/*
 * Says yes and takes the socket away from libwebsockets, which is left with one to nowhere: the callback that
 * we are in must return -1, so that it forgets the connection. Returns the descriptor; -1: there is none
 * left, or the client is gone.
 */
MUST_USE int upgrade_accept(struct lws *wsi, struct loop *loop, const struct upgrade *u,
                            struct str subprotocol);
