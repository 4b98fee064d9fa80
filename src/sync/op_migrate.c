/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds protobuf-c structures in the arena over the model's values, packs them, forgets them. Protobuf-c
 * wants NUL-terminated strings, hence a copy of each name.
 */
#include "sync/op_migrate.h"

#include "dialect/types.h"
#include "sync/satellite.pb-c.h"

typedef Electric__Satellite__SatOpMigrate sat_migrate;
typedef Electric__Satellite__SatOpMigrate__Stmt sat_stmt;
typedef Electric__Satellite__SatOpMigrate__Table sat_table;
typedef Electric__Satellite__SatOpMigrate__Column sat_column;
typedef Electric__Satellite__SatOpMigrate__PgColumnType sat_type;
typedef Electric__Satellite__SatOpMigrate__ForeignKey sat_foreign_key;
typedef Electric__Satellite__SatOpMigrate__EnumType sat_enum;

/* Protobuf-c's structures are not const, although packing only reads them. */
static char *text(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.n + 1);
    if (s.n) {
        memcpy(copy, s.p, s.n);
    }
    copy[s.n] = '\0';
    return copy;
}

static char **texts(struct arena *a, const struct names *names)
{
    char **out = arena_alloc_array(a, names->n, sizeof *out);
    for (size_t i = 0; i < names->n; i++) {
        out[i] = text(a, names->items[i]);
    }
    return out;
}

static sat_type *make_type(struct arena *a, const struct column *c)
{
    sat_type *t = arena_alloc(a, sizeof *t);
    electric__satellite__sat_op_migrate__pg_column_type__init(t);
    t->name = text(a, type_base_name(c));
    if (type_is_array(c)) {
        t->n_array =
            1; /* the catalog knows no bounds, and one pair of brackets for any number of dimensions */
        t->array = arena_alloc_array(a, 1, sizeof *t->array);
        t->array[0] = -1;
    }
    t->size = arena_alloc_array(a, TYPE_MAX_SIZES, sizeof *t->size);
    t->n_size = type_sizes(c, t->size);
    return t;
}

static sat_column *make_column(struct arena *a, const struct column *c)
{
    sat_column *out = arena_alloc(a, sizeof *out);
    electric__satellite__sat_op_migrate__column__init(out);
    out->name = text(a, c->name);
    out->sqlite_type = text(a, type_sqlite(a, c));
    out->pg_type = make_type(a, c);
    return out;
}

static sat_foreign_key *make_foreign_key(struct arena *a, const struct foreign_key *k)
{
    sat_foreign_key *out = arena_alloc(a, sizeof *out);
    electric__satellite__sat_op_migrate__foreign_key__init(out);
    out->n_fk_cols = k->columns.n;
    out->fk_cols = texts(a, &k->columns);
    out->pk_table = text(a, k->ref_table);
    out->n_pk_cols = k->ref_columns.n;
    out->pk_cols = texts(a, &k->ref_columns);
    return out;
}

static sat_table *make_table(struct arena *a, const struct table *t)
{
    sat_table *out = arena_alloc(a, sizeof *out);
    electric__satellite__sat_op_migrate__table__init(out);
    out->name = text(a, t->name);
    out->n_columns = t->n_columns;
    out->columns = arena_alloc_array(a, t->n_columns, sizeof *out->columns);
    for (size_t i = 0; i < t->n_columns; i++) {
        out->columns[i] = make_column(a, &t->columns[i]);
    }
    out->n_fks = t->n_foreign_keys;
    out->fks = arena_alloc_array(a, t->n_foreign_keys, sizeof *out->fks);
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        out->fks[i] = make_foreign_key(a, &t->foreign_keys[i]);
    }
    out->n_pks = t->primary_key.columns.n;
    out->pks = texts(a, &t->primary_key.columns);
    return out;
}

static sat_enum *make_enum(struct arena *a, const struct enum_type *e)
{
    sat_enum *out = arena_alloc(a, sizeof *out);
    electric__satellite__sat_op_migrate__enum_type__init(out);
    out->name = text(a, e->name);
    out->n_values = e->labels.n;
    out->values = texts(a, &e->labels);
    return out;
}

