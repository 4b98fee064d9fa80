/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of a connection before it streams, each a round trip:
 *
 *   IDENTIFY_SYSTEM → the slot → (the publication is missing: make it → the slot) → (another timeline: its
 *   history) → decide.c → stream
 *                       ↘ (drop the slot) → BEGIN → create the slot → the history of migrations → write the
 *                         log → COMMIT → stream
 */
#include "feed/feeder_impl.h"
#include "pg/replication.h"

#include <stdio.h>
#include <string.h>

/* --- beginning anew --- */

struct anew {
    const struct feeder *f;
    lsn_t start;
    const struct pg_result *history;
};

static int write_anew(void *ctx, struct txlog *log, struct err *err)
{
    const struct anew *a = ctx;
    return txlog_reset(log, &a->f->facts.identity, a->start, err) < 0
               ? -1
               : history_put_rows(log, a->history, a->start, err);
}

static void on_committed(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    if (!result->ok) {
        feeder_fail(f, "cannot end the transaction that read the history", &result->err);
        return;
    }
    feeder_start_stream(f);
}

static void on_history(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    struct err err;
    struct anew a = {f, f->facts.confirmed, result};
    if (!result->ok) {
        feeder_fail(f, "cannot read the history of migrations", &result->err);
        return;
    }
    feeder_let_write_end(f);
    if (txlog_write(f->feed->log, write_anew, &a, &err) < 0) {
        feeder_wait(f, &err);
        return;
    }
    feeder_begin_at(f, a.start);
    replication_query(f->replication, "COMMIT", on_committed, f);
}

static void on_created(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    if (!result->ok) {
        feeder_fail(f, "cannot create the replication slot", &result->err);
        return;
    }
    if (result->rows != 1 || !lsn_parse(pg_result_get(result, 0, 1), &f->facts.confirmed)) {
        feeder_refuse(f, "the server does not say where the replication slot begins");
        return;
    }
    replication_query(f->replication, history_sql, on_history, f);
}

static void on_begun(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    char sql[256];
    if (!result->ok) {
        feeder_fail(f, "cannot create the replication slot", &result->err);
        return;
    }
    snprintf(sql, sizeof sql, "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput USE_SNAPSHOT",
             f->facts.identity.slot);
    replication_query(f->replication, sql, on_created, f);
}

/* The history is read in the slot's own snapshot: what is not in it comes in the stream. */
static void create_slot(struct feeder *f)
{
    replication_query(f->replication, "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ", on_begun, f);
}

static void on_dropped(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    if (!result->ok) {
        feeder_fail(f, "cannot drop the replication slot", &result->err);
        return;
    }
    create_slot(f);
}

static void begin_anew(struct feeder *f)
{
    char sql[256];
    feeder_set_state(f, FEED_CREATING);
    if (!f->facts.has_slot) {
        create_slot(f);
        return;
    }
    snprintf(sql, sizeof sql, "DROP_REPLICATION_SLOT \"%s\"", f->facts.identity.slot);
    replication_query(f->replication, sql, on_dropped, f);
}

/* --- asking --- */

static void decide(struct feeder *f)
{
    const char *reason;
    lsn_t position = f->position;
    switch (feed_decide(&f->facts, &f->known, position, &reason)) {
    case FEED_REFUSED:
        feeder_refuse(f, reason);
        break;
    case FEED_RESUME:
        if (!f->gap) {
            feeder_start_stream(f);
            break;
        }
        begin_anew(f);
        break;
    case FEED_ANEW:
        f->gap = reason;
        begin_anew(f);
        break;
    }
}

static void on_timeline(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    if (!result->ok && strcmp(result->err.sqlstate, "08006") == 0) {
        return; /* on_end() follows */
    }
    f->facts.forked = result->ok && result->rows == 1
                          ? feed_fork(pg_result_get(result, 0, 1), f->known.timeline)
                          : 0; /* nobody knows */
    decide(f);
}

/* Of a standby that was promoted the log may hold more than it ever had. */
static void ask_timeline(struct feeder *f)
{
    char sql[64];
    f->facts.forked = UINT64_MAX;
    if (f->known.system != f->facts.identity.system || f->known.timeline == f->facts.identity.timeline) {
        decide(f);
        return;
    }
    snprintf(sql, sizeof sql, "TIMELINE_HISTORY %u", f->facts.identity.timeline);
    replication_query(f->replication, sql, on_timeline, f);
}

