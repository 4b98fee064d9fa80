/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key of a layer is *wanted* when a transaction to come makes a row hold it that did not before, unless the
 * view has its rows: it is held already, and nothing seen has let go of it. The rows that are read for it
 * want what they hold in turn.
 */
#include "shapes/ahead.h"

#include "base/mem.h"
#include "shapes/view_index.h"

#include <stddef.h>
#include <stdlib.h>

struct ahead_row {
    struct ahead_row *next;
    struct value values[];
};

/* A key of a layer. */
struct guess {
    struct keyed k;
    struct guess *next; /* among those wanted, or being read */
    struct ahead_row *rows;
    bool wanted, answered;
    bool dropped; /* somebody lets go of it: that the view has its rows now says nothing */
    char key[];
};

struct guesses {
    struct keytable table;
    struct guess *wanted, *reading;
    size_t n_wanted;
};

struct ahead {
    struct arena arena;
    struct arena scratch; /* of one change */
    struct view *view;
    struct guesses *layers; /* as in the view */
    struct buf key, other_key;
    size_t max_bytes;
    bool full;
    struct vlayer *reading; /* NULL: nothing is */
    struct arena need_arena;
    struct view_need need;
};

struct ahead *ahead_new(struct view *v, size_t max_bytes)
{
    struct ahead *a = mem_zalloc(sizeof *a);
    a->view = v;
    a->max_bytes = max_bytes;
    buf_init(&a->key, KEY_MAX);
    buf_init(&a->other_key, KEY_MAX);
    a->layers = mem_zalloc(v->n_layers * sizeof *a->layers);
    for (uint32_t i = 0; i < v->n_layers; i++) {
        a->layers[i].table.key_at = offsetof(struct guess, key);
    }
    return a;
}

void ahead_free(struct ahead *a)
{
    if (!a) {
        return;
    }
    for (uint32_t i = 0; i < a->view->n_layers; i++) {
        keytable_deinit(&a->layers[i].table);
    }
    free(a->layers);
    buf_deinit(&a->key);
    buf_deinit(&a->other_key);
    arena_deinit(&a->need_arena);
    arena_deinit(&a->scratch);
    arena_deinit(&a->arena);
    free(a);
}

bool ahead_is_full(const struct ahead *a)
{
    return a->full;
}

/* --- keys --- */

static const uint32_t *first_columns(struct ahead *a, uint32_t n)
{
    uint32_t *columns = arena_alloc_array(&a->scratch, n, sizeof *columns);
    for (uint32_t i = 0; i < n; i++) {
        columns[i] = i;
    }
    return columns;
}

static struct guess *find(const struct ahead *a, const struct vlayer *l, struct str key)
{
    return (struct guess *)(void *)keytable_find(&a->layers[l->index].table, key,
                                                 key_hash(a->view->seed, key));
}

static struct guess *find_or_add(struct ahead *a, const struct vlayer *l, struct str key)
{
    struct guess *g = find(a, l, key);
    if (!g) {
        g = arena_zalloc(&a->arena, sizeof *g + key.n);
        g->k = (struct keyed){.hash = key_hash(a->view->seed, key), .n = (uint32_t)key.n & 0x7fffffff};
        memcpy(g->key, key.p, key.n);
        keytable_add(&a->layers[l->index].table, &g->k);
        a->full = a->full || a->arena.used > a->max_bytes;
    }
    return g;
}

static bool is_held(const struct ahead *a, const struct vlayer *l, struct str key)
{
    struct keyed *k = keytable_find(&l->anchors, key, key_hash(a->view->seed, key));
    return k && CONTAINER_OF(k, struct anchor, k)->holders > 0;
}

static void want(struct ahead *a, const struct vlayer *l, struct guess *g)
{
    struct guesses *all = &a->layers[l->index];
    if (!g->wanted) {
        g->wanted = true;
        g->next = all->wanted;
        all->wanted = g;
        all->n_wanted++;
    }
}

static void drop(struct ahead *a, const struct tie *tie, struct str key)
{
    find_or_add(a, tie->to, key)->dropped = true;
}

static void hold(struct ahead *a, const struct tie *tie, struct str key)
{
    const struct guess *known = find(a, tie->to, key);
    if ((known && known->dropped) || !is_held(a, tie->to, key)) {
        want(a, tie->to, find_or_add(a, tie->to, key));
    }
}

