/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be seen by clients with the same shapes, followed through transactions.
 *
 * A view stands at a position. view_apply() moves it by one transaction and says what becomes of the rows in
 * it: one net operation a row, whatever the order of changes in the transaction. Which rows are in a view is
 * a function of the database at that position (and the forest, and the user), never of how it got there.
 *
 * Nothing is kept of layers that are decided by the row alone (tops). Of the rows of layers to many and to
 * one, a view keeps the columns that are keys; and for each such layer, the keys that rows are reached by,
 * with how many rows refer to it. In memory:
 *
 *   a row   16 bytes, 16 for each such layer over its table, its key columns (their text, and a byte each)
 *   a key   32 bytes and the key
 *
 * each one allocation, and a slot of 8 in a hash table. A transaction takes time for its own rows and those
 * that move or leave; where tables refer to each other in a circle, also for what can be reached from a row
 * that has lost one of several that refer to it. While it is applied, about 100 bytes and 16 for each column
 * are needed for every changed row that is seen before or after; and that may be, for all that the row says,
 * where the transaction changes what rows are reached by. view_limit() bounds that.
 *
 * A row that moves into view without being changed by the transaction has to be read: view_apply() then needs
 * rows. Needs are met one after the other, each by a read of the database at the position of the transaction
 * (the same for all of them):
 *
 *   rc = view_apply(v, …);
 *   if (rc == VIEW_NEEDS) {
 *       while ((need = view_next_need(v))) { for each row of the answer: view_feed(v, row); }
 *       rc = view_finish(v, …);
 *   }
 *
 * Loading is alike, and ends when there is no further need. Between the first need and the end the view is
 * half changed: who gives up frees it. So after a failure (-1): nothing of the view is of use then.
 *
 * That every foreign key is satisfied is taken for granted in one place: the children of a row that is
 * new in the database are looked for in its own transaction only.
 *
 * One thread at a time. Pure.
 */
#pragma once

#include "repl/relation.h"
#include "shapes/forest.h"

struct view;

/* The forest is borrowed, the user copied. The view is empty until it is loaded, which is enough only for one
 * that keeps no index (view_keeps_index()). */
struct view *view_new(const struct forest *f, struct str user);
void view_free(struct view *v); /* takes NULL */

/*
 * The same requests compiled anew for a model that has more columns or tables: from now on rows have its
 * columns. false, and no change: it is another forest, or the columns so far are not the first of the new
 * ones; the view has to be made anew. Not while needs are open.
 */
bool view_set_forest(struct view *v, const struct forest *f);

/* Bytes of one transaction that may be seen, rows and what is noted of them; LIMIT_SYNC_VISIBLE to begin
 * with. */
void view_limit(struct view *v, size_t bytes);

bool view_keeps_index(const struct view *v);
/* Tables whose changes concern the view, borrowed until view_set_forest(). */
const struct table *const *view_tables(const struct view *v, size_t *out_n);
/* Whether the relation is one of them. */
bool view_concerns(const struct view *v, const struct relation *r);
/* What the index takes. */
size_t view_bytes(const struct view *v);

enum view_outcome {
    VIEW_DONE = 1, /* the operations are there */
    VIEW_NEEDS,    /* rows must be read */
    /* A table was truncated of which some rows are decided by the row alone: which of them were there, the
     * view does not know. It has not moved. */
    VIEW_RESYNC,
    /* More of the transaction is seen than the limit allows. The view is of no use any more. */
    VIEW_TOO_MUCH,
};

enum view_op_kind {
    VIEW_INSERT, /* new */
    VIEW_UPDATE, /* old, new */
    VIEW_DELETE, /* old; after TRUNCATE its primary key, and other columns may be NULL */
    VIEW_GONE,   /* in the database still, no more in the view. old: its primary key, and other columns may be
                    NULL */
};

struct view_op {
    enum view_op_kind kind;
    const struct table *table;
    const struct value *old, *new; /* in the order of the table's columns */
};

struct view_ops {
    const struct view_op *items;
    size_t n;
};

/*
 * All changes of a transaction (bytes, and what it has, as in repl/txn.h) together. Returns an enum
 * view_outcome, or -1: the log is damaged, or does not agree with the view. `a` must stay until the
 * operations have been used, and is what needs and fed rows live in; the operations borrow from it, and after
 * VIEW_DONE from `txn`, which need not stay when there are needs.
 *
 * Order of operations: referenced rows that move in, then rows in the order of their first change, then
 * children that move in, parents first, then rows that are gone without having been changed.
 */
MUST_USE int view_apply(struct view *v, struct str txn, const struct txn_summary *summary,
                        const struct relations *relations, struct arena *a, struct view_ops *out_ops,
                        struct err *err);
/* The same from a part of the changes. Of a table whose rows are decided by the row alone: all those of rows
 * that are in the view before or after the change, and every later one of such a row or its key; of other
 * tables: all. */
MUST_USE int view_apply_part(struct view *v, struct str txn, const struct txn_part *part,
                             const struct txn_summary *summary, const struct relations *relations,
                             struct arena *a, struct view_ops *out_ops, struct err *err);

/* Rows of a layer to be read. */
struct view_need {
    uint32_t layer; /* of the forest */
    bool whole;     /* all rows that the layer admits; else those whose layer.columns have one of the keys */
    const struct value *keys; /* n keys, one after the other, of layer.columns.n values each */
    size_t n;
};

/* The next need, after the rows of the last one have been fed; borrowed until the call after. NULL: there is
 * none. */
const struct view_need *view_next_need(struct view *v);

/*
 * A row that answers the last need, in the order of the table's columns: copied. Rows that do not belong
 * there (not admitted, of another key) are passed over. Each row at most once for a need of a whole layer.
 */
void view_feed(struct view *v, const struct value *row);

/* After view_next_need() gave NULL: VIEW_DONE, VIEW_TOO_MUCH or -1, as view_apply(). */
MUST_USE int view_finish(struct view *v, struct view_ops *out_ops, struct err *err);

enum view_load {
    VIEW_LOAD_INDEX, /* what is needed to go on from here */
    VIEW_LOAD_ROWS,  /* and every row in the view */
};

typedef void view_row_fn(void *ctx, const struct table *table, const struct value *row);

/*
 * Begins to load a new view with the database at the position where it shall stand. Needs follow, until there
 * is none. `on_row` is told each row that is in the view, once (VIEW_LOAD_ROWS; else it may be NULL); the row
 * is the one that was fed. `a` must stay until then.
 */
void view_load(struct view *v, enum view_load what, struct arena *a, view_row_fn *on_row, void *ctx);

/* Whether a row is in the view (loaded, no needs open): as it is at the view's position, in the order of the
 * columns of a table of this name. */
bool view_sees(struct view *v, const struct table *table, const struct value *row);
