/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of a tree of selects: its nodes in order, each before what hangs from it, then the edges of each
 * layer and, as these ask for them, the shared layers of referenced rows, which have edges themselves.
 *
 * The key holds what was asked for, and nothing that follows from the model:
 *
 *   forest   *layer
 *   layer    ("T" | "M" | "O") table [columns] [where] [includes]
 *   columns  "(" column *( "," column ) ")"        of the foreign key: not of a top
 *   where    "?" bytes ":" text
 *   includes "{" 1*layer "}"
 */
#include "shapes/forest.h"

#include "shapes/tree.h"
#include "shapes/where.h"
#include "sql/quote.h"

#include <assert.h>
#include <stdlib.h>

struct builder {
    struct arena *a;
    const struct schema *model;
    struct layer *layers;
    const struct node **nodes; /* of each layer; NULL: nobody asked for it */
    uint32_t n, cap;
    struct buf *key;
};

static int find_user_column(const struct table *t)
{
    const struct column *c = table_column(t, STR("electric_user_id"));
    return c ? (int)(c - t->columns) : LAYER_NONE;
}

static uint32_t add_layer(struct builder *b, struct layer layer, const struct node *node)
{
    if (b->n == b->cap) {
        uint32_t cap = b->cap ? 2 * b->cap : 8;
        struct layer *layers = arena_alloc_array(b->a, cap, sizeof *layers);
        const struct node **nodes = arena_alloc_array(b->a, cap, sizeof(struct node *));
        if (b->n > 0) {
            memcpy(layers, b->layers, b->n * sizeof *layers);
            memcpy(nodes, b->nodes, b->n * sizeof(struct node *));
        }
        b->layers = layers;
        b->nodes = nodes;
        b->cap = cap;
    }
    layer.user_column = find_user_column(layer.table);
    b->layers[b->n] = layer;
    b->nodes[b->n] = node;
    return b->n++;
}

static struct layer layer_of_node(const struct node *node, int parent)
{
    struct layer layer = {.kind = node->kind, .table = node->table, .where = node->where, .parent = parent};
    switch (node->kind) {
    case LAYER_TOP:
        break;
    case LAYER_TO_MANY:
        layer.columns = node->link.holding;
        layer.parent_columns = node->link.referenced;
        break;
    case LAYER_TO_ONE:
        layer.columns = node->link.referenced;
        break;
    }
    return layer;
}

static void put_key_head(struct buf *key, const struct node *node)
{
    buf_put_byte(key, "TMO"[node->kind]);
    sql_put_ident(key, node->table->schema);
    buf_put_byte(key, '.');
    sql_put_ident(key, node->table->name);
    for (size_t i = 0; node->kind != LAYER_TOP && i < node->link.key->columns.n; i++) {
        buf_put_byte(key, i ? ',' : '(');
        sql_put_ident(key, node->link.key->columns.items[i]);
    }
    buf_put_c(key, node->kind != LAYER_TOP ? ")" : "");
    if (node->where) {
        buf_printf(key, "?%zu:", node->where_key.n);
        buf_put_str(key, node->where_key);
    }
}

static uint32_t count_children(const struct node *node, enum layer_kind kind)
{
    uint32_t n = 0;
    for (const struct node *c = node->first; c; c = c->next) {
        n += c->kind == kind;
    }
    return n;
}

/* The depth is that of requests, which is limited. */
static uint32_t add_node(struct builder *b, struct node *node, int parent)
{
    uint32_t at = add_layer(b, layer_of_node(node, parent), node);
    uint32_t *children = arena_alloc_array(b->a, count_children(node, LAYER_TO_MANY), sizeof *children);
    uint32_t n = 0;
    node->layer = at;
    put_key_head(b->key, node);
    buf_put_c(b->key, node->first ? "{" : "");
    for (struct node *c = node->first; c; c = c->next) {
        uint32_t child = add_node(b, c, (int)at);
        if (c->kind == LAYER_TO_MANY) {
            children[n++] = child;
        }
    }
    buf_put_c(b->key, node->first ? "}" : "");
    b->layers[at].children = children;
    b->layers[at].n_children = n;
    return at;
}

static bool columns_equal(struct columns a, struct columns b)
{
    return a.n == b.n && memcmp(a.items, b.items, a.n * sizeof *a.items) == 0;
}

/* LAYER_NONE: the select asked for nothing along this foreign key. */
static int find_asked_for(const struct node *node, const struct foreign_key *key)
{
    for (const struct node *c = node ? node->first : NULL; c; c = c->next) {
        if (c->kind == LAYER_TO_ONE && foreign_key_equal(c->link.key, key)) {
            return (int)c->layer;
        }
    }
    return LAYER_NONE;
}

static uint32_t shared_layer(struct builder *b, const struct table *table, struct columns columns)
{
    for (uint32_t i = b->n; i > 0 && !b->nodes[i - 1]; i--) {
        const struct layer *l = &b->layers[i - 1];
        if (l->table == table && columns_equal(l->columns, columns)) {
            return i - 1;
        }
    }
    struct layer layer = {.kind = LAYER_TO_ONE, .table = table, .parent = LAYER_NONE, .columns = columns};
    return add_layer(b, layer, NULL);
}

static bool leads_to_parent(const struct node *node, const struct foreign_key *key)
{
    return node && node->kind == LAYER_TO_MANY && foreign_key_equal(node->link.key, key);
}

