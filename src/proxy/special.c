/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/special.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>

enum { MAP_FIRST = 16, MAP_KEY = 63 };

struct special_entry {
    struct special_entry *next;
    struct special *special;
    size_t n;
    char name[];
};

bool wants_transaction(const struct statement *st)
{
    switch (st->kind) {
    case STATEMENT_DDL:
    case STATEMENT_DDLX:
    case STATEMENT_ELECTRIFY:
        return true;
    case STATEMENT_DO:
        return st->wrap;
    default:
        return false;
    }
}

struct special *special_of(const struct statement *st)
{
    struct special *s = special_new(st->kind, st->text);
    s->chain = st->chain;
    s->wrap = wants_transaction(st);
    s->tag = st->tag;
    return s;
}

struct special *special_new(enum statement_kind kind, struct str text)
{
    struct special *s = mem_zalloc(sizeof *s);
    s->kind = kind;
    s->text = (struct str){mem_strndup(text.p, text.n), text.n};
    s->refs = 1;
    return s;
}

struct special *special_ref(struct special *s)
{
    s->refs++;
    return s;
}

void special_unref(struct special *s)
{
    if (s && --s->refs == 0) {
        special_unref(s->previous);
        free((void *)(uintptr_t)s->text.p);
        free(s);
    }
}

struct special *special_undo(struct str name, struct special *previous)
{
    struct special *undo = special_new(STATEMENT_PLAIN, name);
    undo->previous = previous ? special_ref(previous) : NULL;
    return undo;
}

static struct str key_of(struct str name)
{
    return (struct str){name.p, name.n < MAP_KEY ? name.n : MAP_KEY};
}

bool special_names_equal(struct str a, struct str b)
{
    return str_eq(key_of(a), key_of(b));
}

static size_t bucket_of(const struct special_map *m, struct str name)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < name.n; i++) {
        h = (h ^ (unsigned char)name.p[i]) * 1099511628211u;
    }
    return (size_t)(h ^ h >> 32) & (m->cap - 1);
}

static struct special_entry **find(const struct special_map *m, struct str name)
{
    struct special_entry **at = &m->buckets[bucket_of(m, name)];
    while (*at && !str_eq((struct str){(*at)->name, (*at)->n}, name)) {
        at = &(*at)->next;
    }
    return at;
}

struct special *special_map_get(const struct special_map *m, struct str name)
{
    if (m->n == 0) {
        return NULL;
    }
    struct special_entry *e = *find(m, key_of(name));
    return e ? e->special : NULL;
}

static void grow(struct special_map *m)
{
    struct special_map bigger = {.cap = m->cap ? m->cap * 2 : MAP_FIRST, .n = m->n};
    bigger.buckets = mem_zalloc(bigger.cap * sizeof *bigger.buckets);
    for (size_t i = 0; i < m->cap; i++) {
        for (struct special_entry *e = m->buckets[i]; e;) {
            struct special_entry *next = e->next;
            size_t b = bucket_of(&bigger, (struct str){e->name, e->n});
            e->next = bigger.buckets[b];
            bigger.buckets[b] = e;
            e = next;
        }
    }
    free(m->buckets);
    *m = bigger;
}

static void remove_name(struct special_map *m, struct str name)
{
    if (m->n == 0) {
        return;
    }
    struct special_entry **at = find(m, name);
    struct special_entry *e = *at;
    if (e) {
        *at = e->next;
        special_unref(e->special);
        free(e);
        m->n--;
    }
}

bool special_map_set(struct special_map *m, struct str name, struct special *special)
{
    name = key_of(name);
    remove_name(m, name);
    if (!special) {
        return true;
    }
    if (m->n >= LIMIT_STATEMENTS) {
        return false;
    }
    if (m->n >= m->cap) {
        grow(m);
    }
    struct special_entry *e = mem_alloc(sizeof *e + name.n);
    e->special = special_ref(special);
    e->n = name.n;
    memcpy(e->name, name.p, name.n);
    struct special_entry **at = &m->buckets[bucket_of(m, name)];
    e->next = *at;
    *at = e;
    m->n++;
    return true;
}

void special_map_clear(struct special_map *m)
{
    for (size_t i = 0; i < m->cap; i++) {
        while (m->buckets[i]) {
            struct special_entry *e = m->buckets[i];
            m->buckets[i] = e->next;
            special_unref(e->special);
            free(e);
        }
    }
    m->n = 0;
}

void special_map_deinit(struct special_map *m)
{
    special_map_clear(m);
    free(m->buckets);
    *m = (struct special_map){0};
}
