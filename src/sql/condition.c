/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text is bounded, parsed by libpg_query as `SELECT 1 WHERE <text>`, and copied from its tree into ours.
 * The text may hold anything: nothing but one SELECT with the bare WHERE is accepted.
 */
#include "sql/condition.h"

#include "base/buf.h"
#include "sql/depth.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdio.h>

#define PREFIX "SELECT 1 WHERE "

typedef PgQuery__Node node;

struct reader {
    struct arena *arena;
    struct str text;
    struct condition_refusal *why;
    bool failed;
};

static const struct condition *read_node(struct reader *r, const node *n);

/* --- locations, refusals --- */

/* The parser counts bytes of the whole statement. */
static size_t in_text(int at)
{
    return at < (int)sizeof PREFIX - 1 ? 0 : (size_t)at - (sizeof PREFIX - 1);
}

int condition_location(struct str text, size_t at)
{
    int n = 0;
    for (size_t i = 0; i < at && i < text.n; i++) {
        n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    }
    return n;
}

static const struct condition *refuse(struct reader *r, int at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The first one counts. */
static const struct condition *refuse(struct reader *r, int at, const char *fmt, ...)
{
    if (!r->failed) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(CONDITION_MAX_TEXT + 1024);
        va_list ap;
        va_start(ap, fmt);
        buf_vprintf(&b, fmt, ap);
        va_end(ap);
        r->why->message = arena_str(r->arena, buf_str(&b));
        r->why->location = condition_location(r->text, in_text(at));
        r->failed = true;
    }
    return NULL;
}

/* --- building --- */

static struct condition *make(struct reader *r, enum condition_kind kind, int at, const char *text, size_t n)
{
    struct condition *c = arena_zalloc(r->arena, sizeof *c);
    c->kind = kind;
    c->at = in_text(at);
    c->text = str_c(text ? arena_strdup(r->arena, text) : "");
    c->n = n;
    c->args = arena_alloc_array(r->arena, n, sizeof(*c->args));
    return c;
}

static void read_args(struct reader *r, struct condition *c, size_t from, node *const *args, size_t n)
{
    for (size_t i = 0; i < n && !r->failed; i++) {
        c->args[from + i] = read_node(r, args[i]);
    }
}

static const struct condition *one_arg(struct reader *r, enum condition_kind kind, int at, const node *arg)
{
    struct condition *c = make(r, kind, at, NULL, 1);
    c->args[0] = read_node(r, arg);
    return c;
}

static const struct condition *two_args(struct reader *r, enum condition_kind kind, const PgQuery__AExpr *e,
                                        const char *name)
{
    struct condition *c = make(r, kind, e->location, name, 2);
    c->args[0] = read_node(r, e->lexpr);
    c->args[1] = read_node(r, e->rexpr);
    return c;
}

/* --- names and literals --- */

static const char *string_of(const node *n)
{
    return n && n->node_case == PG_QUERY__NODE__NODE_STRING ? n->string->sval : NULL;
}

/* A name, bare or of pg_catalog; NULL when it is another one. */
static const char *catalog_name(node *const *parts, size_t n)
{
    bool bare = n == 1;
    bool catalog = n == 2 && string_of(parts[0]) && !strcmp(string_of(parts[0]), "pg_catalog");
    return bare || catalog ? string_of(parts[n - 1]) : NULL;
}

static const struct condition *read_column(struct reader *r, const PgQuery__ColumnRef *c)
{
    const char *first = c->n_fields == 2 ? string_of(c->fields[0]) : NULL;
    if (first && !strcmp(first, "this") && string_of(c->fields[1])) {
        return make(r, CONDITION_COLUMN, c->location, string_of(c->fields[1]), 0);
    }
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(CONDITION_MAX_TEXT);
    for (size_t i = 0; i < c->n_fields; i++) {
        const char *part = string_of(c->fields[i]);
        buf_put_c(&b, i ? "." : "");
        buf_put_c(&b, part ? part : "*");
    }
    return make(r, CONDITION_REFERENCE, c->location, buf_cstr(&b), 0);
}

