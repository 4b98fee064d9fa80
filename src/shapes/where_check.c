/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a condition without types to typed nodes: names are looked up, overloads chosen, literals read,
 * constants computed.
 *
 * varchar and text, integers of any width, and both floats are held alike, so that what PostgreSQL converts
 * by itself among those needs no node. A node never changes once it is somebody's argument; BETWEEN and IN
 * share theirs, which is why `size` counts evaluations and is bounded.
 */
#include "shapes/where_node.h"

#include <stdlib.h>

struct checker {
    struct arena *arena;
    struct str text;
    const struct table *table;
    const struct schema *model;
    struct where_refusal *why;
    bool failed;
};

static const struct node *check(struct checker *c, const struct condition *e);

/* --- refusals --- */

static struct node *refuse(struct checker *c, size_t at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The first one counts. */
static struct node *refuse(struct checker *c, size_t at, const char *fmt, ...)
{
    if (!c->failed) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * CONDITION_MAX_TEXT + 1024);
        va_list ap;
        va_start(ap, fmt);
        buf_vprintf(&b, fmt, ap);
        va_end(ap);
        c->why->message = arena_str(c->arena, buf_str(&b));
        c->why->location = condition_location(c->text, at);
        c->failed = true;
    }
    return NULL;
}

static struct str label(const struct node *n)
{
    return n->of ? n->of->type_name : str_c(type_name(n->type));
}

/* --- nodes --- */

static struct node *make(struct checker *c, enum node_kind kind, enum where_type type, size_t at, size_t n)
{
    struct node *node = arena_zalloc(c->arena, sizeof *node);
    node->kind = kind;
    node->type = type;
    node->at = at;
    node->n = n;
    node->args = arena_alloc_array(c->arena, n, sizeof(*node->args));
    return node;
}

static bool is_constant(const struct node *n)
{
    return n->kind == NODE_CONST || n->kind == NODE_NULL;
}

static bool is_string_type(enum where_type t)
{
    return type_is_text(t) || t == TYPE_UUID || t == TYPE_NUMERIC || t == TYPE_ENUM || t == TYPE_UNKNOWN;
}

/* What a row has for the value. */
static void note_row_text(struct checker *c, struct node *n)
{
    if (n->kind == NODE_CONST) {
        n->row_text = n->type == TYPE_BOOL ? n->value.truth ? STR("t") : STR("f")
                                           : value_text(c->arena, n->type, &n->value);
    }
}

static struct node *finish(struct checker *c, struct node *n);

/* All arguments are constants: so is the result. */
static struct node *fold(struct checker *c, struct node *n)
{
    struct run r = {0};
    union datum v;
    enum outcome o = node_eval(n, &r, &v);
    struct node *folded = make(c, o == EVAL_VALUE ? NODE_CONST : NODE_NULL, n->type, n->at, 0);
    if (o == EVAL_VALUE && is_string_type(n->type)) {
        v.s = arena_str(c->arena, v.s);
    }
    arena_deinit(&r.scratch);
    folded->of = n->of;
    if (o == EVAL_ERROR) {
        return refuse(c, n->at, "this constant has no value of type %s", type_name(n->type));
    }
    if (o == EVAL_VALUE) {
        folded->value = v;
    }
    return finish(c, folded);
}

/* Exact arithmetic on long numbers costs more than anything else; a long text is long to print. */
static uint64_t weight(const struct node *n)
{
    if (n->kind == NODE_CONST && is_string_type(n->type)) {
        return 1 + n->value.s.n / 16;
    }
    return n->kind == NODE_CALL && n->type == TYPE_NUMERIC ? 500 : 1;
}

/* Operators and casts have no result for NULL, whatever else there is. */
static bool is_strict_null(const struct node *n)
{
    bool strict = n->kind == NODE_COMPARE || n->kind == NODE_CALL || n->kind == NODE_CAST;
    bool null = false;
    for (size_t i = 0; i < n->n; i++) {
        null = null || n->args[i]->kind == NODE_NULL;
    }
    return strict && null;
}

static bool is_text_equality(const struct node *n)
{
    return n->kind == NODE_COMPARE &&
           (n->compare == COMPARE_EQUAL || n->compare == (COMPARE_LESS | COMPARE_GREATER)) &&
           n->args[0]->kind == NODE_COLUMN && n->args[1]->kind == NODE_CONST &&
           types_look_alike(n->args[0]->type, n->args[1]->type);
}

