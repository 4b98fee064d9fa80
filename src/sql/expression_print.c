/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A parsed expression, walked once and printed for SQLite while walking.
 *
 * Each print function appends the translation of a node to p->out and returns the class of its value. Failure
 * is sticky: the first unsupported() keeps its reason, everything after it is wasted but harmless work. What
 * pg_get_expr() makes of common forms decides much here: IN comes back as `= ANY (ARRAY[…])`, BETWEEN as two
 * comparisons, and text constants carry casts, which are dropped when they change nothing, because SQLite
 * uses a partial index only if a query repeats its predicate.
 */
#include "sql/expression_print.h"

#include "base/buf.h"

#include <stdio.h>

typedef PgQuery__Node node;

struct printer {
    struct buf *out;
    const struct expression_env *env;
    bool exact;
    bool failed;
    char why[200];
};

static enum value_class print(struct printer *p, const node *n);

static enum value_class unsupported(struct printer *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

static enum value_class unsupported(struct printer *p, const char *fmt, ...)
{
    if (!p->failed) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(p->why, sizeof p->why, fmt, ap);
        va_end(ap);
        p->failed = true;
    }
    return VALUE_UNKNOWN;
}

/* --- names, constants --- */

static void put_quoted(struct buf *b, const char *s, char quote)
{
    buf_put_byte(b, quote);
    for (; *s; s++) {
        if (*s == quote) {
            buf_put_byte(b, quote);
        }
        buf_put_byte(b, *s);
    }
    buf_put_byte(b, quote);
}

static const char *string_of(const node *n)
{
    return n && n->node_case == PG_QUERY__NODE__NODE_STRING ? n->string->sval : NULL;
}

/* A possibly qualified name, at most two parts. */
struct qualified {
    const char *schema; /* "" when not written */
    const char *name;
};

static bool read_qualified(node *const *parts, size_t n, struct qualified *out)
{
    if (n < 1 || n > 2 || !string_of(parts[0]) || !string_of(parts[n - 1])) {
        return false;
    }
    out->schema = n == 2 ? string_of(parts[0]) : "";
    out->name = string_of(parts[n - 1]);
    return true;
}

static bool is_catalog(struct qualified q)
{
    return !*q.schema || !strcmp(q.schema, "pg_catalog");
}

static enum value_class print_column(struct printer *p, const PgQuery__ColumnRef *c)
{
    const char *name = c->n_fields == 1 ? string_of(c->fields[0]) : NULL;
    if (!name) {
        return unsupported(p, "a qualified name");
    }
    enum value_class type = p->env->column(p->env->ctx, str_c(name));
    if (type == VALUE_UNKNOWN) {
        return unsupported(p, "no column \"%s\"", name);
    }
    put_quoted(p->out, name, '"');
    return type;
}

/* The lexer hands over digits as written; what does not fit 32 bits arrives here too. */
static enum value_class print_number(struct printer *p, const char *digits)
{
    size_t whole = strspn(digits, "-0123456789");
    if (!*digits || strspn(digits, "0123456789.eE+-") != strlen(digits)) {
        return unsupported(p, "a number of unknown form");
    }
    buf_put_c(p->out, digits);
    if (!digits[whole] && whole <= 18) {
        return VALUE_INT;
    }
    p->exact = false;
    return VALUE_REAL;
}

static enum value_class print_const(struct printer *p, const PgQuery__AConst *c)
{
    if (c->isnull) {
        buf_put_c(p->out, "NULL");
        return VALUE_NULL;
    }
    switch (c->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL:
        buf_printf(p->out, "%d", c->ival->ival);
        return VALUE_INT;
    case PG_QUERY__A__CONST__VAL_FVAL:
        return print_number(p, c->fval->fval);
    case PG_QUERY__A__CONST__VAL_BOOLVAL:
        buf_put_c(p->out, c->boolval->boolval ? "1" : "0");
        return VALUE_BOOL;
    case PG_QUERY__A__CONST__VAL_SVAL:
        put_quoted(p->out, c->sval->sval, '\'');
        return VALUE_TEXT;
    default:
        return unsupported(p, "a constant of unknown kind");
    }
}

/* --- types and casts --- */

