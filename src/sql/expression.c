/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One expression: bounded, then parsed by libpg_query as `SELECT (<text>)`, then handed to the printer. The
 * text may hold anything; what is not one bare expression goes no further.
 */
#include "sql/expression.h"

#include "sql/depth.h"
#include "sql/expression_print.h"

#include <pg_query.h>

/* The text may hold anything, "1) FROM x; DROP TABLE y" too: nothing but one bare target is accepted. */
static const PgQuery__Node *only_target(const PgQuery__ParseResult *parsed)
{
    const PgQuery__Node *n = parsed->n_stmts == 1 ? parsed->stmts[0]->stmt : NULL;
    if (!n || n->node_case != PG_QUERY__NODE__NODE_SELECT_STMT) {
        return NULL;
    }
    const PgQuery__SelectStmt *s = n->select_stmt;
    bool bare = s->n_target_list == 1 && !s->n_distinct_clause && !s->into_clause && !s->n_from_clause &&
                !s->where_clause && !s->n_group_clause && !s->having_clause && !s->n_window_clause &&
                !s->n_values_lists && !s->n_sort_clause && !s->limit_offset && !s->limit_count &&
                !s->n_locking_clause && !s->with_clause && s->op == PG_QUERY__SET_OPERATION__SETOP_NONE;
    if (!bare || s->target_list[0]->node_case != PG_QUERY__NODE__NODE_RES_TARGET) {
        return NULL;
    }
    const PgQuery__ResTarget *t = s->target_list[0]->res_target;
    return t->n_indirection || (t->name && *t->name) ? NULL : t->val;
}

static bool parse(struct arena *a, const char *sql, const struct expression_env *env, struct expression *out,
                  struct str *out_why)
{
    *out_why = STR("not a single expression");
    PgQueryProtobufParseResult r = pg_query_parse_protobuf(sql);
    PgQuery__ParseResult *parsed = NULL;
    if (!r.error) {
        parsed = pg_query__parse_result__unpack(NULL, r.parse_tree.len, (const uint8_t *)r.parse_tree.data);
    }
    const PgQuery__Node *n = parsed ? only_target(parsed) : NULL;
    bool translated = n && expression_print(a, n, env, out, out_why);
    pg_query__parse_result__free_unpacked(parsed, NULL);
    pg_query_free_protobuf_parse_result(r);
    return translated;
}

enum expression_outcome expression_to_sqlite(struct arena *a, struct str text,
                                             const struct expression_env *env, struct expression *out,
                                             struct str *out_why)
{
    if (text.n > EXPRESSION_MAX_TEXT || (text.n && memchr(text.p, '\0', text.n))) {
        *out_why = STR("an expression this long");
        return EXPRESSION_UNSUPPORTED;
    }
    const char *sql = arena_printf(a, "SELECT (%.*s)", STR_ARG(text));
    if (depth_check(sql, EXPRESSION_MAX_DEPTH) != DEPTH_FINE) {
        *out_why = STR("an expression this deep, or not one at all");
        return EXPRESSION_UNSUPPORTED;
    }
    struct expression e;
    if (!parse(a, sql, env, &e, out_why)) {
        return EXPRESSION_UNSUPPORTED;
    }
    *out = e;
    return EXPRESSION_TRANSLATED;
}
