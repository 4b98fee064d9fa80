/* SPDX-License-Identifier: Apache-2.0 */
/* A view made of a forest, loaded, asked. How transactions move it: view_apply.c. */
#include "shapes/view.h"

#include "base/limits.h"
#include "base/mem.h"
#include "shapes/view_index.h"

#include <assert.h>
#include <stdlib.h>

/* --- making --- */

static bool is_join(const struct layer *l)
{
    return l->kind != LAYER_TOP;
}

static void add_kept(struct vtable *t, struct columns columns)
{
    for (uint32_t i = 0; i < columns.n; i++) {
        uint32_t at = 0;
        while (at < t->n_kept && t->kept[at] != columns.items[i]) {
            at++;
        }
        t->kept[at] = columns.items[i];
        t->n_kept += at == t->n_kept;
    }
}

static struct tie tie_to(struct view *v, const struct vtable *from, struct columns columns, uint32_t target)
{
    struct vlayer *to = &v->layers[target];
    bool whole_key = columns.n == from->n_key;
    for (uint32_t i = 0; whole_key && i < columns.n; i++) {
        whole_key = table_in_primary_key(from->table, from->table->columns[columns.items[i]].name);
    }
    return (struct tie){.columns = columns,
                        .to = to,
                        .to_children = to->layer->kind == LAYER_TO_MANY,
                        .whole_key = whole_key};
}

/* Also of a new forest: what a layer's ties borrow from it. */
static void bind_ties(struct view *v, struct vlayer *l)
{
    const struct layer *from = l->layer;
    l->n_ties = 0;
    for (uint32_t i = 0; i < from->n_children; i++) {
        const struct layer *child = &v->forest->layers[from->children[i]];
        l->ties[l->n_ties++] = tie_to(v, l->table, child->parent_columns, from->children[i]);
    }
    for (uint32_t i = 0; i < from->n_edges; i++) {
        l->ties[l->n_ties++] = tie_to(v, l->table, from->edges[i].columns, from->edges[i].target);
    }
}

static void bind(struct view *v, const struct forest *f)
{
    v->forest = f;
    for (uint32_t i = 0; i < f->n_tables; i++) {
        struct vtable *t = &v->tables[i];
        t->table = v->table_list[i] = f->tables[i].table;
        t->scratch = mem_realloc(t->scratch, t->table->n_columns * sizeof *t->scratch);
        memset(t->scratch, 0, t->table->n_columns * sizeof *t->scratch);
    }
    for (uint32_t i = 0; i < f->n_layers; i++) {
        v->layers[i].layer = &f->layers[i];
    }
    for (uint32_t i = 0; i < f->n_layers; i++) {
        bind_ties(v, &v->layers[i]);
    }
    rowmaps_deinit(&v->maps);
    rowmaps_init(&v->maps, v->table_list, f->n_tables);
}

static void make_table(struct view *v, struct vtable *t, const struct forest_table *from)
{
    t->table = from->table;
    t->key = table_key_columns(from->table, &v->arena, &t->n_key);
    t->tops = arena_alloc_array(&v->arena, from->n_layers, sizeof(struct vlayer *));
    t->joins = arena_alloc_array(&v->arena, from->n_layers, sizeof(struct vlayer *));
    t->changed_end = &t->changed;
    t->touched.key_at = offsetof(struct touched, key);
    for (uint32_t i = 0; i < from->n_layers; i++) {
        struct vlayer *l = &v->layers[from->layers[i]];
        const struct layer *layer = &v->forest->layers[from->layers[i]];
        *l = (struct vlayer){.layer = layer, .index = from->layers[i], .table = t, .place = t->n_joins};
        l->ties = arena_alloc_array(&v->arena, layer->n_children + layer->n_edges, sizeof *l->ties);
        l->anchors.key_at = offsetof(struct anchor, key);
        if (is_join(layer)) {
            t->joins[t->n_joins++] = l;
        } else {
            t->tops[t->n_tops++] = l;
        }
    }
    t->rows.key_at = sizeof(struct row) + t->n_joins * sizeof(struct place);
}

