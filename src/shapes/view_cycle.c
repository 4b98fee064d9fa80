/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of layers that refer to each other in a circle (a table that refers to itself, two that refer to
 * each other).
 *
 * Counting holders does not do here: two rows that refer to each other hold each other for ever, though
 * nothing else leads to them. So when a row of such a group has lost a holder and has others, we go through
 * all that it leads to inside the group, and count for each row how many of its holders are among those. Who
 * has a holder elsewhere stays, with all that it leads to; the rest leaves. This costs as many steps as there
 * are rows to be reached from the row: its ancestors, where the table is a tree.
 */
#include "shapes/view_index.h"

struct waiting {
    struct keyed k;
    struct touched *row;
    char key[];
};

void cycle_wait(struct view *v, struct vlayer *l, struct touched *row)
{
    buf_reset(&v->key);
    if (!key_put(&v->key, row->new, l->layer->columns.items, l->layer->columns.n)) {
        return;
    }
    struct str key = buf_str(&v->key);
    uint32_t hash = key_hash(v->seed, key);
    l->waiting.key_at = offsetof(struct waiting, key);
    if (keytable_find(&l->waiting, key, hash)) {
        return;
    }
    struct waiting *w = arena_alloc(v->a, sizeof *w + key.n);
    *w = (struct waiting){.k = {.hash = hash, .n = (uint32_t)key.n}, .row = row};
    memcpy(w->key, key.p, key.n);
    keytable_add(&l->waiting, &w->k);
}

struct touched *cycle_waiting(const struct vlayer *l, const struct anchor *anchor)
{
    struct str key = {anchor->key, anchor->k.n};
    const struct keyed *w = keytable_find(&l->waiting, key, anchor->k.hash);
    return w ? ((const struct waiting *)w)->row : NULL;
}

/* An anchor on trial. Its key is the anchor's address. */
struct trial {
    struct keyed k;
    struct anchor *anchor;
    struct trial *next;      /* all of them, as they were found */
    struct trial *next_live; /* those whose own ties are still to be followed */
    struct vlayer *layer;
    uint32_t inside; /* holders that are on trial themselves */
    bool live;
};

struct court {
    struct view *v;
    struct arena arena;
    struct keytable trials;
    struct trial *first, **end, *live;
};

static struct trial *summon(struct court *c, struct vlayer *l, struct anchor *a)
{
    struct str key = {(const char *)&a, sizeof a};
    uint32_t hash = key_hash(c->v->seed, key);
    struct keyed *found = keytable_find(&c->trials, key, hash);
    if (found) {
        return CONTAINER_OF(found, struct trial, k);
    }
    struct trial *t = arena_zalloc(&c->arena, sizeof *t);
    *t = (struct trial){.k = {.hash = hash, .n = sizeof a}, .anchor = a, .layer = l};
    keytable_add(&c->trials, &t->k);
    *c->end = t;
    c->end = &t->next;
    return t;
}

/* The anchor in the group that a row on trial holds by a tie. NULL: none. */
static struct anchor *held(struct court *c, const struct trial *t, const struct tie *tie)
{
    struct str key;
    if (!t->anchor->first || tie->to->group != t->layer->group) {
        return NULL;
    }
    if (!tie_key(c->v, tie, row_kept(t->layer->table, t->anchor->first), &key)) {
        return NULL;
    }
    return (struct anchor *)(void *)keytable_find(&tie->to->anchors, key, key_hash(c->v->seed, key));
}

static void reach(struct court *c)
{
    for (struct trial *t = c->first; t; t = t->next) {
        for (uint32_t i = 0; i < t->layer->n_ties; i++) {
            struct anchor *a = held(c, t, &t->layer->ties[i]);
            if (a) {
                summon(c, t->layer->ties[i].to, a)->inside++;
            }
        }
    }
}

static void acquit(struct court *c, struct trial *t)
{
    if (!t->live) {
        t->live = true;
        t->next_live = c->live;
        c->live = t;
    }
}

static void judge(struct court *c)
{
    for (struct trial *t = c->first; t; t = t->next) {
        if (t->anchor->holders > t->inside) {
            acquit(c, t);
        }
    }
    while (c->live) {
        struct trial *t = c->live;
        c->live = t->next_live;
        for (uint32_t i = 0; i < t->layer->n_ties; i++) {
            struct anchor *a = held(c, t, &t->layer->ties[i]);
            if (a) {
                acquit(c, summon(c, t->layer->ties[i].to, a));
            }
        }
    }
    for (struct trial *t = c->first; t; t = t->next) {
        while (!t->live && t->anchor->first) {
            view_take_out(c->v, t->layer, t->anchor->first);
        }
    }
}

void cycle_collect(struct view *v, struct group *g)
{
    struct court c = {.v = v, .trials = {.key_at = offsetof(struct trial, anchor)}};
    c.end = &c.first;
    for (uint32_t i = 0; i < g->n; i++) {
        struct vlayer *l = g->layers[i];
        for (size_t j = 0; j < l->touched.n; j++) {
            struct anchor *a = l->touched.items[j];
            if ((a->marks & ANCHOR_CUT) && a->holders > 0) {
                summon(&c, l, a);
            }
        }
    }
    reach(&c);
    judge(&c);
    keytable_deinit(&c.trials);
    arena_deinit(&c.arena);
}
