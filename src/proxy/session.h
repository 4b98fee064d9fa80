/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client and its PostgreSQL, from the moment both have logged in. Pure: bytes in, bytes and decisions
 * out.
 *
 * Almost everything passes through. What concerns the schema is seen to: a statement that may be DDL runs in
 * a transaction (the client's, or a hidden one of ours), DDLX is replaced by the SQL it stands for, and
 * before the COMMIT of a transaction that the guard in the database has marked, the migration is proved and
 * recorded.
 *
 * To follow a query, start at client_rules[] in session_client.c; its answer, at server_rules[] in
 * session_server.c.
 */
#pragma once

#include "base/counter.h"
#include "base/err.h"
#include "proxy/errors.h"

#include <stdbool.h>
#include <stdint.h>

struct session;

/* What a session is for. */
enum session_mode {
    SESSION_ELECTRIC,
    /* In a database that a tool makes to try migrations out in, and drops: DDLX is answered and does nothing,
     * all else is the server's. */
    SESSION_SHADOW,
    /* It reads the schema, of which it sees the electrified tables alone, and changes nothing. */
    SESSION_INTROSPECTION,
    SESSION_TRANSPARENT, /* nothing is done about any message */
};

/* Where the bytes go. What is written is borrowed until the matching flush; the session flushes before it
 * lets go of anything but the input of session_feed_*(), whose caller flushes afterwards. */
struct session_out {
    void (*to_client)(void *ctx, const char *p, size_t n);
    void (*to_server)(void *ctx, const char *p, size_t n);
    void (*flush_client)(void *ctx);
    void (*flush_server)(void *ctx);
    void (*close)(void *ctx); /* the session is over: send what is unsent, then close both sides */
};

/* What the sessions of one loop count together. */
struct session_counters {
    struct counter messages_from_clients, messages_from_server;
    struct counter statements_inspected; /* given to the grammar */
    struct counter migrations_recorded;
    struct counter migrations_refused; /* by the proof or by record() */
    struct counter ddlx_statements;
    struct counter history_faults; /* proofs that failed in what is recorded already */
};

/* What one session did, for its line in the log. */
struct session_facts {
    uint64_t statements; /* Query and Execute messages */
    uint32_t migrations_recorded, migrations_refused;
};

/* log_prefix is borrowed for the life of the session. */
struct session *session_new(const struct session_out *out, void *ctx, const char *log_prefix,
                            struct session_counters *counters);
void session_free(struct session *s); /* takes NULL */

/* Bytes from either side. -1: that side broke the protocol or a limit; the session has said so to the client
 * as far as that is possible and must be closed. The input is borrowed until the caller's flush. */
MUST_USE int session_feed_client(struct session *s, const char *p, size_t n, struct err *err);
MUST_USE int session_feed_server(struct session *s, const char *p, size_t n, struct err *err);

/* The client sends no more: what it sent is answered, then the session ends. -1: it left in the middle of a
 * message. */
MUST_USE int session_client_end(struct session *s, struct err *err);
/* The client has taken its leave: what is still to come are answers, and the server's end. */
bool session_client_left(const struct session *s);

/* Nothing is under way and no transaction is open: to end it now undoes nothing. */
bool session_at_rest(const struct session *s);
const struct session_facts *session_facts(const struct session *s);
/* Tells the client why, if it stands between two messages of the server's, and closes. */
void session_end(struct session *s, enum proxy_error why);

/* False while the session has more of the client's input than it may use: stop reading from the client. */
bool session_wants_client(const struct session *s);
/* Whether event triggers guard the schema; true at first. Without them the session itself asks, before each
 * COMMIT of a transaction that may have held DDL, what has changed. Only before the first message. */
void session_set_guarded(struct session *s, bool on);
/* SESSION_ELECTRIC at first. Only before the first message; SESSION_INTROSPECTION begins with a query of its
 * own, for which the client's messages wait. */
void session_set_mode(struct session *s, enum session_mode mode);
/* The server reported standard_conforming_strings. */
void session_set_std_strings(struct session *s, bool on);