static void choose_kept(struct view *v, struct vtable *t)
{
    t->kept = arena_alloc_array(&v->arena, t->table->n_columns, sizeof *t->kept);
    add_kept(t, (struct columns){t->key, t->n_key});
    for (uint32_t i = 0; i < t->n_joins; i++) {
        add_kept(t, t->joins[i]->layer->columns);
        for (uint32_t j = 0; j < t->joins[i]->n_ties; j++) {
            add_kept(t, t->joins[i]->ties[j].columns);
        }
    }
}

/* --- the order of layers: strongly connected components (Tarjan 1972), which come out last first --- */

struct visit {
    struct view *v;
    uint32_t *order, *low; /* by layer; 0: not visited */
    bool *open;
    uint32_t *stack, n_stack, count;
};

static bool ties_to_itself(const struct vlayer *l)
{
    for (uint32_t i = 0; i < l->n_ties; i++) {
        if (l->ties[i].to == l) {
            return true;
        }
    }
    return false;
}

static void close_group(struct visit *s, uint32_t first)
{
    struct view *v = s->v;
    uint32_t from = s->n_stack;
    while (s->stack[--from] != first) {
    }
    struct group *g = &v->groups[v->n_groups];
    g->n = s->n_stack - from;
    g->layers = arena_alloc_array(&v->arena, g->n, sizeof(struct vlayer *));
    for (uint32_t i = 0; i < g->n; i++) {
        g->layers[i] = &v->layers[s->stack[from + i]];
        s->open[s->stack[from + i]] = false;
    }
    g->cyclic = g->n > 1 || ties_to_itself(g->layers[0]);
    s->n_stack = from;
    v->n_groups++;
}

/* As deep as there are layers, of which there are not many (SHAPE_MAX_SELECTS and one for each key). */
static void visit(struct visit *s, uint32_t at)
{
    const struct vlayer *l = &s->v->layers[at];
    s->order[at] = s->low[at] = ++s->count;
    s->stack[s->n_stack++] = at;
    s->open[at] = true;
    for (uint32_t i = 0; i < l->n_ties; i++) {
        uint32_t to = l->ties[i].to->index;
        if (!s->order[to]) {
            visit(s, to);
            s->low[at] = s->low[to] < s->low[at] ? s->low[to] : s->low[at];
        } else if (s->open[to] && s->order[to] < s->low[at]) {
            s->low[at] = s->order[to];
        }
    }
    if (s->low[at] == s->order[at]) {
        close_group(s, at);
    }
}

static void order_groups(struct view *v)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    uint32_t n = v->n_layers;
    struct visit s = {.v = v};
    s.order = arena_alloc_array(&a, n, sizeof *s.order);
    s.low = arena_alloc_array(&a, n, sizeof *s.low);
    s.open = arena_alloc_array(&a, n, sizeof *s.open);
    s.stack = arena_alloc_array(&a, n, sizeof *s.stack);
    v->groups = arena_alloc_array(&v->arena, n, sizeof *v->groups);
    for (uint32_t i = 0; i < n; i++) {
        if (is_join(v->layers[i].layer) && !s.order[i]) {
            visit(&s, i);
        }
    }
    for (uint32_t i = 0; i < v->n_groups / 2; i++) {
        struct group g = v->groups[i];
        v->groups[i] = v->groups[v->n_groups - 1 - i];
        v->groups[v->n_groups - 1 - i] = g;
    }
    for (uint32_t i = 0; i < v->n_groups; i++) {
        for (uint32_t j = 0; j < v->groups[i].n; j++) {
            struct vlayer *l = v->groups[i].layers[j];
            l->group = i;
            assert(!v->groups[i].cyclic || l->layer->kind == LAYER_TO_ONE);
        }
    }
}

static bool add_movers(struct view *v, const struct vlayer *l, struct vlayer *to)
{
    bool more = false;
    for (uint32_t i = 0; i < v->n_tables; i++) {
        bool moves = l->table == &v->tables[i] || l->moved_by[i];
        more = more || (moves && !to->moved_by[i]);
        to->moved_by[i] = to->moved_by[i] || moves;
    }
    return more;
}

