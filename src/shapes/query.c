/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   COPY (SELECT t."c"… FROM "s"."t" AS t [WHERE (where) AND (user) AND (keys)]) TO STDOUT
 *
 *   user   t."electric_user_id" IS NULL OR t."electric_user_id" IN ('…', '')
 *   keys   (t."c"…) IN (SELECT u.k1… FROM unnest('{…}'::type[]…) AS u (k1…))
 *
 * Keys are joined, not listed: a semi-join takes the same key twice, needs no sort of ours, and is planned by
 * the number of keys. Values of integer columns are given as int8, for a key may refer to a column of another
 * width, and what is too large for this one must not raise an error but find nothing.
 */
#include "shapes/query.h"

#include "shapes/where.h"
#include "sql/quote.h"

#include <assert.h>

static void put_column(struct buf *b, const struct table *t, uint32_t column)
{
    buf_put_c(b, "t.");
    sql_put_ident(b, t->columns[column].name);
}

static void put_table(struct buf *b, const struct table *t)
{
    sql_put_ident(b, t->schema);
    buf_put_byte(b, '.');
    sql_put_ident(b, t->name);
}

static void put_select(struct buf *b, const struct table *t)
{
    buf_put_c(b, "COPY (SELECT ");
    for (uint32_t i = 0; i < t->n_columns; i++) {
        buf_put_c(b, i ? ", " : "");
        put_column(b, t, i);
    }
    buf_put_c(b, " FROM ");
    put_table(b, t);
    buf_put_c(b, " AS t");
}

void query_lock(const struct table *const *tables, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_put_c(out, i ? ", " : "LOCK TABLE ");
        put_table(out, tables[i]);
    }
    buf_put_c(out, " IN ACCESS SHARE MODE");
}

/* A condition follows: WHERE or AND. */
static void put_joint(struct buf *b, bool *first)
{
    buf_put_c(b, *first ? " WHERE " : " AND ");
    *first = false;
}

static bool is_builtin(const struct column *c, const char *name)
{
    return str_eq(c->type_name, str_c(name)) && str_eq(c->type_schema, STR("pg_catalog"));
}

/* Another type than text and uuid is compared as it is printed: format() uses the type's output function. */
static void put_user_column(struct buf *b, const struct layer *l, const struct column *c)
{
    bool printed = !is_builtin(c, "text") && !is_builtin(c, "varchar") && !is_builtin(c, "uuid");
    buf_put_c(b, printed ? "pg_catalog.format('%s', " : "");
    put_column(b, l->table, (uint32_t)l->user_column);
    buf_put_c(b, printed ? ")" : "");
}

/* '' is no uuid, nor is every user: comparing with them would raise an error. */
static void put_user(struct buf *b, const struct layer *l, struct str user)
{
    const struct column *c = &l->table->columns[l->user_column];
    char uuid[LAYER_UUID];
    struct str wanted;
    bool known = layer_user(l, user, uuid, &wanted), empty = !is_builtin(c, "uuid");
    buf_put_byte(b, '(');
    put_column(b, l->table, (uint32_t)l->user_column);
    buf_put_c(b, " IS NULL");
    if (known || empty) {
        buf_put_c(b, " OR ");
        put_user_column(b, l, c);
        buf_put_c(b, " IN (");
        sql_put_literal(b, known ? wanted : STR(""));
        buf_put_c(b, known && empty ? ", ''" : "");
        buf_put_byte(b, ')');
    }
    buf_put_byte(b, ')');
}

static bool put_filter(struct buf *b, const struct layer *l, struct str user)
{
    bool first = true;
    if (l->where) {
        put_joint(b, &first);
        where_print(l->where, STR("t"), b);
    }
    if (l->user_column != LAYER_NONE) {
        put_joint(b, &first);
        put_user(b, l, user);
    }
    return first;
}

void query_whole(const struct layer *l, struct str user, struct buf *out)
{
    put_select(out, l->table);
    put_filter(out, l, user);
    buf_put_c(out, ") TO STDOUT");
}

static void put_type(struct buf *b, const struct column *c)
{
    if (is_builtin(c, "int2") || is_builtin(c, "int4")) {
        buf_put_c(b, "\"pg_catalog\".\"int8\"");
        return;
    }
    sql_put_ident(b, c->type_schema);
    buf_put_byte(b, '.');
    sql_put_ident(b, c->type_name);
}

/* Always in quotes: NULL, spaces, braces and the empty text stand for themselves. */
static void put_element(struct buf *b, const struct value *v)
{
    assert(v->p);
    buf_put_byte(b, '"');
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->p[i] == '"' || v->p[i] == '\\') {
            buf_put_byte(b, '\\');
        }
        buf_put_byte(b, v->p[i]);
    }
    buf_put_byte(b, '"');
}

/* Column c of the keys. */
static void put_array(struct buf *b, const struct layer *l, uint32_t c, const struct value *keys, size_t n)
{
    CLEANUP(buf_deinit) struct buf array = BUF_INIT(b->max);
    buf_put_byte(&array, '{');
    for (size_t i = 0; i < n; i++) {
        buf_put_c(&array, i ? "," : "");
        put_element(&array, &keys[i * l->columns.n + c]);
    }
    buf_put_byte(&array, '}');
    sql_put_literal(b, buf_str(&array));
    b->overflow |= array.overflow;
    buf_put_c(b, "::");
    put_type(b, &l->table->columns[l->columns.items[c]]);
    buf_put_c(b, "[]");
}

static void put_list(struct buf *b, uint32_t n, const char *prefix)
{
    for (uint32_t i = 0; i < n; i++) {
        buf_printf(b, "%s%s%u", i ? ", " : "", prefix, i + 1);
    }
}

static void put_keys(struct buf *b, const struct layer *l, const struct value *keys, size_t n)
{
    buf_put_byte(b, '(');
    for (uint32_t i = 0; i < l->columns.n; i++) {
        buf_put_c(b, i ? ", " : "");
        put_column(b, l->table, l->columns.items[i]);
    }
    buf_put_c(b, ") IN (SELECT ");
    put_list(b, l->columns.n, "u.k");
    buf_put_c(b, " FROM unnest(");
    for (uint32_t i = 0; i < l->columns.n; i++) {
        buf_put_c(b, i ? ", " : "");
        put_array(b, l, i, keys, n);
    }
    buf_put_c(b, ") AS u (");
    put_list(b, l->columns.n, "k");
    buf_put_c(b, "))");
}

/* How many of the keys are one query: at least one. */
static size_t portion(const struct layer *l, const struct value *keys, size_t n)
{
    size_t taken = 0, bytes = 0;
    while (taken < n && taken < QUERY_MAX_KEYS) {
        for (uint32_t i = 0; i < l->columns.n; i++) {
            bytes += keys[taken * l->columns.n + i].n;
        }
        if (taken > 0 && bytes > QUERY_MAX_KEY_BYTES) {
            break;
        }
        taken++;
    }
    return taken;
}

size_t query_by_keys(const struct layer *l, struct str user, const struct value *keys, size_t n,
                     struct buf *out)
{
    assert(l->columns.n > 0 && n > 0);
    size_t taken = portion(l, keys, n);
    put_select(out, l->table);
    bool first = put_filter(out, l, user);
    put_joint(out, &first);
    put_keys(out, l, keys, taken);
    buf_put_c(out, ") TO STDOUT");
    return taken;
}
