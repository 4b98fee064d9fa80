/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes/keys.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

enum { FIRST_CAP = 16 };

static void put_value(struct buf *b, struct value v)
{
    unsigned char head[5];
    size_t n = 0;
    uint64_t left = v.p ? (uint64_t)v.n + 1 : 0;
    do {
        head[n++] = (unsigned char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        left >>= 7;
    } while (left > 0);
    buf_put(b, head, n);
    if (v.p) {
        buf_put(b, v.p, v.n);
    }
}

bool key_put(struct buf *b, const struct value *row, const uint32_t *columns, uint32_t n)
{
    bool whole = true;
    for (uint32_t i = 0; i < n; i++) {
        put_value(b, row[columns[i]]);
        whole = whole && row[columns[i]].p;
    }
    assert(!b->overflow);
    return whole;
}

const char *key_take(const char *p, struct value *out)
{
    uint64_t n = 0;
    unsigned shift = 0;
    unsigned char c;
    do {
        c = (unsigned char)*p++;
        n |= (uint64_t)(c & 0x7f) << shift;
        shift += 7;
    } while (c & 0x80);
    if (n == 0) {
        *out = (struct value){NULL, 0};
        return p;
    }
    *out = (struct value){p, (uint32_t)(n - 1)};
    return p + n - 1;
}

static bool value_equal(struct value a, struct value b)
{
    if (!a.p || !b.p) {
        return !a.p && !b.p;
    }
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

bool key_equal(const struct value *a, const uint32_t *a_columns, const struct value *b,
               const uint32_t *b_columns, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!value_equal(a[a_columns[i]], b[b_columns[i]])) {
            return false;
        }
    }
    return true;
}

struct key_seed key_seed(void)
{
    struct key_seed seed;
    ssize_t n = getrandom(&seed, sizeof seed, 0); /* so few bytes always come at once */
    assert(n == (ssize_t)sizeof seed);
    seed.factor |= 1;
    return seed;
}

/* Both halves of the product count: what a difference between two keys does to the upper one depends on the
 * factor. */
static uint64_t mix(uint64_t h, uint64_t word, uint64_t factor)
{
    unsigned __int128 product = (unsigned __int128)(h ^ word) * factor;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t key_hash(struct key_seed seed, struct str key)
{
    uint64_t h = mix(seed.start, key.n, seed.factor), word;
    const char *p = key.p, *end = key.p + key.n;
    for (; end - p >= 8; p += 8) {
        memcpy(&word, p, 8);
        h = mix(h, word, seed.factor);
    }
    word = 0;
    memcpy(&word, p, (size_t)(end - p));
    h = mix(h, word, seed.factor);
    return (uint32_t)mix(h, seed.start, seed.factor);
}

struct keyed *keytable_find(const struct keytable *t, struct str key, uint32_t hash)
{
    if (t->n == 0) {
        return NULL;
    }
    struct keyed *k = t->slots[hash & (t->cap - 1)];
    while (k && (k->hash != hash || !str_eq(keytable_key(t, k), key))) {
        k = k->next;
    }
    return k;
}

static void grow(struct keytable *t)
{
    struct keytable bigger = {.cap = t->cap ? 2 * t->cap : FIRST_CAP};
    bigger.slots = mem_zalloc(bigger.cap * sizeof(struct keyed *));
    for (size_t i = 0; i < t->cap; i++) {
        for (struct keyed *k = t->slots[i], *next; k; k = next) {
            struct keyed **slot = &bigger.slots[k->hash & (bigger.cap - 1)];
            next = k->next;
            k->next = *slot;
            *slot = k;
        }
    }
    free(t->slots);
    t->slots = bigger.slots;
    t->cap = bigger.cap;
}

void keytable_add(struct keytable *t, struct keyed *k)
{
    if (t->n >= t->cap) {
        grow(t);
    }
    struct keyed **slot = &t->slots[k->hash & (t->cap - 1)];
    k->next = *slot;
    *slot = k;
    t->n++;
}

void keytable_remove(struct keytable *t, struct keyed *k)
{
    struct keyed **at = &t->slots[k->hash & (t->cap - 1)];
    while (*at != k) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = k->next;
    t->n--;
}

void keytable_deinit(struct keytable *t)
{
    free(t->slots);
    t->slots = NULL;
    t->cap = t->n = 0;
}
