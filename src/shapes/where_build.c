/* SPDX-License-Identifier: Apache-2.0 */
/*
 * varchar and text, integers of any width, and both floats are held alike, so that what PostgreSQL converts
 * by itself among those needs no node.
 */
#include "shapes/where_build.h"

/* --- refusals --- */

/* The first one counts. */
struct node *build_refuse(struct builder *c, size_t at, const char *fmt, ...)
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

struct str build_label(const struct node *n)
{
    return n->of ? n->of->type_name : str_c(type_name(n->type));
}

/* --- nodes --- */

struct node *build_node(struct builder *c, enum node_kind kind, enum where_type type, size_t at, size_t n)
{
    struct node *node = arena_zalloc(c->arena, sizeof *node);
    node->kind = kind;
    node->type = type;
    node->at = at;
    node->n = n;
    node->args = arena_alloc_array(c->arena, n, sizeof(*node->args));
    return node;
}

bool node_is_constant(const struct node *n)
{
    return n->kind == NODE_CONST || n->kind == NODE_NULL;
}

static bool is_string_type(enum where_type t)
{
    return type_is_text(t) || t == TYPE_UUID || t == TYPE_NUMERIC || t == TYPE_ENUM || t == TYPE_UNKNOWN;
}

/* What a row has for the value. */
static void note_row_text(struct builder *c, struct node *n)
{
    if (n->kind == NODE_CONST) {
        n->row_text = n->type == TYPE_BOOL ? n->value.truth ? STR("t") : STR("f")
                                           : value_text(c->arena, n->type, &n->value);
    }
}

