/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy as a whole: listens, and spreads its clients over worker threads, each with a loop of its own.
 * The loop that made it is the first worker; with one worker there is no other thread.
 */
#pragma once

#include "base/err.h"
#include "base/proxy_stats.h"
#include "net/cidr.h"
#include "net/listener.h"
#include "proxy/policy.h"
#include "proxy/worker.h"

struct loop;
struct proxy;

enum { PROXY_MAX_WORKERS = 64 };

struct proxy_options {
    struct listen_options listen;
    struct cidr_list proxy_protocol; /* connections from these begin with a PROXY header, version 2 */
    struct policy_options policy;
    cancel_elsewhere_fn cancel_elsewhere; /* called on this loop, while it runs */
    void *cancel_ctx;
    unsigned workers; /* 1 to PROXY_MAX_WORKERS */
};

/* Listens at once; clients get 57P03 until proxy_set_ready(). options are copied, but for the inherited
 * sockets, which are taken over. */
MUST_USE int proxy_new(struct loop *loop, const struct proxy_options *options, struct proxy **out_proxy,
                       struct err *err);
uint16_t proxy_port(const struct proxy *p);
/* session_secret: of busbar.settings; proves to the guard that a session is ours. guarded: there is a guard,
 * for sessions that are opened from now on. */
void proxy_set_ready(struct proxy *p, const char *session_secret, bool guarded);
/* New clients are told `reason` (copied); running sessions go on. */
void proxy_set_not_ready(struct proxy *p, const char *reason);
/* Logins from now on go by these options; on failure nothing has changed. */
MUST_USE int proxy_set_policy(struct proxy *p, const struct policy_options *options, struct err *err);
/* A client that came another way than by the listener: fd, connected and non-blocking, is taken over. It is
 * treated like one over TCP. peer: for the log. Not once the proxy drains. */
void proxy_admit(struct proxy *p, int fd, const char *peer);
void proxy_read_stats(const struct proxy *p, struct proxy_stats *out);

/* No new client is let in, sessions end as soon as they are at rest. drained is called when none is left,
 * never before this has returned. */
void proxy_drain(struct proxy *p, void (*drained)(void *ctx), void *ctx);
/* After proxy_drain(): the time is over, every session ends now; clients are told where that can be done. */
void proxy_cut(struct proxy *p);
/* Closes the listener and every session; clients are told where that can be done. Takes NULL. */
void proxy_free(struct proxy *p);
