/* SPDX-License-Identifier: Apache-2.0 */
/* Rows, anchors and what holds them: the bookkeeping. When rows come and go is decided in view_apply.c. */
#include "shapes/view_index.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

/* --- rows --- */

bool row_is_anywhere(const struct row *r, const struct vtable *t)
{
    for (uint32_t i = 0; i < t->n_joins; i++) {
        if (r->places[i].at) {
            return true;
        }
    }
    return false;
}

static char *kept_bytes(const struct vtable *t, struct row *r)
{
    return (char *)r + t->rows.key_at;
}

static size_t row_bytes(const struct vtable *t, struct row *r)
{
    const char *p = kept_bytes(t, r);
    struct value v;
    for (uint32_t i = 0; i < t->n_kept; i++) {
        p = key_take(p, &v);
    }
    return (size_t)(p - (const char *)r);
}

struct row *row_find(const struct vtable *t, struct str key, uint32_t hash)
{
    return (struct row *)(void *)keytable_find(&t->rows, key, hash);
}

struct str row_key(struct view *v, const struct vtable *t, const struct value *values)
{
    buf_reset(&v->key);
    key_put(&v->key, values, t->key, t->n_key);
    return buf_str(&v->key);
}

/* Neither in the table nor in layers. */
static struct row *make_row(struct view *v, struct vtable *t, const struct value *values)
{
    buf_reset(&v->key);
    key_put(&v->key, values, t->kept, t->n_key);
    size_t n_key = v->key.n;
    key_put(&v->key, values, t->kept + t->n_key, t->n_kept - t->n_key);
    struct row *r = mem_alloc(t->rows.key_at + v->key.n);
    memset(r->places, 0, t->n_joins * sizeof r->places[0]);
    memcpy(kept_bytes(t, r), v->key.p, v->key.n);
    r->k = (struct keyed){.n = (uint32_t)n_key, .hash = key_hash(v->seed, (struct str){v->key.p, n_key})};
    v->bytes += t->rows.key_at + v->key.n;
    return r;
}

struct row *row_add(struct view *v, struct vtable *t, const struct value *values)
{
    struct row *r = make_row(v, t, values);
    keytable_add(&t->rows, &r->k);
    return r;
}

static void free_row(struct view *v, struct vtable *t, struct row *r)
{
    v->bytes -= row_bytes(t, r);
    keytable_remove(&t->rows, &r->k);
    free(r);
}

struct row *row_replace(struct view *v, struct vtable *t, struct row *r, const struct value *values)
{
    struct row *new = make_row(v, t, values);
    new->k.mark = r->k.mark;
    for (uint32_t i = 0; i < t->n_joins; i++) {
        new->places[i] = r->places[i];
        if (new->places[i].at) {
            *new->places[i].at = new;
        }
        if (new->places[i].next) {
            new->places[i].next->places[i].at = &new->places[i].next;
        }
    }
    free_row(v, t, r);
    keytable_add(&t->rows, &new->k);
    return new;
}

void row_drop(struct view *v, struct vtable *t, struct row *r)
{
    assert(!row_is_anywhere(r, t));
    free_row(v, t, r);
}

const struct value *row_kept(struct vtable *t, const struct row *r)
{
    const char *p = (const char *)r + t->rows.key_at;
    for (uint32_t i = 0; i < t->n_kept; i++) {
        p = key_take(p, &t->scratch[t->kept[i]]);
    }
    return t->scratch;
}

void row_put_in(struct row *r, const struct vlayer *l, struct anchor *anchor)
{
    struct place *place = &r->places[l->place];
    place->next = anchor->first;
    place->at = &anchor->first;
    if (place->next) {
        place->next->places[l->place].at = &place->next;
    }
    anchor->first = r;
}

void row_take_out(struct row *r, const struct vlayer *l)
{
    struct place *place = &r->places[l->place];
    *place->at = place->next;
    if (place->next) {
        place->next->places[l->place].at = place->at;
    }
    *place = (struct place){0};
}

/* --- anchors --- */

void anchors_push(struct anchors *list, struct anchor *a)
{
    if (list->n == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 8;
        list->items = mem_realloc(list->items, list->cap * sizeof(struct anchor *));
    }
    list->items[list->n++] = a;
}

static void anchors_clear(struct anchors *list)
{
    free(list->items);
    *list = (struct anchors){0};
}

static struct anchor *find_anchor(const struct vlayer *l, struct str key, uint32_t hash)
{
    return (struct anchor *)(void *)keytable_find(&l->anchors, key, hash);
}

struct anchor *anchor_find(struct view *v, const struct vlayer *l, const struct value *row)
{
    buf_reset(&v->key);
    if (l->anchors.n == 0 || !key_put(&v->key, row, l->layer->columns.items, l->layer->columns.n)) {
        return NULL;
    }
    return find_anchor(l, buf_str(&v->key), key_hash(v->seed, buf_str(&v->key)));
}