static const struct {
    const char *name;
    enum value_class type;
} types[] = {
    {"bool", VALUE_BOOL},        {"int2", VALUE_INT},    {"int4", VALUE_INT},       {"int8", VALUE_INT},
    {"float4", VALUE_REAL},      {"float8", VALUE_REAL}, {"numeric", VALUE_REAL},   {"text", VALUE_TEXT},
    {"varchar", VALUE_TEXT},     {"name", VALUE_TEXT},   {"uuid", VALUE_TEXT},      {"date", VALUE_TIME},
    {"time", VALUE_TIME},        {"timetz", VALUE_TIME}, {"timestamp", VALUE_TIME}, {"bytea", VALUE_BLOB},
    {"timestamptz", VALUE_TIME},
};

enum value_class value_class_of(struct str type_name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (str_eq(type_name, str_c(types[i].name))) {
            return types[i].type;
        }
    }
    return VALUE_OTHER;
}

static enum value_class read_type(struct printer *p, const PgQuery__TypeName *t)
{
    struct qualified q;
    if (!t || !read_qualified(t->names, t->n_names, &q) || t->n_typmods || t->setof || t->pct_type) {
        return unsupported(p, "a cast to a type of this form");
    }
    enum value_class type = is_catalog(q) ? value_class_of(str_c(q.name)) : VALUE_OTHER;
    if (type != VALUE_OTHER) {
        return type;
    }
    if (p->env->is_enum(p->env->ctx, str_c(q.schema), str_c(q.name))) {
        return VALUE_TEXT;
    }
    return unsupported(p, "a cast to type %s", q.name);
}

static const char *constant_text(const node *n)
{
    bool text = n && n->node_case == PG_QUERY__NODE__NODE_A_CONST &&
                n->a_const->val_case == PG_QUERY__A__CONST__VAL_SVAL && !n->a_const->isnull;
    return text ? n->a_const->sval->sval : NULL;
}

static enum value_class print_blob(struct printer *p, const char *text)
{
    size_t n = strlen(text);
    bool hex = n >= 2 && text[0] == '\\' && text[1] == 'x' && n % 2 == 0 &&
               strspn(text + 2, "0123456789abcdefABCDEF") == n - 2;
    if (!hex) {
        return unsupported(p, "a bytea constant that is not in hex form");
    }
    buf_printf(p->out, "x'%s'", text + 2);
    return VALUE_BLOB;
}

/* Negative constants come as '-1'::integer; written plainly, a query's own -1 matches them. */
static bool is_plain_number(const char *text, enum value_class type)
{
    const char *digits = text + (*text == '-');
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 18) {
        return false;
    }
    const char *rest = digits + n;
    if (type == VALUE_REAL && *rest == '.') {
        rest++;
        rest += strspn(rest, "0123456789");
    }
    return !*rest;
}

static void put_number(struct printer *p, const char *text, enum value_class type)
{
    if (is_plain_number(text, type) && (type == VALUE_INT || strchr(text, '.'))) {
        buf_put_c(p->out, text);
        return;
    }
    buf_put_c(p->out, "CAST(");
    put_quoted(p->out, text, '\'');
    buf_put_c(p->out, type == VALUE_INT ? " AS INTEGER)" : " AS REAL)");
}

/* 'text'::type */
static enum value_class print_typed_constant(struct printer *p, const char *text, enum value_class type)
{
    bool truth;
    switch (type) {
    case VALUE_INT:
    case VALUE_REAL:
        put_number(p, text, type);
        return type;
    case VALUE_BOOL:
        if (!str_to_bool(str_c(text), &truth)) {
            return unsupported(p, "a boolean constant of unknown form");
        }
        buf_put_byte(p->out, truth ? '1' : '0');
        return type;
    case VALUE_BLOB:
        return print_blob(p, text);
    case VALUE_TEXT:
    case VALUE_TIME:
        put_quoted(p->out, text, '\'');
        return type;
    case VALUE_UNKNOWN:
    case VALUE_NULL:
    case VALUE_OTHER:
        break;
    }
    return unsupported(p, "a constant of this type");
}

/* Puts CAST( … AS type) around what was printed from `at` on. */
static void wrap_cast(struct printer *p, size_t at, const char *type)
{
    static const char open[] = "CAST(";
    size_t n = sizeof open - 1;
    buf_put(p->out, open, n);
    if (!p->out->overflow) {
        memmove(p->out->p + at + n, p->out->p + at, p->out->n - n - at);
        memcpy(p->out->p + at, open, n);
    }
    buf_printf(p->out, " AS %s)", type);
}

