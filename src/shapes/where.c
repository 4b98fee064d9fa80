/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of where clauses, save printing and evaluation. */
#include "shapes/where.h"

#include "shapes/where_node.h"

static int refuse(struct arena *a, const char *message, struct where_refusal *out_why)
{
    *out_why = (struct where_refusal){.message = str_c(arena_strdup(a, message)), .location = 0};
    return 0;
}

static const struct node *always(struct arena *a)
{
    struct node *n = arena_zalloc(a, sizeof *n);
    n->kind = NODE_CONST;
    n->type = TYPE_BOOL;
    n->value.truth = true;
    n->size = 1;
    return n;
}

/* The condition, larger than what it becomes, is let go again. */
static const struct node *compile(struct arena *a, struct str text, const struct table *table,
                                  const struct schema *model, struct where_refusal *out_why)
{
    CLEANUP(arena_deinit) struct arena scratch = ARENA_INIT;
    const struct condition *c;
    struct condition_refusal why;
    const struct node *root = NULL;
    if (!condition_parse(&scratch, text, &c, &why)) {
        *out_why = (struct where_refusal){.message = arena_str(a, why.message), .location = why.location};
    } else if (!where_check(a, text, c, table, model, &root, out_why)) {
        root = NULL;
    }
    return root;
}

int where_parse(struct arena *a, struct str text, const struct table *table, const struct schema *model,
                const struct where **out_where, struct where_refusal *out_why)
{
    if (!utf8_valid(text)) {
        return refuse(a, "the expression is not valid UTF-8", out_why);
    }
    const struct node *root = text.n ? compile(a, text, table, model, out_why) : always(a);
    if (!root) {
        return 0;
    }
    struct where *w = arena_zalloc(a, sizeof *w);
    w->root = root;
    *out_where = w;
    return 1;
}

bool where_may_raise(const struct where *w)
{
    return w->root->own;
}

/* --- equalities --- */

struct finder {
    struct where_equality *out;
    size_t n, max;
};

static void note(struct finder *f, const struct node *column, const struct node *value)
{
    if (column->kind == NODE_COLUMN && value->kind == NODE_CONST &&
        types_look_alike(column->type, value->type) && f->n < f->max) {
        f->out[f->n++] = (struct where_equality){.column = column->column, .value = value->row_text};
    }
}

static void find(struct finder *f, const struct node *n)
{
    if (n->kind == NODE_AND) {
        for (size_t i = 0; i < n->n; i++) {
            find(f, n->args[i]);
        }
    } else if (n->kind == NODE_COMPARE && n->compare == COMPARE_EQUAL) {
        note(f, n->args[0], n->args[1]);
        note(f, n->args[1], n->args[0]);
    }
}

size_t where_equalities(const struct where *w, struct where_equality *out, size_t max)
{
    struct finder f = {.out = out, .max = max};
    find(&f, w->root);
    return f.n;
}
