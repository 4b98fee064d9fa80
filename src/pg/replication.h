/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One logical replication connection: connected, asked a few things, then streaming until it ends. It is
 * never connected again; the owner makes another. On the loop's thread.
 *
 * Positions are pg_lsn as numbers (repl/lsn.h). Values come in the same form whatever role and database say:
 * UTF-8, bytea in hex, ISO dates, UTC, exact floats. search_path is pg_catalog.
 */
#pragma once

#include "pg/login.h"
#include "pg/result.h"

struct loop;
struct replication;

struct replication_options {
    const char *url;
    bool require_ssl;
    const char *application_name;
    /* While streaming: the server is asked for a sign of life when nothing came for half of this, and given
     * up after all of it. 0: REPLICATION_SILENCE_MS. */
    uint64_t silence_ms;
    uint64_t confirm_ms; /* confirmations are sent no more often; 0: REPLICATION_CONFIRM_MS */
};

enum { REPLICATION_SILENCE_MS = 60000, REPLICATION_CONFIRM_MS = 200 };

/* None is called before the function that leads to it has returned. Each may call anything here, _free too.
 */
struct replication_events {
    void (*on_up)(void *ctx); /* connected: ask, then start */
    /* One message of the output plugin; valid during the call. */
    void (*on_data)(void *ctx, uint64_t wal_start, struct str bytes);
    /* Every transaction committed before wal_end was sent: when those are safe it is a position to confirm.
     * (Transactions in progress do not matter: after their commit they would be sent whole again.)
     * server_us: its clock, since 1970-01-01 UTC. When the server wants an answer it goes out after this,
     * with what was confirmed here. */
    void (*on_keepalive)(void *ctx, uint64_t wal_end, int64_t server_us);
    /* Once, and nothing after it. why: 08001 or 08006 when the connection failed, else as the server gave it;
     * NULL: the server has sent all it had and shuts down. */
    void (*on_end)(void *ctx, const struct login_error *why);
};

/* Starts connecting. *events outlives the connection. */
struct replication *replication_new(struct loop *loop, const struct replication_options *options,
                                    const struct replication_events *events, void *ctx);
/* Closes at once; no callback comes. Takes NULL. */
void replication_free(struct replication *r);

int replication_server_version(const struct replication *r); /* 150004 for 15.4; 0 until on_up */

/*
 * A simple Query: commands of the replication grammar (IDENTIFY_SYSTEM, CREATE_REPLICATION_SLOT …) or SQL; of
 * several statements the rows of the last that gave any. After on_up, before replication_start(), one at a
 * time. fn is called exactly once; the result is valid during the call. When the connection is lost it has
 * failed (08006, or the server's own last words) and on_end follows; what is asked meanwhile is ignored.
 * There is no limit on the time: a slot is made when the transactions of that moment are over. A failure is
 * the end of the session's temporary slots.
 */
typedef void (*replication_query_fn)(void *ctx, const struct pg_result *result);
void replication_query(struct replication *r, const char *sql, replication_query_fn fn, void *ctx);

/* START_REPLICATION with pgoutput, from a position (0: where the slot stands); transactions in progress and
 * logical messages are streamed when the server is 14 or later. No query may be running. A refusal ends the
 * connection. */
void replication_start(struct replication *r, const char *slot, const char *publication, uint64_t lsn);

/* All up to lsn is safe: the server need not send it again. Only ever forward. Told soon, never blocking. */
void replication_confirm(struct replication *r, uint64_t lsn);

/* Stops reading, so that the server has to wait; what was confirmed is still told. Not counted. */
void replication_pause(struct replication *r);
void replication_resume(struct replication *r);
