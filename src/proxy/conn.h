/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client on the network: its way in, its login upstream, the bytes of its session. Lives on its worker's
 * loop and frees itself at its end.
 */
#pragma once

#include "proxy/worker.h"

struct pg_cancel;

/* Puts itself into the worker's list. Takes over the descriptor. */
void conn_new(struct worker *w, const struct arrival *arrival);
struct conn *conn_next(const struct conn *c);

/* Ends it at once; a client that can be told is told why. */
void conn_abort(struct conn *c);
/* The service drains: ends it if it is at rest or not yet in. */
void conn_drain(struct conn *c);
/* Ends it if it has been at rest for longer than this. */
void conn_end_if_idle(struct conn *c, uint64_t idle_ms);

/* The upstream's cancel handle if it has this key, else NULL. */
struct pg_cancel *conn_cancel_handle(const struct conn *c, uint32_t pid, uint32_t secret);
/* The cancel request of this client has been dealt with. */
void conn_cancelled(struct conn *asker, bool found);
