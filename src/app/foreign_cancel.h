/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancel requests for sessions that another process serves: the one that this one takes over from, or its
 * neighbour behind a load balancer. Their backends are in the same cluster, so the service's own connection
 * cancels them.
 */
#pragma once

#include "proxy/worker.h"

struct foreign_cancel;
struct pg_client;

/* client: lives longer. */
struct foreign_cancel *foreign_cancel_new(struct pg_client *client);
/* Those not answered yet are: nothing was found. Takes NULL. */
void foreign_cancel_free(struct foreign_cancel *f);

/* A cancel_elsewhere_fn; ctx is a foreign_cancel. The backend must be a client's, and of our own role. */
void foreign_cancel_send(void *ctx, uint32_t pid, cancelled_fn done, void *done_ctx);