static enum value_class print_cast(struct printer *p, const PgQuery__TypeCast *c)
{
    enum value_class to = read_type(p, c->type_name);
    if (!p->failed && c->type_name->n_array_bounds) {
        return unsupported(p, "a cast to an array");
    }
    if (!p->failed && constant_text(c->arg)) {
        return print_typed_constant(p, constant_text(c->arg), to);
    }
    size_t at = p->out->n;
    enum value_class from = print(p, c->arg);
    if (p->failed || from == VALUE_NULL) {
        return to;
    }
    if (from == to && to != VALUE_TIME) {
        p->exact = p->exact && to != VALUE_REAL; /* float8 to float4 rounds */
        return to;
    }
    bool numbers = (from == VALUE_INT || from == VALUE_REAL || from == VALUE_TEXT) &&
                   (to == VALUE_INT || to == VALUE_REAL);
    bool digits = from == VALUE_INT && to == VALUE_TEXT;
    if (!numbers && !digits) {
        return unsupported(p, "a cast between types that SQLite holds differently");
    }
    p->exact = p->exact && digits;
    wrap_cast(p, at, to == VALUE_INT ? "INTEGER" : to == VALUE_REAL ? "REAL" : "TEXT");
    return to;
}

/* --- operators --- */

static bool is_number(enum value_class t)
{
    return t == VALUE_INT || t == VALUE_REAL;
}

/* The class that holds values of both, or VALUE_UNKNOWN. */
static enum value_class unify(enum value_class a, enum value_class b)
{
    if (a == b || b == VALUE_NULL) {
        return a;
    }
    if (a == VALUE_NULL) {
        return b;
    }
    return is_number(a) && is_number(b) ? VALUE_REAL : VALUE_UNKNOWN;
}

/* Notes what a comparison of a and b means; equality of text is the same everywhere, order is not. */
static void check_comparison(struct printer *p, enum value_class a, enum value_class b, bool order)
{
    enum value_class both = unify(a, b);
    if (both == VALUE_UNKNOWN || both == VALUE_OTHER) {
        unsupported(p, "a comparison of these types");
        return;
    }
    bool same = both == VALUE_INT || both == VALUE_BOOL || both == VALUE_NULL || both == VALUE_BLOB;
    p->exact = p->exact && (same || (both == VALUE_TEXT && !order));
}

static enum value_class check_bool(struct printer *p, enum value_class t)
{
    if (t != VALUE_BOOL && t != VALUE_NULL) {
        return unsupported(p, "a condition that is not boolean");
    }
    return VALUE_BOOL;
}

static enum value_class arithmetic_class(struct printer *p, const char *op, enum value_class a,
                                         enum value_class b)
{
    enum value_class both = unify(a, b);
    if (!is_number(both) || (*op == '%' && both != VALUE_INT)) {
        return unsupported(p, "operator %s on these types", op);
    }
    p->exact = p->exact && both == VALUE_INT;
    return both;
}

static enum value_class operator_class(struct printer *p, const char *op, enum value_class a,
                                       enum value_class b)
{
    if (!strcmp(op, "=") || !strcmp(op, "<>")) {
        check_comparison(p, a, b, false);
        return VALUE_BOOL;
    }
    if (!strcmp(op, "<") || !strcmp(op, "<=") || !strcmp(op, ">") || !strcmp(op, ">=")) {
        check_comparison(p, a, b, true);
        return VALUE_BOOL;
    }
    if (!strcmp(op, "||")) {
        bool text = unify(a, b) == VALUE_TEXT;
        return text ? VALUE_TEXT : unsupported(p, "operator || on these types");
    }
    if (strlen(op) == 1 && strchr("+-*/%", *op)) {
        return arithmetic_class(p, op, a, b);
    }
    return unsupported(p, "operator %s", op);
}

static enum value_class print_unary(struct printer *p, const char *op, const node *arg)
{
    if (strcmp(op, "-") && strcmp(op, "+")) {
        return unsupported(p, "operator %s", op);
    }
    /* The space keeps "- -1" from becoming a comment. */
    buf_printf(p->out, "(%s ", op);
    enum value_class t = print(p, arg);
    buf_put_byte(p->out, ')');
    return is_number(t) ? t : unsupported(p, "operator %s on this type", op);
}