/*
 * Ends the making of a node; the arguments are in place. What is constant is computed, with the short cuts
 * that PostgreSQL's planner takes (eval_const_expressions()): what they leave out raises no error.
 */
static struct node *finish(struct checker *c, struct node *n)
{
    if (c->failed) {
        return NULL;
    }
    if (is_strict_null(n)) {
        return finish(c, make(c, NODE_NULL, n->type, n->at, 0));
    }
    uint64_t size = weight(n);
    bool constant = n->n > 0;
    for (size_t i = 0; i < n->n; i++) {
        size += n->args[i]->size;
        n->own = n->own || n->args[i]->own;
        constant = constant && is_constant(n->args[i]);
    }
    if (size > WHERE_MAX_STEPS) {
        return refuse(c, n->at, "the expression takes too many steps");
    }
    n->size = (uint32_t)size;
    note_row_text(c, n);
    n->as_text = is_text_equality(n);
    return constant ? fold(c, n) : n;
}

static struct node *constant(struct checker *c, enum where_type type, size_t at, union datum value)
{
    struct node *n = make(c, NODE_CONST, type, at, 0);
    n->value = value;
    return finish(c, n);
}

/* --- conversion --- */

static bool has_label(const struct checker *c, const struct column *of, struct str text)
{
    const struct enum_type *e = schema_enum(c->model, of->type_schema, of->type_name);
    return !e || names_contain(&e->labels, text);
}

static bool read_literal(struct checker *c, const struct node *n, enum where_type to, const struct column *of,
                         union datum *out)
{
    if (to == TYPE_ENUM) {
        out->s = n->value.s;
        return has_label(c, of, n->value.s);
    }
    return value_parse(c->arena, to, n->value.s, out);
}

/* A literal takes the type (of an enum: that of the column). */
static struct node *settle(struct checker *c, const struct node *n, enum where_type to,
                           const struct column *of)
{
    struct node *typed = make(c, n->kind, to, n->at, 0);
    typed->of = to == TYPE_ENUM ? of : NULL;
    if (n->kind == NODE_CONST && !read_literal(c, n, to, of, &typed->value)) {
        struct str name = to == TYPE_ENUM ? of->type_name : str_c(type_name(to));
        return refuse(c, n->at, "invalid input %s %.*s: \"%.*s\"",
                      to == TYPE_ENUM ? "value for enum" : "syntax for type", STR_ARG(name),
                      STR_ARG(n->value.s));
    }
    return finish(c, typed);
}

static bool held_alike(enum where_type from, enum where_type to)
{
    return from == to || (type_is_text(from) && type_is_text(to)) ||
           (type_is_integer(from) && type_is_integer(to) && from < to) ||
           (from == TYPE_FLOAT4 && to == TYPE_FLOAT8);
}

static struct node *cast_node(struct checker *c, const struct node *n, enum where_type to, size_t at)
{
    struct node *cast = make(c, NODE_CAST, to, at, 1);
    cast->args[0] = n;
    if (!type_casts(n->type, to, &cast->own)) {
        return refuse(c, at, "cannot cast type %.*s to %s", STR_ARG(label(n)), type_name(to));
    }
    return finish(c, cast);
}

/* What PostgreSQL does by itself. */
static const struct node *convert(struct checker *c, const struct node *n, enum where_type to,
                                  const struct column *of)
{
    if (c->failed || !n) {
        return NULL;
    }
    if (n->type == TYPE_UNKNOWN) {
        return settle(c, n, to, of);
    }
    return held_alike(n->type, to) ? n : cast_node(c, n, to, n->at);
}

static const struct node *boolean(struct checker *c, const struct node *n, const char *where)
{
    if (c->failed || !n) {
        return NULL;
    }
    if (n->type != TYPE_BOOL && n->type != TYPE_UNKNOWN) {
        return refuse(c, n->at, "argument of %s must be type bool, not type %.*s", where, STR_ARG(label(n)));
    }
    return convert(c, n, TYPE_BOOL, NULL);
}

/* --- names and literals --- */

