/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection, asked in turn: the slots → each dropped → the publication → dropped. There may be several
 * slots: a database that was renamed while its service was stopped, and the like.
 */
#include "app/cleanup.h"

#include "app/config.h"
#include "net/loop.h"
#include "pg/client.h"

#include <stdio.h>

struct cleanup {
    struct loop *loop;
    struct pg_client *client;
    struct buf *out;
    struct err *err;
    bool failed;
};

typedef void (*cleanup_step)(void *ctx, const struct pg_result *r);

static void fail(struct cleanup *c, const struct err *err)
{
    *c->err = *err;
    c->failed = true;
    loop_stop(c->loop);
}

static void run(struct cleanup *c, const char *sql, cleanup_step then)
{
    pg_client_exec_script(c->client, sql, then, c);
}

static void on_unpublished(void *ctx, const struct pg_result *r)
{
    struct cleanup *c = ctx;
    if (!r->ok) {
        fail(c, &r->err);
        return;
    }
    buf_put_c(c->out, "dropped publication electric_publication\n");
    loop_stop(c->loop);
}

static void on_publication(void *ctx, const struct pg_result *r)
{
    struct cleanup *c = ctx;
    if (!r->ok) {
        fail(c, &r->err);
    } else if (r->rows == 0) {
        buf_put_c(c->out, "there is no publication electric_publication\n");
        loop_stop(c->loop);
    } else {
        run(c, "SET busbar.maintenance = 'on'; DROP PUBLICATION electric_publication", on_unpublished);
    }
}

static void on_dropped(void *ctx, const struct pg_result *r)
{
    struct cleanup *c = ctx;
    if (!r->ok) {
        fail(c, &r->err);
        return;
    }
    for (size_t i = 0; i < r->rows; i++) {
        buf_printf(c->out, "dropped replication slot %s, which kept %s of WAL\n", pg_result_cstr(r, i, 0),
                   pg_result_cstr(r, i, 1));
    }
    if (r->rows == 0) {
        buf_put_c(c->out, "there is no replication slot\n");
    }
    run(c, "SELECT FROM pg_publication WHERE pubname = 'electric_publication'", on_publication);
}

#define OUR_SLOTS                                                    \
    " FROM pg_replication_slots WHERE database = current_database()" \
    " AND starts_with(slot_name::text, 'electric_replication_out_')"
static const char in_use_sql[] = "SELECT slot_name, active_pid" OUR_SLOTS " AND active";
/* What it kept is read before it is gone. */
static const char drop_sql[] =
    "WITH slot AS MATERIALIZED (SELECT slot_name,"
    " coalesce(pg_size_pretty(pg_current_wal_lsn() - restart_lsn), 'nothing') AS kept" OUR_SLOTS ")"
    " SELECT slot_name, kept, pg_drop_replication_slot(slot_name) FROM slot";

static void on_in_use(void *ctx, const struct pg_result *r)
{
    struct cleanup *c = ctx;
    struct err err = ERR_INIT;
    if (!r->ok) {
        fail(c, &r->err);
    } else if (r->rows > 0) {
        err_set(&err, ERR_INPUT,
                "replication slot %s is in use (server process %s): stop the busbar that serves this "
                "database first",
                pg_result_cstr(r, 0, 0), pg_result_cstr(r, 0, 1));
        fail(c, &err);
    } else {
        run(c, drop_sql, on_dropped);
    }
}

static void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct cleanup *c = ctx;
    switch (state) {
    case PG_CLIENT_UP:
        run(c, in_use_sql, on_in_use);
        return;
    case PG_CLIENT_DOWN:
        fail(c, &why->err);
        return;
    case PG_CLIENT_CONNECTING:
        return;
    }
}

int cleanup_database(const struct config *config, struct buf *out, struct err *err)
{
    struct cleanup c = {.loop = loop_new(), .out = out, .err = err};
    struct pg_client_options client = {.url = config->database.conninfo,
                                       .require_ssl = config->database.require_ssl,
                                       .application_name = "busbar cleanup"};
    c.client = pg_client_new(c.loop, &client, on_state, &c);
    loop_run(c.loop);
    pg_client_free(c.client);
    loop_free(c.loop);
    return c.failed ? -1 : 0;
}
