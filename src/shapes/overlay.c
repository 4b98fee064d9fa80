/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One hash table for each table. Only the first change of a key is noted: what comes later happened after P
 * as well. A primary key that changes is two keys: one that was there, one that was not. When P moves on,
 * what a transaction leaves behind takes the place of what was noted.
 */
#include "shapes/overlay.h"

#include "base/mem.h"
#include "shapes/keys.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

struct noted;

/* Among the rows with the same values in the columns of one index. */
struct noted_place {
    struct noted *next, **at; /* at NULL: it is not there */
};

struct noted {
    struct keyed k;
    const struct value *row;    /* NULL: it was not there */
    struct noted_place *places; /* by index */
    char key[];
};

struct noted_group {
    struct keyed k;
    struct noted *first;
    char key[];
};

struct noted_index {
    struct columns columns;
    struct keytable groups;
};

struct noted_table {
    const struct table *table;
    uint32_t *key;
    uint32_t n_key;
    struct keytable noted;
    struct noted_index *indexes;
    uint32_t n_indexes;
};

struct overlay {
    struct arena arena;   /* what is noted */
    struct arena scratch; /* of one transaction */
    struct rowmaps maps;
    struct noted_table *tables;
    size_t n_tables;
    struct buf key;
    struct key_seed seed;
    size_t max_bytes;
    int outcome;
};

struct overlay *overlay_new(const struct table *const *tables, size_t n, size_t max_bytes)
{
    struct overlay *o = mem_zalloc(sizeof *o);
    buf_init(&o->key, KEY_MAX);
    rowmaps_init(&o->maps, tables, n);
    o->tables = arena_alloc_array(&o->arena, n, sizeof *o->tables);
    o->n_tables = n;
    o->max_bytes = max_bytes;
    o->outcome = OVERLAY_ADDED;
    o->seed = key_seed();
    for (size_t i = 0; i < n; i++) {
        struct noted_table *t = &o->tables[i];
        t->table = tables[i];
        t->key = table_key_columns(tables[i], &o->arena, &t->n_key);
        t->noted.key_at = offsetof(struct noted, key);
    }
    return o;
}

void overlay_free(struct overlay *o)
{
    if (!o) {
        return;
    }
    for (size_t i = 0; i < o->n_tables; i++) {
        struct noted_table *t = &o->tables[i];
        keytable_deinit(&t->noted);
        for (uint32_t k = 0; k < t->n_indexes; k++) {
            keytable_deinit(&t->indexes[k].groups);
        }
    }
    rowmaps_deinit(&o->maps);
    buf_deinit(&o->key);
    arena_deinit(&o->scratch);
    arena_deinit(&o->arena);
    free(o);
}

size_t overlay_bytes(const struct overlay *o)
{
    size_t bytes = o->arena.used;
    for (size_t i = 0; i < o->n_tables; i++) {
        const struct noted_table *t = &o->tables[i];
        bytes += t->noted.cap * sizeof(struct keyed *);
        for (uint32_t k = 0; k < t->n_indexes; k++) {
            bytes += t->indexes[k].groups.cap * sizeof(struct keyed *);
        }
    }
    return bytes;
}

static struct value *copy_row(struct overlay *o, const struct value *row, size_t n)
{
    struct value *copy = arena_alloc(&o->arena, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) {
        copy[i] = row[i];
        if (row[i].p) {
            copy[i].p = arena_str(&o->arena, (struct str){row[i].p, row[i].n}).p;
        }
    }
    return copy;
}

/* --- indexes --- */

static struct noted_table *table_of(const struct overlay *o, const struct table *table)
{
    for (size_t i = 0; i < o->n_tables; i++) {
        if (o->tables[i].table == table) {
            return &o->tables[i];
        }
    }
    return NULL;
}

static struct noted_index *find_index(const struct noted_table *t, struct columns columns)
{
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        struct columns c = t->indexes[i].columns;
        if (c.n == columns.n && memcmp(c.items, columns.items, c.n * sizeof *c.items) == 0) {
            return &t->indexes[i];
        }
    }
    return NULL;
}

