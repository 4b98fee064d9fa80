/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of rows as bytes, and hash tables by them.
 *
 *   key     *value
 *   value   n + 1 in groups of 7 bits, the least first, 0x80 on all but the last; n bytes      0 alone: NULL
 *
 * Two keys are equal when their texts are: values are what PostgreSQL's output functions give, of the same
 * type on both sides of a foreign key, or of types that print alike (int4 and int8, varchar and text).
 */
#pragma once

#include "base/buf.h"
#include "repl/txn.h"

/* Bytes of one key, at most: no row is as long (TXN_CHANGE_MAX, and what PostgreSQL sends as one). */
enum { KEY_MAX = INT32_MAX };

/* Appends row[columns[0]], … false: one of them is NULL (it is appended all the same). */
bool key_put(struct buf *b, const struct value *row, const uint32_t *columns, uint32_t n);
/* Reads the value at p, which borrows from there. Returns where the next one begins. */
const char *key_take(const char *p, struct value *out);
/* Both rows have the same values there; NULL is equal to NULL. */
bool key_equal(const struct value *a, const uint32_t *a_columns, const struct value *b,
               const uint32_t *b_columns, uint32_t n);

/* The head of whatever is kept in a table; its key's bytes follow at the same offset in all entries of one
 * table. */
struct keyed {
    struct keyed *next;
    uint32_t hash;
    uint32_t n : 31;   /* bytes of the key */
    uint32_t mark : 1; /* its owner's */
};

/* Owns its slots, not its entries. {.key_at = …} is an empty one. */
struct keytable {
    struct keyed **slots;
    size_t cap; /* 0, or a power of two */
    size_t n;
    size_t key_at; /* from the beginning of an entry to its key */
};

/* Drawn for each owner of tables: keys are written by clients, who must not know which ones meet in a slot.
 */
struct key_seed {
    uint64_t start, factor;
};

struct key_seed key_seed(void);
uint32_t key_hash(struct key_seed seed, struct str key);
/* NULL: there is none. `hash` is that of the key. */
struct keyed *keytable_find(const struct keytable *t, struct str key, uint32_t hash);
/* k->hash, k->n and the key are set; an equal key must not be there. */
void keytable_add(struct keytable *t, struct keyed *k);
void keytable_remove(struct keytable *t, struct keyed *k);
/* Empties the table and frees the slots. Who wants to see all entries goes through the slots. */
void keytable_deinit(struct keytable *t);

static inline struct str keytable_key(const struct keytable *t, const struct keyed *k)
{
    return (struct str){(const char *)k + t->key_at, k->n};
}
