/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table has a place for flows that want to hear of every change, and for each column that some flow goes
 * by, places by value. Places, columns and tables stay when they are empty: there are as many as somebody was
 * interested in.
 */
#include "hub/routes.h"

#include "base/mem.h"
#include "shapes/keys.h"
#include "shapes/where.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

struct place {
    struct keyed keyed; /* first; key: the value */
    struct route *routes;
    char key[];
};

struct route {
    struct route *next, **prev; /* at its place */
    struct route *more;         /* of the same target */
    void *target;
};

struct by_column {
    struct by_column *next;
    struct keytable places; /* by value; NULL has the key of NULL */
    char name[];
};

struct table_routes {
    struct keyed keyed;
    struct by_column *columns;
    struct route *all;
    struct key_name *primary_key;
    char key[];
};

struct key_name {
    struct key_name *next;
    char name[];
};

struct routes {
    struct key_seed seed;
    struct keytable tables;
    struct buf key;

    /* The change being followed. */
    const struct table_routes *table; /* NULL: nobody goes by its values */
    const struct relation *relation;
    struct row_values {
        uint32_t n; /* 0: there is no such row */
        struct value values[RELATION_MAX_COLUMNS];
    } rows[2];
};

struct routes *routes_new(void)
{
    struct routes *rs = mem_zalloc(sizeof *rs);
    rs->seed = key_seed();
    rs->tables.key_at = offsetof(struct table_routes, key);
    buf_init(&rs->key, KEY_MAX);
    return rs;
}

typedef void entry_fn(struct keyed *k);

static void each_entry(struct keytable *t, entry_fn *fn)
{
    for (size_t i = 0; i < t->cap; i++) {
        struct keyed *next;
        for (struct keyed *k = t->slots[i]; k; k = next) {
            next = k->next;
            fn(k);
        }
    }
    keytable_deinit(t);
}

static void free_place(struct keyed *k)
{
    assert(!((struct place *)k)->routes);
    free(k);
}

static void free_table(struct keyed *k)
{
    struct table_routes *t = (struct table_routes *)k;
    assert(!t->all);
    while (t->columns) {
        struct by_column *c = t->columns;
        t->columns = c->next;
        each_entry(&c->places, free_place);
        free(c);
    }
    while (t->primary_key) {
        struct key_name *name = t->primary_key;
        t->primary_key = name->next;
        free(name);
    }
    free(t);
}

void routes_free(struct routes *rs)
{
    if (rs) {
        each_entry(&rs->tables, free_table);
        buf_deinit(&rs->key);
        free(rs);
    }
}

/* --- where to --- */

static struct str table_key(struct routes *rs, struct str schema, struct str name)
{
    buf_reset(&rs->key);
    buf_put_str(&rs->key, schema);
    buf_put_byte(&rs->key, '\0');
    buf_put_str(&rs->key, name);
    return buf_str(&rs->key);
}

static struct table_routes *find_table(struct routes *rs, struct str schema, struct str name)
{
    struct str key = table_key(rs, schema, name);
    return (struct table_routes *)keytable_find(&rs->tables, key, key_hash(rs->seed, key));
}

static void add_name(struct key_name **list, struct str name)
{
    struct key_name *added = mem_zalloc(sizeof *added + name.n + 1);
    memcpy(added->name, name.p, name.n);
    added->next = *list;
    *list = added;
}

static struct table_routes *make_table(struct routes *rs, const struct table *table)
{
    struct table_routes *t = find_table(rs, table->schema, table->name);
    if (!t) {
        struct str key = buf_str(&rs->key);
        t = mem_zalloc(sizeof *t + key.n);
        t->keyed.hash = key_hash(rs->seed, key);
        t->keyed.n = (uint32_t)key.n & 0x7fffffff;
        memcpy(t->key, key.p, key.n);
        keytable_add(&rs->tables, &t->keyed);
        for (size_t i = 0; i < table->primary_key.columns.n; i++) {
            add_name(&t->primary_key, table->primary_key.columns.items[i]);
        }
    }
    return t;
}

static struct by_column *make_column(struct table_routes *t, struct str name)
{
    for (struct by_column *c = t->columns; c; c = c->next) {
        if (str_eq(str_c(c->name), name)) {
            return c;
        }
    }
    struct by_column *c = mem_zalloc(sizeof *c + name.n + 1);
    memcpy(c->name, name.p, name.n);
    c->places.key_at = offsetof(struct place, key);
    c->next = t->columns;
    t->columns = c;
    return c;
}