void overlay_index(struct overlay *o, const struct table *table, struct columns columns)
{
    struct noted_table *t = table_of(o, table);
    if (!t || find_index(t, columns)) {
        return;
    }
    assert(t->noted.n == 0);
    struct noted_index *more = arena_alloc_array(&o->arena, t->n_indexes + 1, sizeof *more);
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        more[i] = t->indexes[i];
    }
    more[t->n_indexes].columns = columns;
    more[t->n_indexes++].groups.key_at = offsetof(struct noted_group, key);
    t->indexes = more;
}

/* NULL: there is none, and `make` is false, or a column is NULL. */
static struct noted_group *group_of(struct overlay *o, struct noted_index *index, const struct value *row,
                                    const uint32_t *columns, bool make)
{
    buf_reset(&o->key);
    if (!key_put(&o->key, row, columns, index->columns.n)) {
        return NULL;
    }
    struct str key = buf_str(&o->key);
    uint32_t hash = key_hash(o->seed, key);
    struct noted_group *g = (struct noted_group *)keytable_find(&index->groups, key, hash);
    if (!g && make) {
        g = arena_zalloc(&o->arena, sizeof *g + key.n);
        g->k = (struct keyed){.hash = hash, .n = (uint32_t)key.n & 0x7fffffff};
        memcpy(g->key, key.p, key.n);
        keytable_add(&index->groups, &g->k);
    }
    return g;
}

static void take_out(struct noted *n, uint32_t index)
{
    struct noted_place *p = &n->places[index];
    if (p->at) {
        *p->at = p->next;
        if (p->next) {
            p->next->places[index].at = p->at;
        }
        *p = (struct noted_place){0};
    }
}

static void put_in(struct noted_group *g, struct noted *n, uint32_t index)
{
    struct noted_place *p = &n->places[index];
    p->next = g->first;
    p->at = &g->first;
    if (p->next) {
        p->next->places[index].at = &p->next;
    }
    g->first = n;
}

/* How the row was at P. */
static void set_row(struct overlay *o, struct noted_table *t, struct noted *n, const struct value *row)
{
    n->row = row;
    for (uint32_t i = 0; i < t->n_indexes; i++) {
        struct noted_index *index = &t->indexes[i];
        struct noted_group *g = row ? group_of(o, index, row, index->columns.items, true) : NULL;
        take_out(n, i);
        if (g) {
            put_in(g, n, i);
        }
    }
}

/* --- noting --- */

enum direction { BACK, FORTH };

/* `at_p` NULL: the key was not there. */
static void note(struct overlay *o, struct noted_table *t, enum direction direction,
                 const struct value *keyed_row, const struct value *at_p)
{
    buf_reset(&o->key);
    key_put(&o->key, keyed_row, t->key, t->n_key);
    struct str key = buf_str(&o->key);
    uint32_t hash = key_hash(o->seed, key);
    struct noted *known = (struct noted *)keytable_find(&t->noted, key, hash);
    if (known) {
        if (direction == FORTH) {
            set_row(o, t, known, at_p ? copy_row(o, at_p, t->table->n_columns) : NULL);
        }
        return;
    }
    struct noted *n = arena_alloc(&o->arena, sizeof *n + key.n);
    n->k = (struct keyed){.hash = hash, .n = (uint32_t)key.n};
    n->places = arena_alloc_array(&o->arena, t->n_indexes, sizeof *n->places);
    memcpy(n->key, key.p, key.n);
    keytable_add(&t->noted, &n->k);
    set_row(o, t, n, at_p ? copy_row(o, at_p, t->table->n_columns) : NULL);
}

static int note_change(struct overlay *o, enum direction direction, const struct rowmap *map,
                       const struct change *change, struct err *err)
{
    struct noted_table *t = &o->tables[map->table];
    const struct value *old = NULL, *new = NULL;
    if (rowmap_read(&o->maps, map, &change->old, &o->scratch, &old, err) < 0 ||
        rowmap_read(&o->maps, map, &change->new, &o->scratch, &new, err) < 0) {
        return -1;
    }
    if (change->kind != CHANGE_INSERT && !old) {
        return err_set(err, ERR_INTERNAL, "the log lacks the old row of a change of %.*s",
                       STR_ARG(t->table->name));
    }
    if (old) {
        note(o, t, direction, old, direction == BACK ? old : NULL);
    }
    if (new) {
        note(o, t, direction, new, direction == BACK ? NULL : new);
    }
    return 0;
}

