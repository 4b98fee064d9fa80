/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ops from JSON. Grammar (fields not named here are ignored):
 *
 *   ops          [op, …]
 *   op           {"op":"create_enum","schema","name","values":[label, …],"sql"}
 *                {"op":"create_table","table":table,"sql"}
 *                {"op":"create_index","schema","table","index":index,"sql"}
 *                {"op":"drop_index","schema","table","name","sql"}
 *                {"op":"add_column","schema","table","column":column,"sql"}
 *                {"op":"drop_table","schema","table","sql"}
 *                {"op":"drop_enum","schema","name","sql"}
 *   table        {"schema","name","columns":[column, …],"primary_key":{"name","columns":[name, …]}|null,
 *                 "foreign_keys":[foreign_key, …],"constraints":[constraint, …]}
 *   column       {"num":int,"name","type","type_name","type_schema","typmod":int,"not_null":bool,"enum":bool}
 *   foreign_key  {"name","columns":[…],"ref_schema","ref_table","ref_columns":[…],"on_delete":char,
 *                 "on_update":char,"deferrable":bool}
 *   constraint   {"name","type":char,"columns":[…],"definition"}
 *   index        {"name","unique":bool,"columns":[{"name"|null,"expression"|null,"descending":bool}, …],
 *                 "predicate":text|null}
 *
 * A value travels with the way that led to it (struct at), so that a fault can be named.
 */
#include "schema/ops.h"

#include "base/buf.h"

#include <jansson.h>

struct at {
    const json_t *value;
    const struct at *up; /* NULL: the root */
    const char *key;     /* NULL: an element */
    size_t i;
};

struct parser {
    struct arena *a;
    struct err *err;
};

static void put_path(struct buf *path, const struct at *at)
{
    if (!at->up) {
        buf_put_c(path, "ops");
        return;
    }
    put_path(path, at->up);
    if (at->key) {
        buf_printf(path, ".%s", at->key);
    } else {
        buf_printf(path, "[%zu]", at->i);
    }
}

static int fault(struct parser *p, const struct at *at, const char *what)
{
    CLEANUP(buf_deinit) struct buf path = BUF_INIT(256);
    put_path(&path, at);
    return err_set(p->err, ERR_INTERNAL, "%s: %s", buf_cstr(&path), what);
}

static int fault_limit(struct parser *p, const struct at *at, size_t limit)
{
    CLEANUP(buf_deinit) struct buf path = BUF_INIT(256);
    put_path(&path, at);
    return err_set(p->err, ERR_LIMIT, "%s: more than %zu", buf_cstr(&path), limit);
}

/* The member `key` of an object; missing and null are told apart by the caller through `value`. */
static struct at member(const struct at *up, const char *key)
{
    return (struct at){.value = json_object_get(up->value, key), .up = up, .key = key};
}

static struct at element(const struct at *up, size_t i)
{
    return (struct at){.value = json_array_get(up->value, i), .up = up, .i = i};
}

static int wrong_type(struct parser *p, const struct at *at, const char *expected)
{
    return fault(p, at, at->value ? expected : "missing");
}

static int read_text(struct parser *p, const struct at *at, struct str *out)
{
    if (!json_is_string(at->value)) {
        return wrong_type(p, at, "not a string");
    }
    struct str s = {json_string_value(at->value), json_string_length(at->value)};
    *out = arena_str(p->a, s);
    return 0;
}

static int read_name(struct parser *p, const struct at *at, struct str *out)
{
    struct str name;
    if (read_text(p, at, &name)) {
        return -1;
    }
    if (name.n == 0) {
        return fault(p, at, "empty");
    }
    if (name.n > SCHEMA_MAX_NAME) {
        return fault_limit(p, at, SCHEMA_MAX_NAME);
    }
    *out = name;
    return 0;
}

static int get_text(struct parser *p, const struct at *up, const char *key, struct str *out)
{
    struct at at = member(up, key);
    return read_text(p, &at, out);
}

static int get_text_or_null(struct parser *p, const struct at *up, const char *key, struct str *out)
{
    struct at at = member(up, key);
    if (json_is_null(at.value)) {
        *out = (struct str){NULL, 0};
        return 0;
    }
    return read_text(p, &at, out);
}

static int get_name(struct parser *p, const struct at *up, const char *key, struct str *out)
{
    struct at at = member(up, key);
    return read_name(p, &at, out);
}

