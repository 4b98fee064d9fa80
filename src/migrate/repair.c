/* SPDX-License-Identifier: Apache-2.0 */
/* busbar repair: what stopped half-way, was edited, or lost its file. */
#include "migrate/history.h"
#include "migrate/place.h"
#include "sql/statement.h"

#include <inttypes.h>

static bool is_wrong(const struct entry *e)
{
    return e->broken || e->edited || !e->file;
}

static void show_statement(struct place *p, const struct entry *e)
{
    struct statement *items = NULL;
    size_t n = 0;
    struct err err = ERR_INIT;
    struct str text = e->file ? (e->row->down ? e->file->text.down : e->file->text.up) : STR("");
    if (statement_split(&p->arena, text, true, &items, &n, &err) == 0 && e->row->done < n) {
        printf("  statement %zu of %zu: %.*s\n", e->row->done + 1, n, STR_ARG(items[e->row->done].text));
    }
}

static void show_broken(struct place *p, const struct entry *e)
{
    bool killed = e->row->state == HISTORY_RUNNING;
    printf("%" PRIu64 " %s: %s%s; %zu statements are done and kept\n", e->version, entry_name(e),
           killed ? "was killed" : "failed", e->row->down ? " while it was rolled back" : "", e->row->done);
    show_statement(p, e);
    if (e->row->error[0]) {
        printf("  error: %s\n", e->row->error);
    }
    if (killed) {
        printf("  that statement may have run or not: look before you go on\n");
    }
    printf("  --action retry   forget the attempt: the next run begins with the first statement\n"
           "  --action resume  go on with that statement now\n"
           "  --action up      it counts as run\n"
           "  --action down    it counts as not run\n");
}

static void show(struct place *p, const struct entry *e)
{
    if (e->broken) {
        show_broken(p, e);
    } else if (e->edited) {
        printf("%" PRIu64
               " %s: its file is not what was run\n  --action accept  what it is now is what ran\n",
               e->version, entry_name(e));
    } else if (!e->file) {
        printf("%" PRIu64 ": has run, and there is no file%s%s\n  --action down    forget that it ran\n",
               e->version, e->row->name[0] ? ", once " : "", e->row->name);
    }
}

static int write_rows(struct place *p, const struct entry *e,
                      void (*put)(struct buf *, struct place *, const struct entry *))
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(16 * 1024);
    buf_put_c(&sql, "BEGIN;\n");
    put(&sql, p, e);
    buf_put_c(&sql, "COMMIT");
    return session_exec(&p->session, p->session.run, buf_cstr(&sql), "cannot repair");
}

static void put_up(struct buf *sql, struct place *p, const struct entry *e)
{
    history_put_accepted(sql, &p->session, e->file);
}

static void put_down(struct buf *sql, struct place *p, const struct entry *e)
{
    history_put_down(sql, &p->session, e->version);
}

/* One that was up stays so: it is its rollback that is forgotten. */
static void put_retry(struct buf *sql, struct place *p, const struct entry *e)
{
    if (e->up) {
        put_up(sql, p, e);
    } else {
        history_put_forget_facts(sql, &p->session, e->version);
    }
}

/* NULL when the action fits. */
static const char *misfit(enum task_repair action, const struct entry *e)
{
    bool of_attempt = action == REPAIR_RETRY || action == REPAIR_RESUME;
    return of_attempt && !e->broken                ? "did not stop half-way"
           : action == REPAIR_ACCEPT && !e->edited ? "was not edited"
           : action == REPAIR_DOWN && !is_wrong(e) ? "is as it should be: busbar rollback undoes it"
           : action != REPAIR_DOWN && (!e->file || e->file->elixir) ? "has no file"
                                                                    : NULL;
}

static int act(struct place *p, const struct entry *e)
{
    bool down = e->row && e->row->facts && e->row->down;
    switch (p->task->repair) {
    case REPAIR_RETRY:
        return run_drop_invalid(&p->session, e->file, down) < 0 ? -1 : write_rows(p, e, put_retry);
    case REPAIR_RESUME:
        return run_drop_invalid(&p->session, e->file, down) < 0
                   ? -1
                   : run_resume(&p->session, &p->task->run, e->file, down, e->row->done);
    case REPAIR_UP:
    case REPAIR_ACCEPT:
        return write_rows(p, e, put_up);
    case REPAIR_DOWN:
        return write_rows(p, e, put_down);
    case REPAIR_SHOW:
        break;
    }
    return 0;
}

static const struct entry *find(const struct place *p, uint64_t version)
{
    for (size_t i = 0; i < p->entries.n; i++) {
        if (p->entries.items[i].version == version) {
            return &p->entries.items[i];
        }
    }
    return NULL;
}

static int show_all(struct place *p, uint64_t version)
{
    bool any = false;
    for (size_t i = 0; i < p->entries.n; i++) {
        const struct entry *e = &p->entries.items[i];
        if (is_wrong(e) && (!version || e->version == version)) {
            any = true;
            show(p, e);
        }
    }
    if (!any) {
        report_line(&p->task->report, "nothing to repair");
    }
    return TASK_OK;
}

static int repair_one(struct place *p, uint64_t version)
{
    struct report *report = &p->task->report;
    const struct entry *e = find(p, version);
    const char *fault = e ? misfit(p->task->repair, e) : "is not known";
    if (fault) {
        report_failure(report, arena_printf(&p->arena, "%" PRIu64 " %s", version, fault), NULL, NULL);
        return TASK_FAILED;
    }
    if (act(p, e) < 0) {
        return TASK_FAILED;
    }
    report_line(report, "%" PRIu64 " %s: repaired", version, entry_name(e));
    return TASK_OK;
}

static int repair(struct place *p)
{
    uint64_t version = 0;
    if (p->task->argument && !str_to_u64(str_c(p->task->argument), INT64_MAX, &version)) {
        report_failure(&p->task->report, "a version is a number", NULL, NULL);
        return TASK_USAGE;
    }
    bool acts = p->task->repair != REPAIR_SHOW;
    if ((acts && place_begin_writing(p) < 0) || place_read(p) < 0) {
        return TASK_FAILED;
    }
    return acts ? repair_one(p, version) : show_all(p, version);
}

int task_repair(struct task *t)
{
    if (t->repair != REPAIR_SHOW && !t->argument) {
        report_failure(&t->report, "which migration? busbar repair VERSION --action ACTION", NULL, NULL);
        return TASK_USAGE;
    }
    return place_each(t, repair);
}
