/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busbar plan: BEGIN, each statement with a look at the catalog before and after, ROLLBACK.
 *
 * What a statement locked, rewrote and read is asked of its own transaction: pg_locks of this backend, the
 * file of each table, and the transaction's own counters. The locks are real while it runs.
 */
#include "migrate/client_sql.h"
#include "migrate/place.h"
#include "migrate/table_look.h"
#include "sql/statement.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

enum { SHOWN_STATEMENT = 200 };

struct plan {
    struct place *place;
    struct table_look before, after;
    json_t *migrations; /* of the report in JSON */
    json_t *statements; /* of the migration that is run */
    bool skipped;       /* one that cannot run in a transaction */
};

static bool is_json(const struct plan *plan)
{
    return plan->place->task->report.format == REPORT_JSON;
}

static void print_effect(const struct table_effect *e)
{
    if (e->lock) {
        printf("      locks %s: %s, blocks %s\n", e->table, e->lock, e->blocks);
    }
    if (e->rewritten) {
        printf("      rewrites %s\n", e->table);
    }
    if (e->scans) {
        printf("      scans %s: %" PRIu64 " rows\n", e->table, e->rows);
    }
}

static json_t *effect_to_json(const struct table_effect *e)
{
    return json_pack("{s:s, s:s?, s:s?, s:b, s:I, s:I}", "table", e->table, "lock", e->lock, "blocks",
                     e->blocks, "rewritten", (int)e->rewritten, "scans", (json_int_t)e->scans, "rows_read",
                     (json_int_t)e->rows);
}

static void show(struct plan *plan, const struct statement *st, double ms)
{
    struct arena *a = &plan->place->arena;
    struct table_effect *effects;
    size_t n = table_look_compare(a, &plan->before, &plan->after, &effects);
    json_t *list = json_array();
    if (!is_json(plan)) {
        size_t shown = st->text.n < SHOWN_STATEMENT ? st->text.n : SHOWN_STATEMENT;
        char *line = arena_strdup(a, arena_str(a, (struct str){st->text.p, shown}).p);
        for (char *c = line; *c; c++) {
            *c = *c == '\n' ? ' ' : *c;
        }
        printf("    %s%s;  (%.1f ms)\n", line, shown < st->text.n ? " …" : "", ms);
    }
    for (size_t i = 0; i < n; i++) {
        if (is_json(plan)) {
            json_array_append_new(list, effect_to_json(&effects[i]));
        } else {
            print_effect(&effects[i]);
        }
    }
    json_array_append_new(plan->statements, json_pack("{s:s%, s:f, s:o}", "sql", st->text.p, st->text.n, "ms",
                                                      ms, "tables", list));
}

static double ms_since(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - from->tv_sec) * 1e3 + (double)(now.tv_nsec - from->tv_nsec) / 1e6;
}

static int run_statement(struct plan *plan, const struct migration *m, const struct statement *st)
{
    struct session *s = &plan->place->session;
    struct timespec start;
    CLEANUP(sync_answer_deinit) struct sync_answer a;
    clock_gettime(CLOCK_MONOTONIC, &start);
    s->blocker[0] = '\0';
    if (sync_script(s->run, arena_str(&plan->place->arena, st->text).p, &a) < 0) {
        report_failure(s->report, arena_printf(&plan->place->arena, "%s: %s", m->path, a.result.err.msg),
                       a.result.detail, a.result.hint);
        fprintf(stderr, "  statement: %.*s\n", STR_ARG(st->text));
        if (s->blocker[0]) {
            fprintf(stderr, "  blocked by: %s\n", s->blocker);
        }
        if (plan->skipped) {
            fprintf(stderr, "  perhaps it needs what was not tried above\n");
        }
        return -1;
    }
    double ms = ms_since(&start);
    if (table_look_take(s, &plan->place->arena, &plan->after) < 0) {
        return -1;
    }
    show(plan, st, ms);
    plan->before = plan->after;
    return 0;
}

static void begin_migration(struct plan *plan, const struct migration *m, bool tried)
{
    plan->statements = json_array();
    json_array_append_new(plan->migrations,
                          json_pack("{s:o, s:s, s:b, s:O}", "version", json_sprintf("%" PRIu64, m->version),
                                    "name", m->name, "tried", (int)tried, "statements", plan->statements));
    json_decref(plan->statements); /* the list has it */
    if (!is_json(plan)) {
        printf("  %" PRIu64 " %s%s\n", m->version, m->name,
               tried ? "" : "  (cannot run in a transaction: not tried)");
    }
}

static void list_untried(struct plan *plan, const struct statement *items, size_t n)
{
    plan->skipped = true;
    for (size_t i = 0; i < n; i++) {
        if (!is_json(plan)) {
            printf("    %.*s;\n", STR_ARG(items[i].text));
        }
        json_array_append_new(plan->statements, json_pack("{s:s%}", "sql", items[i].text.p, items[i].text.n));
    }
}