/* left <op> right in parentheses */
static void print_infix(struct printer *p, const node *l, const char *op, const node *r,
                        enum value_class out[2])
{
    buf_put_byte(p->out, '(');
    out[0] = print(p, l);
    buf_printf(p->out, " %s ", op);
    out[1] = print(p, r);
    buf_put_byte(p->out, ')');
}

static enum value_class print_operator(struct printer *p, const PgQuery__AExpr *e, const char *op)
{
    if (!e->lexpr) {
        return print_unary(p, op, e->rexpr);
    }
    enum value_class t[2];
    print_infix(p, e->lexpr, op, e->rexpr, t);
    return p->failed ? VALUE_UNKNOWN : operator_class(p, op, t[0], t[1]);
}

/* IS [NOT] DISTINCT FROM */
static enum value_class print_distinct(struct printer *p, const PgQuery__AExpr *e, const char *op)
{
    enum value_class t[2];
    print_infix(p, e->lexpr, op, e->rexpr, t);
    check_comparison(p, t[0], t[1], false);
    return VALUE_BOOL;
}

static enum value_class print_list(struct printer *p, const node *left, const char *op, node *const *items,
                                   size_t n)
{
    buf_put_byte(p->out, '(');
    enum value_class t = print(p, left);
    buf_printf(p->out, " %s (", op);
    for (size_t i = 0; i < n && !p->failed; i++) {
        buf_put_c(p->out, i ? ", " : "");
        check_comparison(p, t, print(p, items[i]), false);
    }
    buf_put_c(p->out, "))");
    return VALUE_BOOL;
}

static enum value_class print_in(struct printer *p, const PgQuery__AExpr *e, const char *op)
{
    if (!e->rexpr || e->rexpr->node_case != PG_QUERY__NODE__NODE_LIST || !e->rexpr->list->n_items) {
        return unsupported(p, "IN without a list");
    }
    const char *in = strcmp(op, "=") ? "NOT IN" : "IN";
    return print_list(p, e->lexpr, in, e->rexpr->list->items, e->rexpr->list->n_items);
}

/* x = ANY (ARRAY[…]), x <> ALL (ARRAY[…]): IN and NOT IN as PostgreSQL keeps them; also with a cast of the
 * array. */
static enum value_class print_any(struct printer *p, const PgQuery__AExpr *e, const char *op, const char *in)
{
    const node *array = e->rexpr;
    if (array && array->node_case == PG_QUERY__NODE__NODE_TYPE_CAST) {
        enum value_class element = read_type(p, array->type_cast->type_name);
        bool plain = element == VALUE_TEXT || element == VALUE_INT;
        if (!plain || array->type_cast->type_name->n_array_bounds != 1) {
            return unsupported(p, "a cast of an array");
        }
        array = array->type_cast->arg;
    }
    if (!array || array->node_case != PG_QUERY__NODE__NODE_A_ARRAY_EXPR || !array->a_array_expr->n_elements ||
        strcmp(op, strcmp(in, "IN") ? "<>" : "=")) {
        return unsupported(p, "operator %s with an array", op);
    }
    return print_list(p, e->lexpr, in, array->a_array_expr->elements, array->a_array_expr->n_elements);
}

static enum value_class print_between(struct printer *p, const PgQuery__AExpr *e, const char *op)
{
    if (!e->rexpr || e->rexpr->node_case != PG_QUERY__NODE__NODE_LIST || e->rexpr->list->n_items != 2) {
        return unsupported(p, "%s of this form", op);
    }
    buf_put_byte(p->out, '(');
    enum value_class t = print(p, e->lexpr);
    buf_printf(p->out, " %s ", op);
    check_comparison(p, t, print(p, e->rexpr->list->items[0]), true);
    buf_put_c(p->out, " AND ");
    check_comparison(p, t, print(p, e->rexpr->list->items[1]), true);
    buf_put_byte(p->out, ')');
    return VALUE_BOOL;
}

static enum value_class print_nullif(struct printer *p, const PgQuery__AExpr *e)
{
    buf_put_c(p->out, "nullif(");
    enum value_class a = print(p, e->lexpr);
    buf_put_c(p->out, ", ");
    enum value_class b = print(p, e->rexpr);
    buf_put_byte(p->out, ')');
    check_comparison(p, a, b, false);
    return a;
}

