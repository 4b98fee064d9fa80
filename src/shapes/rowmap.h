/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the log as rows of the model: a tuple was written under some version of its relation; a row has the
 * table's columns as the model has them now. Columns are found by name; one that the version lacks is NULL,
 * one that the table lacks is left out.
 */
#pragma once

#include "base/arena.h"
#include "repl/relation.h"
#include "repl/txn.h"
#include "schema/schema.h"

struct rowmap {
    size_t table;   /* index into the tables given to rowmaps_init() */
    uint32_t n;     /* columns of the relation */
    bool same;      /* the table has these columns, in this order */
    int32_t from[]; /* for each of the table's columns, that of the relation; -1: none */
};

/* Made as they are asked for, and kept. */
struct rowmaps {
    const struct table *const *tables;
    size_t n_tables;
    struct rowmap **items; /* by relation version; NULL: not asked for yet */
    uint32_t n;
    struct rowmap *none; /* stands for: of none of these tables */
};

/* Borrows the array and the tables. */
void rowmaps_init(struct rowmaps *m, const struct table *const *tables, size_t n);
void rowmaps_deinit(struct rowmaps *m); /* may run twice */

/* 1: *out_map, valid until rowmaps_deinit(). 0: a relation of none of the tables. -1: the version is not
 * known. */
MUST_USE int rowmaps_find(struct rowmaps *m, const struct relations *relations, uint32_t version,
                          const struct rowmap **out_map, struct err *err);

/*
 * 1: *out_row, in the order of the table's columns; the array is in the arena, its values borrow from the
 * tuple's bytes. 0: there is no tuple (tuple.columns = 0). -1: as tuple_values().
 */
MUST_USE int rowmap_read(const struct rowmaps *m, const struct rowmap *map, const struct tuple *tuple,
                         struct arena *a, const struct value **out_row, struct err *err);

/* The primary key's columns as indexes, in its order; in the arena. */
uint32_t *table_key_columns(const struct table *t, struct arena *a, uint32_t *out_n);
