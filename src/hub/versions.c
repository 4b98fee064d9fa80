/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rendering needs the schema before a migration and brings it up to it: one running schema for each dialect.
 * Earlier schemas are made anew from the ops, when somebody stands there, and shared.
 */
#include "hub/versions.h"

#include "base/mem.h"
#include "schema/ops.h"
#include "sync/migration.h"

#include <stdlib.h>

struct item {
    struct version public; /* first: callers hold it */
    struct arena arena;
    struct str *ops; /* JSON of each command */
    size_t n_ops;
};

struct versions {
    struct item **items;
    size_t n, cap;
    struct schema running[VERSION_DIALECTS];
    struct model *models[8]; /* somebody's; a slot taken by another just means that it is made once more */
    size_t next_model;
    uint32_t serial;
};

static void free_item(struct item *it)
{
    arena_deinit(&it->arena);
    free(it);
}

static int apply_ops(struct schema *schema, const struct item *it, struct err *err)
{
    for (size_t i = 0; i < it->n_ops; i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        struct op *ops;
        size_t n;
        if (ops_parse(&a, it->ops[i], &ops, &n, err) < 0) {
            return -1;
        }
        for (size_t k = 0; k < n; k++) {
            if (schema_apply(schema, &ops[k], err) < 0) {
                return -1;
            }
        }
    }
    return 0;
}

/* What is in the history has been applied before, so it can be again. */
static void apply_up_to(const struct versions *h, struct schema *schema, lsn_t position)
{
    struct err err;
    for (size_t i = 0; i < h->n && h->items[i]->public.lsn <= position; i++) {
        ignore_result(apply_ops(schema, h->items[i], &err));
    }
}

static void drop_models(struct versions *h)
{
    for (size_t i = 0; i < ARRAY_LEN(h->models); i++) {
        if (h->models[i]) {
            h->models[i]->slot = NULL;
            h->models[i] = NULL;
        }
    }
}

static void rebuild(struct versions *h)
{
    drop_models(h);
    for (size_t d = 0; d < VERSION_DIALECTS; d++) {
        schema_deinit(&h->running[d]);
        apply_up_to(h, &h->running[d], UINT64_MAX);
    }
}

struct versions *versions_new(void)
{
    return mem_zalloc(sizeof(struct versions));
}

void versions_reset(struct versions *h)
{
    drop_models(h);
    for (size_t i = 0; i < h->n; i++) {
        free_item(h->items[i]);
    }
    h->n = 0;
    for (size_t d = 0; d < VERSION_DIALECTS; d++) {
        schema_deinit(&h->running[d]);
    }
}

void versions_free(struct versions *h)
{
    if (h) {
        versions_reset(h);
        free(h->items);
        free(h);
    }
}

static struct item *new_item(const struct txlog_migration *m)
{
    struct item *it = mem_zalloc(sizeof *it);
    it->public = (struct version){.seq = m->seq, .xid = m->xid, .lsn = m->lsn, .commit_us = m->commit_us};
    it->public.name = arena_str(&it->arena, m->version);
    it->ops = arena_alloc_array(&it->arena, m->n + 1, sizeof *it->ops);
    it->n_ops = m->n;
    for (size_t i = 0; i < m->n; i++) {
        it->ops[i] = arena_str(&it->arena, m->ops[i]);
    }
    return it;
}

static void add_table(struct item *it, const struct op *op)
{
    struct version *v = &it->public;
    for (size_t i = 0; i < v->n_tables; i++) {
        if (str_eq(v->tables[i].schema, op->schema) && str_eq(v->tables[i].name, op->name)) {
            return;
        }
    }
    v->tables[v->n_tables].schema = arena_str(&it->arena, op->schema);
    v->tables[v->n_tables++].name = arena_str(&it->arena, op->name);
}