static const struct node *check_column(struct checker *c, const struct condition *e)
{
    const struct column *col = table_column(c->table, e->text);
    if (!col) {
        return refuse(c, e->at, "unknown reference this.%.*s", STR_ARG(e->text));
    }
    bool catalog = str_eq(col->type_schema, STR("pg_catalog"));
    struct node *n = make(c, NODE_COLUMN, TYPE_OTHER, e->at, 0);
    n->type = col->is_enum ? TYPE_ENUM : catalog ? type_by_name(col->type_name) : TYPE_OTHER;
    n->column = (uint32_t)(col - c->table->columns);
    n->name = arena_str(c->arena, col->name);
    if (n->type == TYPE_ENUM || n->type == TYPE_OTHER) {
        struct column *of = arena_zalloc(c->arena, sizeof *of);
        of->type_schema = arena_str(c->arena, col->type_schema);
        of->type_name = arena_str(c->arena, col->type_name);
        n->of = of;
    }
    return finish(c, n);
}

static const struct node *refuse_reference(struct checker *c, const struct condition *e)
{
    if (table_column(c->table, e->text)) {
        return refuse(c, e->at, "unknown reference %.*s - did you mean `this.%.*s`?", STR_ARG(e->text),
                      STR_ARG(e->text));
    }
    return refuse(c, e->at, "unknown reference %.*s", STR_ARG(e->text));
}

/* The narrowest of int4, int8 and numeric. */
static const struct node *check_number(struct checker *c, const struct condition *e)
{
    union datum v;
    if (int_parse(e->text, &v.i)) {
        return constant(c, int_fits(v.i, TYPE_INT4) ? TYPE_INT4 : TYPE_INT8, e->at, v);
    }
    if (!numeric_parse(c->arena, e->text, &v.s)) {
        return refuse(c, e->at, "a number this long is not supported");
    }
    return constant(c, TYPE_NUMERIC, e->at, v);
}

static const struct node *check_truth(struct checker *c, const struct condition *e)
{
    return constant(c, TYPE_BOOL, e->at, (union datum){.truth = e->kind == CONDITION_TRUE});
}

static const struct node *check_string(struct checker *c, const struct condition *e)
{
    return constant(c, TYPE_UNKNOWN, e->at, (union datum){.s = e->text});
}

static const struct node *check_null(struct checker *c, const struct condition *e)
{
    return finish(c, make(c, NODE_NULL, TYPE_UNKNOWN, e->at, 0));
}

/* --- casts --- */

static const struct node *cast_to(struct checker *c, const struct node *n, enum where_type to, size_t at)
{
    if (c->failed || !n) {
        return NULL;
    }
    if (n->type == TYPE_UNKNOWN) {
        return settle(c, n, to, NULL);
    }
    return n->type == to ? n : cast_node(c, n, to, at);
}

static const struct node *check_cast(struct checker *c, const struct condition *e)
{
    enum where_type to = type_by_name(e->text);
    if (to == TYPE_OTHER) {
        return refuse(c, e->at, "a cast to type %.*s is not supported", STR_ARG(e->text));
    }
    return cast_to(c, check(c, e->args[0]), to, e->at);
}

/* --- operators --- */

/* varchar has no operators of its own. */
static enum where_type operand_type(const struct node *n)
{
    return n->type == TYPE_VARCHAR ? TYPE_TEXT : n->type;
}

static void refuse_operator(struct checker *c, size_t at, const char *name, const struct node *const *args,
                            size_t n, enum choice choice)
{
    struct str left = label(args[0]), right = label(args[n - 1]);
    refuse(c, at, "operator %s: %.*s%s%s%s%.*s", choice == CHOICE_NONE ? "does not exist" : "is not unique",
           n == 2 ? (int)left.n : 0, left.p, n == 2 ? " " : "", name, " ", STR_ARG(right));
}

/* Equality of enums: their text decides. */
static struct node *compare_enums(struct checker *c, size_t at, const char *name, const struct node *a,
                                  const struct node *b)
{
    const struct column *of = a->type == TYPE_ENUM ? a->of : b->of;
    const struct node *const args[2] = {a, b};
    bool same = true;
    for (int i = 0; i < 2; i++) {
        bool alike = args[i]->type == TYPE_ENUM && str_eq(args[i]->of->type_name, of->type_name) &&
                     str_eq(args[i]->of->type_schema, of->type_schema);
        same = same && (alike || args[i]->type == TYPE_UNKNOWN);
    }
    if (!same || (strcmp(name, "=") && strcmp(name, "<>"))) {
        refuse_operator(c, at, name, args, 2, CHOICE_NONE);
        return NULL;
    }
    struct node *n = make(c, NODE_COMPARE, TYPE_BOOL, at, 2);
    n->compare = *name == '=' ? COMPARE_EQUAL : COMPARE_LESS | COMPARE_GREATER;
    n->args[0] = convert(c, a, TYPE_ENUM, of);
    n->args[1] = convert(c, b, TYPE_ENUM, of);
    return c->failed ? NULL : n;
}

