/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy on the network: listens, lets clients in, logs in upstream for each, moves the bytes of their
 * sessions. The only file of this folder that touches net.
 */
#pragma once

#include "base/err.h"
#include "proxy/gate.h"
#include "proxy/session.h"

struct loop;
struct proxy;

struct proxy_options {
    const char *listen; /* address or NULL for all (net/listener.h) */
    bool ipv6;
    uint16_t port; /* 0: a free one */
    enum gate_method method;
    const char *password;
    const char *url; /* of the database */
    bool require_ssl;
};

struct proxy_stats {
    uint64_t sessions; /* now */
    uint64_t sessions_total;
    uint64_t logins_refused;
    uint64_t bytes_from_clients, bytes_from_server;
    struct session_counters counters;
};

/* options are copied. Listens at once; clients get 57P03 until proxy_set_ready(). */
MUST_USE int proxy_new(struct loop *loop, const struct proxy_options *options, struct proxy **out_proxy,
                       struct err *err);
uint16_t proxy_port(const struct proxy *p);
/* session_secret: of busbar.settings; proves to the guard that a session is ours. */
void proxy_set_ready(struct proxy *p, const char *session_secret);
/* New clients are told `reason` (copied); running sessions go on. */
void proxy_set_not_ready(struct proxy *p, const char *reason);
const struct proxy_stats *proxy_stats(const struct proxy *p);
/* Closes the listener and every session. Takes NULL. */
void proxy_free(struct proxy *p);