/* Anchors are held by rows, which are in their layers because others hold theirs, and so on. */
static void find_movers(struct view *v)
{
    bool more;
    for (uint32_t i = 0; i < v->n_layers; i++) {
        v->layers[i].moved_by = arena_alloc_array(&v->arena, v->n_tables, sizeof(bool));
    }
    do {
        more = false;
        for (uint32_t i = 0; i < v->n_layers; i++) {
            for (uint32_t j = 0; j < v->layers[i].n_ties; j++) {
                more = add_movers(v, &v->layers[i], v->layers[i].ties[j].to) || more;
            }
        }
    } while (more);
}

struct view *view_new(const struct forest *f, struct str user)
{
    struct view *v = mem_zalloc(sizeof *v);
    buf_init(&v->key, KEY_MAX);
    v->limit = LIMIT_SYNC_VISIBLE;
    v->seed = key_seed();
    v->forest = f;
    v->n_layers = f->n_layers;
    v->n_tables = f->n_tables;
    v->user = arena_str(&v->arena, user);
    v->layers = arena_alloc_array(&v->arena, f->n_layers, sizeof *v->layers);
    v->tables = arena_alloc_array(&v->arena, f->n_tables, sizeof *v->tables);
    v->table_list = arena_alloc_array(&v->arena, f->n_tables, sizeof(struct table *));
    for (uint32_t i = 0; i < f->n_tables; i++) {
        make_table(v, &v->tables[i], &f->tables[i]);
    }
    bind(v, f);
    for (uint32_t i = 0; i < f->n_tables; i++) {
        choose_kept(v, &v->tables[i]);
    }
    order_groups(v);
    find_movers(v);
    return v;
}

static void free_table(struct vtable *t)
{
    for (size_t i = 0; i < t->rows.cap; i++) {
        for (struct keyed *k = t->rows.slots[i], *next; k; k = next) {
            next = k->next;
            free(k);
        }
    }
    keytable_deinit(&t->rows);
    keytable_deinit(&t->touched);
    free(t->scratch);
}

void view_free(struct view *v)
{
    if (!v) {
        return;
    }
    for (uint32_t i = 0; i < v->n_layers; i++) {
        layer_deinit(&v->layers[i]);
    }
    for (uint32_t i = 0; i < v->n_tables; i++) {
        free_table(&v->tables[i]);
    }
    rowmaps_deinit(&v->maps);
    buf_deinit(&v->key);
    arena_deinit(&v->scratch);
    arena_deinit(&v->arena);
    free(v);
}

/* --- another forest --- */

static bool same_columns(struct columns a, struct columns b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.items, b.items, a.n * sizeof *a.items) == 0);
}

static bool same_layer(const struct layer *a, const struct layer *b)
{
    bool same = a->kind == b->kind && a->parent == b->parent && same_columns(a->columns, b->columns) &&
                same_columns(a->parent_columns, b->parent_columns) && a->user_column == b->user_column &&
                a->n_children == b->n_children && a->n_edges == b->n_edges;
    for (uint32_t i = 0; same && i < a->n_children; i++) {
        same = a->children[i] == b->children[i];
    }
    for (uint32_t i = 0; same && i < a->n_edges; i++) {
        same = a->edges[i].target == b->edges[i].target &&
               same_columns(a->edges[i].columns, b->edges[i].columns);
    }
    return same;
}

/* `b` may have more columns. */
static bool continues(const struct forest_table *a, const struct forest_table *b)
{
    const struct table *x = a->table, *y = b->table;
    bool same = str_eq(x->name, y->name) && str_eq(x->schema, y->schema) && x->n_columns <= y->n_columns &&
                names_compare(&x->primary_key.columns, &y->primary_key.columns) == 0 &&
                a->n_layers == b->n_layers &&
                memcmp(a->layers, b->layers, a->n_layers * sizeof *a->layers) == 0;
    for (size_t i = 0; same && i < x->n_columns; i++) {
        same = str_eq(x->columns[i].name, y->columns[i].name);
    }
    return same;
}