static const struct condition *read_const(struct reader *r, const PgQuery__AConst *c)
{
    if (c->isnull) {
        return make(r, CONDITION_NULL, c->location, NULL, 0);
    }
    char digits[16];
    switch (c->val_case) {
    case PG_QUERY__A__CONST__VAL_IVAL:
        snprintf(digits, sizeof digits, "%d", c->ival->ival);
        return make(r, CONDITION_NUMBER, c->location, digits, 0);
    case PG_QUERY__A__CONST__VAL_FVAL:
        return make(r, CONDITION_NUMBER, c->location, c->fval->fval, 0);
    case PG_QUERY__A__CONST__VAL_BOOLVAL:
        return make(r, c->boolval->boolval ? CONDITION_TRUE : CONDITION_FALSE, c->location, NULL, 0);
    case PG_QUERY__A__CONST__VAL_SVAL:
        return make(r, CONDITION_STRING, c->location, c->sval->sval, 0);
    default:
        return refuse(r, c->location, "bit string literals are not supported");
    }
}

static const struct condition *read_cast(struct reader *r, const PgQuery__TypeCast *c)
{
    const PgQuery__TypeName *t = c->type_name;
    const char *name = t ? catalog_name(t->names, t->n_names) : NULL;
    if (!name || t->setof || t->pct_type || t->n_array_bounds) {
        return refuse(r, c->location, "a cast to this type is not supported");
    }
    if (t->n_typmods) {
        return refuse(r, t->location, "type modifiers are not supported");
    }
    struct condition *cast = make(r, CONDITION_CAST, c->location, name, 1);
    cast->args[0] = read_node(r, c->arg);
    return cast;
}

/* --- operators and functions --- */

static const struct condition *read_list(struct reader *r, enum condition_kind kind, const PgQuery__AExpr *e)
{
    if (!e->rexpr || e->rexpr->node_case != PG_QUERY__NODE__NODE_LIST) {
        return refuse(r, e->location, "only a list of expressions is supported in this context");
    }
    const PgQuery__List *list = e->rexpr->list;
    struct condition *c = make(r, kind, e->location, NULL, list->n_items + 1);
    c->args[0] = read_node(r, e->lexpr);
    read_args(r, c, 1, list->items, list->n_items);
    return c;
}

static const struct condition *read_operator(struct reader *r, const PgQuery__AExpr *e, const char *name)
{
    if (e->lexpr) {
        return two_args(r, CONDITION_OPERATOR, e, name);
    }
    struct condition *c = make(r, CONDITION_OPERATOR, e->location, name, 1);
    c->args[0] = read_node(r, e->rexpr);
    return c;
}

static const struct condition *read_expr(struct reader *r, const PgQuery__AExpr *e)
{
    const char *name = catalog_name(e->name, e->n_name);
    if (!name) {
        return refuse(r, e->location, "operators of other schemas are not supported");
    }
    switch (e->kind) {
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
    case PG_QUERY__A__EXPR__KIND__AEXPR_LIKE:
    case PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE:
        return read_operator(r, e, name);
    case PG_QUERY__A__EXPR__KIND__AEXPR_DISTINCT:
        return two_args(r, CONDITION_DISTINCT, e, NULL);
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_DISTINCT:
        return two_args(r, CONDITION_NOT_DISTINCT, e, NULL);
    case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
        return read_list(r, strcmp(name, "=") ? CONDITION_NOT_IN : CONDITION_IN, e);
    case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
        return read_list(r, CONDITION_BETWEEN, e);
    case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
        return read_list(r, CONDITION_NOT_BETWEEN, e);
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY:
    case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL:
        return refuse(r, e->location, "operators on arrays are not supported");
    case PG_QUERY__A__EXPR__KIND__AEXPR_NULLIF:
        return refuse(r, e->location, "NULLIF is not supported");
    case PG_QUERY__A__EXPR__KIND__AEXPR_SIMILAR:
        return refuse(r, e->location, "SIMILAR TO is not supported");
    default:
        return refuse(r, e->location, "an operator of this form is not supported");
    }
}

static const struct condition *read_bool(struct reader *r, const PgQuery__BoolExpr *b)
{
    enum condition_kind kind = b->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR  ? CONDITION_AND
                               : b->boolop == PG_QUERY__BOOL_EXPR_TYPE__OR_EXPR ? CONDITION_OR
                                                                                : CONDITION_NOT;
    struct condition *c = make(r, kind, b->location, NULL, b->n_args);
    read_args(r, c, 0, b->args, b->n_args);
    return c;
}

