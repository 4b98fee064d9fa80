/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a conn: shared by the conn*.c files and by nothing else. */
#pragma once

#include "base/buf.h"
#include "proxy/conn.h"
#include "proxy/gate.h"
#include "proxy/worker.h"

enum { CLOSING_TIMEOUT_MS = 5000 };

enum conn_state { CONN_GATE, CONN_LOGIN, CONN_OPEN, CONN_CLOSING };

/* What a conn needs on its way in, until its session is open. */
struct entrance {
    struct arrival arrival;
    struct policy *policy; /* what this login goes by */
    struct gate_policy gate_policy;
    struct gate gate;
    struct buf in;
};

struct conn {
    struct conn *next, **link; /* in worker.conns */
    struct worker *worker;
    enum conn_state state;
    enum session_mode mode;
    struct stream *client, *server;
    struct entrance *entrance; /* NULL in an open session, and so is … */
    struct timer *timer;       /* … this: they would cost more than the rest */
    struct login *login;
    struct cancelling *cancelling; /* this conn is a CancelRequest being passed on */
    struct upstream *upstream;
    struct session *session;
    uint32_t cancel_secret;
    bool leaving;                                /* the client has gone, the server is to close */
    bool deferred;                               /* conn_finish() will be called */
    bool dead;                                   /* ... and only has to free the shell */
    uint64_t id, login_ms, opened_ms, active_ms; /* by the loop's clock */
    uint64_t bytes_from_client, bytes_from_server;
    char *application;  /* what the client calls itself; NULL when it does not */
    const char *ending; /* why it ends: the first reason counts */
    char *prefix;       /* of its lines in the log */
};

/* --- conn.c --- */
void conn_set_state(struct conn *c, enum conn_state state);
uint64_t conn_now(const struct conn *c);                   /* ms, by the loop's clock */
void conn_print_prefix(struct conn *c);                    /* when more is known of the client */
void conn_arm(struct conn *c, uint64_t ms);                /* its timer */
void conn_note_ending(struct conn *c, const char *reason); /* a literal; the first one counts */
void conn_close(struct conn *c); /* ends it when the callbacks that are running have returned */
void conn_refuse(struct conn *c, enum proxy_error e); /* tells the client, and closes */
void conn_refuse_problem(struct conn *c, const struct problem *problem);

/* --- conn_gate.c --- */
void conn_gate_open(struct conn *c, const struct arrival *arrival);
void conn_gate_data(struct conn *c, const char *p, size_t n); /* what the client sends before it is in */
void conn_gate_secured(struct conn *c);                       /* the TLS handshake is done */
void conn_gate_refused(struct conn *c, const char *why); /* counted and logged; the client has been told */
void conn_gate_drop(struct conn *c);                     /* an idle session holds nothing of its login */

/* --- conn_login.c --- */
void conn_start_login(struct conn *c);

/* --- conn_session.c --- */
void conn_open(struct conn *c, int fd); /* the session begins; fd: the upstream's, taken over */
void conn_feed_session(struct conn *c, const char *p, size_t n);
void conn_flush_both(struct conn *c);
void conn_update_flow(struct conn *c); /* who is read, by what waits for whom; ends a session that may end */