static int get_bool(struct parser *p, const struct at *up, const char *key, bool *out)
{
    struct at at = member(up, key);
    if (!json_is_boolean(at.value)) {
        return wrong_type(p, &at, "not a boolean");
    }
    *out = json_is_true(at.value);
    return 0;
}

static int get_int32(struct parser *p, const struct at *up, const char *key, int32_t *out)
{
    struct at at = member(up, key);
    if (!json_is_integer(at.value)) {
        return wrong_type(p, &at, "not an integer");
    }
    json_int_t v = json_integer_value(at.value);
    if (v < INT32_MIN || v > INT32_MAX) {
        return fault(p, &at, "out of range");
    }
    *out = (int32_t)v;
    return 0;
}

/* One character out of `allowed`. */
static int get_char(struct parser *p, const struct at *up, const char *key, const char *allowed, char *out)
{
    struct at at = member(up, key);
    struct str s;
    if (read_text(p, &at, &s)) {
        return -1;
    }
    if (s.n != 1 || !memchr(allowed, s.p[0], strlen(allowed))) {
        return fault(p, &at, "unknown code");
    }
    *out = s.p[0];
    return 0;
}

static int check_array(struct parser *p, const struct at *at, size_t limit, size_t *out_n)
{
    if (!json_is_array(at->value)) {
        return wrong_type(p, at, "not an array");
    }
    size_t n = json_array_size(at->value);
    if (n > limit) {
        return fault_limit(p, at, limit);
    }
    *out_n = n;
    return 0;
}

static int check_object(struct parser *p, const struct at *at)
{
    return json_is_object(at->value) ? 0 : wrong_type(p, at, "not an object");
}

/* Names or labels: enum labels may be empty (PostgreSQL allows ''). */
static int get_names(struct parser *p, const struct at *up, const char *key, size_t limit, bool labels,
                     struct names *out)
{
    struct at at = member(up, key);
    struct names names = {0};
    if (check_array(p, &at, limit, &names.n)) {
        return -1;
    }
    names.items = arena_alloc_array(p->a, names.n, sizeof *names.items);
    for (size_t i = 0; i < names.n; i++) {
        struct at item = element(&at, i);
        if (labels ? read_text(p, &item, &names.items[i]) : read_name(p, &item, &names.items[i])) {
            return -1;
        }
    }
    *out = names;
    return 0;
}

static int get_key_columns(struct parser *p, const struct at *up, const char *key, struct names *out)
{
    return get_names(p, up, key, SCHEMA_MAX_KEY_COLUMNS, false, out);
}

static int read_column(struct parser *p, const struct at *at, struct column *out)
{
    struct column c = {0};
    if (check_object(p, at) || get_int32(p, at, "num", &c.num) || get_name(p, at, "name", &c.name) ||
        get_name(p, at, "type", &c.type) || get_name(p, at, "type_name", &c.type_name) ||
        get_name(p, at, "type_schema", &c.type_schema) || get_int32(p, at, "typmod", &c.typmod) ||
        get_bool(p, at, "not_null", &c.not_null) || get_bool(p, at, "enum", &c.is_enum)) {
        return -1;
    }
    *out = c;
    return 0;
}

static int get_columns(struct parser *p, const struct at *up, struct table *t)
{
    struct at at = member(up, "columns");
    size_t n;
    if (check_array(p, &at, SCHEMA_MAX_COLUMNS, &n)) {
        return -1;
    }
    t->columns = arena_alloc_array(p->a, n, sizeof *t->columns);
    for (size_t i = 0; i < n; i++) {
        struct at item = element(&at, i);
        struct column c;
        if (read_column(p, &item, &c)) {
            return -1;
        }
        if (table_column(t, c.name)) {
            return fault(p, &item, "a column of this name was there before");
        }
        t->columns[t->n_columns++] = c;
    }
    return 0;
}

static int check_key(struct parser *p, const struct at *at, const struct table *t,
                     const struct names *columns)
{
    if (columns->n == 0) {
        return fault(p, at, "a key without columns");
    }
    for (size_t i = 0; i < columns->n; i++) {
        if (!table_column(t, columns->items[i])) {
            return fault(p, at, "a key over a column that is not there");
        }
    }
    return 0;
}

static int get_primary_key(struct parser *p, const struct at *up, struct table *t)
{
    struct at at = member(up, "primary_key");
    if (json_is_null(at.value)) {
        return 0;
    }
    if (check_object(p, &at) || get_name(p, &at, "name", &t->primary_key.name) ||
        get_key_columns(p, &at, "columns", &t->primary_key.columns)) {
        return -1;
    }
    return check_key(p, &at, t, &t->primary_key.columns);
}

