/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements for SQLite clients. Layout (published clients compare and store these texts):
 *
 *   CREATE TABLE "t" (⏎  "c" TYPE[ NOT NULL],⏎  …,⏎  CONSTRAINT "n" …⏎);⏎     constraints: CHECK, FOREIGN
 * KEY, PRIMARY KEY, UNIQUE ALTER TABLE "t" ADD COLUMN "c" TYPE[ NOT NULL];⏎ CREATE [UNIQUE] INDEX "i" ON "t"
 * ("c" ASC, upper("d") DESC)[ WHERE …];⏎ DROP INDEX IF EXISTS "i";⏎ DROP TABLE IF EXISTS "t";⏎
 *
 * Schemas are dropped. A client must never refuse a row that the server took: a check or unique key that
 * SQLite would compute differently loses its force here, and a note says so.
 */
#include "base/buf.h"
#include "dialect/render.h"
#include "dialect/types.h"
#include "sql/expression.h"
#include "sql/quote.h"

#include <stdlib.h>

struct renderer {
    struct arena *a;
    const struct schema *schema;
    const struct table *table; /* whose columns expressions speak of */
    struct buf out;
    struct notes *notes;
};

/* --- expressions --- */

static enum value_class class_of_column(void *ctx, struct str name)
{
    const struct renderer *r = ctx;
    const struct column *c = table_column(r->table, name);
    if (!c) {
        return VALUE_UNKNOWN;
    }
    if (c->is_enum) {
        return VALUE_TEXT;
    }
    bool own = str_eq(c->type_schema, STR("pg_catalog")) && !type_is_array(c);
    return own ? value_class_of(c->type_name) : VALUE_OTHER;
}

static bool is_enum(void *ctx, struct str schema, struct str name)
{
    const struct renderer *r = ctx;
    return schema_enum(r->schema, schema.n ? schema : STR("public"), name) != NULL;
}

static bool translate(struct renderer *r, struct str text, struct expression *out, struct str *out_why)
{
    struct expression_env env = {.ctx = r, .column = class_of_column, .is_enum = is_enum};
    return expression_to_sqlite(r->a, text, &env, out, out_why) == EXPRESSION_TRANSLATED;
}

/* --- tables --- */

static void put_names(struct renderer *r, const struct names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        buf_put_c(&r->out, i ? ", " : "");
        sql_put_ident(&r->out, names->items[i]);
    }
}

static void put_column(struct renderer *r, const struct column *c, bool not_null)
{
    sql_put_ident(&r->out, c->name);
    buf_put_byte(&r->out, ' ');
    buf_put_str(&r->out, type_sqlite(r->a, c));
    buf_put_c(&r->out, not_null ? " NOT NULL" : "");
}

static void put_constraint(struct renderer *r, struct str name)
{
    buf_put_c(&r->out, ",\n  CONSTRAINT ");
    sql_put_ident(&r->out, name);
}

/* The condition in pg_get_constraintdef()'s "CHECK ((a > 0)) NOT VALID". */
static struct str check_condition(struct str definition)
{
    static const struct str tails[] = {{" NOT VALID", 10}, {" NO INHERIT", 11}};
    for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
        size_t n = tails[i].n;
        if (definition.n > n && !memcmp(definition.p + definition.n - n, tails[i].p, n)) {
            definition.n -= n;
        }
    }
    bool known = str_starts_with(definition, STR("CHECK (")) && definition.p[definition.n - 1] == ')';
    return known ? (struct str){definition.p + 7, definition.n - 8} : (struct str){"", 0};
}

static void put_check(struct renderer *r, const struct constraint *c)
{
    struct expression e;
    struct str why = STR("SQLite may compute it differently");
    if (!translate(r, check_condition(c->definition), &e, &why) || !e.exact || e.type != VALUE_BOOL) {
        notes_add(r->a, r->notes, "constraint \"%.*s\" is left out for SQLite clients: %.*s",
                  STR_ARG(c->name), STR_ARG(why));
        return;
    }
    put_constraint(r, c->name);
    buf_put_c(&r->out, " CHECK (");
    buf_put_str(&r->out, e.sql);
    buf_put_byte(&r->out, ')');
}

static void put_action(struct renderer *r, const char *event, char code)
{
    static const char *const words[128] = {
        ['r'] = "RESTRICT", ['c'] = "CASCADE", ['n'] = "SET NULL", ['d'] = "SET DEFAULT"};
    const char *action = words[code & 0x7f];
    if (action) {
        buf_printf(&r->out, " ON %s %s", event, action);
    }
}

static void put_foreign_key(struct renderer *r, const struct foreign_key *k)
{
    put_constraint(r, k->name);
    buf_put_c(&r->out, " FOREIGN KEY (");
    put_names(r, &k->columns);
    buf_put_c(&r->out, ") REFERENCES ");
    sql_put_ident(&r->out, k->ref_table);
    buf_put_c(&r->out, " (");
    put_names(r, &k->ref_columns);
    buf_put_byte(&r->out, ')');
    put_action(r, "DELETE", k->on_delete);
    put_action(r, "UPDATE", k->on_update);
}

