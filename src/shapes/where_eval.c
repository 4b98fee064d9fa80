/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evaluation on one row. An error ends it: like PostgreSQL, AND and OR go from left to right and stop when
 * the result is certain, so that what is not reached cannot fail.
 */
#include "shapes/where_node.h"

/* Boolean results, for reading. */
static enum outcome give(bool truth, union datum *out)
{
    out->truth = truth;
    return EVAL_VALUE;
}

static enum outcome eval_column(const struct node *n, struct run *r, union datum *out)
{
    const struct value *v = &r->row[n->column];
    if (!v->p) {
        return EVAL_NULL;
    }
    return value_parse_row(n->type, v, out) ? EVAL_VALUE : EVAL_ERROR;
}

/* AND: `decisive` is false; OR: true. */
static enum outcome eval_junction(const struct node *n, struct run *r, bool decisive, union datum *out)
{
    bool null = false;
    for (size_t i = 0; i < n->n; i++) {
        enum outcome o = node_eval(n->args[i], r, out);
        if (o == EVAL_ERROR || (o == EVAL_VALUE && out->truth == decisive)) {
            return o;
        }
        null = null || o == EVAL_NULL;
    }
    return null ? EVAL_NULL : give(!decisive, out);
}

static enum outcome eval_not(const struct node *n, struct run *r, union datum *out)
{
    enum outcome o = node_eval(n->args[0], r, out);
    return o == EVAL_VALUE ? give(!out->truth, out) : o;
}

static enum outcome eval_is_null(const struct node *n, struct run *r, union datum *out)
{
    const struct node *arg = n->args[0];
    /* A column is not read: it may be of a type that cannot be. */
    enum outcome o = arg->kind != NODE_COLUMN ? node_eval(arg, r, out)
                     : r->row[arg->column].p  ? EVAL_VALUE
                                              : EVAL_NULL;
    return o == EVAL_ERROR ? o : give((o == EVAL_NULL) != n->negated, out);
}

static enum outcome eval_is(const struct node *n, struct run *r, bool wanted, union datum *out)
{
    enum outcome o = node_eval(n->args[0], r, out);
    bool is = o == EVAL_VALUE && out->truth == wanted;
    return o == EVAL_ERROR ? o : give(is != n->negated, out);
}

static enum outcome eval_both(const struct node *n, struct run *r, union datum out[2], bool null[2])
{
    for (int i = 0; i < 2; i++) {
        enum outcome o = node_eval(n->args[i], r, &out[i]);
        if (o == EVAL_ERROR) {
            return o;
        }
        null[i] = o == EVAL_NULL;
    }
    return EVAL_VALUE;
}

static bool compares(const struct node *n, const union datum *a, const union datum *b)
{
    int c = value_compare(n->args[0]->type, a, n->args[1]->type, b);
    return n->compare & (c < 0 ? COMPARE_LESS : c > 0 ? COMPARE_GREATER : COMPARE_EQUAL);
}

/* The commonest condition of all: nothing has to be read. */
static enum outcome eval_as_text(const struct node *n, struct run *r, union datum *out)
{
    const struct value *v = &r->row[n->args[0]->column];
    struct str wanted = n->args[1]->row_text;
    if (!v->p) {
        return EVAL_NULL;
    }
    bool same = v->n == wanted.n && (!v->n || !memcmp(v->p, wanted.p, v->n));
    return give(same == (n->compare == COMPARE_EQUAL), out);
}

static enum outcome eval_compare(const struct node *n, struct run *r, union datum *out)
{
    if (n->as_text) {
        return eval_as_text(n, r, out);
    }
    union datum v[2];
    bool null[2];
    enum outcome o = eval_both(n, r, v, null);
    if (o == EVAL_ERROR || null[0] || null[1]) {
        return o == EVAL_ERROR ? o : EVAL_NULL;
    }
    return give(compares(n, &v[0], &v[1]), out);
}

static enum outcome eval_distinct(const struct node *n, struct run *r, union datum *out)
{
    union datum v[2];
    bool null[2];
    enum outcome o = eval_both(n, r, v, null);
    if (o == EVAL_ERROR) {
        return o;
    }
    bool same = null[0] || null[1] ? null[0] && null[1]
                                   : !value_compare(n->args[0]->type, &v[0], n->args[1]->type, &v[1]);
    return give(same == n->negated, out);
}

