/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prepares a database: checks what Busbar needs, brings schema busbar and the public schema electric up to
 * date, and reads the secret. One transaction: afterwards all of it is there, or nothing has changed.
 *
 * busbar.schema_version has a row for each numbered migration that ran, and row 0 for everything else: its
 * digest is
 * "<sha256 of all embedded SQL> <number of event triggers made>". When that matches what is found, a start
 * costs three round trips.
 */
#pragma once

#include "base/embed.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct pg_client;
struct install;

/* What to install; tests bring their own. Tables end with a row whose name is NULL. */
struct install_sql {
    const struct embedded_file *migrations;     /* NNNN_name.sql, run once each, in order */
    const struct embedded_file *routines;       /* all re-created when anything changed */
    const struct embedded_file *event_triggers; /* in a savepoint: without the privilege there is no guard */
};

extern const struct install_sql install_embedded;

enum { INSTALL_DIGEST = 65, INSTALL_OLDEST_SERVER = 140000 }; /* server_version_num of PostgreSQL 14 */
/* What the digest in row 0 begins with when all of `sql` is installed. */
void install_digest(const struct install_sql *sql, char out[INSTALL_DIGEST]);
uint64_t install_newest(const struct install_sql *sql); /* the number of the last migration */

struct install_outcome {
    bool ready;
    /* When ready. */
    const char *secret;
    bool guard;               /* the event triggers are there and enabled */
    const char *guard_reason; /* why not; "" when they are */
    const char *server_version;
    bool changed; /* something was installed; false for a database that was up to date */
    /* When not. */
    bool fatal; /* trying again is of no use until somebody changes the database */
    struct err err;
    const char *hint; /* "" when there is none */
};

/* The outcome is valid during the call; the handle of install_start() is gone when it is made. */
typedef void (*install_fn)(void *ctx, const struct install_outcome *outcome);

/* The client must be up; when it goes down meanwhile the outcome is a failure that is not fatal. */
struct install *install_start(struct pg_client *client, const struct install_sql *sql, install_fn fn,
                              void *ctx);
/* Gives up: no callback comes, and a transaction of ours that is open is rolled back. Takes NULL. */
void install_cancel(struct install *in);
