/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may see, compiled: the union of its shapes as layers.
 *
 * A layer is a set of rows of one table. What is in it is said by its kind:
 *
 *   top      the rows that satisfy its where
 *   to many  those of them whose foreign key refers to a row of the parent layer
 *   to one   the rows that rows of other layers refer to (the edges that lead to it)
 *
 * and by the user, where the table has a column electric_user_id. A row is visible while it is in one layer
 * at least. Every foreign key that a layer's table holds is an edge, so that a client never has a row without
 * what it refers to. Only the key by which a layer to many was reached is none: that row is in the parent
 * layer.
 *
 * Includes that nobody asked for lead to one shared layer for each referenced key (table and columns); tables
 * that refer to themselves or to each other close into cycles by that. All is in the arena it was compiled
 * in, and borrows tables from the model: valid until the model's next schema_apply(). Never changes.
 */
#pragma once

#include "base/buf.h"
#include "repl/txn.h"
#include "schema/schema.h"

struct where; /* shapes/where.h */

enum layer_kind { LAYER_TOP, LAYER_TO_MANY, LAYER_TO_ONE };

/* Columns of a table as indexes into table.columns; of the two sides of a foreign key, items[i] belong
 * together, in the table order of the referenced side. */
struct columns {
    const uint32_t *items;
    uint32_t n;
};

/* A foreign key followed to the row it refers to. Any column NULL: to none. */
struct layer_edge {
    struct columns columns; /* of the layer's table; match the target's `columns` */
    uint32_t target;        /* a LAYER_TO_ONE */
};

enum { LAYER_NONE = -1 };

struct layer {
    enum layer_kind kind;
    const struct table *table;
    const struct where *where; /* NULL: every row; always NULL to one */
    int user_column; /* electric_user_id must be the user, NULL or ''; LAYER_NONE: there is no such column */
    int parent;      /* to many; to one, asked for: the only layer with an edge here; else LAYER_NONE */
    struct columns columns;        /* to many: the foreign key; to one: the referenced key; top: n = 0 */
    struct columns parent_columns; /* to many: the referenced key, in the parent's table */
    const uint32_t *children;      /* the layers to many of which this is the parent */
    uint32_t n_children;
    const struct layer_edge *edges;
    uint32_t n_edges;
};

struct forest_table {
    const struct table *table;
    const uint32_t *layers; /* those over this table, ascending */
    uint32_t n_layers;
};

struct forest {
    const struct layer *layers; /* a parent before its children; those nobody asked for last */
    uint32_t n_layers;
    const struct forest_table *tables; /* ordered by (schema, name) */
    uint32_t n_tables;
    bool user_matters; /* some layer has a user_column */
    struct str key;    /* canonical text, without the user */
};

/* NULL: no layer is over a table of this name. */
const struct forest_table *forest_table(const struct forest *f, struct str schema, struct str name);

/*
 * Text that is equal for two forests of the same model, and two users, exactly when they mean the same: the
 * order of shapes and includes does not count, nor how often something was asked for, nor the user where no
 * layer looks at it. (Exactly, as far as where_put_key() tells.)
 */
void forest_put_key(const struct forest *f, struct str user, struct buf *out);

/* Whether the row alone may be in the layer: its where is true and the user may see it. `row` is in the order
 * of the table's columns. */
bool layer_admits(const struct layer *l, struct str user, const struct value *row);

/* A user id as it is compared with the column: as it is, or, with a column of type uuid, in lower case;
 * false: no value of the column is equal to it. `out` has room for LAYER_UUID bytes, and is borrowed by
 * *out_user. */
enum { LAYER_UUID = 36 };
bool layer_user(const struct layer *l, struct str user, char out[LAYER_UUID], struct str *out_user);