static enum value_class print_a_expr(struct printer *p, const PgQuery__AExpr *e)
{
    struct qualified q;
    if (!read_qualified(e->name, e->n_name, &q) || !is_catalog(q)) {
        return unsupported(p, "an operator of this form");
    }
    switch (e->kind) {
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
        return print_operator(p, e, q.name);
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY:
        return print_any(p, e, q.name, "IN");
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL:
        return print_any(p, e, q.name, "NOT IN");
    case PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT:
        return print_distinct(p, e, "IS NOT");
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT:
        return print_distinct(p, e, "IS");
    case PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF:
        return print_nullif(p, e);
    case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
        return print_in(p, e, q.name);
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
        return print_between(p, e, "BETWEEN");
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
        return print_between(p, e, "NOT BETWEEN");
    default:
        /* LIKE, too: SQLite's ignores case. */
        return unsupported(p, "a pattern match or another operator that SQLite has differently");
    }
}

/* --- conditions --- */

static enum value_class print_bool(struct printer *p, const PgQuery__BoolExpr *b)
{
    if (b->boolop == PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR) {
        buf_put_c(p->out, "(NOT ");
    } else {
        buf_put_byte(p->out, '(');
    }
    const char *between = b->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR ? " AND " : " OR ";
    for (size_t i = 0; i < b->n_args && !p->failed; i++) {
        buf_put_c(p->out, i ? between : "");
        check_bool(p, print(p, b->args[i]));
    }
    buf_put_byte(p->out, ')');
    return VALUE_BOOL;
}

static enum value_class print_null_test(struct printer *p, const PgQuery__NullTest *t)
{
    bool is_null = t->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NULL;
    buf_put_byte(p->out, '(');
    print(p, t->arg);
    buf_put_c(p->out, is_null ? " IS NULL)" : " IS NOT NULL)");
    return VALUE_BOOL;
}

static enum value_class print_bool_test(struct printer *p, const PgQuery__BooleanTest *t)
{
    static const char *const words[] = {
        [PG_QUERY__BOOL_TEST_TYPE__IS_TRUE] = "IS TRUE",
        [PG_QUERY__BOOL_TEST_TYPE__IS_NOT_TRUE] = "IS NOT TRUE",
        [PG_QUERY__BOOL_TEST_TYPE__IS_FALSE] = "IS FALSE",
        [PG_QUERY__BOOL_TEST_TYPE__IS_NOT_FALSE] = "IS NOT FALSE",
        [PG_QUERY__BOOL_TEST_TYPE__IS_UNKNOWN] = "IS NULL",
        [PG_QUERY__BOOL_TEST_TYPE__IS_NOT_UNKNOWN] = "IS NOT NULL",
    };
    if ((size_t)t->booltesttype >= ARRAY_LEN(words) || !words[t->booltesttype]) {
        return unsupported(p, "a boolean test of unknown kind");
    }
    buf_put_byte(p->out, '(');
    check_bool(p, print(p, t->arg));
    buf_printf(p->out, " %s)", words[t->booltesttype]);
    return VALUE_BOOL;
}

/* Prints a result of CASE or COALESCE; all of them must agree on a class. */
static enum value_class print_result(struct printer *p, enum value_class before, const node *n)
{
    enum value_class both = unify(before, print(p, n));
    return both == VALUE_UNKNOWN ? unsupported(p, "results of different types") : both;
}

static enum value_class print_when(struct printer *p, const node *n, enum value_class *arg,
                                   enum value_class result)
{
    if (n->node_case != PG_QUERY__NODE__NODE_CASE_WHEN) {
        return unsupported(p, "CASE of this form");
    }
    buf_put_c(p->out, " WHEN ");
    enum value_class condition = print(p, n->case_when->expr);
    if (arg) {
        check_comparison(p, *arg, condition, false);
    } else {
        check_bool(p, condition);
    }
    buf_put_c(p->out, " THEN ");
    return print_result(p, result, n->case_when->result);
}

