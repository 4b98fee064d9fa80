/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes/rowmap.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

void rowmaps_init(struct rowmaps *m, const struct table *const *tables, size_t n)
{
    *m = (struct rowmaps){.tables = tables, .n_tables = n, .none = mem_zalloc(sizeof *m->none)};
}

void rowmaps_deinit(struct rowmaps *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->items[i] != m->none) {
            free(m->items[i]);
        }
    }
    free(m->items);
    free(m->none);
    *m = (struct rowmaps){0};
}

static struct rowmap *make(const struct table *t, size_t index, const struct relation *r)
{
    struct rowmap *map = mem_zalloc(sizeof *map + t->n_columns * sizeof map->from[0]);
    *map = (struct rowmap){.table = index, .n = r->n, .same = r->n == t->n_columns};
    for (size_t i = 0; i < t->n_columns; i++) {
        map->from[i] = relation_column(r, t->columns[i].name);
        map->same = map->same && map->from[i] == (int32_t)i;
    }
    return map;
}

static struct rowmap *make_for(struct rowmaps *m, const struct relation *r)
{
    for (size_t i = 0; i < m->n_tables; i++) {
        if (str_eq(m->tables[i]->name, r->name) && str_eq(m->tables[i]->schema, r->schema)) {
            return make(m->tables[i], i, r);
        }
    }
    return m->none;
}

static void make_room(struct rowmaps *m, uint32_t version)
{
    if (version < m->n) {
        return;
    }
    uint32_t n = 2 * version + 1;
    m->items = mem_realloc(m->items, n * sizeof(struct rowmap *));
    memset(m->items + m->n, 0, (n - m->n) * sizeof(struct rowmap *));
    m->n = n;
}

int rowmaps_find(struct rowmaps *m, const struct relations *relations, uint32_t version,
                 const struct rowmap **out_map, struct err *err)
{
    if (version >= m->n || !m->items[version]) {
        const struct relation *r = relations_get(relations, version);
        if (!r) {
            return err_set(err, ERR_INTERNAL, "version %u of a relation is not known", version);
        }
        make_room(m, version);
        m->items[version] = make_for(m, r);
    }
    *out_map = m->items[version];
    return *out_map != m->none;
}

int rowmap_read(const struct rowmaps *m, const struct rowmap *map, const struct tuple *tuple, struct arena *a,
                const struct value **out_row, struct err *err)
{
    if (tuple->columns == 0) {
        return 0;
    }
    if (tuple->columns != map->n) {
        return err_set(err, ERR_INTERNAL, "a row in the log has %u columns, its relation %u", tuple->columns,
                       map->n);
    }
    struct value *values = arena_alloc(a, map->n * sizeof *values);
    if (tuple_values(tuple, values, err) < 0) {
        return -1;
    }
    size_t n = m->tables[map->table]->n_columns;
    struct value *row = map->same ? values : arena_alloc(a, n * sizeof *row);
    for (size_t i = 0; !map->same && i < n; i++) {
        row[i] = map->from[i] < 0 ? (struct value){NULL, 0} : values[map->from[i]];
    }
    *out_row = row;
    return 1;
}

uint32_t *table_key_columns(const struct table *t, struct arena *a, uint32_t *out_n)
{
    uint32_t n = (uint32_t)t->primary_key.columns.n;
    uint32_t *columns = arena_alloc_array(a, n, sizeof *columns);
    for (uint32_t i = 0; i < n; i++) {
        const struct column *c = table_column(t, t->primary_key.columns.items[i]);
        assert(c); /* the model saw to it */
        columns[i] = (uint32_t)(c - t->columns);
    }
    *out_n = n;
    return columns;
}