static sat_stmt *make_stmt(struct arena *a, const struct client_statement *s)
{
    sat_stmt *out = arena_alloc(a, sizeof *out);
    electric__satellite__sat_op_migrate__stmt__init(out);
    out->type = (Electric__Satellite__SatOpMigrate__Type)s->type;
    out->sql = text(a, s->sql);
    return out;
}

/* --- one message --- */

static bool changes_table(const struct op *op)
{
    return op->kind == OP_CREATE_TABLE || op->kind == OP_ADD_COLUMN;
}

static int set_entity(struct arena *a, const struct op_migrate *in, const struct op *op, sat_migrate *m,
                      struct err *err)
{
    if (op->kind == OP_CREATE_ENUM) {
        m->affected_entity_case = ELECTRIC__SATELLITE__SAT_OP_MIGRATE__AFFECTED_ENTITY_ENUM_TYPE;
        m->enum_type = make_enum(a, op->type);
        return 0;
    }
    const struct table *t = schema_table(in->schema, op->schema, op->name);
    if (!t) {
        return err_set(err, ERR_INTERNAL, "table \"%.*s\" is not in the model", STR_ARG(op->name));
    }
    m->affected_entity_case = ELECTRIC__SATELLITE__SAT_OP_MIGRATE__AFFECTED_ENTITY_TABLE;
    m->table = make_table(a, t);
    return 0;
}

static void append(struct arena *a, struct messages *out, struct str bytes)
{
    if (out->n == out->cap) {
        out->cap = out->n ? 2 * out->n : 4;
        struct str *bigger = arena_alloc_array(a, out->cap, sizeof *bigger);
        if (out->n) {
            memcpy(bigger, out->items, out->n * sizeof *bigger);
        }
        out->items = bigger;
    }
    out->items[out->n++] = bytes;
}

static int pack(struct arena *a, const sat_migrate *m, struct messages *out, struct err *err)
{
    size_t n = electric__satellite__sat_op_migrate__get_packed_size(m);
    if (n > OP_MIGRATE_MAX) {
        return err_set(err, ERR_LIMIT, "a migration message is longer than %d bytes", OP_MIGRATE_MAX);
    }
    uint8_t *bytes = arena_alloc(a, n);
    electric__satellite__sat_op_migrate__pack(m, bytes);
    append(a, out, (struct str){(const char *)bytes, n});
    return 0;
}

/* ops[from, to): one group. `scratch` holds what is forgotten after packing. */
static int encode_group(struct arena *a, struct arena *scratch, const struct op_migrate *in, size_t from,
                        size_t to, struct messages *out, struct err *err)
{
    sat_migrate m;
    electric__satellite__sat_op_migrate__init(&m);
    m.version = text(scratch, in->version);
    m.stmts = arena_alloc_array(scratch, to - from, sizeof *m.stmts);
    const struct op *entity = NULL;
    for (size_t i = from; i < to; i++) {
        const struct rendered_op *r = &in->ops[i];
        if (r->has_statement) {
            m.stmts[m.n_stmts++] = make_stmt(scratch, &r->statement);
        }
        if (r->op->kind == OP_CREATE_ENUM || changes_table(r->op)) {
            entity = r->op;
        }
    }
    if (!entity && m.n_stmts == 0) {
        return 0;
    }
    return entity && set_entity(scratch, in, entity, &m, err) ? -1 : pack(a, &m, out, err);
}

static bool same_group(const struct op *a, const struct op *b)
{
    return !op_is_about_enum(a) && !op_is_about_enum(b) && str_eq(a->schema, b->schema) &&
           str_eq(a->name, b->name);
}

int op_migrate_encode(struct arena *a, const struct op_migrate *command, struct messages *out,
                      struct err *err)
{
    CLEANUP(arena_deinit) struct arena scratch = ARENA_INIT;
    for (size_t from = 0, to; from < command->n; from = to) {
        to = from + 1;
        while (to < command->n && same_group(command->ops[from].op, command->ops[to].op)) {
            to++;
        }
        arena_reset(&scratch);
        if (encode_group(a, &scratch, command, from, to, out, err)) {
            return -1;
        }
    }
    return 0;
}