static const struct condition *read_bool_test(struct reader *r, const PgQuery__BooleanTest *t)
{
    static const enum condition_kind kinds[] = {
        [PG_QUERY__BOOL_TEST_TYPE__IS_TRUE] = CONDITION_IS_TRUE,
        [PG_QUERY__BOOL_TEST_TYPE__IS_NOT_TRUE] = CONDITION_IS_NOT_TRUE,
        [PG_QUERY__BOOL_TEST_TYPE__IS_FALSE] = CONDITION_IS_FALSE,
        [PG_QUERY__BOOL_TEST_TYPE__IS_NOT_FALSE] = CONDITION_IS_NOT_FALSE,
        [PG_QUERY__BOOL_TEST_TYPE__IS_UNKNOWN] = CONDITION_IS_UNKNOWN,
        [PG_QUERY__BOOL_TEST_TYPE__IS_NOT_UNKNOWN] = CONDITION_IS_NOT_UNKNOWN,
    };
    if ((size_t)t->booltesttype >= ARRAY_LEN(kinds) || !kinds[t->booltesttype]) {
        return refuse(r, t->location, "a test of this form is not supported");
    }
    return one_arg(r, kinds[t->booltesttype], t->location, t->arg);
}

static const struct condition *read_call(struct reader *r, const PgQuery__FuncCall *f)
{
    const char *name = catalog_name(f->funcname, f->n_funcname);
    if (!name) {
        return refuse(r, f->location, "functions of other schemas are not supported");
    }
    if (f->over) {
        return refuse(r, f->location, "window functions are not supported in this context");
    }
    if (f->n_agg_order || f->agg_filter || f->agg_within_group || f->agg_star || f->agg_distinct) {
        return refuse(r, f->location, "aggregation is not supported in this context");
    }
    if (f->func_variadic) {
        return refuse(r, f->location, "variadic arguments are not supported");
    }
    struct condition *c = make(r, CONDITION_CALL, f->location, name, f->n_args);
    read_args(r, c, 0, f->args, f->n_args);
    return c;
}

static const struct condition *read_coalesce(struct reader *r, const PgQuery__CoalesceExpr *e)
{
    struct condition *c = make(r, CONDITION_COALESCE, e->location, NULL, e->n_args);
    read_args(r, c, 0, e->args, e->n_args);
    return c;
}

/* Those that people are likely to try get words of their own. */
static const struct condition *refuse_node(struct reader *r, const node *n)
{
    switch (n->node_case) {
    case PG_QUERY__NODE__NODE_SUB_LINK:
        return refuse(r, n->sub_link->location, "subqueries are not supported in this context");
    case PG_QUERY__NODE__NODE_PARAM_REF:
        return refuse(r, n->param_ref->location, "parameters are not supported in this context");
    case PG_QUERY__NODE__NODE_CASE_EXPR:
        return refuse(r, n->case_expr->location, "CASE is not supported");
    case PG_QUERY__NODE__NODE_MIN_MAX_EXPR:
        return refuse(r, n->min_max_expr->location, "GREATEST and LEAST are not supported");
    case PG_QUERY__NODE__NODE_SQLVALUE_FUNCTION:
        return refuse(r, n->sqlvalue_function->location,
                      "values that change with time or user are not supported");
    case PG_QUERY__NODE__NODE_A_ARRAY_EXPR:
        return refuse(r, n->a_array_expr->location, "arrays are not supported");
    case PG_QUERY__NODE__NODE_ROW_EXPR:
        return refuse(r, n->row_expr->location, "rows are not supported");
    case PG_QUERY__NODE__NODE_COLLATE_CLAUSE:
        return refuse(r, n->collate_clause->location, "COLLATE is not supported");
    default:
        return refuse(r, 0, "an expression of this kind is not supported");
    }
}

static const struct condition *read_node(struct reader *r, const node *n)
{
    if (!n || r->failed) {
        return refuse(r, 0, "an incomplete expression");
    }
    switch (n->node_case) {
    case PG_QUERY__NODE__NODE_COLUMN_REF:
        return read_column(r, n->column_ref);
    case PG_QUERY__NODE__NODE_A_CONST:
        return read_const(r, n->a_const);
    case PG_QUERY__NODE__NODE_TYPE_CAST:
        return read_cast(r, n->type_cast);
    case PG_QUERY__NODE__NODE_A_EXPR:
        return read_expr(r, n->a_expr);
    case PG_QUERY__NODE__NODE_BOOL_EXPR:
        return read_bool(r, n->bool_expr);
    case PG_QUERY__NODE__NODE_NULL_TEST:
        return one_arg(r,
                       n->null_test->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NULL
                           ? CONDITION_IS_NULL
                           : CONDITION_IS_NOT_NULL,
                       n->null_test->location, n->null_test->arg);
    case PG_QUERY__NODE__NODE_BOOLEAN_TEST:
        return read_bool_test(r, n->boolean_test);
    case PG_QUERY__NODE__NODE_COALESCE_EXPR:
        return read_coalesce(r, n->coalesce_expr);
    case PG_QUERY__NODE__NODE_FUNC_CALL:
        return read_call(r, n->func_call);
    default:
        return refuse_node(r, n);
    }
}