/* A pattern that ends in its escape character raises an error, where it is reached. */
static bool ends_in_escape(const struct node *pattern)
{
    if (pattern->kind != NODE_CONST) {
        return pattern->kind != NODE_NULL;
    }
    size_t n = 0;
    struct str s = pattern->value.s;
    while (n < s.n && s.p[s.n - 1 - n] == '\\') {
        n++;
    }
    return n % 2;
}

/* The operation with converted arguments, not finished. */
static struct node *apply(struct checker *c, size_t at, const struct operation *o,
                          const struct node *const *args, size_t n)
{
    struct node *node = make(c, o->compare ? NODE_COMPARE : NODE_CALL, o->result, at, n);
    node->compare = o->compare;
    node->call = o;
    node->own = o->own;
    for (size_t i = 0; i < n; i++) {
        node->args[i] = convert(c, args[i], o->form == FORM_PREFIX || i == 1 ? o->right : o->left, NULL);
    }
    if (!c->failed && (o->run == text_like_op || o->run == text_not_like)) {
        node->own = ends_in_escape(node->args[1]);
    }
    return c->failed ? NULL : node;
}

static struct node *operate(struct checker *c, size_t at, const char *name, const struct node *const *args,
                            size_t n)
{
    if (c->failed) {
        return NULL;
    }
    if (n == 2 && (args[0]->type == TYPE_ENUM || args[1]->type == TYPE_ENUM)) {
        return compare_enums(c, at, name, args[0], args[1]);
    }
    enum where_type types[2] = {operand_type(args[0]), operand_type(args[n - 1])};
    const struct operation *o;
    enum choice choice = operation_choose(name, n == 2 ? FORM_INFIX : FORM_PREFIX, types, n, &o);
    if (choice != CHOICE_ONE) {
        refuse_operator(c, at, name, args, n, choice);
        return NULL;
    }
    return apply(c, at, o, args, n);
}

static struct node *compare(struct checker *c, size_t at, const char *name, const struct node *a,
                            const struct node *b)
{
    const struct node *const args[2] = {a, b};
    struct node *n = operate(c, at, name, args, 2);
    return n ? finish(c, n) : NULL;
}

static const struct node *check_operator(struct checker *c, const struct condition *e)
{
    const struct node *args[2] = {NULL, NULL};
    for (size_t i = 0; i < e->n && !c->failed; i++) {
        args[i] = check(c, e->args[i]);
    }
    struct node *n = c->failed ? NULL : operate(c, e->at, e->text.p, args, e->n);
    return n ? finish(c, n) : NULL;
}