static int read_foreign_key(struct parser *p, const struct at *at, const struct table *t,
                            struct foreign_key *k)
{
    if (check_object(p, at) || get_name(p, at, "name", &k->name) ||
        get_key_columns(p, at, "columns", &k->columns) || get_name(p, at, "ref_schema", &k->ref_schema) ||
        get_name(p, at, "ref_table", &k->ref_table) ||
        get_key_columns(p, at, "ref_columns", &k->ref_columns) ||
        get_char(p, at, "on_delete", "arcnd", &k->on_delete) ||
        get_char(p, at, "on_update", "arcnd", &k->on_update) ||
        get_bool(p, at, "deferrable", &k->deferrable)) {
        return -1;
    }
    if (k->columns.n != k->ref_columns.n) {
        return fault(p, at, "columns and ref_columns differ in number");
    }
    return check_key(p, at, t, &k->columns);
}

static int get_foreign_keys(struct parser *p, const struct at *up, struct table *t)
{
    struct at at = member(up, "foreign_keys");
    if (check_array(p, &at, SCHEMA_MAX_CONSTRAINTS, &t->n_foreign_keys)) {
        return -1;
    }
    t->foreign_keys = arena_alloc_array(p->a, t->n_foreign_keys, sizeof *t->foreign_keys);
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        struct at item = element(&at, i);
        if (read_foreign_key(p, &item, t, &t->foreign_keys[i])) {
            return -1;
        }
    }
    return 0;
}

static int read_constraint(struct parser *p, const struct at *at, struct constraint *c)
{
    if (check_object(p, at) || get_name(p, at, "name", &c->name) ||
        get_char(p, at, "type", "cufpxtn", &c->type) || get_key_columns(p, at, "columns", &c->columns) ||
        get_text(p, at, "definition", &c->definition)) {
        return -1;
    }
    return 0;
}

static int get_constraints(struct parser *p, const struct at *up, struct table *t)
{
    struct at at = member(up, "constraints");
    if (check_array(p, &at, SCHEMA_MAX_CONSTRAINTS, &t->n_constraints)) {
        return -1;
    }
    t->constraints = arena_alloc_array(p->a, t->n_constraints, sizeof *t->constraints);
    for (size_t i = 0; i < t->n_constraints; i++) {
        struct at item = element(&at, i);
        struct constraint *c = &t->constraints[i];
        if (read_constraint(p, &item, c) || (c->type == 'u' && check_key(p, &item, t, &c->columns))) {
            return -1;
        }
    }
    return 0;
}

static int read_table(struct parser *p, const struct at *at, struct table *t)
{
    if (check_object(p, at) || get_name(p, at, "schema", &t->schema) || get_name(p, at, "name", &t->name) ||
        get_columns(p, at, t) || get_primary_key(p, at, t) || get_foreign_keys(p, at, t) ||
        get_constraints(p, at, t)) {
        return -1;
    }
    return 0;
}

static int read_index_column(struct parser *p, const struct at *at, struct index_column *c)
{
    if (check_object(p, at) || get_text_or_null(p, at, "name", &c->name) ||
        get_text_or_null(p, at, "expression", &c->expression) ||
        get_bool(p, at, "descending", &c->descending)) {
        return -1;
    }
    /* The catalog has names for expression keys too ("lower"): the expression is what counts. */
    if (c->expression.p) {
        c->name = (struct str){NULL, 0};
    } else if (!c->name.n) {
        return fault(p, at, "neither name nor expression");
    }
    return 0;
}

static int read_index(struct parser *p, const struct at *at, struct index *x)
{
    if (check_object(p, at) || get_name(p, at, "name", &x->name) || get_bool(p, at, "unique", &x->unique) ||
        get_text_or_null(p, at, "predicate", &x->predicate)) {
        return -1;
    }
    struct at columns = member(at, "columns");
    if (check_array(p, &columns, SCHEMA_MAX_KEY_COLUMNS, &x->n_columns)) {
        return -1;
    }
    if (x->n_columns == 0) {
        return fault(p, &columns, "empty");
    }
    x->columns = arena_alloc_array(p->a, x->n_columns, sizeof *x->columns);
    for (size_t i = 0; i < x->n_columns; i++) {
        struct at item = element(&columns, i);
        if (read_index_column(p, &item, &x->columns[i])) {
            return -1;
        }
    }
    return 0;
}

