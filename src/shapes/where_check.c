/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a condition without types to typed nodes: names are looked up, literals read, overloads chosen. Of the
 * condition nothing is kept.
 */
#include "shapes/where_build.h"

#include <stdlib.h>

static const struct node *check(struct builder *c, const struct condition *e);

/* --- names and literals --- */

static const struct node *check_column(struct builder *c, const struct condition *e)
{
    const struct column *col = table_column(c->table, e->text);
    if (!col) {
        return build_refuse(c, e->at, "unknown reference this.%.*s", STR_ARG(e->text));
    }
    bool catalog = str_eq(col->type_schema, STR("pg_catalog"));
    struct node *n = build_node(c, NODE_COLUMN, TYPE_OTHER, e->at, 0);
    n->type = col->is_enum ? TYPE_ENUM : catalog ? type_by_name(col->type_name) : TYPE_OTHER;
    n->column = (uint32_t)(col - c->table->columns);
    n->name = arena_str(c->arena, col->name);
    if (n->type == TYPE_ENUM || n->type == TYPE_OTHER) {
        struct column *of = arena_zalloc(c->arena, sizeof *of);
        of->type_schema = arena_str(c->arena, col->type_schema);
        of->type_name = arena_str(c->arena, col->type_name);
        n->of = of;
    }
    return build_finish(c, n);
}

static const struct node *refuse_reference(struct builder *c, const struct condition *e)
{
    if (table_column(c->table, e->text)) {
        return build_refuse(c, e->at, "unknown reference %.*s - did you mean `this.%.*s`?", STR_ARG(e->text),
                            STR_ARG(e->text));
    }
    return build_refuse(c, e->at, "unknown reference %.*s", STR_ARG(e->text));
}

/* The narrowest of int4, int8 and numeric. */
static const struct node *check_number(struct builder *c, const struct condition *e)
{
    union datum v;
    if (int_parse(e->text, &v.i)) {
        return build_constant(c, int_fits(v.i, TYPE_INT4) ? TYPE_INT4 : TYPE_INT8, e->at, v);
    }
    if (!numeric_parse(c->arena, e->text, &v.s)) {
        return build_refuse(c, e->at, "a number this long is not supported");
    }
    return build_constant(c, TYPE_NUMERIC, e->at, v);
}

static const struct node *check_truth(struct builder *c, const struct condition *e)
{
    return build_constant(c, TYPE_BOOL, e->at, (union datum){.truth = e->kind == CONDITION_TRUE});
}

static const struct node *check_string(struct builder *c, const struct condition *e)
{
    return build_constant(c, TYPE_UNKNOWN, e->at, (union datum){.s = arena_str(c->arena, e->text)});
}

static const struct node *check_null(struct builder *c, const struct condition *e)
{
    return build_finish(c, build_node(c, NODE_NULL, TYPE_UNKNOWN, e->at, 0));
}

/* --- casts --- */

static const struct node *check_cast(struct builder *c, const struct condition *e)
{
    enum where_type to = type_by_name(e->text);
    if (to == TYPE_OTHER) {
        return build_refuse(c, e->at, "a cast to type %.*s is not supported", STR_ARG(e->text));
    }
    return build_cast(c, check(c, e->args[0]), to, e->at);
}

static const struct node *check_operator(struct builder *c, const struct condition *e)
{
    const struct node *args[2] = {NULL, NULL};
    for (size_t i = 0; i < e->n && !c->failed; i++) {
        args[i] = check(c, e->args[i]);
    }
    struct node *n = c->failed ? NULL : build_operation(c, e->at, e->text.p, args, e->n);
    return n ? build_finish(c, n) : NULL;
}

static const struct node *check_distinct(struct builder *c, const struct condition *e)
{
    const struct node *args[2] = {check(c, e->args[0]), check(c, e->args[1])};
    struct node *n = build_operation(c, e->at, "=", args, 2);
    if (!n) {
        return NULL;
    }
    n->kind = NODE_DISTINCT;
    n->negated = e->kind == CONDITION_NOT_DISTINCT;
    return build_finish(c, n);
}

/* --- functions --- */