enum {
    ASKED_DATABASE,
    ASKED_SERVER,
    ASKED_XID,
    ASKED_STANDBY,
    ASKED_PUBLICATION,
    ASKED_PID,
    ASKED_NAME,
    ASKED_SLOT,
    ASKED_ELSEWHERE,
    ASKED_ACTIVE,
    ASKED_ACTIVE_PID,
    ASKED_LOST,
    ASKED_CONFIRMED,
};
static const char asked_sql[] =
    "SELECT d.oid, CASE WHEN pg_is_in_recovery() THEN '0/0' ELSE pg_current_wal_flush_lsn() END,"
    " pg_snapshot_xmin(pg_current_snapshot()), pg_is_in_recovery(),"
    " EXISTS (SELECT FROM pg_publication WHERE pubname = '" FEED_PUBLICATION "'), pg_backend_pid(),"
    " n.name, s.slot_name IS NOT NULL, s.datoid IS DISTINCT FROM d.oid, s.active, s.active_pid,"
    " s.wal_status = 'lost', s.confirmed_flush_lsn"
    " FROM pg_database d, LATERAL (SELECT CASE d.oid WHEN %u THEN '%s' ELSE '%s' END AS name) n"
    " LEFT JOIN pg_replication_slots s ON s.slot_name = n.name WHERE d.datname = current_database()";

static void on_asked(void *ctx, const struct pg_result *result);

/* A database that was renamed keeps its slot: that is named for ever. */
static void ask_slot(struct feeder *f)
{
    char sql[sizeof asked_sql + 3 * FEED_SLOT];
    bool same_server = f->known.system == f->facts.identity.system;
    snprintf(sql, sizeof sql, asked_sql, same_server ? f->known.database : 0, f->known.slot,
             f->facts.identity.slot);
    replication_query(f->replication, sql, on_asked, f);
}

static void read_facts(struct feeder *f, const struct pg_result *r)
{
    struct feed_facts *facts = &f->facts;
    f->xid = pg_result_u64(r, 0, ASKED_XID);
    f->pid = (uint32_t)pg_result_u64(r, 0, ASKED_PID);
    facts->identity.database = (uint32_t)pg_result_u64(r, 0, ASKED_DATABASE);
    snprintf(facts->identity.slot, sizeof facts->identity.slot, "%s", pg_result_cstr(r, 0, ASKED_NAME));
    facts->is_standby = pg_result_is_true(r, 0, ASKED_STANDBY);
    facts->has_slot = pg_result_is_true(r, 0, ASKED_SLOT);
    facts->is_elsewhere = facts->has_slot && pg_result_is_true(r, 0, ASKED_ELSEWHERE);
    facts->is_active = pg_result_is_true(r, 0, ASKED_ACTIVE);
    facts->is_own = f->last_pid && pg_result_u64(r, 0, ASKED_ACTIVE_PID) == f->last_pid;
    facts->is_lost = pg_result_is_true(r, 0, ASKED_LOST);
    if (!lsn_parse(pg_result_get(r, 0, ASKED_SERVER), &facts->server)) {
        facts->server = 0;
    }
    if (!lsn_parse(pg_result_get(r, 0, ASKED_CONFIRMED), &facts->confirmed)) {
        facts->confirmed = 0;
    }
}

static void on_published(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    if (!result->ok) {
        feeder_fail(f, "cannot make the publication", &result->err);
        return;
    }
    f->published = true;
    ask_slot(f);
}

static void on_asked(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    if (!result->ok || result->rows != 1) {
        feeder_fail(f, "cannot look for the replication slot", &result->err);
        return;
    }
    read_facts(f, result);
    if (f->facts.is_standby || pg_result_is_true(result, 0, ASKED_PUBLICATION)) {
        ask_timeline(f);
    } else if (f->published) {
        feeder_refuse(f, "publication " FEED_PUBLICATION " does not exist");
    } else {
        replication_query(f->replication, "SELECT busbar.publish_all()", on_published, f);
    }
}

enum { SYSTEM_ID, SYSTEM_TIMELINE, SYSTEM_POSITION, SYSTEM_DATABASE };

static void on_identified(void *ctx, const struct pg_result *result)
{
    struct feeder *f = ctx;
    if (!result->ok || result->rows != 1) {
        feeder_fail(f, "cannot ask which server this is", &result->err);
        return;
    }
    f->facts.identity.system = pg_result_u64(result, 0, SYSTEM_ID);
    f->facts.identity.timeline = (uint32_t)pg_result_u64(result, 0, SYSTEM_TIMELINE);
    feed_slot_name(pg_result_get(result, 0, SYSTEM_DATABASE), f->facts.identity.slot);
    ask_slot(f);
}

void feeder_ask(struct feeder *f)
{
    feeder_set_state(f, FEED_ASKING);
    feeder_count(&f->feed->numbers.connects);
    f->facts = (struct feed_facts){0};
    f->published = false;
    replication_query(f->replication, "IDENTIFY_SYSTEM", on_identified, f);
}
