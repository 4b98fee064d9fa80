/* SPDX-License-Identifier: Apache-2.0 */
/* busbar rollback */
#include "migrate/forward.h"

#include "app/files.h"
#include "migrate/lock.h"
#include "migrate/place.h"

#include <inttypes.h>
#include <limits.h>

/* The rules about what clients can follow; all of them raise class EX (docs/capture.md). */
static bool is_for_clients(const char *sqlstate)
{
    return strncmp(sqlstate, "EX", 2) == 0 || strcmp(sqlstate, "UB004") == 0 ||
           strcmp(sqlstate, "UB007") == 0;
}

/* Clients have the migration: what undoes it is another one. */
static void offer_forward(struct place *p, const struct migration *m)
{
    char path[PATH_MAX];
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1024 * 1024);
    forward_put(&text, m);
    if (!p->task->emit_forward) {
        fprintf(stderr,
                "Clients have this migration and cannot go back. A new migration would undo it "
                "(--emit-forward writes it as a file):\n\n%s",
                buf_cstr(&text));
        return;
    }
    if (path_printf(path, sizeof path, &err, "%s/%" PRIu64 "_undo_%s.sql", p->session.repo->paths[0],
                    place_new_version(), m->name) < 0 ||
        file_write(path, 0666, buf_str(&text), &err) < 0) {
        report_failure(&p->task->report, err.msg, NULL, NULL);
        return;
    }
    printf("%s\n", path);
}

static int check(struct place *p, const struct entry **items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i]->broken) {
            report_failure(&p->task->report,
                           arena_printf(&p->arena, "%" PRIu64 " %s stopped half-way", items[i]->version,
                                        entry_name(items[i])),
                           items[i]->row->error,
                           arena_printf(&p->arena, "busbar repair %" PRIu64, items[i]->version));
            return -1;
        }
        if (run_check(&p->session, items[i]->file, true) < 0) {
            return -1;
        }
    }
    return 0;
}

static int rollback(struct place *p)
{
    const struct entry **items;
    if (place_begin_writing(p) < 0 || place_read(p) < 0) {
        return TASK_FAILED;
    }
    size_t n = entry_list_select_down(&p->arena, &p->entries, &p->task->target, p->task->data, &items);
    if (check(p, items, n) < 0) {
        return TASK_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        if (session_is_interrupted() ||
            run_migration(&p->session, &p->task->run, items[i]->file, RUN_DOWN | RUN_DURABLE) < 0) {
            if (is_for_clients(p->session.sqlstate)) {
                offer_forward(p, items[i]->file);
            }
            return TASK_FAILED;
        }
    }
    if (n == 0) {
        report_line(&p->task->report, "nothing to roll back");
    }
    return TASK_OK;
}

int task_rollback(struct task *t)
{
    if (!t->choice.names || !t->has_target) {
        report_failure(&t->report, "a rollback needs a repo and a target", NULL,
                       "busbar rollback --repo default --step 1, or --to VERSION");
        return TASK_USAGE;
    }
    return place_each(t, rollback);
}