/* false: a column is NULL. Borrowed from the buffer. */
static bool put_key(struct buf *b, const struct value *row, const uint32_t *columns, uint32_t n,
                    struct str *out_key)
{
    buf_reset(b);
    bool whole = key_put(b, row, columns, n);
    *out_key = buf_str(b);
    return whole;
}

/* --- transactions to come --- */

/* As far as can be told without applying what comes before. */
static bool may_be_in(struct ahead *a, const struct vlayer *l, const struct value *row)
{
    struct str key;
    if (!row || !layer_admits(l->layer, a->view->user, row)) {
        return false;
    }
    if (l->layer->kind == LAYER_TOP) {
        return true;
    }
    if (!put_key(&a->key, row, l->layer->columns.items, l->layer->columns.n, &key)) {
        return false;
    }
    const struct guess *g = find(a, l, key);
    return is_held(a, l, key) || (g && g->wanted);
}

/* A row that is new in the database has no children from before. */
static bool has_no_rows(const struct tie *tie, const struct value *old)
{
    return !old && tie->to_children && tie->whole_key;
}

static void see_tie(struct ahead *a, const struct tie *tie, const struct value *was, const struct value *is,
                    const struct value *old)
{
    struct str before, after;
    const uint32_t *columns = tie->columns.items;
    bool had = was && put_key(&a->key, was, columns, tie->columns.n, &before);
    bool has = is && put_key(&a->other_key, is, columns, tie->columns.n, &after);
    if (had && has && str_eq(before, after)) {
        return;
    }
    if (had) {
        drop(a, tie, before);
    }
    if (has && !has_no_rows(tie, old)) {
        hold(a, tie, after);
    }
}

static void see_row(struct ahead *a, const struct vlayer *l, const struct value *old, const struct value *new)
{
    const struct value *was = may_be_in(a, l, old) ? old : NULL;
    const struct value *is = may_be_in(a, l, new) ? new : NULL;
    for (uint32_t i = 0; (was || is) && i < l->n_ties; i++) {
        see_tie(a, &l->ties[i], was, is, old);
    }
}

static int see_change(struct ahead *a, const struct change *change, const struct relations *relations,
                      struct err *err)
{
    struct view *v = a->view;
    const struct value *old = NULL, *new = NULL;
    const struct rowmap *map;
    if (change->kind == CHANGE_MESSAGE || change->kind == CHANGE_TRUNCATE) {
        return 0;
    }
    int rc = rowmaps_find(&v->maps, relations, change->relation, &map, err);
    if (rc <= 0) {
        return rc;
    }
    if (rowmap_read(&v->maps, map, &change->old, &a->scratch, &old, err) < 0 ||
        rowmap_read(&v->maps, map, &change->new, &a->scratch, &new, err) < 0) {
        return -1;
    }
    const struct vtable *t = &v->tables[map->table];
    for (uint32_t i = 0; i < t->n_tops; i++) {
        see_row(a, t->tops[i], old, new);
    }
    for (uint32_t i = 0; i < t->n_joins; i++) {
        see_row(a, t->joins[i], old, new);
    }
    return 0;
}