/* The type that a function of the name <type>out or <type>_out writes. */
static enum where_type written_by(struct str name)
{
    bool out = name.n > 3 && !memcmp(name.p + name.n - 3, "out", 3);
    struct str type = {name.p, out ? name.n - 3 : 0};
    type.n -= type.n && type.p[type.n - 1] == '_';
    enum where_type t = type_by_name(type);
    return type_is_text(t) ? TYPE_OTHER : t;
}

static const struct node *check_out(struct builder *c, const struct condition *e, enum where_type of)
{
    const struct node *n = check(c, e->args[0]);
    if (n && n->type != TYPE_UNKNOWN && !type_converts(n->type, of)) {
        return build_refuse(c, e->at, "function does not exist: %.*s(%.*s)", STR_ARG(e->text),
                            STR_ARG(build_label(n)));
    }
    return build_cast(c, build_cast(c, n, of, e->at), TYPE_TEXT, e->at);
}

static bool is_known_zone(const struct node *n)
{
    int64_t ignored;
    return n->kind == NODE_NULL || (n->kind == NODE_CONST && zone_offset(n->value.s, &ignored));
}

static const struct node *check_function(struct builder *c, const struct condition *e)
{
    const struct node *args[2];
    enum where_type types[2];
    for (size_t i = 0; i < e->n; i++) {
        args[i] = check(c, e->args[i]);
        if (c->failed) {
            return NULL;
        }
        types[i] = build_operand_type(args[i]);
    }
    const struct operation *o;
    if (operation_choose(e->text.p, FORM_FUNCTION, types, e->n, &o) != CHOICE_ONE) {
        struct str first = build_label(args[0]), second = build_label(args[e->n - 1]);
        return build_refuse(c, e->at, "function does not exist: %.*s(%.*s%s%.*s)", STR_ARG(e->text),
                            STR_ARG(first), e->n == 2 ? ", " : "", e->n == 2 ? (int)second.n : 0, second.p);
    }
    struct node *n = build_call(c, e->at, o, args, e->n);
    if (n && o->run == timestamp_to_zone && !is_known_zone(n->args[0])) {
        return build_refuse(c, e->at,
                            "time zones other than 'UTC' and fixed offsets such as '+02' are not supported");
    }
    return n ? build_finish(c, n) : NULL;
}

static const struct node *check_call(struct builder *c, const struct condition *e)
{
    if (e->n == 1 && type_by_name(e->text) != TYPE_OTHER) {
        return check_cast(c, e);
    }
    if (e->n == 1 && written_by(e->text) != TYPE_OTHER) {
        return check_out(c, e, written_by(e->text));
    }
    if (!operation_is_known(e->text.p, FORM_FUNCTION)) {
        return build_refuse(c, e->at, "unknown function %.*s()", STR_ARG(e->text));
    }
    if (e->n < 1 || e->n > 2) {
        return build_refuse(c, e->at, "function %.*s() takes another number of arguments", STR_ARG(e->text));
    }
    return check_function(c, e);
}

/* --- lists --- */

static const struct node *check_coalesce(struct builder *c, const struct condition *e)
{
    struct node *n = build_node(c, NODE_COALESCE, TYPE_TEXT, e->at, e->n);
    for (size_t i = 0; i < e->n && !c->failed; i++) {
        n->args[i] = check(c, e->args[i]);
    }
    const struct node *type = c->failed ? NULL : build_common(n->args, n->n);
    if (!type) {
        return build_refuse(c, e->at, "the arguments of COALESCE have types that do not match");
    }
    n->type = type->type == TYPE_UNKNOWN ? TYPE_TEXT : type->type;
    n->of = type->of;
    size_t kept = 0;
    bool sure = false; /* what follows a constant is never asked */
    for (size_t i = 0; i < e->n && !c->failed && !sure; i++) {
        const struct node *arg = build_convert(c, n->args[i], n->type, type->of);
        sure = arg && arg->kind == NODE_CONST;
        if (arg && (arg->kind != NODE_NULL || i == e->n - 1)) {
            n->args[kept++] = arg;
        }
    }
    n->n = kept;
    return build_finish(c, n);
}

static int by_value(const void *a, const void *b)
{
    const struct node *x = *(const struct node *const *)a, *y = *(const struct node *const *)b;
    return value_compare(x->type, &x->value, y->type, &y->value);
}

enum { SORTED_LEAST = 4 };

