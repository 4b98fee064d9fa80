/* SPDX-License-Identifier: Apache-2.0 */
/* busbar status: reads only, a standby will do. */
#include "base/buf.h"
#include "migrate/place.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

/* What is worth a word besides up and down. */
static const char *remark(const struct entry *e)
{
    return e->broken
               ? (e->row->state == HISTORY_RUNNING ? "running, or killed while it ran" : "failed half-way")
           : e->edited       ? "edited after it ran"
           : e->out_of_order ? "out of order"
                             : "";
}

static bool is_well(const struct entry *e)
{
    return e->up && e->file && !e->edited && !e->broken;
}

static void print_lines(const struct place *p)
{
    const struct session *s = &p->session;
    printf("\nRepo: %s%s%s\n\n  Status    Migration ID    Migration Name\n"
           "--------------------------------------------------\n",
           s->repo->name, s->prefix ? "  Prefix: " : "", s->prefix ? s->prefix : "");
    for (size_t i = 0; i < p->entries.n; i++) {
        const struct entry *e = &p->entries.items[i];
        const char *text = remark(e);
        printf("  %-8s  %-14" PRIu64 "  %s%s%s%s%s\n", e->up ? "up" : "down", e->version, entry_name(e),
               entry_is_data(e) ? "  (data)" : "", *text ? "  (" : "", text, *text ? ")" : "");
    }
    printf("\n");
}

static json_t *to_json(const struct entry *e)
{
    char version[24];
    snprintf(version, sizeof version, "%" PRIu64, e->version);
    const char *state = e->broken ? (e->row->state == HISTORY_RUNNING ? "running" : "failed")
                        : e->up   ? "up"
                                  : "down";
    json_t *name = e->file ? json_string(e->file->name) : json_null();
    return json_pack("{s:s, s:s, s:o, s:s, s:b, s:b, s:b}", "version", version, "status", state, "name", name,
                     "kind", entry_is_data(e) ? "data" : "schema", "file_found", e->file != NULL, "edited",
                     (int)e->edited, "out_of_order", (int)e->out_of_order);
}

static void print_json(const struct place *p)
{
    const struct session *s = &p->session;
    json_t *list = json_array();
    for (size_t i = 0; i < p->entries.n; i++) {
        json_array_append_new(list, to_json(&p->entries.items[i]));
    }
    json_t *root =
        json_pack("{s:s, s:s?, s:o}", "repo", s->repo->name, "prefix", s->prefix, "migrations", list);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    printf("%s\n", text);
    free(text);
}

static int status(struct place *p)
{
    bool well = true;
    if (place_read(p) < 0) {
        return TASK_FAILED;
    }
    for (size_t i = 0; i < p->entries.n; i++) {
        const struct entry *e = &p->entries.items[i];
        well &= is_well(e) || (!e->up && entry_is_data(e)); /* data migrations wait for somebody's word */
    }
    if (p->task->report.format == REPORT_JSON) {
        print_json(p);
    } else {
        print_lines(p);
    }
    return !well && p->task->exit_code ? TASK_NOT_UP : TASK_OK;
}

int task_status(struct task *t)
{
    t->looks = true;
    int rc = place_each(t, status);
    return fflush(stdout) != 0 ? TASK_FAILED : rc;
}
