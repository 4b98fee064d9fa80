/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row leads to the flows that go by its values, before or after a change. Once it has left those of a flow,
 * what becomes of it still matters there: a row that is gone from the view may be deleted later, or another
 * one get its key. So rows that have left are remembered, by a hash of their keys; when two meet, a flow
 * looks at a change too many.
 */
#include "hub/parts.h"

#include "base/mem.h"

#include <stdlib.h>

struct left {
    struct part *part; /* NULL: the slot is empty */
    uint32_t hash;
};

struct finding {
    struct routes *routes;
    size_t place;  /* of the change at hand */
    size_t places; /* noted, in all parts */
    struct left *slots;
    size_t cap, n; /* cap: 0, or a power of two */
};

/* --- what a flow looks at --- */

static void look_at_everything(struct finding *f, struct part *p)
{
    f->places -= p->changes.n;
    p->whole = true;
    part_deinit(p);
}

/* At the change at hand. */
static void look(struct finding *f, struct part *p)
{
    if (p->whole || (p->changes.n > 0 && p->changes.places[p->changes.n - 1] == f->place)) {
        return;
    }
    if (f->places == PARTS_PLACES) {
        look_at_everything(f, p);
        return;
    }
    size_t *places = (size_t *)(uintptr_t)p->changes.places;
    if (p->changes.n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->changes.places = places = mem_realloc(places, p->cap * sizeof *places);
    }
    places[p->changes.n++] = f->place;
    f->places++;
}

/* --- rows that have left --- */

static struct left *find_slot(const struct finding *f, uint32_t hash, const struct part *part)
{
    size_t i = hash & (f->cap - 1);
    while (f->slots[i].part && (f->slots[i].hash != hash || f->slots[i].part != part)) {
        i = (i + 1) & (f->cap - 1);
    }
    return &f->slots[i];
}

static void grow(struct finding *f)
{
    struct finding bigger = {.cap = f->cap ? 2 * f->cap : 1024, .n = f->n};
    bigger.slots = mem_zalloc(bigger.cap * sizeof *bigger.slots);
    for (size_t i = 0; i < f->cap; i++) {
        if (f->slots[i].part) {
            *find_slot(&bigger, f->slots[i].hash, f->slots[i].part) = f->slots[i];
        }
    }
    free(f->slots);
    f->slots = bigger.slots;
    f->cap = bigger.cap;
}

static void remember(struct finding *f, uint32_t hash, struct part *part)
{
    if (f->n == PARTS_LEFT) {
        look_at_everything(f, part);
        return;
    }
    if (f->n >= f->cap / 2) {
        grow(f);
    }
    struct left *slot = find_slot(f, hash, part);
    f->n += !slot->part;
    *slot = (struct left){part, hash};
}

static void look_for_left(struct finding *f, enum route_row which)
{
    uint32_t hash;
    if (f->n == 0 || !routes_row_hash(f->routes, which, &hash)) {
        return;
    }
    for (size_t i = hash & (f->cap - 1); f->slots[i].part; i = (i + 1) & (f->cap - 1)) {
        if (f->slots[i].hash == hash) {
            look(f, f->slots[i].part);
        }
    }
}

/* --- the pass --- */

static void on_target(void *ctx, void *target, enum route_how how)
{
    struct finding *f = ctx;
    struct part *part = target;
    uint32_t hash;
    look(f, part);
    if (how == ROUTE_LEFT && !part->whole && routes_row_hash(f->routes, ROUTE_OLD, &hash)) {
        remember(f, hash, part);
    }
}

static int find(struct finding *f, struct str record, const struct relations *relations, struct err *err)
{
    struct txn_cursor cursor = txn_changes(record);
    struct change change;
    int rc;
    f->place = txn_place(&cursor, record);
    while ((rc = txn_next(&cursor, &change, err)) == 1) {
        if (routes_follow_change(f->routes, &change, relations, on_target, f, err) < 0) {
            return -1;
        }
        look_for_left(f, ROUTE_OLD);
        look_for_left(f, ROUTE_NEW);
        f->place = txn_place(&cursor, record);
    }
    return rc;
}

int parts_find(struct routes *rs, struct str record, const struct relations *relations, struct err *err)
{
    struct finding f = {.routes = rs};
    int rc = find(&f, record, relations, err);
    free(f.slots);
    return rc;
}

void part_deinit(struct part *p)
{
    free((void *)(uintptr_t)p->changes.places);
    p->changes = (struct txn_part){NULL, 0};
    p->cap = 0;
}
