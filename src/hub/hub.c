/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions are handed on in the order in which they come. One that records a migration waits, with all
 * behind it, until the log has it: what it means is read from there.
 */
#include "hub/hub_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "pg/client.h"
#include "pg/login.h"

#include <stdio.h>
#include <stdlib.h>

/* --- handing on --- */

struct flow *hub_live_flow(const struct hub *hub, struct str key)
{
    for (struct flow *s = hub->flows; s; s = flow_next(s)) {
        if (flow_state(s) == FLOW_LIVE && str_eq(flow_key(s), key)) {
            return s;
        }
    }
    return NULL;
}

/* Migrations that the log has and we have not. One that cannot be rendered is left out, and clients go on
 * without it. */
static int read_versions(struct hub *hub, struct err *err)
{
    struct txlog_reader reader;
    struct txlog_migration m;
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    uint64_t seq = versions_last_seq(hub->versions);
    int rc;
    if (txlog_read_begin(hub->past.log, &reader, err) < 0) {
        return -1;
    }
    while ((rc = txlog_next_migration(&reader, seq, &a, &m, err)) == 1) {
        bool added;
        struct err why;
        if (versions_add(hub->versions, &m, &added, &why) < 0) {
            log_error(NULL, "sync: clients do not get migration %.*s: %s", STR_ARG(m.version), why.msg);
        }
        seq = m.seq;
        arena_reset(&a);
    }
    txlog_read_end(&reader);
    return rc;
}

static void tell_markers(const struct hub *hub, struct str record)
{
    struct txn_cursor cursor = txn_changes(record);
    struct change change;
    struct err err;
    while (txn_next(&cursor, &change, &err) == 1) {
        if (change.kind == CHANGE_MESSAGE) {
            marker_came(hub->marker, change.prefix, change.content);
        }
    }
}

static void set_position(struct hub *hub, lsn_t position)
{
    hub->position = position;
    hub->past.until = position;
}

static void mark(void *ctx, void *target, enum route_how how)
{
    (void)how;
    struct hub *hub = ctx;
    if (!flow_mark(target, hub->turn)) {
        return;
    }
    if (hub->marked_n == hub->marked_cap) {
        hub->marked_cap = hub->marked_cap * 2 + 64;
        hub->marked = mem_realloc(hub->marked, hub->marked_cap * sizeof(struct flow *));
    }
    hub->marked[hub->marked_n++] = target;
}

static void mark_all(struct hub *hub)
{
    for (struct flow *s = hub->flows; s; s = flow_next(s)) {
        mark(hub, s, ROUTE_TABLE);
    }
}

static bool may_concern_somebody(const struct hub *hub, const struct txn_summary *summary)
{
    bool found = summary->more;
    for (size_t i = 0; i < summary->n && !found; i++) {
        const struct relation *r = relations_get(&hub->past.relations, summary->relations[i]);
        found = r && routes_have(hub->routes, r);
    }
    return found;
}

/* To all that it may concern. */
static void hand_on_small(struct hub *hub, const struct txn *t, const struct txn_facts *facts)
{
    struct err err;
    hub->turn++;
    hub->marked_n = 0;
    if (facts->migrates ||
        (may_concern_somebody(hub, facts->summary) &&
         routes_follow(hub->routes, txn_bytes(t), &hub->past.relations, mark, hub, &err) < 0)) {
        mark_all(hub); /* what is damaged is for each to find out */
    }
    for (size_t i = 0; i < hub->marked_n; i++) {
        flow_take(hub->marked[i], txn_head(t), txn_bytes(t), facts);
    }
}

/* Whom it may concern takes it from the past, and stays behind until it has. */
static void hand_on_large(struct hub *hub, const struct txn_facts *facts)
{
    for (struct flow *s = hub->flows; s; s = flow_next(s)) {
        flow_stay_behind(s, facts);
    }
}

static void hand_on(struct hub *hub, struct txn *t, const struct txn_facts *facts)
{
    recent_add(hub->recent, t);
    if (txn_bytes(t).n > LIMIT_SYNC_INLINE) {
        hand_on_large(hub, facts);
    } else {
        hand_on_small(hub, t, facts);
    }
    set_position(hub, txn_head(t)->end_lsn);
    if (facts->summary->messages) {
        tell_markers(hub, txn_bytes(t));
    }
}

/* False: it has to wait for the log. */
static bool take_first(struct hub *hub)
{
    struct txn *t = hub->queue[hub->queue_head];
    struct txn_facts facts = txn_facts_of(&hub->past.relations, txn_summary(t));
    struct err err;
    if (facts.migrates) {
        if (txn_head(t)->end_lsn > hub->durable) {
            return false;
        }
        if (read_versions(hub, &err) < 0) {
            log_error(NULL, "sync: migrations cannot be read from the log: %s", err.msg);
        }
    }
    hand_on(hub, t, &facts);
    txn_unref(t);
    hub->queue_head++;
    hub->queue_n--;
    return true;
}