typedef int read_op_fn(struct parser *p, const struct at *at, struct op *op);

static int read_create_enum(struct parser *p, const struct at *at, struct op *op)
{
    struct enum_type *type = arena_zalloc(p->a, sizeof *type);
    if (get_name(p, at, "schema", &type->schema) || get_name(p, at, "name", &type->name) ||
        get_names(p, at, "values", SCHEMA_MAX_LABELS, true, &type->labels)) {
        return -1;
    }
    op->schema = type->schema;
    op->name = type->name;
    op->type = type;
    return 0;
}

static int read_create_table(struct parser *p, const struct at *at, struct op *op)
{
    struct table *t = arena_zalloc(p->a, sizeof *t);
    struct at table = member(at, "table");
    if (read_table(p, &table, t)) {
        return -1;
    }
    op->schema = t->schema;
    op->name = t->name;
    op->table = t;
    return 0;
}

static int read_owner(struct parser *p, const struct at *at, struct op *op)
{
    return get_name(p, at, "schema", &op->schema) || get_name(p, at, "table", &op->name) ? -1 : 0;
}

static int read_create_index(struct parser *p, const struct at *at, struct op *op)
{
    struct index *x = arena_zalloc(p->a, sizeof *x);
    struct at value = member(at, "index");
    op->index = x;
    return read_owner(p, at, op) || read_index(p, &value, x) ? -1 : 0;
}

static int read_drop_index(struct parser *p, const struct at *at, struct op *op)
{
    struct index *x = arena_zalloc(p->a, sizeof *x);
    op->index = x;
    return read_owner(p, at, op) || get_name(p, at, "name", &x->name) ? -1 : 0;
}

static int read_add_column(struct parser *p, const struct at *at, struct op *op)
{
    struct column *c = arena_zalloc(p->a, sizeof *c);
    struct at value = member(at, "column");
    op->column = c;
    return read_owner(p, at, op) || read_column(p, &value, c) ? -1 : 0;
}

static int read_drop_enum(struct parser *p, const struct at *at, struct op *op)
{
    return get_name(p, at, "schema", &op->schema) || get_name(p, at, "name", &op->name) ? -1 : 0;
}

static const struct {
    const char *name;
    enum op_kind kind;
    read_op_fn *read;
} op_rules[] = {
    {"create_enum", OP_CREATE_ENUM, read_create_enum},
    {"create_table", OP_CREATE_TABLE, read_create_table},
    {"create_index", OP_CREATE_INDEX, read_create_index},
    {"drop_index", OP_DROP_INDEX, read_drop_index},
    {"add_column", OP_ADD_COLUMN, read_add_column},
    {"drop_table", OP_DROP_TABLE, read_owner},
    {"drop_enum", OP_DROP_ENUM, read_drop_enum},
};

static int read_op(struct parser *p, const struct at *at, struct op *op)
{
    struct at kind = member(at, "op");
    struct str name;
    if (check_object(p, at) || read_text(p, &kind, &name) || get_text(p, at, "sql", &op->sql)) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(op_rules); i++) {
        if (str_eq(name, str_c(op_rules[i].name))) {
            op->kind = op_rules[i].kind;
            return op_rules[i].read(p, at, op);
        }
    }
    return fault(p, &kind, "unknown kind of change");
}

static int read_ops(struct parser *p, const struct at *root, struct op **out_ops, size_t *out_n)
{
    size_t n;
    if (check_array(p, root, OPS_MAX, &n)) {
        return -1;
    }
    struct op *ops = arena_alloc_array(p->a, n, sizeof *ops);
    for (size_t i = 0; i < n; i++) {
        struct at item = element(root, i);
        if (read_op(p, &item, &ops[i])) {
            return -1;
        }
    }
    *out_ops = ops;
    *out_n = n;
    return 0;
}

int ops_parse(struct arena *a, struct str json, struct op **out_ops, size_t *out_n, struct err *err)
{
    if (json.n > OPS_MAX_JSON) {
        return err_set(err, ERR_LIMIT, "ops: more than %d bytes", OPS_MAX_JSON);
    }
    json_error_t why;
    json_t *value = json_loadb(json.n ? json.p : "", json.n, 0, &why);
    if (!value) {
        return err_set(err, ERR_INTERNAL, "ops: not JSON: %s", why.text);
    }
    struct parser p = {.a = a, .err = err};
    struct at root = {.value = value};
    int rc = read_ops(&p, &root, out_ops, out_n);
    json_decref(value);
    return rc;
}
