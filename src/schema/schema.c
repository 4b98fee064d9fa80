/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model and its one way to change, schema_apply(). An op is checked against the model before anything is
 * copied, so a failure leaves the model as it was.
 */
#include "schema/schema.h"

#include <assert.h>

void schema_deinit(struct schema *s)
{
    arena_deinit(&s->arena);
    *s = (struct schema)SCHEMA_INIT;
}

int name_compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

int names_compare(const struct names *a, const struct names *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        int c = name_compare(a->items[i], b->items[i]);
        if (c) {
            return c;
        }
    }
    return (a->n > b->n) - (a->n < b->n);
}

static int compare_qualified(struct str schema_a, struct str a, struct str schema_b, struct str b)
{
    int c = name_compare(schema_a, schema_b);
    return c ? c : name_compare(a, b);
}

/* Position of the first table not before (schema, name). */
static size_t find_table(const struct schema *s, struct str schema, struct str name)
{
    size_t low = 0, high = s->n_tables;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_qualified(s->tables[mid]->schema, s->tables[mid]->name, schema, name) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static size_t find_enum(const struct schema *s, struct str schema, struct str name)
{
    size_t low = 0, high = s->n_enums;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_qualified(s->enums[mid]->schema, s->enums[mid]->name, schema, name) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct table *lookup_table(const struct schema *s, struct str schema, struct str name)
{
    size_t i = find_table(s, schema, name);
    bool found = i < s->n_tables && str_eq(s->tables[i]->schema, schema) && str_eq(s->tables[i]->name, name);
    return found ? s->tables[i] : NULL;
}

const struct table *schema_table(const struct schema *s, struct str schema, struct str name)
{
    return lookup_table(s, schema, name);
}

const struct enum_type *schema_enum(const struct schema *s, struct str schema, struct str name)
{
    size_t i = find_enum(s, schema, name);
    bool found = i < s->n_enums && str_eq(s->enums[i]->schema, schema) && str_eq(s->enums[i]->name, name);
    return found ? s->enums[i] : NULL;
}

const struct column *table_column(const struct table *t, struct str name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (str_eq(t->columns[i].name, name)) {
            return &t->columns[i];
        }
    }
    return NULL;
}

bool names_contain(const struct names *names, struct str name)
{
    for (size_t i = 0; i < names->n; i++) {
        if (str_eq(names->items[i], name)) {
            return true;
        }
    }
    return false;
}

bool table_in_primary_key(const struct table *t, struct str column)
{
    return names_contain(&t->primary_key.columns, column);
}

/* An array with room for item n. Doubling keeps n appends at O(n) memory although an arena gives nothing
 * back. */
static void *grow(struct arena *a, void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return items;
    }
    *cap = n ? 2 * n : 4;
    void *bigger = arena_alloc_array(a, *cap, size);
    if (n) {
        memcpy(bigger, items, n * size);
    }
    return bigger;
}

/* Moves items at..n-1 of an array with room up by one. */
static void open_gap(void *items, size_t at, size_t n, size_t size)
{
    memmove((char *)items + (at + 1) * size, (char *)items + at * size, (n - at) * size);
}

static struct str copy_str(struct arena *a, struct str s)
{
    return s.p ? arena_str(a, s) : s;
}

static struct names copy_names(struct arena *a, struct names from)
{
    struct names to = {.items = arena_alloc_array(a, from.n, sizeof *to.items), .n = from.n};
    for (size_t i = 0; i < from.n; i++) {
        to.items[i] = copy_str(a, from.items[i]);
    }
    return to;
}

static struct column copy_column(struct arena *a, struct column c)
{
    c.name = copy_str(a, c.name);
    c.type = copy_str(a, c.type);
    c.type_name = copy_str(a, c.type_name);
    c.type_schema = copy_str(a, c.type_schema);
    return c;
}

static struct foreign_key copy_foreign_key(struct arena *a, struct foreign_key k)
{
    k.name = copy_str(a, k.name);
    k.columns = copy_names(a, k.columns);
    k.ref_schema = copy_str(a, k.ref_schema);
    k.ref_table = copy_str(a, k.ref_table);
    k.ref_columns = copy_names(a, k.ref_columns);
    return k;
}

static struct constraint copy_constraint(struct arena *a, struct constraint c)
{
    c.name = copy_str(a, c.name);
    c.columns = copy_names(a, c.columns);
    c.definition = copy_str(a, c.definition);
    return c;
}

