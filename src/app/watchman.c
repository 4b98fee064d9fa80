/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One round: drift → (indexes left over: adopt them → drift again) → history → trial on a helper thread →
 * marks. A round that the database or its absence cuts short is begun again by the timer.
 */
#include "app/watchman.h"

#include "app/adopt.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/findings.h"
#include "net/loop.h"
#include "pg/client.h"
#include "sync/history.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 5000,
    ROUND_MS = 300000,
    ROUND_SOON_MS = 30000, /* while something is wrong: somebody may be mending it */
};

/* The history on its way through the helper thread, and back. */
struct trial {
    struct watchman *watchman; /* NULL: has lost interest */
    struct arena arena;
    struct history_command *commands;
    size_t n;
    char *last_seq;
    struct history_fault *faults;
    size_t faults_n;
    int rc;
    struct err err;
};

struct watchman {
    struct loop *loop;
    struct watchman_options how;
    struct timer *timer;
    struct pg_query *query;
    struct adopt *adopt;
    struct trial *trial;
    char *secret;
    bool adopted;         /* this round has adopted indexes already */
    uint64_t round_ms;    /* when the last one began */
    uint64_t seen_faults; /* how.history_faults() then */
};

static void ask(struct watchman *w, const char *sql, const char *const *params, size_t n,
                void (*then)(void *ctx, const struct pg_result *r))
{
    w->query = pg_client_query(w->how.client, sql, params, n, then, w);
}

/* --- the end of a round --- */

static void end_round(struct watchman *w)
{
    timer_start(w->timer, TICK_MS);
}

static bool answered(struct watchman *w, const struct pg_result *r, const char *what)
{
    w->query = NULL;
    if (!r->ok) {
        log_warning(NULL, "%s: %s sqlstate=%s", what, r->err.msg, r->err.sqlstate);
        end_round(w);
    }
    return r->ok;
}

/* Tells what is new, once. */
static void report(struct findings *known, struct findings *fresh, const char *what, const char *none)
{
    bool had = known->total > 0;
    if (!findings_replace(known, fresh)) {
        return;
    }
    for (size_t i = 0; i < known->n; i++) {
        const struct finding *f = &known->items[i];
        log_error(NULL, "%s %s: %s%s%s", what, f->subject, f->what, f->mend ? " hint: " : "",
                  f->mend ? f->mend : "");
    }
    if (had && known->total == 0) {
        log_info(NULL, "%s", none);
    }
}

/* --- history --- */

static void on_marked(void *ctx, const struct pg_result *r)
{
    struct watchman *w = ctx;
    if (answered(w, r, "migrations that clients cannot apply could not be marked")) {
        end_round(w);
    }
}

static char *faults_json(const struct trial *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->faults_n; i++) {
        json_t *version = json_stringn(t->faults[i].version.p, t->faults[i].version.n);
        json_t *reason = json_string(t->faults[i].reason);
        json_array_append_new(list, json_pack("{s:o, s:o}", "version", version ? version : json_null(),
                                              "reason", reason ? reason : json_string("it is not UTF-8")));
    }
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

static void take_verdict(struct watchman *w, const struct trial *t)
{
    struct findings fresh = {0};
    for (size_t i = 0; i < t->faults_n; i++) {
        findings_add(&fresh, t->faults[i].version.p, t->faults[i].reason, NULL);
    }
    report(w->how.unusable, &fresh, "clients cannot apply migration",
           "clients can apply all migrations again");
    char *json = faults_json(t);
    const char *params[] = {t->last_seq, json};
    ask(w, "SELECT busbar.mark_unusable($1, $2)", params, ARRAY_LEN(params), on_marked);
    free(json);
}

static void try_out(void *ctx)
{
    struct trial *t = ctx;
    t->rc = history_sift(&t->arena, t->commands, t->n, &t->faults, &t->faults_n, &t->err);
}

static void on_tried(void *ctx)
{
    struct trial *t = ctx;
    struct watchman *w = t->watchman;
    if (w) {
        w->trial = NULL;
    }
    if (w && t->rc < 0) {
        log_warning(NULL, "the history of migrations could not be tried out: %s", t->err.msg);
        end_round(w);
    } else if (w) {
        take_verdict(w, t);
    }
    arena_deinit(&t->arena);
    free(t);
}

static void on_history(void *ctx, const struct pg_result *r)
{
    struct watchman *w = ctx;
    if (!answered(w, r, "the history of migrations cannot be read")) {
        return;
    }
    struct trial *t = mem_zalloc(sizeof *t);
    t->watchman = w;
    t->n = r->rows;
    t->commands = arena_alloc_array(&t->arena, r->rows + 1, sizeof *t->commands);
    t->last_seq = arena_strdup(&t->arena, r->rows ? pg_result_cstr(r, r->rows - 1, 0) : "0");
    for (size_t i = 0; i < r->rows; i++) {
        t->commands[i] = (struct history_command){arena_str(&t->arena, pg_result_get(r, i, 1)),
                                                  arena_str(&t->arena, pg_result_get(r, i, 2))};
    }
    w->trial = t;
    loop_work(w->loop, try_out, on_tried, t);
}