/* All arguments are constants: so is the result. */
static struct node *fold(struct builder *c, struct node *n)
{
    struct run r = {0};
    union datum v;
    enum outcome o = node_eval(n, &r, &v);
    struct node *folded = build_node(c, o == EVAL_VALUE ? NODE_CONST : NODE_NULL, n->type, n->at, 0);
    if (o == EVAL_VALUE && is_string_type(n->type)) {
        v.s = arena_str(c->arena, v.s);
    }
    arena_deinit(&r.scratch);
    folded->of = n->of;
    if (o == EVAL_ERROR) {
        return build_refuse(c, n->at, "this constant has no value of type %s", type_name(n->type));
    }
    if (o == EVAL_VALUE) {
        folded->value = v;
    }
    return build_finish(c, folded);
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
struct node *build_finish(struct builder *c, struct node *n)
{
    if (c->failed) {
        return NULL;
    }
    if (is_strict_null(n)) {
        return build_finish(c, build_node(c, NODE_NULL, n->type, n->at, 0));
    }
    uint64_t size = weight(n);
    bool constant = n->n > 0;
    for (size_t i = 0; i < n->n; i++) {
        size += n->args[i]->size;
        n->own = n->own || n->args[i]->own;
        constant = constant && node_is_constant(n->args[i]);
    }
    if (size > WHERE_MAX_STEPS) {
        return build_refuse(c, n->at, "the expression takes too many steps");
    }
    n->size = (uint32_t)size;
    note_row_text(c, n);
    n->as_text = is_text_equality(n);
    return constant ? fold(c, n) : n;
}

struct node *build_constant(struct builder *c, enum where_type type, size_t at, union datum value)
{
    struct node *n = build_node(c, NODE_CONST, type, at, 0);
    n->value = value;
    return build_finish(c, n);
}

/* --- conversion --- */

static bool has_label(const struct builder *c, const struct column *of, struct str text)
{
    const struct enum_type *e = schema_enum(c->model, of->type_schema, of->type_name);
    return !e || names_contain(&e->labels, text);
}

static bool read_literal(struct builder *c, const struct node *n, enum where_type to, const struct column *of,
                         union datum *out)
{
    if (to == TYPE_ENUM) {
        out->s = n->value.s;
        return has_label(c, of, n->value.s);
    }
    return value_parse(c->arena, to, n->value.s, out);
}

/* A literal takes the type (of an enum: that of the column). */
static struct node *settle(struct builder *c, const struct node *n, enum where_type to,
                           const struct column *of)
{
    struct node *typed = build_node(c, n->kind, to, n->at, 0);
    typed->of = to == TYPE_ENUM ? of : NULL;
    if (n->kind == NODE_CONST && !read_literal(c, n, to, of, &typed->value)) {
        struct str name = to == TYPE_ENUM ? of->type_name : str_c(type_name(to));
        return build_refuse(c, n->at, "invalid input %s %.*s: \"%.*s\"",
                            to == TYPE_ENUM ? "value for enum" : "syntax for type", STR_ARG(name),
                            STR_ARG(n->value.s));
    }
    return build_finish(c, typed);
}

static bool held_alike(enum where_type from, enum where_type to)
{
    return from == to || (type_is_text(from) && type_is_text(to)) ||
           (type_is_integer(from) && type_is_integer(to) && from < to) ||
           (from == TYPE_FLOAT4 && to == TYPE_FLOAT8);
}

static struct node *cast_node(struct builder *c, const struct node *n, enum where_type to, size_t at)
{
    struct node *cast = build_node(c, NODE_CAST, to, at, 1);
    cast->args[0] = n;
    if (!type_casts(n->type, to, &cast->own)) {
        return build_refuse(c, at, "cannot cast type %.*s to %s", STR_ARG(build_label(n)), type_name(to));
    }
    return build_finish(c, cast);
}

/* What PostgreSQL does by itself. */
const struct node *build_convert(struct builder *c, const struct node *n, enum where_type to,
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

const struct node *build_boolean(struct builder *c, const struct node *n, const char *where)
{
    if (c->failed || !n) {
        return NULL;
    }
    if (n->type != TYPE_BOOL && n->type != TYPE_UNKNOWN) {
        return build_refuse(c, n->at, "argument of %s must be type bool, not type %.*s", where,
                            STR_ARG(build_label(n)));
    }
    return build_convert(c, n, TYPE_BOOL, NULL);
}

const struct node *build_cast(struct builder *c, const struct node *n, enum where_type to, size_t at)
{
    if (c->failed || !n) {
        return NULL;
    }
    if (n->type == TYPE_UNKNOWN) {
        return settle(c, n, to, NULL);
    }
    return n->type == to ? n : cast_node(c, n, to, at);
}

/* --- operators --- */

enum where_type build_operand_type(const struct node *n)
{
    return n->type == TYPE_VARCHAR ? TYPE_TEXT : n->type;
}

static void refuse_operator(struct builder *c, size_t at, const char *name, const struct node *const *args,
                            size_t n, enum choice choice)
{
    struct str left = build_label(args[0]), right = build_label(args[n - 1]);
    build_refuse(c, at, "operator %s: %.*s%s%s%s%.*s",
                 choice == CHOICE_NONE ? "does not exist" : "is not unique", n == 2 ? (int)left.n : 0, left.p,
                 n == 2 ? " " : "", name, " ", STR_ARG(right));
}

/* Equality of enums: their text decides. */
static struct node *compare_enums(struct builder *c, size_t at, const char *name, const struct node *a,
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
    struct node *n = build_node(c, NODE_COMPARE, TYPE_BOOL, at, 2);
    n->compare = *name == '=' ? COMPARE_EQUAL : COMPARE_LESS | COMPARE_GREATER;
    n->args[0] = build_convert(c, a, TYPE_ENUM, of);
    n->args[1] = build_convert(c, b, TYPE_ENUM, of);
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
struct node *build_call(struct builder *c, size_t at, const struct operation *o,
                        const struct node *const *args, size_t n)
{
    struct node *node = build_node(c, o->compare ? NODE_COMPARE : NODE_CALL, o->result, at, n);
    node->compare = o->compare;
    node->call = o;
    node->own = o->own;
    for (size_t i = 0; i < n; i++) {
        node->args[i] =
            build_convert(c, args[i], o->form == FORM_PREFIX || i == 1 ? o->right : o->left, NULL);
    }
    if (!c->failed && (o->run == text_like_op || o->run == text_not_like)) {
        node->own = ends_in_escape(node->args[1]);
    }
    return c->failed ? NULL : node;
}

struct node *build_operation(struct builder *c, size_t at, const char *name, const struct node *const *args,
                             size_t n)
{
    if (c->failed) {
        return NULL;
    }
    if (n == 2 && (args[0]->type == TYPE_ENUM || args[1]->type == TYPE_ENUM)) {
        return compare_enums(c, at, name, args[0], args[1]);
    }
    enum where_type types[2] = {build_operand_type(args[0]), build_operand_type(args[n - 1])};
    const struct operation *o;
    enum choice choice = operation_choose(name, n == 2 ? FORM_INFIX : FORM_PREFIX, types, n, &o);
    if (choice != CHOICE_ONE) {
        refuse_operator(c, at, name, args, n, choice);
        return NULL;
    }
    return build_call(c, at, o, args, n);
}

struct node *build_comparison(struct builder *c, size_t at, const char *name, const struct node *a,
                              const struct node *b)
{
    const struct node *const args[2] = {a, b};
    struct node *n = build_operation(c, at, name, args, 2);
    return n ? build_finish(c, n) : NULL;
}

/* --- lists --- */

static bool same_enum(const struct node *a, const struct node *b)
{
    return a->type != TYPE_ENUM || b->type != TYPE_ENUM ||
           (str_eq(a->of->type_name, b->of->type_name) && str_eq(a->of->type_schema, b->of->type_schema));
}

/* select_common_type(): the type of a list, as its first member of a known type has it, or one that it
 * becomes. NULL: there is none. The type is that of the node returned. */
const struct node *build_common(const struct node *const *items, size_t n)
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

/* AND or OR of what is in place: a constant decides, or says nothing. */
const struct node *build_junction(struct builder *c, struct node *n)
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
    return c->failed ? NULL : kept == 0 ? last : kept == 1 ? n->args[0] : build_finish(c, n);
}