/* --- the statement around it --- */

static const struct condition *read_statements(struct reader *r, const PgQuery__ParseResult *parsed)
{
    if (parsed->n_stmts != 1) {
        const PgQuery__RawStmt *first = parsed->n_stmts ? parsed->stmts[0] : NULL;
        return refuse(r, first ? first->stmt_location + first->stmt_len : 0,
                      "unescaped \";\" causing statement split");
    }
    const node *n = parsed->stmts[0]->stmt;
    const PgQuery__SelectStmt *s =
        n && n->node_case == PG_QUERY__NODE__NODE_SELECT_STMT ? n->select_stmt : NULL;
    bool bare = s && s->n_target_list == 1 && !s->n_distinct_clause && !s->into_clause && !s->n_from_clause &&
                s->where_clause && !s->n_group_clause && !s->having_clause && !s->n_window_clause &&
                !s->n_values_lists && !s->n_sort_clause && !s->limit_offset && !s->limit_count &&
                !s->n_locking_clause && !s->with_clause && s->op == PG_QUERY__SET_OPERATION__SETOP_NONE;
    return bare ? read_node(r, s->where_clause) : refuse(r, 0, "malformed query ending with SQL clauses");
}

/* The cursor is handed on as it is: it counts characters of the whole statement, from 1. */
static void refuse_syntax(struct reader *r, const PgQueryError *error)
{
    r->why->message = str_c(arena_strdup(r->arena, error->message));
    r->why->location = error->cursorpos;
    r->failed = true;
}

static const struct condition *parse(struct reader *r, const char *sql)
{
    const struct condition *c = NULL;
    PgQueryProtobufParseResult p = pg_query_parse_protobuf(sql);
    PgQuery__ParseResult *parsed = NULL;
    if (p.error) {
        refuse_syntax(r, p.error);
    } else {
        parsed = pg_query__parse_result__unpack(NULL, p.parse_tree.len, (const uint8_t *)p.parse_tree.data);
        c = parsed ? read_statements(r, parsed) : refuse(r, 0, "an expression this large");
    }
    pg_query__parse_result__free_unpacked(parsed, NULL);
    pg_query_free_protobuf_parse_result(p);
    return c;
}

/* A text that cannot be parsed whole, for its depth or because of the lexer: what the grammar says to it. */
static void refuse_unparsed(struct reader *r, const char *sql, enum depth depth)
{
    PgQuerySplitResult s = pg_query_split_with_parser(sql);
    if (s.error) {
        refuse_syntax(r, s.error);
    } else {
        refuse(r, 0, depth == DEPTH_EXCEEDED ? "the expression is nested too deeply" : "syntax error");
    }
    pg_query_free_split_result(s);
}

int condition_parse(struct arena *a, struct str text, const struct condition **out_condition,
                    struct condition_refusal *out_why)
{
    struct condition_refusal why = {0};
    struct reader r = {.arena = a, .text = text, .why = &why};
    const struct condition *c = NULL;
    if (text.n > CONDITION_MAX_TEXT) {
        refuse(&r, 0, "the expression is longer than %d bytes", CONDITION_MAX_TEXT);
    } else if (text.n && memchr(text.p, '\0', text.n)) {
        refuse(&r, 0, "the expression holds a zero byte");
    } else {
        const char *sql = arena_printf(a, PREFIX "%.*s", STR_ARG(text));
        enum depth depth = depth_check(sql, CONDITION_MAX_DEPTH);
        if (depth == DEPTH_FINE) {
            c = parse(&r, sql);
        } else {
            refuse_unparsed(&r, sql, depth);
        }
    }
    if (r.failed || !c) {
        *out_why = why;
        return 0;
    }
    *out_condition = c;
    return 1;
}
