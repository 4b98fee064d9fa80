/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of dialect, and PostgreSQL, whose text the database made: it only loses what stands around it.
 */
#include "dialect/render.h"

#include <stdarg.h>
#include <stdio.h>

void notes_add(struct arena *a, struct notes *notes, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (notes->n == notes->cap) {
        notes->cap = notes->n ? 2 * notes->n : 4;
        struct str *bigger = arena_alloc_array(a, notes->cap, sizeof *bigger);
        if (notes->n) {
            memcpy(bigger, notes->items, notes->n * sizeof *bigger);
        }
        notes->items = bigger;
    }
    notes->items[notes->n++] = str_c(arena_strdup(a, text));
}

static enum statement_type type_of(enum op_kind kind)
{
    switch (kind) {
    case OP_CREATE_ENUM:
        return STATEMENT_CREATE_ENUM_TYPE;
    case OP_CREATE_TABLE:
        return STATEMENT_CREATE_TABLE;
    case OP_ADD_COLUMN:
        return STATEMENT_ALTER_ADD_COLUMN;
    case OP_CREATE_INDEX:
    case OP_DROP_INDEX:
    case OP_DROP_TABLE:
    case OP_DROP_ENUM:
        break; /* no type for what is dropped: see enum statement_type */
    }
    return STATEMENT_CREATE_INDEX;
}

static struct str without_semicolon(struct str sql)
{
    sql = str_trim(sql);
    while (sql.n && sql.p[sql.n - 1] == ';') {
        sql.n--;
        sql = str_trim(sql);
    }
    return sql;
}

int render_op(struct arena *a, enum dialect d, const struct schema *schema, const struct op *op,
              struct client_statement *out_statement, struct notes *notes, struct err *err)
{
    if (d == DIALECT_SQLITE) {
        return sqlite_render_op(a, schema, op, out_statement, notes, err);
    }
    struct str sql = without_semicolon(op->sql);
    if (sql.n == 0) {
        return RENDER_NOTHING;
    }
    *out_statement = (struct client_statement){.type = type_of(op->kind), .sql = arena_str(a, sql)};
    return RENDER_STATEMENT;
}