static int plan_migration(struct plan *plan, const struct migration *m)
{
    struct statement *items;
    size_t n;
    struct err err = ERR_INIT;
    bool tried = !m->elixir && m->text.up_options.transaction;
    begin_migration(plan, m, tried);
    if (m->elixir) {
        return 0;
    }
    if (run_check(&plan->place->session, m, false) < 0 ||
        statement_split(&plan->place->arena, m->text.up, true, &items, &n, &err) < 0) {
        return -1;
    }
    if (!tried) {
        list_untried(plan, items, n);
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (session_is_interrupted() || run_statement(plan, m, &items[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static struct captured_command *take_commands(struct arena *arena, const struct sync_answer *a)
{
    struct captured_command *commands = arena_alloc_array(arena, a->result.rows + 1, sizeof *commands);
    for (size_t i = 0; i < a->result.rows; i++) {
        commands[i].recorded = str_eq(pg_result_get(&a->result, i, 0), STR("recorded"));
        commands[i].version = pg_result_get(&a->result, i, 1);
        commands[i].ops = pg_result_get(&a->result, i, 2);
    }
    return commands;
}

/* What the proxy would record, and hand to clients; what it would refuse at COMMIT is refused here. */
static int show_for_clients(struct plan *plan, struct str *out_sql)
{
    struct session *s = &plan->place->session;
    struct arena *arena = &plan->place->arena;
    struct err err = ERR_INIT;
    CLEANUP(sync_answer_deinit) struct sync_answer a = {0};
    if (!s->proxied || !s->service) {
        return 0;
    }
    if (session_query(s, s->run,
                      "SELECT kind, coalesce(version, ''), convert_from(decode(ops, 'hex'), 'UTF8') FROM "
                      "busbar.pending()",
                      NULL, 0, &a, "clients could not follow") < 0) {
        return -1;
    }
    if (client_sql_render(arena, take_commands(arena, &a), a.result.rows, out_sql, &err) < 0) {
        report_failure(s->report, arena_printf(arena, "clients could not follow: %s", err.msg), NULL, NULL);
        return -1;
    }
    if (!is_json(plan)) {
        printf("  %s\n%.*s%s",
               out_sql->n ? "sync clients (SQLite) would get:" : "sync clients would get nothing of it",
               STR_ARG(*out_sql), out_sql->n ? "\n" : "");
    }
    return 0;
}

static int begin(struct plan *plan)
{
    struct session *s = &plan->place->session;
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(4096);
    if (s->standby) {
        report_failure(s->report, "the database is a standby: nothing can be tried there", NULL, NULL);
        return -1;
    }
    buf_put_c(&sql, "BEGIN;\n");
    run_put_settings(&sql, s, plan->place->task->run.lock_timeout_ms, 0);
    return session_exec(s, s->run, buf_cstr(&sql), "cannot begin") < 0
               ? -1
               : table_look_take(s, &plan->place->arena, &plan->before);
}

static int run_all(struct plan *plan, const struct entry **items, size_t n, struct str *out_sql)
{
    for (size_t i = 0; i < n; i++) {
        if (plan_migration(plan, items[i]->file) < 0) {
            return -1;
        }
    }
    return show_for_clients(plan, out_sql);
}

static void print_json(struct plan *plan, struct str sql)
{
    const struct session *s = &plan->place->session;
    json_t *root = json_pack("{s:s, s:s?, s:O, s:s%}", "repo", s->repo->name, "prefix", s->prefix,
                             "migrations", plan->migrations, "client_sql", sql.p, sql.n);
    char *text = json_dumps(root, JSON_COMPACT);
    printf("%s\n", text);
    free(text);
    json_decref(root);
}

static int plan_place(struct place *p)
{
    const struct entry **items;
    struct plan plan = {.place = p};
    if (place_read(p) < 0) {
        return TASK_FAILED;
    }
    size_t n = entry_list_select_up(&p->arena, &p->entries, &p->task->target, p->task->data, &items);
    if (begin(&plan) < 0) {
        return TASK_FAILED;
    }
    struct str sql = STR("");
    plan.migrations = json_array();
    if (!is_json(&plan)) {
        printf("Repo: %s%s%s: %zu pending\n", p->session.repo->name, p->session.prefix ? "  Prefix: " : "",
               p->session.prefix ? p->session.prefix : "", n);
    }
    int rc = run_all(&plan, items, n, &sql);
    if (is_json(&plan)) {
        print_json(&plan, sql);
    }
    json_decref(plan.migrations);
    fflush(stdout);
    if (sync_in_transaction(p->session.run) &&
        session_exec(&p->session, p->session.run, "ROLLBACK", "cannot roll back") < 0) {
        rc = -1;
    }
    return rc < 0 ? TASK_FAILED : n && p->task->exit_code ? TASK_NOT_UP : TASK_OK;
}

int task_plan(struct task *t)
{
    return place_each(t, plan_place);
}