/* Among sorted constants a value is found without looking at all of them. */
static void sort_list(struct node *in)
{
    bool constants = in->n > SORTED_LEAST;
    for (size_t i = 1; i < in->n; i++) {
        constants = constants && in->args[i]->kind == NODE_CONST;
    }
    if (constants) {
        qsort(in->args + 1, in->n - 1, sizeof(*in->args), by_value);
        in->sorted = true;
    }
}

/* Equality of the first with each of the others, which have one type. */
static struct node *make_in(struct builder *c, size_t at, const struct node *const *items, size_t n,
                            const struct node *type, bool negated)
{
    enum where_type t = type->type == TYPE_UNKNOWN ? TYPE_TEXT : type->type;
    struct node *in = build_node(c, NODE_IN, TYPE_BOOL, at, n);
    for (size_t i = 1; i < n && !c->failed; i++) {
        in->args[i] = build_convert(c, items[i], t, type->of);
    }
    /* The operator is that of the common type, though an item may be held as a narrower one. */
    struct node *any = build_node(c, NODE_NULL, t, at, 0);
    any->of = type->of;
    const struct node *const pair[2] = {items[0], any};
    struct node *equal = build_operation(c, at, "=", pair, 2);
    if (!equal) {
        return NULL;
    }
    in->args[0] = equal->args[0];
    for (size_t i = 1; i < n; i++) {
        in->args[i] = build_convert(c, in->args[i], equal->args[1]->type, type->of);
    }
    in->negated = negated;
    if (!c->failed) {
        sort_list(in);
    }
    return build_finish(c, in);
}

/* The first, and of the others those that are constants, or those that are not. Also in place. */
static size_t pick(const struct node *const *items, size_t n, bool constants, const struct node **out)
{
    size_t found = 1;
    out[0] = items[0];
    for (size_t i = 1; i < n; i++) {
        if (node_is_constant(items[i]) == constants) {
            out[found++] = items[i];
        }
    }
    return found;
}

/*
 * As PostgreSQL does: several constants are brought to a type that suits them and the left side; if there is
 * none, and the others, are each compared by themselves.
 */
static const struct node *check_in(struct builder *c, const struct condition *e)
{
    bool negated = e->kind == CONDITION_NOT_IN;
    const struct node **items = arena_alloc_array(c->arena, e->n, sizeof(*items));
    const struct node **plain = arena_alloc_array(c->arena, e->n, sizeof(*plain));
    for (size_t i = 0; i < e->n && !c->failed; i++) {
        items[i] = check(c, e->args[i]);
    }
    if (c->failed) {
        return NULL;
    }
    size_t n = e->n, n_plain = pick(items, n, true, plain);
    const struct node *type = n_plain > 2 ? build_common(plain, n_plain) : NULL;
    if (type) {
        n = pick(items, n, false, items);
    }
    size_t at = type != NULL;
    struct node *any = build_node(c, negated ? NODE_AND : NODE_OR, TYPE_BOOL, e->at, n - 1 + at);
    if (type) {
        any->args[0] = make_in(c, e->at, plain, n_plain, type, negated);
    }
    for (size_t i = 1; i < n; i++) {
        any->args[at + i - 1] = build_comparison(c, e->at, negated ? "<>" : "=", items[0], items[i]);
    }
    return build_junction(c, any);
}

static const struct node *check_between(struct builder *c, const struct condition *e)
{
    bool negated = e->kind == CONDITION_NOT_BETWEEN;
    const struct node *x = check(c, e->args[0]), *low = check(c, e->args[1]), *high = check(c, e->args[2]);
    if (c->failed) {
        return NULL;
    }
    struct node *n = build_node(c, negated ? NODE_OR : NODE_AND, TYPE_BOOL, e->at, 2);
    n->args[0] = build_comparison(c, e->at, negated ? "<" : ">=", x, low);
    n->args[1] = build_comparison(c, e->at, negated ? ">" : "<=", x, high);
    return build_junction(c, n);
}

/* --- logic --- */

