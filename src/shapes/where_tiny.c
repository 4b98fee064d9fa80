/* SPDX-License-Identifier: Apache-2.0 */
/* this.<column> = '<text>' and nothing else. */
#include "shapes/where.h"

struct where {
    uint32_t column;
    struct str name, value;
};

int where_parse(struct arena *a, struct str text, const struct table *table, const struct schema *model,
                const struct where **out_where, struct where_refusal *out_why)
{
    struct str name = {text.p + 5, text.n - 5};
    struct str rest = name;
    name = str_cut(&rest, ' ');
    const struct column *c = table_column(table, name);
    if (!c || rest.n == 0) {
        out_why->message = c ? STR("Where expression should evaluate to a boolean, but it's :text")
                             : str_c(arena_printf(a, "unknown reference this.%.*s", STR_ARG(name)));
        out_why->location = c ? -1 : 0;
        return 0;
    }
    struct where *w = arena_zalloc(a, sizeof *w);
    *w = (struct where){(uint32_t)(c - table->columns), arena_str(a, name),
                        arena_str(a, (struct str){rest.p + 3, rest.n - 4})};
    *out_where = w;
    return 1;
}

enum truth where_eval(const struct where *w, const struct value *row)
{
    const struct value *v = &row[w->column];
    return !v->p ? TRUTH_NULL : str_eq(w->value, (struct str){v->p, v->n}) ? TRUTH_TRUE : TRUTH_FALSE;
}

void where_put_key(const struct where *w, struct buf *out)
{
    buf_put_c(out, "(this.");
    buf_put_str(out, w->name);
    buf_put_c(out, " = '");
    buf_put_str(out, w->value);
    buf_put_c(out, "')");
}

void where_print(const struct where *w, struct str alias, struct buf *out)
{
    where_put_key(w, out);
}