/* Among constants in ascending order, args[1] to the last. */
static bool is_among(const struct node *n, const union datum *v)
{
    size_t low = 1, high = n->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct node *item = n->args[middle];
        int c = value_compare(n->args[0]->type, v, item->type, &item->value);
        if (c == 0) {
            return true;
        }
        if (c < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return false;
}

static enum outcome eval_in(const struct node *n, struct run *r, union datum *out)
{
    union datum v, item;
    enum outcome o = node_eval(n->args[0], r, &v);
    if (o != EVAL_VALUE) {
        return o;
    }
    if (n->sorted) {
        return give(is_among(n, &v) != n->negated, out);
    }
    bool null = false;
    for (size_t i = 1; i < n->n; i++) {
        o = node_eval(n->args[i], r, &item);
        if (o == EVAL_ERROR) {
            return o;
        }
        if (o == EVAL_VALUE && !value_compare(n->args[0]->type, &v, n->args[i]->type, &item)) {
            return give(!n->negated, out);
        }
        null = null || o == EVAL_NULL;
    }
    return null ? EVAL_NULL : give(n->negated, out);
}

static enum outcome eval_coalesce(const struct node *n, struct run *r, union datum *out)
{
    for (size_t i = 0; i < n->n; i++) {
        enum outcome o = node_eval(n->args[i], r, out);
        if (o != EVAL_NULL) {
            return o;
        }
    }
    return EVAL_NULL;
}

static enum outcome eval_cast(const struct node *n, struct run *r, union datum *out)
{
    union datum v;
    enum outcome o = node_eval(n->args[0], r, &v);
    if (o != EVAL_VALUE) {
        return o;
    }
    bool room = r->scratch.used < WHERE_MAX_BUILT;
    return room && value_cast(&r->scratch, n->args[0]->type, &v, n->type, out) ? EVAL_VALUE : EVAL_ERROR;
}

/* Operators and functions are strict. */
static enum outcome eval_call(const struct node *n, struct run *r, union datum *out)
{
    union datum v[2];
    bool null = false;
    for (size_t i = 0; i < n->n; i++) {
        enum outcome o = node_eval(n->args[i], r, &v[i]);
        if (o == EVAL_ERROR) {
            return o;
        }
        null = null || o == EVAL_NULL;
    }
    if (null) {
        return EVAL_NULL;
    }
    bool swapped = n->call->swapped;
    return n->call->run(r, &v[swapped], &v[n->n == 2 && !swapped], n->type, out);
}

enum outcome node_eval(const struct node *n, struct run *r, union datum *out)
{
    switch (n->kind) {
    case NODE_CONST:
        *out = n->value;
        return EVAL_VALUE;
    case NODE_NULL:
        return EVAL_NULL;
    case NODE_COLUMN:
        return eval_column(n, r, out);
    case NODE_AND:
        return eval_junction(n, r, false, out);
    case NODE_OR:
        return eval_junction(n, r, true, out);
    case NODE_NOT:
        return eval_not(n, r, out);
    case NODE_IS_NULL:
        return eval_is_null(n, r, out);
    case NODE_IS_TRUE:
        return eval_is(n, r, true, out);
    case NODE_IS_FALSE:
        return eval_is(n, r, false, out);
    case NODE_DISTINCT:
        return eval_distinct(n, r, out);
    case NODE_COMPARE:
        return eval_compare(n, r, out);
    case NODE_IN:
        return eval_in(n, r, out);
    case NODE_COALESCE:
        return eval_coalesce(n, r, out);
    case NODE_CAST:
        return eval_cast(n, r, out);
    case NODE_CALL:
        return eval_call(n, r, out);
    }
    return EVAL_ERROR;
}

enum truth where_eval(const struct where *w, const struct value *row)
{
    struct run r = {.row = row};
    union datum v;
    enum outcome o = node_eval(w->root, &r, &v);
    arena_deinit(&r.scratch);
    return o != EVAL_VALUE ? TRUTH_NULL : v.truth ? TRUTH_TRUE : TRUTH_FALSE;
}