static void ask_history(struct watchman *w)
{
    ask(w,
        "SELECT m.seq, m.version, c.ops FROM busbar.migration m JOIN busbar.command c ON c.seq = m.seq "
        "ORDER BY m.seq, c.id",
        NULL, 0, on_history);
}

/* --- drift --- */

static void ask_drift(struct watchman *w);

static void on_adopted(void *ctx, const struct adopt_outcome *o)
{
    struct watchman *w = ctx;
    w->adopt = NULL;
    if (!o->ok) {
        log_warning(NULL, "indexes made or dropped beside the history could not be recorded: %s%s%s",
                    o->err.msg, *o->hint ? " hint: " : "", o->hint);
    } else if (o->tables) {
        log_info(NULL, "indexes made or dropped beside the history are recorded version=%s", o->version);
    }
    ask_drift(w);
}

enum { DRIFT_TABLE, DRIFT_WHAT, DRIFT_MEND, DRIFT_CAN_FOLLOW, DRIFT_INDEXES };

static bool has_only_indexes(const struct pg_result *r)
{
    for (size_t i = 0; i < r->rows; i++) {
        if (pg_result_is_true(r, i, DRIFT_INDEXES)) {
            return true;
        }
    }
    return false;
}

static void on_drift(void *ctx, const struct pg_result *r)
{
    struct watchman *w = ctx;
    struct findings fresh = {0};
    if (!answered(w, r, "the tables cannot be compared with the history")) {
        return;
    }
    if (!w->adopted && has_only_indexes(r)) {
        w->adopted = true;
        w->adopt = adopt_start(w->loop, w->how.config, w->secret, true, on_adopted, w);
        return;
    }
    for (size_t i = 0; i < r->rows; i++) {
        bool can_follow = pg_result_is_true(r, i, DRIFT_CAN_FOLLOW);
        findings_add(&fresh, pg_result_cstr(r, i, DRIFT_TABLE), pg_result_cstr(r, i, DRIFT_WHAT),
                     can_follow ? "busbar check --adopt" : pg_result_cstr(r, i, DRIFT_MEND));
    }
    report(w->how.drift, &fresh, "clients do not have what the database has: table",
           "the tables are again what clients have");
    ask_history(w);
}

static void ask_drift(struct watchman *w)
{
    ask(w,
        "SELECT schema_name || '.' || table_name, what, mend, can_follow, only_indexes FROM busbar.drift()",
        NULL, 0, on_drift);
}

/* --- rounds --- */

static uint64_t faults_now(const struct watchman *w)
{
    return w->how.history_faults(w->how.ctx);
}

static void begin_round(struct watchman *w)
{
    timer_stop(w->timer);
    w->adopted = false;
    w->round_ms = loop_now_ms(w->loop);
    w->seen_faults = faults_now(w);
    ask_drift(w);
}

static void on_tick(void *ctx)
{
    struct watchman *w = ctx;
    bool wrong = w->how.drift->total || w->how.unusable->total;
    if (loop_now_ms(w->loop) - w->round_ms >= (wrong ? ROUND_SOON_MS : ROUND_MS) ||
        faults_now(w) != w->seen_faults) {
        begin_round(w);
        return;
    }
    timer_start(w->timer, TICK_MS);
}

static void replace_secret(struct watchman *w, const char *secret)
{
    if (w->secret) {
        mem_wipe(w->secret, strlen(w->secret));
    }
    free(w->secret);
    w->secret = secret ? mem_strdup(secret) : NULL;
}

struct watchman *watchman_new(struct loop *loop, const struct watchman_options *how)
{
    struct watchman *w = mem_zalloc(sizeof *w);
    w->loop = loop;
    w->how = *how;
    w->timer = timer_new(loop, on_tick, w);
    return w;
}

void watchman_start(struct watchman *w, const char *secret)
{
    watchman_stop(w);
    replace_secret(w, secret);
    begin_round(w);
}

void watchman_stop(struct watchman *w)
{
    timer_stop(w->timer);
    pg_query_forget(take_ptr(&w->query));
    adopt_cancel(take_ptr(&w->adopt));
    if (w->trial) {
        take_ptr(&w->trial)->watchman = NULL;
    }
}

void watchman_free(struct watchman *w)
{
    if (!w) {
        return;
    }
    watchman_stop(w);
    timer_free(w->timer);
    replace_secret(w, NULL);
    free(w);
}
