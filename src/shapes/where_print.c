/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed nodes as SQL. Every operator gets arguments of the types it was chosen for, so that PostgreSQL
 * chooses it again. Text is compared under collation "C"; where an index on a column may help, the condition
 * is also written without, for an index has the column's collation: equal bytes are equal in every collation,
 * so that this takes nothing away.
 */
#include "shapes/where_node.h"
#include "sql/quote.h"

struct printer {
    struct buf *out;
    struct arena scratch;
    struct str alias; /* p = NULL: columns stand alone */
};

static void print(struct printer *p, const struct node *n);

static void put_type(struct printer *p, const struct node *n)
{
    if (n->type != TYPE_ENUM) {
        buf_put_c(p->out, type_name(n->type));
        return;
    }
    sql_put_ident(p->out, n->of->type_schema);
    buf_put_byte(p->out, '.');
    sql_put_ident(p->out, n->of->type_name);
}

static void put_constant(struct printer *p, const struct node *n)
{
    if (n->kind == NODE_NULL) {
        buf_put_c(p->out, "NULL");
    } else {
        sql_put_literal(p->out, value_text(&p->scratch, n->type, &n->value));
    }
    buf_put_c(p->out, "::");
    put_type(p, n);
}

static void put_column(struct printer *p, const struct node *n)
{
    if (p->alias.p) {
        buf_put_str(p->out, p->alias);
        buf_put_byte(p->out, '.');
    }
    sql_put_ident(p->out, n->name);
}

static void put_joined(struct printer *p, const struct node *n, size_t from, const char *between,
                       void (*put)(struct printer *, const struct node *))
{
    buf_put_byte(p->out, '(');
    for (size_t i = from; i < n->n; i++) {
        buf_put_c(p->out, i > from ? between : "");
        put(p, n->args[i]);
    }
    buf_put_byte(p->out, ')');
}

/* (a op b), text by bytes */
static void put_infix(struct printer *p, const struct node *n, const char *op, bool by_bytes)
{
    buf_put_byte(p->out, '(');
    print(p, n->args[0]);
    buf_printf(p->out, "%s %s ", by_bytes && type_is_text(n->args[0]->type) ? " COLLATE \"C\"" : "", op);
    print(p, n->args[1]);
    buf_put_byte(p->out, ')');
}

/* Whether an index on a text column may serve. Not to compare two columns: their collations may differ, and
 * then PostgreSQL wants to be told one. */
static bool is_lookup(const struct node *n)
{
    bool equal = n->kind == NODE_IN ? !n->negated : n->compare == COMPARE_EQUAL;
    return equal && n->args[0]->kind == NODE_COLUMN && type_is_text(n->args[0]->type) &&
           n->args[1]->kind == NODE_CONST;
}

static const char *operator_of(uint8_t compare)
{
    static const char *const names[] = {
        [COMPARE_LESS] = "<",
        [COMPARE_EQUAL] = "=",
        [COMPARE_GREATER] = ">",
        [COMPARE_LESS | COMPARE_EQUAL] = "<=",
        [COMPARE_GREATER | COMPARE_EQUAL] = ">=",
        [COMPARE_LESS | COMPARE_GREATER] = "<>",
    };
    return names[compare];
}

static void put_compare(struct printer *p, const struct node *n)
{
    bool twice = is_lookup(n);
    if (twice) {
        buf_put_byte(p->out, '(');
        put_infix(p, n, "=", false);
        buf_put_c(p->out, " AND ");
    }
    put_infix(p, n, operator_of(n->compare), true);
    buf_put_c(p->out, twice ? ")" : "");
}

static void put_in_list(struct printer *p, const struct node *n, bool by_bytes)
{
    buf_put_byte(p->out, '(');
    print(p, n->args[0]);
    buf_put_c(p->out, by_bytes && type_is_text(n->args[0]->type) ? " COLLATE \"C\"" : "");
    buf_put_c(p->out, n->negated ? " NOT IN " : " IN ");
    put_joined(p, n, 1, ", ", print);
    buf_put_byte(p->out, ')');
}