static const struct node *check_distinct(struct checker *c, const struct condition *e)
{
    const struct node *args[2] = {check(c, e->args[0]), check(c, e->args[1])};
    struct node *n = operate(c, e->at, "=", args, 2);
    if (!n) {
        return NULL;
    }
    n->kind = NODE_DISTINCT;
    n->negated = e->kind == CONDITION_NOT_DISTINCT;
    return finish(c, n);
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

static const struct node *check_out(struct checker *c, const struct condition *e, enum where_type of)
{
    const struct node *n = check(c, e->args[0]);
    if (n && n->type != TYPE_UNKNOWN && !type_converts(n->type, of)) {
        return refuse(c, e->at, "function does not exist: %.*s(%.*s)", STR_ARG(e->text), STR_ARG(label(n)));
    }
    return cast_to(c, cast_to(c, n, of, e->at), TYPE_TEXT, e->at);
}

static bool is_known_zone(const struct node *n)
{
    int64_t ignored;
    return n->kind == NODE_NULL || (n->kind == NODE_CONST && zone_offset(n->value.s, &ignored));
}

static const struct node *check_function(struct checker *c, const struct condition *e)
{
    const struct node *args[2];
    enum where_type types[2];
    for (size_t i = 0; i < e->n; i++) {
        args[i] = check(c, e->args[i]);
        if (c->failed) {
            return NULL;
        }
        types[i] = operand_type(args[i]);
    }
    const struct operation *o;
    if (operation_choose(e->text.p, FORM_FUNCTION, types, e->n, &o) != CHOICE_ONE) {
        struct str first = label(args[0]), second = label(args[e->n - 1]);
        return refuse(c, e->at, "function does not exist: %.*s(%.*s%s%.*s)", STR_ARG(e->text), STR_ARG(first),
                      e->n == 2 ? ", " : "", e->n == 2 ? (int)second.n : 0, second.p);
    }
    struct node *n = apply(c, e->at, o, args, e->n);
    if (n && o->run == timestamp_to_zone && !is_known_zone(n->args[0])) {
        return refuse(c, e->at,
                      "time zones other than 'UTC' and fixed offsets such as '+02' are not supported");
    }
    return n ? finish(c, n) : NULL;
}

static const struct node *check_call(struct checker *c, const struct condition *e)
{
    if (e->n == 1 && type_by_name(e->text) != TYPE_OTHER) {
        return check_cast(c, e);
    }
    if (e->n == 1 && written_by(e->text) != TYPE_OTHER) {
        return check_out(c, e, written_by(e->text));
    }
    if (!operation_is_known(e->text.p, FORM_FUNCTION)) {
        return refuse(c, e->at, "unknown function %.*s()", STR_ARG(e->text));
    }
    if (e->n < 1 || e->n > 2) {
        return refuse(c, e->at, "function %.*s() takes another number of arguments", STR_ARG(e->text));
    }
    return check_function(c, e);
}

/* --- lists --- */

static bool same_enum(const struct node *a, const struct node *b)
{
    return a->type != TYPE_ENUM || b->type != TYPE_ENUM ||
           (str_eq(a->of->type_name, b->of->type_name) && str_eq(a->of->type_schema, b->of->type_schema));
}

/* select_common_type(): the type of a list, as its first member of a known type has it, or one that it
 * becomes. NULL: there is none. The type is that of the node returned. */
static const struct node *common(const struct node *const *items, size_t n)
{
    const struct node *best = items[0];
    for (size_t i = 1; i < n; i++) {
        enum where_type a = best->type, b = items[i]->type;
        if (b == TYPE_UNKNOWN || (a == b && same_enum(best, items[i]))) {
            continue;
        }
        if (a == TYPE_UNKNOWN) {
            best = items[i];
        } else if (!type_same_category(a, b) || a == b) {
            return NULL;
        } else if (!type_is_preferred(a) && type_converts(a, b) && !type_converts(b, a)) {
            best = items[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool fits = type_converts(items[i]->type, best->type) || best->type == TYPE_UNKNOWN;
        if (!fits || items[i]->type == TYPE_OTHER) {
            return NULL;
        }
    }
    return best;
}

static const struct node *check_coalesce(struct checker *c, const struct condition *e)
{
    struct node *n = make(c, NODE_COALESCE, TYPE_TEXT, e->at, e->n);
    for (size_t i = 0; i < e->n && !c->failed; i++) {
        n->args[i] = check(c, e->args[i]);
    }
    const struct node *type = c->failed ? NULL : common(n->args, n->n);
    if (!type) {
        return refuse(c, e->at, "the arguments of COALESCE have types that do not match");
    }
    n->type = type->type == TYPE_UNKNOWN ? TYPE_TEXT : type->type;
    n->of = type->of;
    size_t kept = 0;
    bool sure = false; /* what follows a constant is never asked */
    for (size_t i = 0; i < e->n && !c->failed && !sure; i++) {
        const struct node *arg = convert(c, n->args[i], n->type, type->of);
        sure = arg && arg->kind == NODE_CONST;
        if (arg && (arg->kind != NODE_NULL || i == e->n - 1)) {
            n->args[kept++] = arg;
        }
    }
    n->n = kept;
    return finish(c, n);
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
static struct node *make_in(struct checker *c, size_t at, const struct node *const *items, size_t n,
                            const struct node *type, bool negated)
{
    enum where_type t = type->type == TYPE_UNKNOWN ? TYPE_TEXT : type->type;
    struct node *in = make(c, NODE_IN, TYPE_BOOL, at, n);
    for (size_t i = 1; i < n && !c->failed; i++) {
        in->args[i] = convert(c, items[i], t, type->of);
    }
    /* The operator is that of the common type, though an item may be held as a narrower one. */
    struct node *any = make(c, NODE_NULL, t, at, 0);
    any->of = type->of;
    const struct node *const pair[2] = {items[0], any};
    struct node *equal = operate(c, at, "=", pair, 2);
    if (!equal) {
        return NULL;
    }
    in->args[0] = equal->args[0];
    for (size_t i = 1; i < n; i++) {
        in->args[i] = convert(c, in->args[i], equal->args[1]->type, type->of);
    }
    in->negated = negated;
    if (!c->failed) {
        sort_list(in);
    }
    return finish(c, in);
}

/* AND or OR of what is in place: a constant decides, or says nothing. */
static const struct node *junction(struct checker *c, struct node *n)
{
    const struct node *last = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < n->n && !c->failed; i++) {
        last = n->args[i];
        if (last->kind != NODE_CONST) {
            n->args[kept++] = last;
        } else if (last->value.truth == (n->kind == NODE_OR)) {
            return last;
        }
    }
    n->n = kept;
    return c->failed ? NULL : kept == 0 ? last : kept == 1 ? n->args[0] : finish(c, n);
}

/* The first, and of the others those that are constants, or those that are not. Also in place. */
static size_t pick(const struct node *const *items, size_t n, bool constants, const struct node **out)
{
    size_t found = 1;
    out[0] = items[0];
    for (size_t i = 1; i < n; i++) {
        if (is_constant(items[i]) == constants) {
            out[found++] = items[i];
        }
    }
    return found;
}

/*
 * As PostgreSQL does: several constants are brought to a type that suits them and the left side; if there is
 * none, and the others, are each compared by themselves.
 */
static const struct node *check_in(struct checker *c, const struct condition *e)
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
    const struct node *type = n_plain > 2 ? common(plain, n_plain) : NULL;
    if (type) {
        n = pick(items, n, false, items);
    }
    size_t at = type != NULL;
    struct node *any = make(c, negated ? NODE_AND : NODE_OR, TYPE_BOOL, e->at, n - 1 + at);
    if (type) {
        any->args[0] = make_in(c, e->at, plain, n_plain, type, negated);
    }
    for (size_t i = 1; i < n; i++) {
        any->args[at + i - 1] = compare(c, e->at, negated ? "<>" : "=", items[0], items[i]);
    }
    return junction(c, any);
}

static const struct node *check_between(struct checker *c, const struct condition *e)
{
    bool negated = e->kind == CONDITION_NOT_BETWEEN;
    const struct node *x = check(c, e->args[0]), *low = check(c, e->args[1]), *high = check(c, e->args[2]);
    if (c->failed) {
        return NULL;
    }
    struct node *n = make(c, negated ? NODE_OR : NODE_AND, TYPE_BOOL, e->at, 2);
    n->args[0] = compare(c, e->at, negated ? "<" : ">=", x, low);
    n->args[1] = compare(c, e->at, negated ? ">" : "<=", x, high);
    return junction(c, n);
}

/* --- logic --- */

static const struct node *check_junction(struct checker *c, const struct condition *e)
{
    enum node_kind kind = e->kind == CONDITION_AND ? NODE_AND : e->kind == CONDITION_OR ? NODE_OR : NODE_NOT;
    static const char *const words[] = {[NODE_AND] = "AND", [NODE_OR] = "OR", [NODE_NOT] = "NOT"};
    struct node *n = make(c, kind, TYPE_BOOL, e->at, e->n);
    for (size_t i = 0; i < e->n && !c->failed; i++) {
        n->args[i] = boolean(c, check(c, e->args[i]), words[kind]);
    }
    return kind == NODE_NOT ? finish(c, n) : junction(c, n);
}

static const struct node *check_test(struct checker *c, const struct condition *e)
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
    struct node *n = make(c, tests[e->kind].kind, TYPE_BOOL, e->at, 1);
    n->negated = tests[e->kind].negated;
    n->args[0] = check(c, e->args[0]);
    if (tests[e->kind].boolean) {
        n->args[0] = boolean(c, n->args[0], "IS");
    }
    return finish(c, n);
}

static const struct node *check(struct checker *c, const struct condition *e)
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
    struct checker c = {.arena = a, .text = text, .table = table, .model = model, .why = out_why};
    const struct node *n = check(&c, e);
    if (c.failed) {
        return false;
    }
    if (n->type != TYPE_BOOL && n->type != TYPE_UNKNOWN) {
        *out_why = (struct where_refusal){
            .message = str_c(arena_printf(a, "Where expression should evaluate to a boolean, but it's :%.*s",
                                          STR_ARG(label(n)))),
            .location = -1};
        return false;
    }
    *out_root = convert(&c, n, TYPE_BOOL, NULL);
    return !c.failed;
}