static int add_change(struct overlay *o, enum direction direction, const struct change *change,
                      const struct relations *relations, struct err *err)
{
    const struct rowmap *map;
    if (change->kind == CHANGE_MESSAGE) {
        return 0;
    }
    int rc = rowmaps_find(&o->maps, relations, change->relation, &map, err);
    if (rc <= 0) {
        return rc;
    }
    if (change->kind == CHANGE_TRUNCATE) {
        o->outcome = OVERLAY_TRUNCATED;
        return 0;
    }
    rc = note_change(o, direction, map, change, err);
    if (overlay_bytes(o) > o->max_bytes) {
        o->outcome = OVERLAY_FULL;
    }
    arena_reset(&o->scratch);
    return rc;
}

static int follow(struct overlay *o, enum direction direction, struct str txn,
                  const struct relations *relations, struct err *err)
{
    struct txn_head head;
    struct change change;
    if (txn_read_head(txn, &head, err) < 0) {
        return -1;
    }
    struct txn_cursor c = txn_changes(txn);
    while (o->outcome == OVERLAY_ADDED) {
        int rc = txn_next(&c, &change, err);
        if (rc <= 0) {
            return rc < 0 ? -1 : o->outcome;
        }
        if (add_change(o, direction, &change, relations, err) < 0) {
            return -1;
        }
    }
    return o->outcome;
}

int overlay_add(struct overlay *o, struct str txn, const struct relations *relations, struct err *err)
{
    return follow(o, BACK, txn, relations, err);
}

int overlay_advance(struct overlay *o, struct str txn, const struct relations *relations, struct err *err)
{
    return follow(o, FORTH, txn, relations, err);
}

enum overlay_found overlay_find(struct overlay *o, const struct table *table, const struct value *row,
                                const struct value **out_row)
{
    const struct noted_table *t = table_of(o, table);
    if (!t || t->noted.n == 0) {
        return OVERLAY_UNCHANGED;
    }
    buf_reset(&o->key);
    key_put(&o->key, row, t->key, t->n_key);
    const struct keyed *k = keytable_find(&t->noted, buf_str(&o->key), key_hash(o->seed, buf_str(&o->key)));
    if (!k) {
        return OVERLAY_UNCHANGED;
    }
    const struct noted *n = (const struct noted *)k;
    if (!n->row) {
        return OVERLAY_ABSENT;
    }
    *out_row = n->row;
    return OVERLAY_ROW;
}

void overlay_each(const struct overlay *o, const struct table *table, overlay_row_fn *fn, void *ctx)
{
    const struct noted_table *t = table_of(o, table);
    for (size_t i = 0; t && i < t->noted.cap; i++) {
        for (const struct keyed *k = t->noted.slots[i]; k; k = k->next) {
            const struct noted *n = (const struct noted *)k;
            if (n->row) {
                fn(ctx, n->row);
            }
        }
    }
}

void overlay_each_with(struct overlay *o, const struct table *table, struct columns columns,
                       const struct value *key, overlay_row_fn *fn, void *ctx)
{
    const struct noted_table *t = table_of(o, table);
    struct noted_index *index = t ? find_index(t, columns) : NULL;
    if (!index) {
        overlay_each(o, table, fn, ctx);
        return;
    }
    uint32_t at = (uint32_t)(index - t->indexes);
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    uint32_t *first = arena_alloc_array(&a, columns.n, sizeof *first);
    for (uint32_t i = 0; i < columns.n; i++) {
        first[i] = i;
    }
    const struct noted_group *g = group_of(o, index, key, first, false);
    for (const struct noted *n = g ? g->first : NULL; n; n = n->places[at].next) {
        fn(ctx, n->row);
    }
}
