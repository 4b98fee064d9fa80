/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One database, one schema, while a command works on it: its connections, what it is, and what it waits for.
 *
 * Connections: `run` carries the migrations; the lock has its own (lock.h); a third is opened when a
 * statement takes long, to tell its progress or who is in its way. Behind a pooler in transaction mode
 * nothing is lost: no state of a session is used from one transaction to the next.
 */
#pragma once

#include "migrate/repo.h"
#include "migrate/report.h"
#include "pg/sync_connection.h"

struct session {
    struct arena arena; /* of the strings here */
    const struct repo *repo;
    const char *prefix; /* NULL: none */
    const char *place;  /* how lines name it; NULL when there is one place only */
    struct report *report;
    struct sync_connection *run;
    struct sync_connection *monitor;
    struct sync_connection *lock;
    uint64_t wait_ms;          /* for a database that is not there yet */
    char application_name[64]; /* unlike any other's: how the monitor finds us behind a pooler */
    /* What was found: */
    bool proxied; /* the connection is the migrations proxy's */
    bool service; /* schema busbar is installed */
    bool guarded; /* … with event triggers, which refuse to change tables that are open for sync here */
    const char **electrified; /* names of such tables where nothing else would refuse it */
    size_t electrified_n;
    bool standby;       /* reads only */
    bool notices_death; /* the server can look whether we are still there while it works */
    bool has_schema, has_source, has_facts;
    const char *schema;
    const char *source; /* quoted: "schema"."schema_migrations" */
    const char *facts;  /* quoted: "schema"."busbar_migrations" */
    const char *run_by; /* who, on which machine */
    /* Of the statement that runs: */
    uint64_t deadline_ms; /* when it is cancelled, after it was sent; 0: never */
    bool timed_out;
    bool self_blocked; /* it waits for our own lock, as VACUUM of all tables does */
    bool monitor_failed;
    unsigned watched_ms;
    char blocker[512]; /* who was last seen in its way; "" nobody */
    char sqlstate[6];  /* of the last migration that failed */
};

struct session_options {
    const char *prefix; /* NULL: none */
    uint64_t wait_ms;   /* how long to try while nothing accepts connections */
    bool looks;         /* nothing is run: the database itself will do, where the proxy is known as well */
};

/* Connects and looks. *s is fit for session_close() in any case; a failure was reported. */
MUST_USE int session_open(struct session *s, const struct repo *repo, const struct session_options *options,
                          struct report *report);
void session_close(struct session *s); /* may run twice */

/* Runs text of ours on `c`; a failure is reported with `what` in front. */
MUST_USE int session_exec(struct session *s, struct sync_connection *c, const char *sql, const char *what);
MUST_USE int session_query(struct session *s, struct sync_connection *c, const char *sql,
                           const char *const *params, size_t params_n, struct sync_answer *out,
                           const char *what);

/* Asks for another connection to the database. */
MUST_USE int session_connect(struct session *s, const char *url, struct sync_connection **out);

/* SIGINT or SIGTERM has come. */
bool session_is_interrupted(void);
/* Waits; false when interrupted. */
bool session_sleep(unsigned ms);