static struct index copy_index(struct arena *a, const struct index *from)
{
    struct index to = *from;
    to.name = copy_str(a, from->name);
    to.predicate = copy_str(a, from->predicate);
    to.columns = arena_alloc_array(a, from->n_columns, sizeof *to.columns);
    for (size_t i = 0; i < from->n_columns; i++) {
        to.columns[i] = from->columns[i];
        to.columns[i].name = copy_str(a, from->columns[i].name);
        to.columns[i].expression = copy_str(a, from->columns[i].expression);
    }
    return to;
}

static struct table *copy_table(struct arena *a, const struct table *from)
{
    struct table *to = arena_zalloc(a, sizeof *to);
    to->schema = copy_str(a, from->schema);
    to->name = copy_str(a, from->name);
    to->n_columns = to->columns_cap = from->n_columns;
    to->columns = arena_alloc_array(a, from->n_columns, sizeof *to->columns);
    for (size_t i = 0; i < from->n_columns; i++) {
        to->columns[i] = copy_column(a, from->columns[i]);
    }
    to->primary_key.name = copy_str(a, from->primary_key.name);
    to->primary_key.columns = copy_names(a, from->primary_key.columns);
    to->n_foreign_keys = from->n_foreign_keys;
    to->foreign_keys = arena_alloc_array(a, from->n_foreign_keys, sizeof *to->foreign_keys);
    for (size_t i = 0; i < from->n_foreign_keys; i++) {
        to->foreign_keys[i] = copy_foreign_key(a, from->foreign_keys[i]);
    }
    to->n_constraints = from->n_constraints;
    to->constraints = arena_alloc_array(a, from->n_constraints, sizeof *to->constraints);
    for (size_t i = 0; i < from->n_constraints; i++) {
        to->constraints[i] = copy_constraint(a, from->constraints[i]);
    }
    return to;
}

static int apply_create_table(struct schema *s, const struct op *op, struct err *err)
{
    size_t at = find_table(s, op->schema, op->name);
    if (lookup_table(s, op->schema, op->name)) {
        return err_set(err, ERR_INTERNAL, "table \"%.*s\" is created twice", STR_ARG(op->name));
    }
    if (s->n_tables >= SCHEMA_MAX_TABLES) {
        return err_set(err, ERR_LIMIT, "more than %d electrified tables", SCHEMA_MAX_TABLES);
    }
    s->tables = grow(&s->arena, s->tables, s->n_tables, &s->tables_cap, sizeof *s->tables);
    open_gap(s->tables, at, s->n_tables++, sizeof *s->tables);
    s->tables[at] = copy_table(&s->arena, op->table);
    return SCHEMA_CHANGED;
}

/* Tables share enums: electrifying the second one may tell of the type again. */
static int apply_create_enum(struct schema *s, const struct op *op, struct err *err)
{
    const struct enum_type *known = schema_enum(s, op->schema, op->name);
    if (known && names_compare(&known->labels, &op->type->labels) == 0) {
        return SCHEMA_UNCHANGED;
    }
    if (known) {
        return err_set(err, ERR_INTERNAL, "type \"%.*s\" is created twice, with other labels",
                       STR_ARG(op->name));
    }
    if (s->n_enums >= SCHEMA_MAX_ENUMS) {
        return err_set(err, ERR_LIMIT, "more than %d enum types", SCHEMA_MAX_ENUMS);
    }
    struct enum_type *copy = arena_zalloc(&s->arena, sizeof *copy);
    copy->schema = copy_str(&s->arena, op->schema);
    copy->name = copy_str(&s->arena, op->name);
    copy->labels = copy_names(&s->arena, op->type->labels);
    size_t at = find_enum(s, op->schema, op->name);
    s->enums = grow(&s->arena, s->enums, s->n_enums, &s->enums_cap, sizeof *s->enums);
    open_gap(s->enums, at, s->n_enums++, sizeof *s->enums);
    s->enums[at] = copy;
    return SCHEMA_CHANGED;
}

static int apply_add_column(struct schema *s, struct table *t, const struct op *op, struct err *err)
{
    if (table_column(t, op->column->name)) {
        return err_set(err, ERR_INTERNAL, "column \"%.*s\" of table \"%.*s\" is created twice",
                       STR_ARG(op->column->name), STR_ARG(t->name));
    }
    if (t->n_columns >= SCHEMA_MAX_COLUMNS) {
        return err_set(err, ERR_LIMIT, "table \"%.*s\" has more than %d columns", STR_ARG(t->name),
                       SCHEMA_MAX_COLUMNS);
    }
    t->columns = grow(&s->arena, t->columns, t->n_columns, &t->columns_cap, sizeof *t->columns);
    t->columns[t->n_columns++] = copy_column(&s->arena, *op->column);
    return SCHEMA_CHANGED;
}