static void drain(struct hub *hub)
{
    while (hub->queue_n > 0) {
        if (!take_first(hub)) {
            return;
        }
    }
    hub->queue_head = 0;
    if (hub->seen > hub->position) {
        set_position(hub, hub->seen);
    }
    recent_forget(hub->recent, hub->durable);
}

static void enqueue(struct hub *hub, struct txn *t)
{
    if (hub->queue_head > hub->queue_n) {
        memmove(hub->queue, hub->queue + hub->queue_head, hub->queue_n * sizeof(struct txn *));
        hub->queue_head = 0;
    }
    if (hub->queue_head + hub->queue_n == hub->queue_cap) {
        hub->queue_cap = hub->queue_cap * 2 + 64;
        hub->queue = mem_realloc(hub->queue, hub->queue_cap * sizeof(struct txn *));
    }
    hub->queue[hub->queue_head + hub->queue_n++] = txn_ref(t);
}

static void drop_queue(struct hub *hub, lsn_t up_to)
{
    while (hub->queue_n > 0 && txn_head(hub->queue[hub->queue_head])->end_lsn <= up_to) {
        txn_unref(hub->queue[hub->queue_head++]);
        hub->queue_n--;
    }
    if (hub->queue_n == 0) {
        hub->queue_head = 0;
    }
}

/* --- the feed --- */

static void on_old_rows_back(void *ctx, const struct pg_result *result)
{
    (void)ctx;
    if (!result->ok) {
        log_warning(NULL, "sync: REPLICA IDENTITY FULL cannot be put back: %s", result->err.msg);
    }
}

/* What was changed without its old row costs those who see the table their data: no more of it. Who holds the
 * table is not waited for, as others wait for this connection. */
static void put_old_rows_back(const struct hub *hub, const struct relation *r)
{
    log_warning(NULL, "sync: table %.*s.%.*s has lost its REPLICA IDENTITY FULL, it is put back",
                STR_ARG(r->schema), STR_ARG(r->name));
    pg_client_query(hub->options.client,
                    "SELECT pg_catalog.set_config('lock_timeout', '1s', true), busbar.publish_all()", NULL, 0,
                    on_old_rows_back, NULL);
}

static void on_batch(void *ctx, const struct feed_batch *batch)
{
    struct hub *hub = ctx;
    for (size_t i = 0; i < batch->relations_n; i++) {
        const struct relation *r = batch->relations[i];
        relations_put(&hub->past.relations, relation_copy(r));
        if (r->replica_identity != 'f' && !str_eq(r->schema, STR("busbar"))) {
            put_old_rows_back(hub, r);
        }
    }
    for (size_t i = 0; i < batch->n; i++) {
        enqueue(hub, batch->txns[i]);
    }
    hub->seen = batch->position;
    if (hub->ready) {
        drain(hub);
    }
}

static void on_durable(void *ctx, lsn_t lsn)
{
    struct hub *hub = ctx;
    hub->durable = lsn;
    if (hub->ready) {
        recent_forget(hub->recent, lsn);
        drain(hub);
    } else {
        drop_queue(hub, lsn); /* is read from the log, once that reaches the present */
    }
}

static void tell_change(const struct hub *hub)
{
    if (hub->options.changed) {
        hub->options.changed(hub->options.ctx);
    }
}

static int read_log(struct hub *hub, lsn_t *out_position, struct err *err)
{
    struct txlog_reader reader;
    if (txlog_read_begin(hub->past.log, &reader, err) < 0) {
        return -1;
    }
    int rc = txlog_read_relations(&reader, &hub->past.relations, err);
    *out_position = reader.head.position;
    txlog_read_end(&reader);
    return rc < 0 ? -1 : read_versions(hub, err);
}

static void on_ready(void *ctx)
{
    struct hub *hub = ctx;
    struct err err;
    lsn_t position;
    hub->past.log = feed_log(hub->feed);
    if (hub->position == 0) {
        if (read_log(hub, &position, &err) < 0) {
            log_error(NULL, "sync: the log cannot be read: %s", err.msg);
            return;
        }
        set_position(hub, position);
        drop_queue(hub, position);
        hub->seen = hub->seen > position ? hub->seen : position;
        hub->durable = position;
    }
    hub->ready = true;
    hub->trouble[0] = '\0';
    drain(hub);
    marker_send_again(hub->marker);
    log_info(NULL, "sync: ready at " LSN_FMT " migrations=%zu", LSN_ARG(hub->position),
             versions_count(hub->versions));
    tell_change(hub);
}

static void on_down(void *ctx, const char *reason)
{
    struct hub *hub = ctx;
    log_warning(NULL, "sync: no changes come from the database: %s", reason);
    snprintf(hub->trouble, sizeof hub->trouble, "%s", reason); /* clients stay: what is lost is only time */
    tell_change(hub);
}

