/* SPDX-License-Identifier: Apache-2.0 */
/* Sync sessions on the network: WebSockets at /ws of the HTTP server. The only file of this folder that knows
 * of sockets and clocks. */
#pragma once

#include "net/http.h"
#include "net/loop.h"
#include "sync/session.h"

struct sync_server;

struct sync_server_options {
    const struct sync_service *service; /* outlives the server */
    void *hub;
    struct str instance;  /* id of the service, told to clients; copied */
    unsigned max_clients; /* 0: LIMIT_SYNC_CLIENTS */
};

/* Clients may come from now on. */
struct sync_server *sync_server_new(struct loop *loop, struct http_server *http,
                                    const struct sync_server_options *options);
/* Sends everybody away, in an orderly manner, and refuses who comes. */
void sync_server_stop(struct sync_server *server);
size_t sync_server_clients(const struct sync_server *server);   /* connections that are there */
uint64_t sync_server_dropped(const struct sync_server *server); /* clients that could not follow, so far */
/* Drops who is there; the service is told. To be freed after the HTTP server. Takes NULL. */
void sync_server_free(struct sync_server *server);
