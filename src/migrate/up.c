/* SPDX-License-Identifier: Apache-2.0 */
/* busbar migrate */
#include "migrate/batch.h"
#include "migrate/history.h"
#include "migrate/lock.h"
#include "migrate/place.h"

#include <inttypes.h>

struct work {
    const struct entry **items;
    size_t n;
};

static struct work select_work(struct place *p)
{
    struct work w;
    w.n = entry_list_select_up(&p->arena, &p->entries, &p->task->target, p->task->data, &w.items);
    return w;
}

static int refuse(struct place *p, const struct entry *e, const char *what, const char *hint)
{
    const char *text = arena_printf(&p->arena, "%" PRIu64 " %s %s", e->version, entry_name(e), what);
    report_failure(&p->task->report, text, e->row && e->row->error[0] ? e->row->error : NULL, hint);
    return -1;
}

/* What stands in the way wherever it is, and what a person should know. */
static int look_at_all(struct place *p)
{
    struct report *report = &p->task->report;
    for (size_t i = 0; i < p->entries.n; i++) {
        const struct entry *e = &p->entries.items[i];
        if (e->broken) {
            bool killed = e->row->state == HISTORY_RUNNING;
            return refuse(p, e, killed ? "was killed while it ran" : "stopped half-way",
                          arena_printf(&p->arena, "busbar repair %" PRIu64, e->version));
        }
        if (e->edited) {
            report_warning(report, "%" PRIu64 " %s was edited after it ran", e->version, entry_name(e));
        }
    }
    return 0;
}

/* One that is half-way may be at work: under the lock it is not. */
static bool any_broken(const struct place *p)
{
    bool any = false;
    for (size_t i = 0; i < p->entries.n; i++) {
        any |= p->entries.items[i].broken;
    }
    return any;
}

static int look_at_work(struct place *p, const struct work *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct entry *e = w->items[i];
        if (e->out_of_order && p->task->strict) {
            return refuse(p, e, "is older than migrations that have run", "give it a version of today");
        }
        if (e->out_of_order) {
            report_warning(&p->task->report, "%" PRIu64 " %s is older than migrations that have run",
                           e->version, entry_name(e));
        }
        if (!e->file->elixir && run_check(&p->session, e->file, false) < 0) {
            return -1;
        }
    }
    return 0;
}

/* What was committed without waiting for the disk is there once something later is. */
static void flush(struct place *p, const struct entry *last)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(8192);
    if (last && sync_is_up(p->session.run)) {
        history_put_touch(&sql, &p->session, last->version);
        ignore_result(session_exec(&p->session, p->session.run, buf_cstr(&sql),
                                   "cannot wait for the disk")); /* reported */
    }
}

static bool is_relaxed(const struct work *w, size_t i)
{
    return i + 1 < w->n && !w->items[i + 1]->file->elixir && w->items[i]->file->text.up_options.transaction &&
           w->items[i]->file->text.up_options.lock && w->items[i + 1]->file->text.up_options.transaction &&
           w->items[i + 1]->file->text.up_options.lock;
}

/* Somebody may have run it while the lock was free. */
static int is_up_by_now(struct place *p, uint64_t version, bool *out)
{
    if (place_read(p) < 0) {
        return -1;
    }
    *out = false;
    for (size_t i = 0; i < p->entries.n; i++) {
        *out |= p->entries.items[i].version == version && p->entries.items[i].up;
    }
    return 0;
}

static int run_without_lock(struct place *p, const struct migration *m)
{
    migrator_lock_release(&p->session);
    return run_migration(&p->session, &p->task->run, m, RUN_DURABLE) < 0
               ? -1
               : migrator_lock_take(&p->session, p->task->lock_wait_ms);
}

static int run_one(struct place *p, const struct work *w, size_t i, bool *was_free)
{
    const struct migration *m = w->items[i]->file;
    bool up = false;
    if (*was_free && is_up_by_now(p, m->version, &up) < 0) {
        return -1;
    }
    if (up || m->elixir) {
        if (m->elixir) {
            report_warning(&p->task->report, "%" PRIu64 " %s is Ecto's to run", m->version, m->name);
        }
        return 0;
    }
    if (!m->text.up_options.lock) {
        *was_free = true;
        return run_without_lock(p, m);
    }
    if (!migrator_lock_is_held(&p->session)) {
        report_failure(&p->task->report, "the connection that held the migrators' lock is gone", NULL,
                       "run it again");
        return -1;
    }
    unsigned how = !*was_free && is_relaxed(w, i) ? 0 : RUN_DURABLE; /* the next may prove to be up */
    return run_migration(&p->session, &p->task->run, m, how | (w->items[i]->row ? 0 : RUN_FRESH));
}

/* Nothing has run here before, so nobody works with the tables. The proxy records a migration a transaction.
 */
static bool is_new_database(const struct place *p)
{
    for (size_t i = 0; i < p->entries.n; i++) {
        if (p->entries.items[i].row) {
            return false;
        }
    }
    return !p->session.proxied;
}

/*
 * Runs those from the ith on together that can be, if they are two or more; *out_end is behind the last that
 * has run then, else i. Those before *out_alone must run alone: each tells for itself.
 */
static int run_together(struct place *p, const struct work *w, size_t i, size_t *out_end, size_t *out_alone)
{
    CLEANUP(batch_deinit) struct batch b = {0};
    while (i + b.n < w->n && batch_add(&b, w->items[i + b.n]->file)) {
    }
    *out_end = i;
    *out_alone = i + (b.n ? b.n : 1);
    if (b.n < 2 || !migrator_lock_is_held(&p->session)) {
        return 0;
    }
    int outcome = batch_run(&b, &p->session, &p->task->run, !is_relaxed(w, i + b.n - 1));
    *out_end = outcome == BATCH_DONE ? i + b.n : i;
    return outcome < 0 ? -1 : 0;
}

static int run_all(struct place *p, const struct work *w)
{
    bool was_free = false, together = is_new_database(p) && !p->task->report.log_sql;
    size_t alone = 0;
    for (size_t i = 0; i < w->n;) {
        size_t end = i;
        int rc = session_is_interrupted() ? -1 : 0;
        if (rc == 0 && together && !was_free && i >= alone) {
            rc = run_together(p, w, i, &end, &alone);
        }
        if (rc == 0 && end == i) {
            rc = run_one(p, w, i, &was_free);
            end = i + 1;
        }
        if (rc < 0) {
            flush(p, i > 0 ? w->items[i - 1] : NULL);
            return -1;
        }
        i = end;
    }
    return 0;
}

static int migrate(struct place *p)
{
    if (place_read(p) < 0) {
        return TASK_FAILED;
    }
    struct work w = select_work(p);
    bool writes = w.n > 0 || any_broken(p) || (!p->session.standby && !p->session.has_source);
    if (writes && (place_begin_writing(p) < 0 || place_read(p) < 0)) {
        return TASK_FAILED;
    }
    w = select_work(p); /* while we waited for the lock another may have done it */
    if (look_at_all(p) < 0 || look_at_work(p, &w) < 0 || run_all(p, &w) < 0) {
        return TASK_FAILED;
    }
    if (w.n == 0) {
        report_line(&p->task->report, "nothing to migrate%s%s", p->session.place ? " in " : "",
                    p->session.place ? p->session.place : "");
    }
    return TASK_OK;
}

int task_migrate(struct task *t)
{
    return place_each(t, migrate);
}