/* Not deferrable first, then by columns; the name only makes the order total. */
static int compare_foreign_keys(const void *pa, const void *pb)
{
    const struct foreign_key *a = *(const struct foreign_key *const *)pa;
    const struct foreign_key *b = *(const struct foreign_key *const *)pb;
    int c = a->deferrable - b->deferrable;
    c = c ? c : names_compare(&a->columns, &b->columns);
    return c ? c : name_compare(a->name, b->name);
}

static void put_foreign_keys(struct renderer *r, const struct table *t)
{
    const struct foreign_key **sorted = arena_alloc_array(r->a, t->n_foreign_keys, sizeof *sorted);
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        sorted[i] = &t->foreign_keys[i];
    }
    qsort(sorted, t->n_foreign_keys, sizeof *sorted, compare_foreign_keys);
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        put_foreign_key(r, sorted[i]);
    }
}

static int compare_checks(const void *pa, const void *pb)
{
    const struct constraint *a = *(const struct constraint *const *)pa;
    const struct constraint *b = *(const struct constraint *const *)pb;
    int c = name_compare(a->definition, b->definition);
    return c ? c : name_compare(a->name, b->name);
}

static int compare_uniques(const void *pa, const void *pb)
{
    const struct constraint *a = *(const struct constraint *const *)pa;
    const struct constraint *b = *(const struct constraint *const *)pb;
    int c = names_compare(&a->columns, &b->columns);
    return c ? c : name_compare(a->name, b->name);
}

/* The constraints of one contype, in order. */
static size_t select_constraints(struct renderer *r, const struct table *t, char type,
                                 int (*compare)(const void *, const void *), const struct constraint ***out)
{
    const struct constraint **sorted = arena_alloc_array(r->a, t->n_constraints, sizeof *sorted);
    size_t n = 0;
    for (size_t i = 0; i < t->n_constraints; i++) {
        if (t->constraints[i].type == type) {
            sorted[n++] = &t->constraints[i];
        }
    }
    qsort(sorted, n, sizeof *sorted, compare);
    *out = sorted;
    return n;
}

static void put_checks(struct renderer *r, const struct table *t)
{
    const struct constraint **checks;
    size_t n = select_constraints(r, t, 'c', compare_checks, &checks);
    for (size_t i = 0; i < n; i++) {
        put_check(r, checks[i]);
    }
}

static void put_keys(struct renderer *r, const struct table *t)
{
    if (t->primary_key.columns.n) {
        put_constraint(r, t->primary_key.name);
        buf_put_c(&r->out, " PRIMARY KEY (");
        put_names(r, &t->primary_key.columns);
        buf_put_byte(&r->out, ')');
    }
    const struct constraint **uniques;
    size_t n = select_constraints(r, t, 'u', compare_uniques, &uniques);
    for (size_t i = 0; i < n; i++) {
        put_constraint(r, uniques[i]->name);
        buf_put_c(&r->out, " UNIQUE (");
        put_names(r, &uniques[i]->columns);
        buf_put_byte(&r->out, ')');
    }
}

static enum render_outcome render_create_table(struct renderer *r, const struct op *op)
{
    const struct table *t = op->table;
    buf_put_c(&r->out, "CREATE TABLE ");
    sql_put_ident(&r->out, t->name);
    buf_put_c(&r->out, " (");
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct column *c = &t->columns[i];
        buf_put_c(&r->out, i ? ",\n  " : "\n  ");
        put_column(r, c, c->not_null || table_in_primary_key(t, c->name));
    }
    put_checks(r, t);
    put_foreign_keys(r, t);
    put_keys(r, t);
    buf_put_c(&r->out, "\n);\n");
    return RENDER_STATEMENT;
}

static enum render_outcome render_add_column(struct renderer *r, const struct op *op)
{
    buf_put_c(&r->out, "ALTER TABLE ");
    sql_put_ident(&r->out, op->name);
    buf_put_c(&r->out, " ADD COLUMN ");
    put_column(r, op->column, op->column->not_null);
    buf_put_c(&r->out, ";\n");
    return RENDER_STATEMENT;
}

/* --- indexes --- */

/* An index ready to print, or why it cannot be. */
struct plan {
    struct expression *keys; /* sql.p = NULL: a plain column */
    struct expression predicate;
    bool unique;
    struct str why;
};

static bool plan_predicate(struct renderer *r, const struct index *x, struct plan *plan)
{
    if (!x->predicate.p) {
        return true;
    }
    if (!translate(r, x->predicate, &plan->predicate, &plan->why)) {
        return false;
    }
    plan->why = STR("its predicate is not a condition");
    plan->unique = plan->unique && plan->predicate.exact;
    return plan->predicate.type == VALUE_BOOL;
}

