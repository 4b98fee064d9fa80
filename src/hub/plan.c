/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/plan.h"

#include "base/mem.h"
#include "sync/frame.h"

#include <stdlib.h>

static const struct shape_select *select_of(struct arena *a, const struct sat_select *from);

static const struct shape_include *includes_of(struct arena *a, const struct sat_select *from)
{
    struct shape_include *list = arena_alloc_array(a, from->n_includes + 1, sizeof *list);
    for (size_t i = 0; i < from->n_includes; i++) {
        list[i].foreign_key = from->includes[i].foreign_key;
        list[i].select = from->includes[i].select ? select_of(a, from->includes[i].select) : NULL;
    }
    return list;
}

static void fill_select(struct arena *a, const struct sat_select *from, struct shape_select *out)
{
    *out = (struct shape_select){from->table, from->where, includes_of(a, from), from->n_includes};
}

/* As deep as the message, which has its limit. */
static const struct shape_select *select_of(struct arena *a, const struct sat_select *from)
{
    struct shape_select *s = arena_alloc(a, sizeof *s);
    fill_select(a, from, s);
    return s;
}

static void fill_request(struct arena *a, const struct sat_shape *from, struct shape_request *out)
{
    struct shape_select *list = arena_alloc_array(a, from->n_selects + 1, sizeof *list);
    for (size_t i = 0; i < from->n_selects; i++) {
        fill_select(a, &from->selects[i], &list[i]);
    }
    *out = (struct shape_request){list, from->n_selects};
}

/* A request that is none counts as one without a definition. */
static struct shape_request *read_requests(struct plan *p, size_t *out_n)
{
    struct shape_request *list = NULL;
    size_t total = 0;
    struct sat_subscribe *subs = arena_alloc_array(&p->arena, p->n + 1, sizeof *subs);
    for (size_t i = 0; i < p->n; i++) {
        if (!sat_read_subscribe(&p->arena, p->requests[i], &subs[i])) {
            subs[i].shapes = arena_zalloc(&p->arena, sizeof *subs[i].shapes);
            subs[i].n_shapes = 1;
        }
        total += subs[i].n_shapes;
    }
    list = arena_alloc_array(&p->arena, total + 1, sizeof *list);
    *out_n = 0;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t k = 0; k < subs[i].n_shapes; k++) {
            fill_request(&p->arena, &subs[i].shapes[k], &list[(*out_n)++]);
        }
    }
    return list;
}

static void copy_faults(struct arena *a, struct shape_faults *faults)
{
    struct shape_fault *copy = arena_alloc_array(a, faults->n + 1, sizeof *copy);
    for (size_t i = 0; i < faults->n; i++) {
        copy[i] = faults->items[i];
        copy[i].message = arena_str(a, copy[i].message);
    }
    faults->items = copy;
}

struct plan *plan_new(struct model *model, const struct str *requests, size_t n, struct arena *a,
                      struct shape_faults *out_faults)
{
    struct plan *p = mem_zalloc(sizeof *p);
    struct shape_faults faults;
    size_t shapes;
    p->refs = 1;
    p->model = model;
    p->n = n;
    p->requests = arena_alloc_array(&p->arena, n + 1, sizeof *p->requests);
    for (size_t i = 0; i < n; i++) {
        p->requests[i] = arena_str(&p->arena, requests[i]);
    }
    struct shape_request *list = read_requests(p, &shapes);
    if (shape_compile(&p->arena, &model->schema, list, shapes, &p->forest, &faults) == SHAPE_COMPILED) {
        return p;
    }
    copy_faults(a, &faults);
    *out_faults = faults;
    plan_unref(p);
    return NULL;
}

struct plan *plan_again(const struct plan *p, struct model *model)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct shape_faults faults;
    return plan_new(model, p->requests, p->n, &a, &faults);
}

struct plan *plan_ref(struct plan *p)
{
    p->refs++;
    return p;
}

void plan_unref(struct plan *p)
{
    if (p && --p->refs == 0) {
        model_unref(p->model);
        arena_deinit(&p->arena);
        free(p);
    }
}