static struct anchor *add_anchor(struct view *v, struct vlayer *l, struct str key, uint32_t hash)
{
    struct anchor *a = mem_alloc(sizeof *a + key.n);
    *a = (struct anchor){.k = {.hash = hash, .n = (uint32_t)key.n}};
    memcpy(a->key, key.p, key.n);
    keytable_add(&l->anchors, &a->k);
    v->bytes += sizeof *a + key.n;
    return a;
}

static void touch(struct vlayer *l, struct anchor *a)
{
    if (!(a->marks & ANCHOR_TOUCHED)) {
        a->marks = ANCHOR_TOUCHED | (a->holders > 0 ? ANCHOR_WAS : 0);
        anchors_push(&l->touched, a);
    }
}

static void hold(struct view *v, struct vlayer *l, struct str key, bool fresh)
{
    uint32_t hash = key_hash(v->seed, key);
    struct anchor *a = find_anchor(l, key, hash);
    a = a ? a : add_anchor(v, l, key, hash);
    touch(l, a);
    a->marks |= fresh ? 0 : ANCHOR_READ;
    if (a->holders++ == 0) {
        anchors_push(&l->risen, a);
    }
}

static void let_go(struct view *v, struct vlayer *l, struct str key)
{
    struct anchor *a = find_anchor(l, key, key_hash(v->seed, key));
    if (!a || a->holders == 0) {
        v->wrong = true;
        return;
    }
    touch(l, a);
    a->marks |= ANCHOR_CUT;
    if (--a->holders == 0) {
        anchors_push(&l->fallen, a);
    }
}

static void put_off(struct view *v, struct vlayer *l, struct str key)
{
    struct let_go *later = arena_alloc(v->a, sizeof *later);
    *later = (struct let_go){.next = v->put_off, .layer = l, .key = arena_str(v->a, key)};
    v->put_off = later;
}

void ties_let_go_now(struct view *v)
{
    struct let_go *first = v->put_off;
    v->put_off = NULL;
    for (struct let_go *later = first; later; later = later->next) {
        let_go(v, later->layer, later->key);
    }
}

/* --- ties --- */

bool tie_key(struct view *v, const struct tie *tie, const struct value *row, struct str *out_key)
{
    buf_reset(&v->key);
    if (!key_put(&v->key, row, tie->columns.items, tie->columns.n)) {
        return false;
    }
    *out_key = buf_str(&v->key);
    return true;
}

static void tie_hold(struct view *v, const struct tie *tie, const struct value *row, bool fresh)
{
    struct str key;
    if (tie_key(v, tie, row, &key)) {
        hold(v, tie->to, key, fresh && tie->to_children && tie->whole_key);
    }
}

static void tie_let_go(struct view *v, const struct tie *tie, const struct value *row)
{
    struct str key;
    if (!tie_key(v, tie, row, &key)) {
        return;
    }
    if (v->gathering && tie->to->group == v->group) {
        put_off(v, tie->to, key);
    } else {
        let_go(v, tie->to, key);
    }
}

void ties_hold(struct view *v, const struct vlayer *l, const struct value *row, bool fresh)
{
    for (uint32_t i = 0; i < l->n_ties; i++) {
        tie_hold(v, &l->ties[i], row, fresh);
    }
}

void ties_let_go(struct view *v, const struct vlayer *l, const struct value *row)
{
    for (uint32_t i = 0; i < l->n_ties; i++) {
        tie_let_go(v, &l->ties[i], row);
    }
}

void ties_shift(struct view *v, const struct vlayer *l, const struct value *old, const struct value *new)
{
    for (uint32_t i = 0; i < l->n_ties; i++) {
        const struct tie *tie = &l->ties[i];
        const uint32_t *columns = tie->columns.items;
        if (!key_equal(old, columns, new, columns, tie->columns.n)) {
            tie_hold(v, tie, new, false);
            tie_let_go(v, tie, old);
        }
    }
}

/* --- the end --- */

void layer_settle(struct view *v, struct vlayer *l)
{
    for (size_t i = 0; i < l->touched.n; i++) {
        struct anchor *a = l->touched.items[i];
        a->marks = 0;
        if (a->holders == 0) {
            v->wrong = v->wrong || a->first;
            v->bytes -= sizeof *a + a->k.n;
            keytable_remove(&l->anchors, &a->k);
            free(a);
        }
    }
    anchors_clear(&l->touched);
    anchors_clear(&l->risen);
    anchors_clear(&l->fallen);
    anchors_clear(&l->asked);
    keytable_deinit(&l->waiting);
}

void layer_deinit(struct vlayer *l)
{
    for (size_t i = 0; i < l->anchors.cap; i++) {
        for (struct keyed *k = l->anchors.slots[i], *next; k; k = next) {
            next = k->next;
            free(k);
        }
    }
    keytable_deinit(&l->anchors);
    keytable_deinit(&l->waiting);
    anchors_clear(&l->touched);
    anchors_clear(&l->risen);
    anchors_clear(&l->fallen);
    anchors_clear(&l->asked);
}
