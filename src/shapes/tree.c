/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes/tree.h"

/* SCHEMA_MAX_COLUMNS when there is none. */
static uint32_t column_index(const struct table *t, struct str name)
{
    const struct column *c = table_column(t, name);
    return c ? (uint32_t)(c - t->columns) : SCHEMA_MAX_COLUMNS;
}

/* By referenced column: foreign keys that refer to the same columns in another order are looked up alike. */
static void insert_pair(uint32_t *holding, uint32_t *referenced, uint32_t at)
{
    uint32_t h = holding[at], r = referenced[at];
    for (; at > 0 && referenced[at - 1] > r; at--) {
        holding[at] = holding[at - 1];
        referenced[at] = referenced[at - 1];
    }
    holding[at] = h;
    referenced[at] = r;
}

bool link_make(struct arena *a, const struct foreign_key *key, const struct table *holding,
               const struct table *referenced, struct link *out)
{
    uint32_t n = (uint32_t)key->columns.n;
    uint32_t *from = arena_alloc_array(a, n, sizeof *from);
    uint32_t *to = arena_alloc_array(a, n, sizeof *to);
    for (uint32_t i = 0; i < n; i++) {
        from[i] = column_index(holding, key->columns.items[i]);
        to[i] = column_index(referenced, key->ref_columns.items[i]);
        if (from[i] == SCHEMA_MAX_COLUMNS || to[i] == SCHEMA_MAX_COLUMNS) {
            return false;
        }
        insert_pair(from, to, i);
    }
    *out = (struct link){.key = key, .holding = {from, n}, .referenced = {to, n}};
    return true;
}

bool foreign_key_equal(const struct foreign_key *a, const struct foreign_key *b)
{
    return names_compare(&a->columns, &b->columns) == 0 && str_eq(a->ref_schema, b->ref_schema) &&
           str_eq(a->ref_table, b->ref_table) && names_compare(&a->ref_columns, &b->ref_columns) == 0;
}

bool table_is(const struct table *t, struct str schema, struct str name)
{
    return str_eq(t->schema, schema) && str_eq(t->name, name);
}

/* Siblings only: their parent's table is the same. */
static int compare(const struct node *a, const struct node *b)
{
    int c = (int)a->kind - (int)b->kind;
    c = c ? c : name_compare(a->table->schema, b->table->schema);
    c = c ? c : name_compare(a->table->name, b->table->name);
    if (!c && a->kind != LAYER_TOP) {
        c = names_compare(&a->link.key->columns, &b->link.key->columns);
    }
    return c ? c : name_compare(a->where_key, b->where_key);
}

struct node *node_child(struct arena *a, struct node *parent, const struct node *wanted)
{
    struct node **at = &parent->first;
    int c = 1;
    while (*at && (c = compare(*at, wanted)) < 0) {
        at = &(*at)->next;
    }
    if (*at && c == 0) {
        return *at;
    }
    struct node *added = arena_alloc(a, sizeof *added);
    *added = *wanted;
    added->parent = parent;
    added->first = NULL;
    added->next = *at;
    *at = added;
    return added;
}

void node_prune(struct node *node)
{
    for (struct node **at = &node->first; *at;) {
        node_prune(*at);
        if ((*at)->kind == LAYER_TO_ONE && !(*at)->first) {
            *at = (*at)->next;
        } else {
            at = &(*at)->next;
        }
    }
}
