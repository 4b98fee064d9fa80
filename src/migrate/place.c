/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/place.h"

#include "app/signals.h"
#include "migrate/history.h"
#include "migrate/lock.h"

#include <time.h>

const char *place_data_folder(struct arena *a, const struct repo *repo)
{
    return arena_printf(a, "%s/data_migrations", repo->priv);
}

/* With --data, --migrations-path names folders of data migrations. */
static int read_folders(struct place *p, struct err *err)
{
    const struct repo *repo = p->session.repo;
    const struct task *t = p->task;
    bool instead = t->data && t->choice.paths;
    for (size_t i = 0; i < repo->paths_n; i++) {
        if (migration_folder_read(&p->arena, repo->paths[i], instead, t->data && !instead, &p->files, err) <
            0) {
            return -1;
        }
    }
    const char *other =
        instead ? arena_printf(&p->arena, "%s/migrations", repo->priv) : place_data_folder(&p->arena, repo);
    return migration_folder_read(&p->arena, other, !instead, instead || !t->data, &p->files, err);
}

static int read_files(struct place *p)
{
    struct err err = ERR_INIT;
    p->files = (struct migration_list){0};
    if (read_folders(p, &err) < 0 || migration_list_finish(&p->files, &err) < 0) {
        report_failure(&p->task->report, err.msg, NULL, NULL);
        return -1;
    }
    return 0;
}

int place_read(struct place *p)
{
    struct version_row *rows;
    size_t n;
    if (!p->files.items && read_files(p) < 0) {
        return -1;
    }
    if (history_read(&p->session, &p->arena, &rows, &n) < 0) {
        return -1;
    }
    p->entries = entry_list_make(&p->arena, &p->files, rows, n);
    return 0;
}

int place_begin_writing(struct place *p)
{
    struct session *s = &p->session;
    if (s->standby) {
        report_failure(s->report, "the database is a standby: it reads only", NULL,
                       "name the primary in the URL");
        return -1;
    }
    return history_create(s) < 0 ? -1 : migrator_lock_take(s, p->task->lock_wait_ms);
}

static int visit(struct task *t, const struct repo *repo, const char *prefix, bool several, place_fn fn)
{
    struct place p = {.task = t};
    int status = TASK_FAILED;
    struct session_options options = {.prefix = prefix, .wait_ms = t->database_wait_ms, .looks = t->looks};
    if (session_open(&p.session, repo, &options, &t->report) == 0) {
        p.session.place =
            several ? arena_printf(&p.arena, "%s%s%s", repo->name, prefix ? "." : "", prefix ? prefix : "")
                    : NULL;
        status = fn(&p);
    }
    migrator_lock_release(&p.session);
    session_close(&p.session);
    arena_deinit(&p.arena);
    return status;
}

static int visit_repos(struct task *t, const struct repo_list *list, place_fn fn)
{
    int worst = TASK_OK;
    for (size_t i = 0; i < list->n; i++) {
        const struct repo *repo = &list->items[i];
        bool several = list->n > 1 || repo->prefixes_n > 1;
        for (size_t k = 0; k < repo->prefixes_n || k == 0; k++) {
            int status = visit(t, repo, repo->prefixes_n ? repo->prefixes[k] : NULL, several, fn);
            if (status != TASK_OK && status != TASK_NOT_UP) {
                return status;
            }
            worst = status > worst ? status : worst;
        }
    }
    return worst;
}

int place_each(struct task *t, place_fn fn)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct err err = ERR_INIT;
    struct repo_list list;
    if (repo_list_read(&a, &t->choice, &list, &err) < 0) {
        report_failure(&t->report, err.msg, NULL, NULL);
        return err.kind == ERR_INPUT ? TASK_USAGE : TASK_FAILED;
    }
    signals_hold();
    return visit_repos(t, &list, fn);
}

uint64_t place_new_version(void)
{
    time_t now = time(NULL);
    struct tm t;
    gmtime_r(&now, &t);
    uint64_t day =
        (uint64_t)(t.tm_year + 1900) * 10000 + (uint64_t)(t.tm_mon + 1) * 100 + (uint64_t)t.tm_mday;
    return day * 1000000 + (uint64_t)t.tm_hour * 10000 + (uint64_t)t.tm_min * 100 + (uint64_t)t.tm_sec;
}
