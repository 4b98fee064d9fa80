/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to where_check.c and where_build.c: typed nodes, each finished with what follows from its
 * arguments.
 *
 * A refusal is sticky: the first keeps its reason. After it every function returns NULL, and takes NULL for
 * its nodes. A node never changes once it is somebody's argument; BETWEEN and IN share theirs, which is why
 * `size` counts evaluations and is bounded.
 */
#pragma once

#include "shapes/where_node.h"

struct builder {
    struct arena *arena;
    struct str text;
    const struct table *table;
    const struct schema *model;
    struct where_refusal *why;
    bool failed;
};

/* `at`: bytes of the text before the place. Returns NULL. */
struct node *build_refuse(struct builder *c, size_t at, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The type's name as people know it. */
struct str build_label(const struct node *n);

bool node_is_constant(const struct node *n);

/* With room for n arguments; to be finished when they are in place. */
struct node *build_node(struct builder *c, enum node_kind kind, enum where_type type, size_t at, size_t n);
/*
 * Counts, marks and bounds; computes what is constant, with the short cuts that PostgreSQL's planner takes
 * (eval_const_expressions()): what they leave out raises no error.
 */
struct node *build_finish(struct builder *c, struct node *n);
struct node *build_constant(struct builder *c, enum where_type type, size_t at, union datum value);
/* AND or OR of what is in place: a constant decides, or says nothing. */
const struct node *build_junction(struct builder *c, struct node *n);

/* What PostgreSQL does by itself; a literal of unknown type takes the type (of an enum: that of the column).
 */
const struct node *build_convert(struct builder *c, const struct node *n, enum where_type to,
                                 const struct column *of);
const struct node *build_boolean(struct builder *c, const struct node *n, const char *where);
/* What is asked for. */
const struct node *build_cast(struct builder *c, const struct node *n, enum where_type to, size_t at);

/* For the choice of an operation: varchar has none of its own. */
enum where_type build_operand_type(const struct node *n);
/* The operation with converted arguments, not finished. */
struct node *build_call(struct builder *c, size_t at, const struct operation *o,
                        const struct node *const *args, size_t n);
/* The operator of one argument or two, not finished. */
struct node *build_operation(struct builder *c, size_t at, const char *name, const struct node *const *args,
                             size_t n);
struct node *build_comparison(struct builder *c, size_t at, const char *name, const struct node *a,
                              const struct node *b);

/* select_common_type(): the type of a list, as its first member of a known type has it, or one that this
 * becomes. The type is that of the node returned; NULL: there is none. */
const struct node *build_common(const struct node *const *items, size_t n);