static const struct node *check_junction(struct builder *c, const struct condition *e)
{
    enum node_kind kind = e->kind == CONDITION_AND ? NODE_AND : e->kind == CONDITION_OR ? NODE_OR : NODE_NOT;
    static const char *const words[] = {[NODE_AND] = "AND", [NODE_OR] = "OR", [NODE_NOT] = "NOT"};
    struct node *n = build_node(c, kind, TYPE_BOOL, e->at, e->n);
    for (size_t i = 0; i < e->n && !c->failed; i++) {
        n->args[i] = build_boolean(c, check(c, e->args[i]), words[kind]);
    }
    return kind == NODE_NOT ? build_finish(c, n) : build_junction(c, n);
}

static const struct node *check_test(struct builder *c, const struct condition *e)
{
    static const struct {
        enum node_kind kind;
        bool negated, boolean;
    } tests[] = {
        [CONDITION_IS_NULL] = {NODE_IS_NULL, false, false},
        [CONDITION_IS_NOT_NULL] = {NODE_IS_NULL, true, false},
        [CONDITION_IS_TRUE] = {NODE_IS_TRUE, false, true},
        [CONDITION_IS_NOT_TRUE] = {NODE_IS_TRUE, true, true},
        [CONDITION_IS_FALSE] = {NODE_IS_FALSE, false, true},
        [CONDITION_IS_NOT_FALSE] = {NODE_IS_FALSE, true, true},
        [CONDITION_IS_UNKNOWN] = {NODE_IS_NULL, false, true},
        [CONDITION_IS_NOT_UNKNOWN] = {NODE_IS_NULL, true, true},
    };
    struct node *n = build_node(c, tests[e->kind].kind, TYPE_BOOL, e->at, 1);
    n->negated = tests[e->kind].negated;
    n->args[0] = check(c, e->args[0]);
    if (tests[e->kind].boolean) {
        n->args[0] = build_boolean(c, n->args[0], "IS");
    }
    return build_finish(c, n);
}

static const struct node *check(struct builder *c, const struct condition *e)
{
    if (c->failed) {
        return NULL;
    }
    switch (e->kind) {
    case CONDITION_COLUMN:
        return check_column(c, e);
    case CONDITION_REFERENCE:
        return refuse_reference(c, e);
    case CONDITION_NULL:
        return check_null(c, e);
    case CONDITION_TRUE:
    case CONDITION_FALSE:
        return check_truth(c, e);
    case CONDITION_NUMBER:
        return check_number(c, e);
    case CONDITION_STRING:
        return check_string(c, e);
    case CONDITION_OPERATOR:
        return check_operator(c, e);
    case CONDITION_AND:
    case CONDITION_OR:
    case CONDITION_NOT:
        return check_junction(c, e);
    case CONDITION_IS_NULL:
    case CONDITION_IS_NOT_NULL:
    case CONDITION_IS_TRUE:
    case CONDITION_IS_NOT_TRUE:
    case CONDITION_IS_FALSE:
    case CONDITION_IS_NOT_FALSE:
    case CONDITION_IS_UNKNOWN:
    case CONDITION_IS_NOT_UNKNOWN:
        return check_test(c, e);
    case CONDITION_DISTINCT:
    case CONDITION_NOT_DISTINCT:
        return check_distinct(c, e);
    case CONDITION_BETWEEN:
    case CONDITION_NOT_BETWEEN:
        return check_between(c, e);
    case CONDITION_COALESCE:
        return check_coalesce(c, e);
    case CONDITION_CAST:
        return check_cast(c, e);
    case CONDITION_CALL:
        return check_call(c, e);
    case CONDITION_IN:
    case CONDITION_NOT_IN:
        return check_in(c, e);
    }
    return NULL;
}

bool where_check(struct arena *a, struct str text, const struct condition *e, const struct table *table,
                 const struct schema *model, const struct node **out_root, struct where_refusal *out_why)
{
    struct builder c = {.arena = a, .text = text, .table = table, .model = model, .why = out_why};
    const struct node *n = check(&c, e);
    if (c.failed) {
        return false;
    }
    if (n->type != TYPE_BOOL && n->type != TYPE_UNKNOWN) {
        *out_why = (struct where_refusal){
            .message = str_c(arena_printf(a, "Where expression should evaluate to a boolean, but it's :%.*s",
                                          STR_ARG(build_label(n)))),
            .location = -1};
        return false;
    }
    *out_root = build_convert(&c, n, TYPE_BOOL, NULL);
    return !c.failed;
}