bool view_set_forest(struct view *v, const struct forest *f)
{
    assert(v->work == WORK_NONE);
    bool same = f->n_layers == v->n_layers && f->n_tables == v->n_tables && str_eq(f->key, v->forest->key);
    for (uint32_t i = 0; same && i < f->n_layers; i++) {
        same = same_layer(&v->forest->layers[i], &f->layers[i]);
    }
    for (uint32_t i = 0; same && i < f->n_tables; i++) {
        same = continues(&v->forest->tables[i], &f->tables[i]);
    }
    if (same) {
        bind(v, f);
    }
    return same;
}

/* --- asking --- */

void view_limit(struct view *v, size_t bytes)
{
    v->limit = bytes;
}

bool view_keeps_index(const struct view *v)
{
    return v->n_groups > 0;
}

const struct table *const *view_tables(const struct view *v, size_t *out_n)
{
    *out_n = v->n_tables;
    return v->table_list;
}

bool view_concerns(const struct view *v, const struct relation *r)
{
    return forest_table(v->forest, r->schema, r->name) != NULL;
}

size_t view_bytes(const struct view *v)
{
    size_t bytes = sizeof *v + v->arena.used + v->bytes;
    for (uint32_t i = 0; i < v->n_layers; i++) {
        bytes += v->layers[i].anchors.cap * sizeof(struct keyed *);
    }
    for (uint32_t i = 0; i < v->n_tables; i++) {
        bytes += v->tables[i].rows.cap * sizeof(struct keyed *);
    }
    return bytes;
}

bool view_tops_admit(const struct view *v, const struct vtable *t, const struct value *row)
{
    for (uint32_t i = 0; i < t->n_tops; i++) {
        if (layer_admits(t->tops[i]->layer, v->user, row)) {
            return true;
        }
    }
    return false;
}

bool view_sees(struct view *v, const struct table *table, const struct value *row)
{
    const struct forest_table *found = forest_table(v->forest, table->schema, table->name);
    if (!found) {
        return false;
    }
    const struct vtable *t = &v->tables[found - v->forest->tables];
    if (view_tops_admit(v, t, row)) {
        return true;
    }
    if (t->rows.n == 0) {
        return false;
    }
    struct str key = row_key(v, t, row);
    return row_find(t, key, key_hash(v->seed, key)) != NULL;
}

/* --- needs, loading --- */

void view_load(struct view *v, enum view_load what, struct arena *a, view_row_fn *on_row, void *ctx)
{
    assert(v->work == WORK_NONE);
    v->work = WORK_LOAD;
    v->load = what;
    v->a = a;
    v->on_row = on_row;
    v->ctx = ctx;
    v->next_top = 0;
    v->group = 0;
    v->group_begun = false;
}

/* Tops are read for their rows, or for what these hold. */
static bool find_top(struct view *v)
{
    for (; v->next_top < v->n_layers; v->next_top++) {
        const struct vlayer *l = &v->layers[v->next_top];
        if (!is_join(l->layer) && (v->load == VIEW_LOAD_ROWS || l->n_ties > 0)) {
            v->need = (struct view_need){.layer = v->next_top++, .whole = true};
            return true;
        }
    }
    return false;
}

const struct view_need *view_next_need(struct view *v)
{
    assert(v->work != WORK_NONE);
    bool found =
        !view_is_over_limit(v) && (v->need_ready || (v->work == WORK_LOAD && find_top(v)) || view_advance(v));
    v->need_ready = false;
    if (!found && v->work == WORK_LOAD) {
        view_end_work(v);
    }
    return found ? &v->need : NULL;
}

static void feed_top(struct view *v, struct vlayer *l, const struct value *row)
{
    if (!layer_admits(l->layer, v->user, row)) {
        return;
    }
    ties_hold(v, l, row, false);
    for (struct vlayer **top = l->table->tops; *top != l; top++) {
        if (layer_admits((*top)->layer, v->user, row)) {
            return; /* told when that one was read */
        }
    }
    if (v->on_row) {
        v->on_row(v->ctx, l->table->table, row);
    }
}

void view_feed(struct view *v, const struct value *row)
{
    assert(v->work != WORK_NONE && !v->need_ready);
    struct vlayer *l = &v->layers[v->need.layer];
    if (view_is_over_limit(v)) {
        return;
    }
    if (v->need.whole) {
        feed_top(v, l, row);
    } else {
        view_feed_join(v, l, row);
    }
}