static int apply_drop_table(struct schema *s, const struct op *op)
{
    size_t at = find_table(s, op->schema, op->name);
    memmove(&s->tables[at], &s->tables[at + 1], (s->n_tables - at - 1) * sizeof *s->tables);
    s->n_tables--;
    return SCHEMA_CHANGED;
}

static int apply_drop_enum(struct schema *s, const struct op *op)
{
    if (!schema_enum(s, op->schema, op->name)) {
        return SCHEMA_UNCHANGED;
    }
    size_t at = find_enum(s, op->schema, op->name);
    memmove(&s->enums[at], &s->enums[at + 1], (s->n_enums - at - 1) * sizeof *s->enums);
    s->n_enums--;
    return SCHEMA_CHANGED;
}

/* Index names are unique in a schema, not only in a table: what is dropped is found by name. */
static size_t find_index(const struct table *t, struct str name)
{
    size_t i = 0;
    while (i < t->n_indexes && !str_eq(t->indexes[i].name, name)) {
        i++;
    }
    return i;
}

static int apply_create_index(struct schema *s, struct table *t, const struct op *op, struct err *err)
{
    if (find_index(t, op->index->name) < t->n_indexes) {
        return err_set(err, ERR_INTERNAL, "index \"%.*s\" is created twice", STR_ARG(op->index->name));
    }
    for (size_t i = 0; i < op->index->n_columns; i++) {
        struct str name = op->index->columns[i].name;
        if (name.p && !table_column(t, name)) {
            return err_set(err, ERR_INTERNAL, "index \"%.*s\": table \"%.*s\" has no column \"%.*s\"",
                           STR_ARG(op->index->name), STR_ARG(t->name), STR_ARG(name));
        }
    }
    if (t->n_indexes >= SCHEMA_MAX_INDEXES) {
        return err_set(err, ERR_LIMIT, "table \"%.*s\" has more than %d indexes", STR_ARG(t->name),
                       SCHEMA_MAX_INDEXES);
    }
    t->indexes = grow(&s->arena, t->indexes, t->n_indexes, &t->indexes_cap, sizeof *t->indexes);
    t->indexes[t->n_indexes++] = copy_index(&s->arena, op->index);
    return SCHEMA_CHANGED;
}

static int apply_drop_index(struct table *t, const struct op *op)
{
    size_t at = find_index(t, op->index->name);
    if (at == t->n_indexes) {
        return SCHEMA_UNCHANGED;
    }
    memmove(&t->indexes[at], &t->indexes[at + 1], (t->n_indexes - at - 1) * sizeof *t->indexes);
    t->n_indexes--;
    return SCHEMA_CHANGED;
}

bool op_is_about_enum(const struct op *op)
{
    return op->kind == OP_CREATE_ENUM || op->kind == OP_DROP_ENUM;
}

int schema_apply(struct schema *s, const struct op *op, struct err *err)
{
    if (op->kind == OP_CREATE_ENUM) {
        return apply_create_enum(s, op, err);
    }
    if (op->kind == OP_DROP_ENUM) {
        return apply_drop_enum(s, op);
    }
    if (op->kind == OP_CREATE_TABLE) {
        return apply_create_table(s, op, err);
    }
    struct table *t = lookup_table(s, op->schema, op->name);
    if (!t && op->kind == OP_DROP_TABLE) {
        return SCHEMA_UNCHANGED; /* the migration that made it is left out: there is nothing to drop */
    }
    if (!t) {
        return err_set(err, ERR_INTERNAL, "a change of table \"%.*s\".\"%.*s\", which was never electrified",
                       STR_ARG(op->schema), STR_ARG(op->name));
    }
    switch (op->kind) {
    case OP_ADD_COLUMN:
        return apply_add_column(s, t, op, err);
    case OP_CREATE_INDEX:
        return apply_create_index(s, t, op, err);
    case OP_DROP_INDEX:
        return apply_drop_index(t, op);
    case OP_DROP_TABLE:
        return apply_drop_table(s, op);
    case OP_CREATE_ENUM:
    case OP_DROP_ENUM:
    case OP_CREATE_TABLE:
        break;
    }
    assert(!"op kind");
    return -1;
}
