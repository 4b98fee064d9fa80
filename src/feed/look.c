/* SPDX-License-Identifier: Apache-2.0 */
#include "feed/look.h"

#include "base/mem.h"
#include "net/loop.h"
#include "pg/client.h"

#include <stdio.h>
#include <stdlib.h>

struct look {
    struct feed_numbers *numbers;
    struct pg_client *client;
    struct timer *timer;
    char slot[FEED_SLOT];
};

static const char look_sql[] =
    "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn,"
    " greatest(pg_current_wal_flush_lsn() - restart_lsn, 0) FROM pg_replication_slots WHERE slot_name = $1";

static void on_seen(void *ctx, const struct pg_result *r)
{
    struct look *l = ctx;
    if (r->ok && r->rows == 1) {
        atomic_store_explicit(&l->numbers->server, pg_result_u64(r, 0, 0), memory_order_relaxed);
        atomic_store_explicit(&l->numbers->retained, pg_result_u64(r, 0, 1), memory_order_relaxed);
    }
    timer_start(l->timer, FEED_LOOK_MS);
}

static void on_time(void *ctx)
{
    struct look *l = ctx;
    const char *params[] = {l->slot};
    if (pg_client_state(l->client) == PG_CLIENT_UP) {
        pg_client_query(l->client, look_sql, params, 1, on_seen, l);
    } else {
        timer_start(l->timer, FEED_LOOK_MS);
    }
}

static void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct look *l = ctx;
    if (state == PG_CLIENT_UP) {
        timer_start(l->timer, 0);
    }
}

struct look *look_new(struct loop *loop, const char *url, bool require_ssl, struct feed_numbers *numbers)
{
    struct pg_client_options options = {
        .url = url, .require_ssl = require_ssl, .application_name = "busbar look"};
    struct look *l = mem_zalloc(sizeof *l);
    l->numbers = numbers;
    l->timer = timer_new(loop, on_time, l);
    l->client = pg_client_new(loop, &options, on_state, l);
    return l;
}

void look_at(struct look *l, const char *slot)
{
    snprintf(l->slot, sizeof l->slot, "%s", slot);
}

void look_free(struct look *l)
{
    if (l) {
        pg_client_free(l->client);
        timer_free(l->timer);
        free(l);
    }
}
