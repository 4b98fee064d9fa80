/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up to three loads, one after the other, of one read: the index of the view whose rows are not told, the
 * rows that are, and the index of the view to go on with. Views that keep no index need no load.
 */
#include "hub/join.h"

#include "base/mem.h"
#include "hub/hub_impl.h"
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

enum step { STEP_KEEP, STEP_TELL, STEP_WHOLE, STEP_DONE };

struct join {
    struct hub *hub;
    const struct join_events *events;
    void *ctx;
    lsn_t position;
    char *user;
    struct plan *whole, *part, *keep;
    struct view *whole_view, *part_view, *keep_view;
    enum step step;
    bool keep_loaded;
    struct read *read;
    struct arena arena; /* of the load in progress */
    const struct table **tables;
    size_t n_tables;
};

static struct str user_of(const struct join *j)
{
    return str_c(j->user);
}

/* The views may be one and the same: what is told first is often all there is. */
static void free_views(struct join *j)
{
    if (j->keep_view != j->whole_view) {
        view_free(j->keep_view);
    }
    if (j->part_view != j->whole_view) {
        view_free(j->part_view);
    }
    view_free(j->whole_view);
}

static void destroy(struct join *j)
{
    loop_post_forget(j->hub->loop, j);
    read_free(j->read);
    free_views(j);
    plan_unref(j->whole);
    plan_unref(j->part);
    plan_unref(j->keep);
    arena_deinit(&j->arena);
    free(j->tables);
    free(j->user);
    free(j);
}

void join_cancel(struct join *j)
{
    if (j) {
        destroy(j);
    }
}

static void finish(struct join *j)
{
    const struct join_events *events = j->events;
    void *ctx = j->ctx;
    struct view *view = j->whole_view;
    struct plan *whole = plan_ref(j->whole);
    if (j->keep_view == view) {
        j->keep_view = NULL;
    }
    if (j->part_view == view) {
        j->part_view = NULL;
    }
    j->whole_view = NULL;
    destroy(j);
    events->ready(ctx, whole, view);
}

static struct view *view_of_step(const struct join *j)
{
    switch (j->step) {
    case STEP_KEEP:
        return j->keep_loaded || !j->keep_view || !view_keeps_index(j->keep_view) ? NULL : j->keep_view;
    case STEP_TELL:
        return j->part_view;
    case STEP_WHOLE:
        return j->whole_view == j->part_view || j->whole_view == j->keep_view ||
                       !view_keeps_index(j->whole_view)
                   ? NULL
                   : j->whole_view;
    case STEP_DONE:
        break;
    }
    return NULL;
}

static const struct plan *plan_of_step(const struct join *j)
{
    return j->step == STEP_KEEP ? j->keep : j->step == STEP_TELL ? j->part : j->whole;
}

static void tell(void *ctx, const struct table *table, const struct value *row)
{
    struct join *j = ctx;
    if (!j->keep_view || !view_sees(j->keep_view, table, row)) {
        j->events->row(j->ctx, table, row);
    }
}

static void next_load(struct join *j);

static void next_need(struct join *j)
{
    const struct view_need *need = view_next_need(view_of_step(j));
    if (need) {
        read_need(j->read, plan_of_step(j)->forest, user_of(j), need);
        return;
    }
    arena_reset(&j->arena);
    j->step++;
    next_load(j);
}

static void next_load(struct join *j)
{
    while (j->step != STEP_DONE && !view_of_step(j)) {
        j->step++;
    }
    if (j->step == STEP_DONE) {
        finish(j);
        return;
    }
    if (j->step == STEP_TELL) {
        j->events->begin(j->ctx);
        view_load(view_of_step(j), VIEW_LOAD_ROWS, &j->arena, tell, j);
    } else {
        view_load(view_of_step(j), VIEW_LOAD_INDEX, &j->arena, NULL, NULL);
    }
    next_need(j);
}

static void on_ready(void *ctx)
{
    next_load(ctx);
}

static void on_row(void *ctx, const struct value *row)
{
    view_feed(view_of_step(ctx), row);
}

static void on_done(void *ctx)
{
    next_need(ctx);
}

static void on_failed(void *ctx, enum read_failure how, const struct err *err)
{
    struct join *j = ctx;
    const struct join_events *events = j->events;
    void *owner = j->ctx;
    struct err copy = *err;
    destroy(j);
    events->failed(owner, how, &copy);
}

static const struct read_events read_events = {on_ready, on_row, on_done, on_failed};

static void add_tables(struct join *j, const struct plan *plan)
{
    const struct forest *f = plan ? plan->forest : NULL;
    for (uint32_t i = 0; f && i < f->n_tables; i++) {
        size_t k = 0;
        while (k < j->n_tables && j->tables[k] != f->tables[i].table) {
            k++;
        }
        if (k == j->n_tables) {
            j->tables = mem_realloc(j->tables, (j->n_tables + 1) * sizeof(struct table *));
            j->tables[j->n_tables++] = f->tables[i].table;
        }
    }
}

static void make_views(struct join *j)
{
    j->whole_view = view_new(j->whole->forest, user_of(j));
    if (j->keep && !j->keep_view) {
        j->keep_view = j->keep == j->whole ? j->whole_view : view_new(j->keep->forest, user_of(j));
    }
    if (j->part) {
        j->part_view = j->part == j->whole ? j->whole_view : view_new(j->part->forest, user_of(j));
    }
}

static bool reads_anything(const struct join *j)
{
    return j->part_view || view_keeps_index(j->whole_view);
}

static void finish_soon(void *ctx)
{
    finish(ctx);
}

struct join *join_start(struct hub *hub, const struct join_options *options, const struct join_events *events,
                        void *ctx)
{
    struct join *j = mem_zalloc(sizeof *j);
    j->hub = hub;
    j->events = events;
    j->ctx = ctx;
    j->position = options->position;
    j->user = mem_strndup(options->user.p, options->user.n);
    j->whole = plan_ref(options->whole);
    j->part = options->part ? plan_ref(options->part) : NULL;
    j->keep = options->keep ? plan_ref(options->keep) : NULL;
    j->keep_view = options->keep_view;
    j->keep_loaded = options->keep_view;
    make_views(j);
    add_tables(j, j->whole);
    add_tables(j, j->part);
    add_tables(j, j->keep);
    if (reads_anything(j)) {
        j->read = read_start(hub->reads, j->position, j->tables, j->n_tables, &read_events, j);
    } else {
        loop_post(hub->loop, finish_soon, j);
    }
    return j;
}

void join_pause(struct join *j, bool paused)
{
    if (j->read) {
        read_pause(j->read, paused);
    }
}