static void add_edge(struct builder *b, uint32_t at, const struct foreign_key *key, struct layer_edge *edges,
                     uint32_t *n)
{
    struct link link;
    const struct table *to = schema_table(b->model, key->ref_schema, key->ref_table);
    if (!to || !link_make(b->a, key, b->layers[at].table, to, &link)) {
        return;
    }
    int target = find_asked_for(b->nodes[at], key);
    if (target == LAYER_NONE && leads_to_parent(b->nodes[at], key)) {
        return;
    }
    struct layer_edge edge = {.columns = link.holding};
    edge.target = target == LAYER_NONE ? shared_layer(b, to, link.referenced) : (uint32_t)target;
    for (uint32_t i = 0; i < *n; i++) {
        if (edges[i].target == edge.target && columns_equal(edges[i].columns, edge.columns)) {
            return; /* the same constraint under another name */
        }
    }
    edges[(*n)++] = edge;
}

static void add_edges(struct builder *b, uint32_t at)
{
    const struct table *t = b->layers[at].table;
    struct layer_edge *edges = arena_alloc_array(b->a, t->n_foreign_keys, sizeof *edges);
    uint32_t n = 0;
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        add_edge(b, at, &t->foreign_keys[i], edges, &n);
    }
    b->layers[at].edges = edges;
    b->layers[at].n_edges = n;
}

struct pair {
    const struct table *table;
    uint32_t layer;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int c = name_compare(x->table->schema, y->table->schema);
    c = c ? c : name_compare(x->table->name, y->table->name);
    return c ? c : (x->layer > y->layer) - (x->layer < y->layer);
}

static void group_by_table(struct builder *b, struct forest *f)
{
    struct pair *pairs = arena_alloc_array(b->a, b->n, sizeof *pairs);
    struct forest_table *tables = arena_alloc_array(b->a, b->n, sizeof *tables);
    uint32_t *layers = arena_alloc_array(b->a, b->n, sizeof *layers);
    for (uint32_t i = 0; i < b->n; i++) {
        pairs[i] = (struct pair){b->layers[i].table, i};
    }
    qsort(pairs, b->n, sizeof *pairs, compare_pairs);
    for (uint32_t i = 0; i < b->n; i++) {
        layers[i] = pairs[i].layer;
        if (i == 0 || pairs[i].table != pairs[i - 1].table) {
            tables[f->n_tables++] = (struct forest_table){.table = pairs[i].table, .layers = &layers[i]};
        }
        tables[f->n_tables - 1].n_layers++;
    }
    f->tables = tables;
}

const struct forest *forest_build(struct arena *a, const struct schema *model, struct node *root,
                                  size_t max_key)
{
    CLEANUP(buf_deinit) struct buf key = BUF_INIT(max_key);
    struct builder b = {.a = a, .model = model, .key = &key};
    struct forest *f = arena_zalloc(a, sizeof *f);
    for (struct node *top = root->first; top; top = top->next) {
        add_node(&b, top, LAYER_NONE);
    }
    for (uint32_t i = 0; i < b.n; i++) {
        add_edges(&b, i);
        f->user_matters |= b.layers[i].user_column != LAYER_NONE;
    }
    group_by_table(&b, f);
    f->layers = b.layers;
    f->n_layers = b.n;
    assert(!key.overflow);
    f->key = arena_str(a, buf_str(&key));
    return f;
}

const struct forest_table *forest_table(const struct forest *f, struct str schema, struct str name)
{
    uint32_t low = 0, high = f->n_tables;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct table *t = f->tables[mid].table;
        int c = name_compare(t->schema, schema);
        c = c ? c : name_compare(t->name, name);
        if (c == 0) {
            return &f->tables[mid];
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}

void forest_put_key(const struct forest *f, struct str user, struct buf *out)
{
    buf_put_str(out, f->key);
    if (f->user_matters) {
        buf_put_byte(out, '@');
        buf_put_str(out, user);
    }
}

static bool put_uuid(struct str text, char out[LAYER_UUID])
{
    for (size_t i = 0; i < LAYER_UUID && text.n == LAYER_UUID; i++) {
        char c = text.p[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        out[i] = c >= 'A' && c <= 'F' ? (char)(c | 0x20) : c;
        if (dash ? c != '-' : !strchr("0123456789abcdef", out[i]) || c == '\0') {
            return false;
        }
    }
    return text.n == LAYER_UUID;
}

bool layer_user(const struct layer *l, struct str user, char out[LAYER_UUID], struct str *out_user)
{
    const struct column *c = &l->table->columns[l->user_column];
    if (str_eq(c->type_name, STR("uuid"))) {
        *out_user = (struct str){out, LAYER_UUID};
        return put_uuid(user, out);
    }
    *out_user = user;
    return user.n == 0 || !memchr(user.p, '\0', user.n);
}

static bool admits_user(const struct layer *l, struct str user, const struct value *v)
{
    char uuid[LAYER_UUID];
    struct str wanted;
    if (!v->p || v->n == 0) {
        return true;
    }
    return layer_user(l, user, uuid, &wanted) && str_eq(wanted, (struct str){v->p, v->n});
}

bool layer_admits(const struct layer *l, struct str user, const struct value *row)
{
    if (l->user_column != LAYER_NONE && !admits_user(l, user, &row[l->user_column])) {
        return false;
    }
    return !l->where || where_eval(l->where, row) == TRUTH_TRUE;
}
