/* SPDX-License-Identifier: Apache-2.0 */
/* One asynchronous connection attempt by libpq: names looked up on a helper thread, the rest driven by the
 * loop. */
#pragma once

#include "pg/login.h"

struct pg_conn; /* PGconn */
struct connecting;

/* Exactly one of conn and error is not NULL; the connection is the callee's. */
typedef void (*connect_fn)(void *ctx, struct pg_conn *conn, const struct login_error *error);

/* The same contract as login_start(). The connection is in non-blocking mode and drops notices. */
struct connecting *connect_start(struct loop *loop, const struct login_params *params, connect_fn fn,
                                 void *ctx);
void connect_cancel(struct connecting *c); /* takes NULL */