static enum value_class print_case(struct printer *p, const PgQuery__CaseExpr *c)
{
    enum value_class arg = VALUE_NULL, result = VALUE_NULL;
    buf_put_c(p->out, "CASE");
    if (c->arg) {
        buf_put_byte(p->out, ' ');
        arg = print(p, c->arg);
    }
    for (size_t i = 0; i < c->n_args && !p->failed; i++) {
        result = print_when(p, c->args[i], c->arg ? &arg : NULL, result);
    }
    if (c->defresult) {
        buf_put_c(p->out, " ELSE ");
        result = print_result(p, result, c->defresult);
    }
    buf_put_c(p->out, " END");
    return result;
}

static enum value_class print_coalesce(struct printer *p, const PgQuery__CoalesceExpr *c)
{
    if (c->n_args == 1) {
        return print(p, c->args[0]); /* SQLite wants two */
    }
    enum value_class result = VALUE_NULL;
    buf_put_c(p->out, "coalesce(");
    for (size_t i = 0; i < c->n_args && !p->failed; i++) {
        buf_put_c(p->out, i ? ", " : "");
        result = print_result(p, result, c->args[i]);
    }
    buf_put_byte(p->out, ')');
    return result;
}

/* --- functions --- */

enum { FUNCTION_MAX_ARGS = 3 };

/* Classes of the arguments; in column 0 VALUE_REAL stands for any number. VALUE_UNKNOWN: no argument. */
static const struct function {
    const char *name;
    const char *sqlite;
    enum value_class args[FUNCTION_MAX_ARGS];
    enum value_class result; /* VALUE_REAL: the class of the first argument */
    bool exact;
} functions[] = {
    {"upper", "upper", {VALUE_TEXT}, VALUE_TEXT, false}, /* SQLite folds ASCII only */
    {"lower", "lower", {VALUE_TEXT}, VALUE_TEXT, false},
    {"length", "length", {VALUE_TEXT}, VALUE_INT, true},
    {"length", "length", {VALUE_BLOB}, VALUE_INT, true},
    {"char_length", "length", {VALUE_TEXT}, VALUE_INT, true},
    {"character_length", "length", {VALUE_TEXT}, VALUE_INT, true},
    {"abs", "abs", {VALUE_REAL}, VALUE_REAL, true},
    {"round", "round", {VALUE_REAL}, VALUE_REAL, false}, /* halves go elsewhere */
    {"round", "round", {VALUE_REAL, VALUE_INT}, VALUE_REAL, false},
    /* A start below 1 counts from the end in SQLite. */
    {"substring", "substring", {VALUE_TEXT, VALUE_INT}, VALUE_TEXT, false},
    {"substring", "substring", {VALUE_TEXT, VALUE_INT, VALUE_INT}, VALUE_TEXT, false},
    {"substr", "substr", {VALUE_TEXT, VALUE_INT}, VALUE_TEXT, false},
    {"substr", "substr", {VALUE_TEXT, VALUE_INT, VALUE_INT}, VALUE_TEXT, false},
    {"btrim", "trim", {VALUE_TEXT}, VALUE_TEXT, true},
    {"btrim", "trim", {VALUE_TEXT, VALUE_TEXT}, VALUE_TEXT, true},
    {"ltrim", "ltrim", {VALUE_TEXT}, VALUE_TEXT, true},
    {"ltrim", "ltrim", {VALUE_TEXT, VALUE_TEXT}, VALUE_TEXT, true},
    {"rtrim", "rtrim", {VALUE_TEXT}, VALUE_TEXT, true},
    {"rtrim", "rtrim", {VALUE_TEXT, VALUE_TEXT}, VALUE_TEXT, true},
};

static bool accepts(const struct function *f, const char *name, const enum value_class *args, size_t n)
{
    if (strcmp(f->name, name)) {
        return false;
    }
    for (size_t i = 0; i < FUNCTION_MAX_ARGS; i++) {
        enum value_class given = i < n ? args[i] : VALUE_UNKNOWN;
        bool number = f->args[i] == VALUE_REAL && is_number(given);
        bool null = given == VALUE_NULL && f->args[i] != VALUE_UNKNOWN;
        if (given != f->args[i] && !number && !null) {
            return false;
        }
    }
    return true;
}

static const struct function *find_function(const char *name, const enum value_class *args, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if (accepts(&functions[i], name, args, n)) {
            return &functions[i];
        }
    }
    return NULL;
}

static const char *sqlite_function(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if (!strcmp(functions[i].name, name)) {
            return functions[i].sqlite;
        }
    }
    return NULL;
}

