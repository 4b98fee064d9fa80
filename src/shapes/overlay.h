/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a later snapshot the database at an earlier position P (ADR 14): for each row that was changed
 * after P by a transaction that the snapshot sees, how it was at P.
 *
 * The caller gives the transactions after P that the snapshot sees, in commit order. Rows of a query whose
 * key is noted are dropped; noted rows that satisfy the query are added. Owns copies of the rows. One thread
 * at a time.
 */
#pragma once

#include "shapes/forest.h"
#include "shapes/rowmap.h"

struct overlay;

/* For rows of these tables; borrows the array and the tables. */
struct overlay *overlay_new(const struct table *const *tables, size_t n, size_t max_bytes);
void overlay_free(struct overlay *o); /* takes NULL */

enum overlay_outcome {
    OVERLAY_ADDED = 1,
    OVERLAY_TRUNCATED, /* one of the tables was: what it held is not in the log. The read cannot be made */
    OVERLAY_FULL,      /* more than max_bytes */
};

/*
 * An enum overlay_outcome; one that is not OVERLAY_ADDED stays. -1 (ERR_INTERNAL): the log is damaged, or has
 * a change without the row before it (the table's replica identity is not FULL).
 */
MUST_USE int overlay_add(struct overlay *o, struct str txn, const struct relations *relations,
                         struct err *err);

/*
 * Moves P behind a transaction, the next one after P, whether the snapshot sees it or not. Outcomes as above;
 * a truncated table cannot be followed.
 */
MUST_USE int overlay_advance(struct overlay *o, struct str txn, const struct relations *relations,
                             struct err *err);

enum overlay_found { OVERLAY_UNCHANGED = 0, OVERLAY_ABSENT, OVERLAY_ROW };

/* The row with the primary key of `row` (its other columns do not matter). OVERLAY_ROW: *out_row is how it
 * was at P, borrowed. OVERLAY_ABSENT: it was not there. */
enum overlay_found overlay_find(struct overlay *o, const struct table *table, const struct value *row,
                                const struct value **out_row);

typedef void overlay_row_fn(void *ctx, const struct value *row);

/* All noted rows of the table that were there at P, in no order. */
void overlay_each(const struct overlay *o, const struct table *table, overlay_row_fn *fn, void *ctx);

/* Before anything is noted: rows of the table will be asked for by these columns (borrowed). */
void overlay_index(struct overlay *o, const struct table *table, struct columns columns);
/* Those whose columns have the key, of columns.n values, none NULL: at the cost of these rows alone. Without
 * such an index all rows of the table. */
void overlay_each_with(struct overlay *o, const struct table *table, struct columns columns,
                       const struct value *key, overlay_row_fn *fn, void *ctx);

size_t overlay_bytes(const struct overlay *o);