static struct place *find_place(struct routes *rs, const struct by_column *c, struct value v)
{
    static const uint32_t first;
    buf_reset(&rs->key);
    key_put(&rs->key, &v, &first, 1);
    struct str key = buf_str(&rs->key);
    return (struct place *)keytable_find(&c->places, key, key_hash(rs->seed, key));
}

static struct place *make_place(struct routes *rs, struct by_column *c, struct value v)
{
    struct place *p = find_place(rs, c, v);
    if (!p) {
        struct str key = buf_str(&rs->key);
        p = mem_zalloc(sizeof *p + key.n);
        p->keyed.hash = key_hash(rs->seed, key);
        p->keyed.n = (uint32_t)key.n & 0x7fffffff;
        memcpy(p->key, key.p, key.n);
        keytable_add(&c->places, &p->keyed);
    }
    return p;
}

/* --- routes --- */

static void add(struct route **list, void *target, struct route **all)
{
    struct route *r = mem_zalloc(sizeof *r);
    r->target = target;
    r->next = *list;
    r->prev = list;
    if (r->next) {
        r->next->prev = &r->next;
    }
    *list = r;
    r->more = *all;
    *all = r;
}

void route_free(struct route *r)
{
    while (r) {
        struct route *more = r->more;
        *r->prev = r->next;
        if (r->next) {
            r->next->prev = r->prev;
        }
        free(r);
        r = more;
    }
}

enum { EQUALITIES = 8 };

static bool is_text(const struct column *c)
{
    return str_eq(c->type_name, STR("text")) || str_eq(c->type_name, STR("varchar"));
}

/* A column whose value says whether a row may be in the layer, with the values that do. 0: there is none. */
static size_t key_of_layer(const struct layer *l, struct str user, size_t *out_column,
                           struct value out_values[3])
{
    struct where_equality equal[EQUALITIES];
    size_t n = l->where ? where_equalities(l->where, equal, EQUALITIES) : 0;
    if (l->kind != LAYER_TOP) {
        return 0;
    }
    if (n > 0) {
        *out_column = equal[0].column;
        out_values[0] = (struct value){equal[0].value.p, (uint32_t)equal[0].value.n};
        return 1;
    }
    char room[LAYER_UUID];
    struct str id;
    if (l->user_column == LAYER_NONE || !is_text(&l->table->columns[l->user_column])) {
        return 0;
    }
    *out_column = (size_t)l->user_column;
    out_values[0] = (struct value){NULL, 0};
    out_values[1] = (struct value){"", 0};
    if (!layer_user(l, user, room, &id)) {
        return 2;
    }
    out_values[2] = (struct value){id.p, (uint32_t)id.n};
    return 3;
}

static bool all_have_keys(const struct forest *f, const struct forest_table *t, struct str user)
{
    for (uint32_t i = 0; i < t->n_layers; i++) {
        size_t column;
        struct value values[3];
        if (key_of_layer(&f->layers[t->layers[i]], user, &column, values) == 0) {
            return false;
        }
    }
    return true;
}

static void add_keys(struct routes *rs, struct table_routes *at, const struct layer *l, struct str user,
                     void *target, struct route **all)
{
    struct value values[3];
    size_t column, n = key_of_layer(l, user, &column, values);
    struct by_column *c = make_column(at, l->table->columns[column].name);
    for (size_t i = 0; i < n; i++) {
        add(&make_place(rs, c, values[i])->routes, target, all);
    }
}

struct route *route_new(struct routes *rs, const struct forest *f, struct str user, void *target)
{
    struct route *all = NULL;
    for (uint32_t i = 0; i < f->n_tables; i++) {
        const struct forest_table *t = &f->tables[i];
        struct table_routes *at = make_table(rs, t->table);
        if (!all_have_keys(f, t, user)) {
            add(&at->all, target, &all);
            continue;
        }
        for (uint32_t k = 0; k < t->n_layers; k++) {
            add_keys(rs, at, &f->layers[t->layers[k]], user, target, &all);
        }
    }
    return all;
}

/* --- following --- */

bool routes_have(struct routes *rs, const struct relation *r)
{
    return find_table(rs, r->schema, r->name) != NULL;
}

static void tell(const struct route *r, enum route_how how, route_fn fn, void *ctx)
{
    while (r) {
        const struct route *next = r->next; /* fn may free this one */
        fn(ctx, r->target, how);
        r = next;
    }
}

static bool same_value(struct value a, struct value b)
{
    return !a.p == !b.p && a.n == b.n && (!a.p || memcmp(a.p, b.p, a.n) == 0);
}

