/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The selects of all shapes as one tree, for shape.c (makes it) and forest.c (makes layers of it).
 *
 * Siblings are ordered, and no two are alike: what two shapes have in common from the top down is one node.
 * So a tree does not depend on the order of shapes and includes.
 */
#pragma once

#include "shapes/forest.h"

/* A foreign key with its columns found in both tables. */
struct link {
    const struct foreign_key *key;
    struct columns holding;    /* of the table that has the foreign key */
    struct columns referenced; /* of the other */
};

struct node {
    enum layer_kind kind;
    const struct table *table;
    const struct where *where;
    struct str where_key; /* where_put_key(); empty: no where */
    struct link link;     /* from the parent; not of a top */
    struct node *parent;  /* of a top: the root, which is no select itself */
    struct node *first, *next;
    uint32_t layer; /* its number, given by forest_build() */
};

/* false: a column is not there (the model contradicts itself). */
bool link_make(struct arena *a, const struct foreign_key *key, const struct table *holding,
               const struct table *referenced, struct link *out);
/* The same columns refer to the same columns. */
bool foreign_key_equal(const struct foreign_key *a, const struct foreign_key *b);
bool table_is(const struct table *t, struct str schema, struct str name);

/* The child that is like *wanted, added (a copy) when there is none. */
struct node *node_child(struct arena *a, struct node *parent, const struct node *wanted);
/* Takes out what means no more than the edges that every layer has: selects to one without anything below. */
void node_prune(struct node *node);

/* max_key: bytes that the key cannot exceed. */
const struct forest *forest_build(struct arena *a, const struct schema *model, struct node *root,
                                  size_t max_key);
