/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One loop's share of the proxy: its clients, the policy in force, its counts. Everything here belongs to the
 * loop's thread; other threads hand things over with loop_post() and read the counters.
 */
#pragma once

#include "base/counter.h"
#include "proxy/policy.h"
#include "proxy/session.h"

struct conn;
struct loop;
struct timer;

/* Each counter is written by the worker's thread alone. */
struct worker_stats {
    struct counter connections_closed; /* of those that were handed over */
    struct counter sessions_opened, sessions_closed;
    struct counter logins_refused; /* by us */
    struct counter logins_failed;  /* by the database, or because it could not be reached */
    struct counter login_ms;       /* from password to ReadyForQuery, all sessions_opened together */
    struct counter cancels;        /* requests passed on: the session is here, or the key is good elsewhere */
    struct counter timeouts;       /* logins that took too long, sessions idle too long */
    struct counter bytes_from_clients, bytes_from_server;
    struct session_counters sessions;
};

/* Tells whether a backend was found; on the thread of the loop that asked. */
typedef void (*cancelled_fn)(void *ctx, bool found);
/* Cancels what the backend with this process id does for another process's session. done is called once,
 * never before this has returned. */
typedef void (*cancel_elsewhere_fn)(void *ctx, uint32_t pid, cancelled_fn done, void *done_ctx);

struct elsewhere {
    struct loop *loop; /* on which fn is called */
    cancel_elsewhere_fn fn;
    void *ctx;
};

struct worker {
    struct loop *loop;
    struct worker *next; /* all workers of the proxy stand in a ring */
    const struct elsewhere *elsewhere;
    struct policy *policy;
    struct conn *conns;
    struct timer *sweep; /* looks for sessions that are idle too long */
    bool draining;
    void (*on_drained)(struct worker *w); /* set by the owner: draining, and no client is left */
    void *ctx;
    struct worker_stats stats;
};

/* What is known of a connection when it arrives. */
struct arrival {
    int fd;
    uint64_t id;
    bool local;      /* by a unix socket */
    bool header_due; /* it begins with a PROXY protocol header */
    bool too_many;   /* more clients than the policy allows: it is told so */
    char peer[80];
};

/* On its loop's thread. `loop`, `next` and `elsewhere` are set before, and do not change while any worker
 * runs. Takes over the policy's reference. */
void worker_init(struct worker *w, struct policy *policy);
/* A new client; takes over its descriptor. */
void worker_take(struct worker *w, const struct arrival *arrival);
/* Later logins go by this policy. Takes over the reference. */
void worker_set_policy(struct worker *w, struct policy *policy);
/* Sessions at rest end now, the others when they come to rest; on_drained is called once when none is left.
 */
void worker_drain(struct worker *w);
/* Tells clients where that can be done, and closes their connections. */
void worker_cut(struct worker *w);
/* And everything else. */
void worker_deinit(struct worker *w);

/* A CancelRequest: the session is looked for in every worker, and elsewhere when the key is one that another
 * process may have given. Forget it when the asker goes first. */
struct cancelling;
struct cancelling *worker_cancel(struct worker *w, struct conn *asker, uint32_t pid, uint32_t secret);
void cancelling_forget(struct cancelling *x); /* takes NULL */

/* A conn of this worker is gone. */
void worker_conn_gone(struct worker *w);