static bool plan_index(struct renderer *r, const struct index *x, struct plan *plan)
{
    plan->unique = x->unique;
    plan->keys = arena_alloc_array(r->a, x->n_columns, sizeof *plan->keys);
    for (size_t i = 0; i < x->n_columns; i++) {
        if (!x->columns[i].expression.p) {
            continue;
        }
        if (!translate(r, x->columns[i].expression, &plan->keys[i], &plan->why)) {
            return false;
        }
        if (plan->keys[i].sql.p[0] == '\'') {
            plan->why =
                STR("a constant key"); /* SQLite takes a text in this place for the name of a column */
            return false;
        }
        plan->unique = plan->unique && plan->keys[i].key_safe;
    }
    return plan_predicate(r, x, plan);
}

static void put_index(struct renderer *r, const struct index *x, const struct plan *plan)
{
    buf_put_c(&r->out, plan->unique ? "CREATE UNIQUE INDEX " : "CREATE INDEX ");
    sql_put_ident(&r->out, x->name);
    buf_put_c(&r->out, " ON ");
    sql_put_ident(&r->out, r->table->name);
    buf_put_c(&r->out, " (");
    for (size_t i = 0; i < x->n_columns; i++) {
        buf_put_c(&r->out, i ? ", " : "");
        if (plan->keys[i].sql.p) {
            buf_put_str(&r->out, plan->keys[i].sql);
        } else {
            sql_put_ident(&r->out, x->columns[i].name);
        }
        buf_put_c(&r->out, x->columns[i].descending ? " DESC" : " ASC");
    }
    buf_put_byte(&r->out, ')');
    if (plan->predicate.sql.p) {
        buf_put_c(&r->out, " WHERE ");
        buf_put_str(&r->out, plan->predicate.sql);
    }
    buf_put_c(&r->out, ";\n");
}

static enum render_outcome render_create_index(struct renderer *r, const struct op *op)
{
    const struct index *x = op->index;
    struct plan plan = {0};
    if (!plan_index(r, x, &plan)) {
        notes_add(r->a, r->notes, "index \"%.*s\" is left out for SQLite clients: %.*s", STR_ARG(x->name),
                  STR_ARG(plan.why));
        return RENDER_NOTHING;
    }
    if (x->unique && !plan.unique) {
        notes_add(
            r->a, r->notes,
            "index \"%.*s\" is not unique for SQLite clients: SQLite may compute its expressions differently",
            STR_ARG(x->name));
    }
    put_index(r, x, &plan);
    return RENDER_STATEMENT;
}

static enum render_outcome render_drop_index(struct renderer *r, const struct op *op)
{
    buf_put_c(&r->out, "DROP INDEX IF EXISTS ");
    sql_put_ident(&r->out, op->index->name);
    buf_put_c(&r->out, ";\n");
    return RENDER_STATEMENT;
}

static enum render_outcome render_drop_table(struct renderer *r, const struct op *op)
{
    buf_put_c(&r->out, "DROP TABLE IF EXISTS ");
    sql_put_ident(&r->out, op->name);
    buf_put_c(&r->out, ";\n");
    return RENDER_STATEMENT;
}

static enum render_outcome render(struct renderer *r, const struct op *op, enum statement_type *out_type)
{
    switch (op->kind) {
    case OP_CREATE_TABLE:
        *out_type = STATEMENT_CREATE_TABLE;
        return render_create_table(r, op);
    case OP_ADD_COLUMN:
        *out_type = STATEMENT_ALTER_ADD_COLUMN;
        return render_add_column(r, op);
    case OP_CREATE_INDEX:
        *out_type = STATEMENT_CREATE_INDEX;
        return render_create_index(r, op);
    case OP_DROP_INDEX:
        *out_type = STATEMENT_CREATE_INDEX;
        return render_drop_index(r, op);
    case OP_DROP_TABLE:
        *out_type = STATEMENT_CREATE_INDEX;
        return render_drop_table(r, op);
    case OP_CREATE_ENUM:
    case OP_DROP_ENUM:
        break;
    }
    return RENDER_NOTHING; /* a column of an enum is TEXT */
}

int sqlite_render_op(struct arena *a, const struct schema *schema, const struct op *op,
                     struct client_statement *out_statement, struct notes *notes, struct err *err)
{
    struct renderer r = {.a = a, .schema = schema, .notes = notes};
    bool needs_table = !op_is_about_enum(op) && op->kind != OP_DROP_TABLE;
    r.table = needs_table ? schema_table(schema, op->schema, op->name) : NULL;
    if (needs_table && !r.table) {
        return err_set(err, ERR_INTERNAL, "table \"%.*s\" is not in the model", STR_ARG(op->name));
    }
    buf_init(&r.out, RENDER_MAX_SQL);
    struct client_statement s;
    enum render_outcome outcome = render(&r, op, &s.type);
    bool overflow = r.out.overflow;
    if (outcome == RENDER_STATEMENT && !overflow) {
        s.sql = arena_str(a, buf_str(&r.out));
        *out_statement = s;
    }
    buf_deinit(&r.out);
    if (overflow) {
        return err_set(err, ERR_LIMIT, "a statement for table \"%.*s\" is longer than %d bytes",
                       STR_ARG(op->name), RENDER_MAX_SQL);
    }
    return (int)outcome;
}