static bool is_plain_call(const PgQuery__FuncCall *f)
{
    return !f->n_agg_order && !f->agg_filter && !f->over && !f->agg_within_group && !f->agg_star &&
           !f->agg_distinct && !f->func_variadic;
}

static enum value_class print_function(struct printer *p, const PgQuery__FuncCall *f)
{
    struct qualified q;
    if (!read_qualified(f->funcname, f->n_funcname, &q) || !is_catalog(q) || !is_plain_call(f)) {
        return unsupported(p, "a function call of this form");
    }
    const char *name = sqlite_function(q.name);
    if (!name || f->n_args > FUNCTION_MAX_ARGS) {
        return unsupported(p, "function %s()", q.name);
    }
    enum value_class args[FUNCTION_MAX_ARGS] = {0};
    buf_printf(p->out, "%s(", name);
    for (size_t i = 0; i < f->n_args; i++) {
        buf_put_c(p->out, i ? ", " : "");
        args[i] = print(p, f->args[i]);
    }
    buf_put_byte(p->out, ')');
    const struct function *found = p->failed ? NULL : find_function(q.name, args, f->n_args);
    if (!found) {
        return unsupported(p, "function %s() with these arguments", q.name);
    }
    p->exact = p->exact && found->exact;
    return found->result == VALUE_REAL ? args[0] : found->result;
}

static enum value_class print(struct printer *p, const node *n)
{
    if (!n || p->failed) {
        return unsupported(p, "an incomplete expression");
    }
    switch (n->node_case) {
    case PG_QUERY__NODE__NODE_COLUMN_REF:
        return print_column(p, n->column_ref);
    case PG_QUERY__NODE__NODE_A_CONST:
        return print_const(p, n->a_const);
    case PG_QUERY__NODE__NODE_TYPE_CAST:
        return print_cast(p, n->type_cast);
    case PG_QUERY__NODE__NODE_A_EXPR:
        return print_a_expr(p, n->a_expr);
    case PG_QUERY__NODE__NODE_BOOL_EXPR:
        return print_bool(p, n->bool_expr);
    case PG_QUERY__NODE__NODE_NULL_TEST:
        return print_null_test(p, n->null_test);
    case PG_QUERY__NODE__NODE_BOOLEAN_TEST:
        return print_bool_test(p, n->boolean_test);
    case PG_QUERY__NODE__NODE_CASE_EXPR:
        return print_case(p, n->case_expr);
    case PG_QUERY__NODE__NODE_COALESCE_EXPR:
        return print_coalesce(p, n->coalesce_expr);
    case PG_QUERY__NODE__NODE_FUNC_CALL:
        return print_function(p, n->func_call);
    default:
        return unsupported(p, "an expression of a kind that is not translated");
    }
}

static bool is_case_fold(const node *n)
{
    struct qualified q;
    return n->node_case == PG_QUERY__NODE__NODE_FUNC_CALL &&
           read_qualified(n->func_call->funcname, n->func_call->n_funcname, &q) &&
           (!strcmp(q.name, "lower") || !strcmp(q.name, "upper")) && n->func_call->n_args == 1;
}

/*
 * lower() and upper() fold less in SQLite (ASCII only), so as a whole key they tell apart at least what
 * PostgreSQL tells apart; under another operator that proves nothing.
 */
static bool is_key_safe(struct printer *p, const node *n)
{
    if (!is_case_fold(n)) {
        return p->exact;
    }
    p->exact = true;
    buf_reset(p->out);
    print(p, n->func_call->args[0]);
    bool safe = p->exact;
    p->exact = false;
    return safe;
}

bool expression_print(struct arena *a, const node *n, const struct expression_env *env,
                      struct expression *out, struct str *out_why)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(EXPRESSION_MAX_OUTPUT);
    struct printer p = {.out = &text, .env = env, .exact = true};
    enum value_class type = print(&p, n);
    if (text.overflow) {
        unsupported(&p, "an expression this long");
    }
    if (p.failed) {
        *out_why = str_c(arena_strdup(a, p.why));
        return false;
    }
    *out = (struct expression){.sql = arena_str(a, buf_str(&text)), .type = type, .exact = p.exact};
    out->key_safe = is_key_safe(&p, n);
    return true;
}