int ahead_see(struct ahead *a, struct str txn, const struct relations *relations, struct err *err)
{
    struct txn_head head;
    struct change change;
    if (txn_read_head(txn, &head, err) < 0) {
        return -1;
    }
    struct txn_cursor c = txn_changes(txn);
    while (!a->full) {
        int rc = txn_next(&c, &change, err);
        if (rc <= 0) {
            return rc;
        }
        rc = see_change(a, &change, relations, err);
        arena_reset(&a->scratch);
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

void ahead_need(struct ahead *a, const struct view_need *need)
{
    const struct vlayer *l = &a->view->layers[need->layer];
    uint32_t width = l->layer->columns.n;
    const uint32_t *columns = first_columns(a, width);
    struct str key;
    for (size_t i = 0; i < need->n; i++) {
        if (put_key(&a->key, &need->keys[i * width], columns, width, &key)) {
            want(a, l, find_or_add(a, l, key));
        }
    }
    arena_reset(&a->scratch);
}

/* --- reading --- */

static void end_reading(struct ahead *a)
{
    if (!a->reading) {
        return;
    }
    struct guesses *all = &a->layers[a->reading->index];
    for (struct guess *g = all->reading; g; g = g->next) {
        g->answered = !a->full; /* else rows may be missing */
    }
    all->reading = NULL;
    a->reading = NULL;
}

static void begin_reading(struct ahead *a, struct vlayer *l)
{
    struct guesses *all = &a->layers[l->index];
    uint32_t width = l->layer->columns.n;
    struct value *keys = arena_alloc_array(&a->need_arena, all->n_wanted * width, sizeof *keys);
    struct value *next = keys;
    for (const struct guess *g = all->wanted; g; g = g->next) {
        const char *p = g->key;
        for (uint32_t i = 0; i < width; i++) {
            p = key_take(p, next++);
        }
    }
    a->need = (struct view_need){.layer = l->index, .keys = keys, .n = all->n_wanted};
    a->reading = l;
    all->reading = take_ptr(&all->wanted);
    all->n_wanted = 0;
}

/* Layers in the order in which who holds comes first: a query then has all that is wanted so far. */
static struct vlayer *next_layer(const struct ahead *a)
{
    const struct view *v = a->view;
    for (uint32_t i = 0; i < v->n_groups; i++) {
        for (uint32_t k = 0; k < v->groups[i].n; k++) {
            struct vlayer *l = v->groups[i].layers[k];
            if (a->layers[l->index].n_wanted > 0) {
                return l;
            }
        }
    }
    return NULL;
}

const struct view_need *ahead_next(struct ahead *a)
{
    end_reading(a);
    struct vlayer *l = a->full ? NULL : next_layer(a);
    arena_reset(&a->need_arena);
    if (!l) {
        return NULL;
    }
    begin_reading(a, l);
    return &a->need;
}

static void keep(struct ahead *a, struct guess *g, const struct value *row, size_t n)
{
    struct ahead_row *kept = arena_alloc(&a->arena, sizeof *kept + n * sizeof *row);
    for (size_t i = 0; i < n; i++) {
        kept->values[i] = row[i];
        if (row[i].p) {
            kept->values[i].p = arena_str(&a->arena, (struct str){row[i].p, row[i].n}).p;
        }
    }
    kept->next = g->rows;
    g->rows = kept;
    a->full = a->full || a->arena.used > a->max_bytes;
}

void ahead_feed(struct ahead *a, const struct value *row)
{
    const struct vlayer *l = a->reading;
    struct str key;
    if (a->full || !layer_admits(l->layer, a->view->user, row) ||
        !put_key(&a->key, row, l->layer->columns.items, l->layer->columns.n, &key)) {
        return;
    }
    struct guess *g = find(a, l, key);
    if (!g || g->answered) {
        return; /* a key that is equal to PostgreSQL and another text: nobody holds it */
    }
    keep(a, g, row, l->table->table->n_columns);
    for (uint32_t i = 0; i < l->n_ties; i++) {
        if (put_key(&a->key, row, l->ties[i].columns.items, l->ties[i].columns.n, &key)) {
            if (g->dropped) {
                drop(a, &l->ties[i], key);
            }
            hold(a, &l->ties[i], key);
        }
    }
}

/* --- answers --- */

bool ahead_answer(struct ahead *a, const struct view_need *need, ahead_row_fn *fn, void *ctx)
{
    const struct vlayer *l = &a->view->layers[need->layer];
    uint32_t width = l->layer->columns.n;
    const uint32_t *columns = first_columns(a, width);
    struct guess **found = arena_alloc_array(&a->scratch, need->n, sizeof(struct guess *));
    bool all = !need->whole;
    for (size_t i = 0; all && i < need->n; i++) {
        struct str key;
        ignore_result(put_key(&a->key, &need->keys[i * width], columns, width, &key)); /* none is NULL */
        found[i] = find(a, l, key);
        all = found[i] && found[i]->answered;
    }
    for (size_t i = 0; all && i < need->n; i++) {
        for (const struct ahead_row *row = found[i]->rows; row; row = row->next) {
            fn(ctx, row->values);
        }
    }
    arena_reset(&a->scratch);
    return all;
}