static int find_tables(struct item *it, struct err *err)
{
    for (size_t i = 0; i < it->n_ops; i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        struct op *ops;
        size_t n;
        if (ops_parse(&a, it->ops[i], &ops, &n, err) < 0) {
            return -1;
        }
        struct version_table *more = arena_alloc_array(&it->arena, it->public.n_tables + n + 1, sizeof *more);
        if (it->public.n_tables > 0) {
            memcpy(more, it->public.tables, it->public.n_tables * sizeof *more);
        }
        it->public.tables = more;
        for (size_t k = 0; k < n; k++) {
            if (ops[k].kind == OP_CREATE_TABLE || ops[k].kind == OP_ADD_COLUMN) {
                add_table(it, &ops[k]);
            }
        }
    }
    return 0;
}

static int render(struct versions *h, struct item *it, struct err *err)
{
    for (size_t d = 0; d < VERSION_DIALECTS; d++) {
        struct migration_text text;
        if (migration_render(&it->arena, (enum dialect)d, &h->running[d], it->public.name, it->ops, it->n_ops,
                             &text, err) < 0) {
            return -1;
        }
        it->public.messages[d] = text.messages;
        it->public.n_messages[d] = text.n_messages;
    }
    return 0;
}

int versions_add(struct versions *h, const struct txlog_migration *m, bool *out_added, struct err *err)
{
    *out_added = false;
    if (m->unusable.p || (h->n > 0 && h->items[h->n - 1]->public.seq >= m->seq)) {
        return 0;
    }
    struct item *it = new_item(m);
    if (find_tables(it, err) < 0 || render(h, it, err) < 0) {
        free_item(it);
        rebuild(h);
        return -1;
    }
    if (h->n == h->cap) {
        h->cap = h->cap * 2 + 16;
        h->items = mem_realloc(h->items, h->cap * sizeof *h->items);
    }
    h->items[h->n++] = it;
    *out_added = true;
    return 0;
}

void versions_withdraw(struct versions *h, uint64_t seq)
{
    for (size_t i = 0; i < h->n; i++) {
        if (h->items[i]->public.seq == seq) {
            free_item(h->items[i]);
            memmove(&h->items[i], &h->items[i + 1], (h->n - i - 1) * sizeof *h->items);
            h->n--;
            rebuild(h);
            return;
        }
    }
}

uint64_t versions_last_seq(const struct versions *h)
{
    return h->n > 0 ? h->items[h->n - 1]->public.seq : 0;
}

size_t versions_count(const struct versions *h)
{
    return h->n;
}

const struct version *versions_at(const struct versions *h, size_t i)
{
    return &h->items[i]->public;
}

long versions_find(const struct versions *h, struct str version)
{
    for (size_t i = 0; i < h->n; i++) {
        if (str_eq(h->items[i]->public.name, version)) {
            return (long)i;
        }
    }
    return -1;
}

/* --- models --- */

lsn_t versions_last(const struct versions *h, lsn_t position)
{
    lsn_t last = 0;
    for (size_t i = h->n; i > 0 && last == 0; i--) {
        if (h->items[i - 1]->public.lsn <= position) {
            last = h->items[i - 1]->public.lsn;
        }
    }
    return last;
}

static struct model *new_model(struct versions *h, lsn_t lsn)
{
    struct model **slot = &h->models[h->next_model++ % ARRAY_LEN(h->models)];
    struct model *m = mem_zalloc(sizeof *m);
    if (*slot) {
        (*slot)->slot = NULL;
    }
    *slot = m;
    m->slot = slot;
    m->serial = ++h->serial;
    m->lsn = lsn;
    apply_up_to(h, &m->schema, lsn);
    return m;
}

struct model *versions_model(struct versions *h, lsn_t position)
{
    lsn_t lsn = versions_last(h, position);
    for (size_t i = 0; i < ARRAY_LEN(h->models); i++) {
        if (h->models[i] && h->models[i]->lsn == lsn) {
            h->models[i]->refs++;
            return h->models[i];
        }
    }
    struct model *m = new_model(h, lsn);
    m->refs = 1;
    return m;
}

struct model *model_ref(struct model *m)
{
    m->refs++;
    return m;
}

void model_unref(struct model *m)
{
    if (m && --m->refs == 0) {
        if (m->slot) {
            *m->slot = NULL;
        }
        table_frames_deinit(&m->frames);
        schema_deinit(&m->schema);
        free(m);
    }
}