static void put_in(struct printer *p, const struct node *n)
{
    bool twice = is_lookup(n);
    if (twice) {
        buf_put_byte(p->out, '(');
        put_in_list(p, n, false);
        buf_put_c(p->out, " AND ");
    }
    put_in_list(p, n, true);
    buf_put_c(p->out, twice ? ")" : "");
}

/* (a IS [NOT] …) */
static void put_test(struct printer *p, const struct node *n, const char *what)
{
    buf_put_byte(p->out, '(');
    print(p, n->args[0]);
    buf_printf(p->out, " IS %s%s)", n->negated ? "NOT " : "", what);
}

static void put_call(struct printer *p, const struct node *n)
{
    const struct operation *o = n->call;
    switch (o->form) {
    case FORM_INFIX:
        put_infix(p, n, o->name, o->result == TYPE_BOOL);
        break;
    case FORM_PREFIX:
        buf_printf(p->out, "(%s ", o->name);
        print(p, n->args[0]);
        buf_put_byte(p->out, ')');
        break;
    case FORM_FUNCTION:
        buf_put_c(p->out, o->name);
        put_joined(p, n, 0, ", ", print);
    }
}

static void put_cast(struct printer *p, const struct node *n)
{
    buf_put_byte(p->out, '(');
    print(p, n->args[0]);
    buf_put_c(p->out, ")::");
    put_type(p, n);
}

static void print(struct printer *p, const struct node *n)
{
    switch (n->kind) {
    case NODE_CONST:
    case NODE_NULL:
        put_constant(p, n);
        break;
    case NODE_COLUMN:
        put_column(p, n);
        break;
    case NODE_AND:
        put_joined(p, n, 0, " AND ", print);
        break;
    case NODE_OR:
        put_joined(p, n, 0, " OR ", print);
        break;
    case NODE_NOT:
        buf_put_c(p->out, "(NOT ");
        print(p, n->args[0]);
        buf_put_byte(p->out, ')');
        break;
    case NODE_IS_NULL:
        put_test(p, n, "NULL");
        break;
    case NODE_IS_TRUE:
        put_test(p, n, "TRUE");
        break;
    case NODE_IS_FALSE:
        put_test(p, n, "FALSE");
        break;
    case NODE_DISTINCT:
        put_infix(p, n, n->negated ? "IS NOT DISTINCT FROM" : "IS DISTINCT FROM", true);
        break;
    case NODE_COMPARE:
        put_compare(p, n);
        break;
    case NODE_IN:
        put_in(p, n);
        break;
    case NODE_COALESCE:
        buf_put_c(p->out, "coalesce");
        put_joined(p, n, 0, ", ", print);
        break;
    case NODE_CAST:
        put_cast(p, n);
        break;
    case NODE_CALL:
        put_call(p, n);
        break;
    }
}

/* True at least where the node is: AND and OR of such are such again. */
static void print_loosely(struct printer *p, const struct node *n)
{
    if (!n->own) {
        print(p, n);
    } else if (n->kind == NODE_AND || n->kind == NODE_OR) {
        put_joined(p, n, 0, n->kind == NODE_AND ? " AND " : " OR ", print_loosely);
    } else {
        buf_put_c(p->out, "TRUE");
    }
}

void where_print(const struct where *w, struct str alias, struct buf *out)
{
    struct printer p = {.out = out, .alias = alias};
    buf_put_byte(out, '(');
    print_loosely(&p, w->root);
    buf_put_byte(out, ')');
    arena_deinit(&p.scratch);
}

void where_put_key(const struct where *w, struct buf *out)
{
    struct printer p = {.out = out};
    print(&p, w->root);
    arena_deinit(&p.scratch);
}