static void close_clients(struct hub *hub, enum sync_end why)
{
    while (hub->clients) {
        client_end(hub->clients, why);
    }
}

static void on_reset(void *ctx, const char *reason)
{
    struct hub *hub = ctx;
    log_warning(NULL, "sync: the log begins anew, clients have to load their data again: %s", reason);
    close_clients(hub, SYNC_END_TROUBLE);
    known_reset(hub->known);
    drop_queue(hub, UINT64_MAX);
    recent_reset(hub->recent);
    versions_reset(hub->versions);
    hub->ready = false;
    set_position(hub, 0);
    hub->durable = hub->seen = 0;
}

static const struct feed_events feed_events = {on_ready, on_down, on_batch, on_durable, on_reset};

/* --- life --- */

enum { SAVE_MS = 1000, SETTLE_MS = 5000 };

/* The slot of a new log is made when every transaction that is running has ended; nobody else shall wait for
 * that. */
static void on_settle_time(void *ctx)
{
    struct hub *hub = ctx;
    if (!hub->ready && !*hub->trouble) {
        snprintf(hub->trouble, sizeof hub->trouble,
                 "the replication slot is not there yet: it waits for running transactions");
        log_warning(NULL, "sync: %s", hub->trouble);
        tell_change(hub);
    }
}

static void on_save_time(void *ctx)
{
    struct hub *hub = ctx;
    known_save_dirty(hub->known);
    timer_start(hub->saver, SAVE_MS);
}

struct hub *hub_new(struct loop *loop, const struct hub_options *options)
{
    struct hub *hub = mem_zalloc(sizeof *hub);
    struct login_params params = {.url = options->feed.url, .require_ssl = options->feed.require_ssl};
    hub->loop = loop;
    hub->options = *options;
    hub->recent = recent_new();
    hub->past.recent = hub->recent;
    hub->aside = aside_new(loop, &hub->past);
    hub->versions = versions_new();
    hub->encoder = encoder_new();
    hub->routes = routes_new();
    hub->marker = marker_new(loop, options->client);
    hub->reads = reads_new(loop, &params, &hub->past, hub->marker, options->client);
    hub->saver = timer_new(loop, on_save_time, hub);
    hub->settler = timer_new(loop, on_settle_time, hub);
    return hub;
}

int hub_follow(struct hub *hub, struct err *err)
{
    if (hub->feed) {
        return 0;
    }
    if (feed_new(hub->loop, &hub->options.feed, &feed_events, hub, &hub->feed, err) < 0) {
        return -1;
    }
    hub->known = known_clients_new(hub->feed, client_saved);
    timer_start(hub->saver, SAVE_MS);
    timer_start(hub->settler, SETTLE_MS);
    return 0;
}

void hub_free(struct hub *hub)
{
    if (!hub) {
        return;
    }
    close_clients(hub, SYNC_END_STOPPING);
    aside_free(hub->aside);
    while (hub->flows) {
        flow_free(hub->flows);
    }
    loop_post_forget(hub->loop, hub);
    timer_free(hub->saver);
    timer_free(hub->settler);
    reads_free(hub->reads);
    marker_free(hub->marker);
    known_clients_free(hub->known);
    feed_free(hub->feed);
    encoder_free(hub->encoder);
    routes_free(hub->routes);
    free(hub->marked);
    drop_queue(hub, UINT64_MAX);
    recent_free(hub->recent);
    versions_free(hub->versions);
    relations_deinit(&hub->past.relations);
    free(hub->queue);
    free(hub);
}

void hub_set_tokens(struct hub *hub, const struct token_rules *tokens)
{
    hub->options.tokens = tokens;
}

bool hub_is_ready(const struct hub *hub)
{
    return hub->ready;
}

const char *hub_trouble(const struct hub *hub)
{
    return *hub->trouble ? hub->trouble : NULL;
}

static void read_feed_stats(const struct feed *feed, struct sync_stats *out)
{
    struct feed_stats f;
    feed_stats(feed, &f);
    out->state = f.state;
    out->position = f.position;
    out->lag_bytes = f.lag_bytes;
    out->lag_ms = f.lag_ms;
    out->retained = f.retained_bytes;
    out->transactions = f.transactions;
    out->bytes = f.bytes;
    out->connects = f.connects;
    out->resets = f.resets;
    out->log_bytes = f.log_bytes;
    out->log_transactions = f.log_transactions;
}

void hub_read_stats(const struct hub *hub, struct sync_stats *out)
{
    *out = hub->stats;
    out->ready = hub->ready;
    out->trouble = hub_trouble(hub);
    reads_count(hub->reads, &out->snapshots, &out->queries);
    if (hub->feed) {
        read_feed_stats(hub->feed, out);
    }
    for (const struct flow *s = hub->flows; s; s = flow_next(s)) {
        out->flows++;
    }
    for (const struct client *c = hub->clients; c; c = c->next) {
        out->subscriptions += c->known ? c->known->state.n : 0;
    }
}