static struct value value_of(const struct routes *rs, enum route_row which, int column)
{
    const struct row_values *row = &rs->rows[which];
    return column >= 0 && (uint32_t)column < row->n ? row->values[column] : (struct value){NULL, 0};
}

static bool has_same_key(const struct routes *rs)
{
    for (const struct key_name *name = rs->table->primary_key; name; name = name->next) {
        int i = relation_column(rs->relation, str_c(name->name));
        if (!same_value(value_of(rs, ROUTE_OLD, i), value_of(rs, ROUTE_NEW, i))) {
            return false;
        }
    }
    return true;
}

static void follow_column(struct routes *rs, const struct by_column *c, route_fn fn, void *ctx)
{
    int i = relation_column(rs->relation, str_c(c->name));
    struct value old = value_of(rs, ROUTE_OLD, i), new = value_of(rs, ROUTE_NEW, i);
    bool was = rs->rows[ROUTE_OLD].n > 0, is = rs->rows[ROUTE_NEW].n > 0;
    bool same = was && is && same_value(old, new);
    const struct place *from = was ? find_place(rs, c, old) : NULL;
    const struct place *to = is && !same ? find_place(rs, c, new) : NULL;
    if (from) {
        tell(from->routes, ROUTE_ROW, fn, ctx);
    }
    if (to) {
        tell(to->routes, ROUTE_ROW, fn, ctx);
    }
    if (from && !(same && has_same_key(rs))) {
        tell(from->routes, ROUTE_LEFT, fn, ctx);
    }
}

static void tell_everyone(const struct table_routes *t, route_fn fn, void *ctx)
{
    for (const struct by_column *c = t->columns; c; c = c->next) {
        for (size_t i = 0; i < c->places.cap; i++) {
            for (const struct keyed *k = c->places.slots[i]; k; k = k->next) {
                tell(((const struct place *)k)->routes, ROUTE_TABLE, fn, ctx);
            }
        }
    }
}

static int read_row(struct routes *rs, enum route_row which, const struct tuple *tuple, struct err *err)
{
    struct row_values *row = &rs->rows[which];
    row->n = tuple->columns <= RELATION_MAX_COLUMNS ? tuple->columns : 0;
    return row->n > 0 ? tuple_values(tuple, row->values, err) : 0;
}

int routes_follow_change(struct routes *rs, const struct change *change, const struct relations *relations,
                         route_fn fn, void *ctx, struct err *err)
{
    bool is_row = change->kind != CHANGE_MESSAGE;
    const struct relation *r = is_row ? relations_get(relations, change->relation) : NULL;
    const struct table_routes *t = r ? find_table(rs, r->schema, r->name) : NULL;
    rs->table = NULL;
    if (!t) {
        return 0;
    }
    tell(t->all, ROUTE_TABLE, fn, ctx);
    bool lacks_old = (change->kind == CHANGE_UPDATE || change->kind == CHANGE_DELETE) && !change->old.columns;
    if (change->kind == CHANGE_TRUNCATE || lacks_old) {
        tell_everyone(t, fn, ctx);
    }
    if (!t->columns) {
        return 0;
    }
    if (read_row(rs, ROUTE_OLD, &change->old, err) < 0 || read_row(rs, ROUTE_NEW, &change->new, err) < 0) {
        return -1;
    }
    rs->table = t;
    rs->relation = r;
    for (const struct by_column *c = t->columns; c; c = c->next) {
        follow_column(rs, c, fn, ctx);
    }
    return 0;
}

int routes_follow(struct routes *rs, struct str record, const struct relations *relations, route_fn fn,
                  void *ctx, struct err *err)
{
    struct txn_cursor cursor = txn_changes(record);
    struct change change;
    int rc;
    while ((rc = txn_next(&cursor, &change, err)) == 1) {
        if (routes_follow_change(rs, &change, relations, fn, ctx, err) < 0) {
            return -1;
        }
    }
    return rc;
}

bool routes_row_hash(struct routes *rs, enum route_row which, uint32_t *out_hash)
{
    static const uint32_t first;
    if (!rs->table || rs->rows[which].n == 0) {
        return false;
    }
    buf_reset(&rs->key);
    for (const struct key_name *name = rs->table->primary_key; name; name = name->next) {
        struct value v = value_of(rs, which, relation_column(rs->relation, str_c(name->name)));
        key_put(&rs->key, &v, &first, 1);
    }
    *out_hash = key_hash(rs->seed, buf_str(&rs->key)) ^ rs->table->keyed.hash;
    return true;
}
