/* SPDX-License-Identifier: Apache-2.0 */
/* busbar new NAME */
#include "app/files.h"
#include "migrate/place.h"

#include <glob.h>
#include <inttypes.h>
#include <limits.h>

static const char skeleton[] = "-- migrate:up\n\n\n-- migrate:down\n\n";

/* Lower case letters, digits and _: "Add items" and "AddItems" become add_items. */
static int put_name(struct buf *out, const char *name)
{
    for (const char *c = name; *c; c++) {
        bool upper = *c >= 'A' && *c <= 'Z';
        bool word = upper || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9');
        bool gap = out->n == 0 || out->p[out->n - 1] == '_';
        if (!gap && (!word || (upper && c[-1] >= 'a' && c[-1] <= 'z'))) {
            buf_put_byte(out, '_');
        }
        if (word) {
            buf_put_byte(out, upper ? (char)(*c - 'A' + 'a') : *c);
        }
    }
    out->n -= out->n && out->p[out->n - 1] == '_';
    return out->n && !out->overflow ? 0 : -1;
}

/* Two made within a second. */
static bool is_taken(struct arena *a, const char *folder, uint64_t version)
{
    glob_t found;
    int rc = glob(arena_printf(a, "%s/%" PRIu64 "[_.]*", folder, version), 0, NULL, &found);
    if (rc == 0) {
        globfree(&found);
    }
    return rc == 0;
}

static int create(struct task *t, struct arena *a, const struct repo *repo, struct err *err)
{
    char path[PATH_MAX];
    CLEANUP(buf_deinit) struct buf name = BUF_INIT(200);
    const char *folder = !t->data          ? repo->paths[0]
                         : t->choice.paths ? repo->paths[0]
                                           : place_data_folder(a, repo);
    if (put_name(&name, t->argument) < 0) {
        return err_set(err, ERR_INPUT, "a name has letters and digits, at most 200");
    }
    uint64_t version = place_new_version();
    while (is_taken(a, folder, version)) {
        version++;
    }
    if (path_printf(path, sizeof path, err, "%s/%" PRIu64 "_%s.sql", folder, version, buf_cstr(&name)) < 0) {
        return -1;
    }
    if (folder_make(folder, 0777, err) < 0 || file_write(path, 0666, str_c(skeleton), err) < 0) {
        return -1;
    }
    printf("%s\n", path);
    return 0;
}

int task_new(struct task *t)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct err err = ERR_INIT;
    struct repo_list list;
    if (!t->argument) {
        report_failure(&t->report, "busbar new needs a name", NULL, "busbar new add_items");
        return TASK_USAGE;
    }
    t->choice.url = t->choice.url ? t->choice.url : ""; /* no database is asked */
    if (repo_list_read(&a, &t->choice, &list, &err) == 0 && list.n > 1) {
        err_set(&err, ERR_INPUT, "there are several repos: say which with --repo");
        list.n = 0;
    }
    if (list.n == 0 || create(t, &a, &list.items[0], &err) < 0) {
        report_failure(&t->report, err.msg, NULL, NULL);
        return err.kind == ERR_INPUT ? TASK_USAGE : TASK_FAILED;
    }
    return TASK_OK;
}
