/* SPDX-License-Identifier: Apache-2.0 */
/* Random requests: what holds for every forest, and that order and repetition make no difference. */
#include "shapes/fixture.h"

#include "shapes/where.h"

/* Foreign keys both ways, to themselves, of two columns, two between the same tables. */
static const struct fx_shape_table TABLES[] = {
    {"a", "id x b electric_user_id", "id", "b > b id"},
    {"b", "id x a c", "id", "a > a id; c > c id"},
    {"c", "id x c p q", "id", "c > c id; p q > d q p"},
    {"d", "id x p q a aa", "id", "a > a id; aa > a id"},
};

enum { ROUNDS = 3000, MAX_REQUESTS = 6, DEPTH = 4 };

struct walk {
    struct arena *a;
    const struct schema *model;
    unsigned seed;
};

static unsigned draw(struct walk *w, unsigned n)
{
    w->seed = w->seed * 1103515245U + 12345U;
    return (w->seed >> 16) % n;
}

static struct shape_select *random_select(struct walk *w, const struct table *t, bool where)
{
    static const char *const wheres[] = {"", "", "this.x = '1'", "this.x = '2'"};
    struct shape_select *s = arena_zalloc(w->a, sizeof *s);
    s->table = t->name;
    s->where = where ? str_c(wheres[draw(w, 4)]) : STR("");
    return s;
}

static void add_include(struct walk *w, struct shape_select *s, const struct foreign_key *key,
                        struct shape_select *select)
{
    struct shape_include *includes = arena_alloc_array(w->a, s->n_includes + 1, sizeof *includes);
    if (s->n_includes) {
        memcpy(includes, s->includes, s->n_includes * sizeof *includes);
    }
    includes[s->n_includes++] = (struct shape_include){key->columns, select};
    s->includes = includes;
}

/* Each foreign key that touches the table, from the end that it has there, or not. */
static struct shape_select *random_tree(struct walk *w, const struct table *t, bool where, int depth)
{
    struct shape_select *s = random_select(w, t, where);
    for (size_t i = 0; depth > 0 && i < w->model->n_tables; i++) {
        const struct table *other = w->model->tables[i];
        for (size_t k = 0; k < other->n_foreign_keys; k++) {
            const struct foreign_key *key = &other->foreign_keys[k];
            if (str_eq(key->ref_table, t->name) && draw(w, 3) == 0) {
                add_include(w, s, key, random_tree(w, other, true, depth - 1));
            } else if (other == t && !str_eq(key->ref_table, t->name) && draw(w, 3) == 0) {
                const struct table *to = schema_table(w->model, key->ref_schema, key->ref_table);
                add_include(w, s, key, random_tree(w, to, false, depth - 1));
            }
        }
    }
    return s;
}

/* The same includes, the last first. */
static struct shape_select reversed(struct walk *w, const struct shape_select *s)
{
    struct shape_select copy = *s;
    struct shape_include *includes = arena_alloc_array(w->a, s->n_includes, sizeof *includes);
    for (size_t i = 0; i < s->n_includes; i++) {
        struct shape_select *select = arena_zalloc(w->a, sizeof *select);
        includes[i] = s->includes[s->n_includes - 1 - i];
        *select = reversed(w, includes[i].select);
        includes[i].select = select;
    }
    copy.includes = includes;
    return copy;
}

static void check_edges(const struct schema *model, const struct forest *f, const struct layer *l)
{
    size_t expected = 0;
    for (size_t i = 0; i < l->table->n_foreign_keys; i++) {
        const struct foreign_key *k = &l->table->foreign_keys[i];
        expected += schema_table(model, k->ref_schema, k->ref_table) != NULL;
    }
    /* All but the key that led here, unless that was asked for. */
    assert_true(l->n_edges == expected || (l->kind == LAYER_TO_MANY && l->n_edges + 1 == expected));
    for (uint32_t i = 0; i < l->n_edges; i++) {
        const struct layer *to = &f->layers[l->edges[i].target];
        assert_int_equal(to->kind, LAYER_TO_ONE);
        assert_int_equal(to->columns.n, l->edges[i].columns.n);
        assert_true(to->parent == LAYER_NONE || &f->layers[to->parent] == l);
    }
}

static void check_children(const struct forest *f, uint32_t at)
{
    const struct layer *l = &f->layers[at];
    for (uint32_t i = 0; i < l->n_children; i++) {
        const struct layer *child = &f->layers[l->children[i]];
        assert_true(l->children[i] > at);
        assert_int_equal(child->kind, LAYER_TO_MANY);
        assert_int_equal(child->parent, (int)at);
        assert_int_equal(child->columns.n, child->parent_columns.n);
    }
    assert_true((l->kind == LAYER_TOP) == (l->columns.n == 0));
    assert_true(l->kind != LAYER_TO_ONE || !l->where);
}

/* Each layer in the list of its table, and there once. */
static void check_tables(const struct forest *f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_tables; i++) {
        const struct forest_table *t = &f->tables[i];
        assert_ptr_equal(forest_table(f, t->table->schema, t->table->name), t);
        for (uint32_t k = 0; k < t->n_layers; k++, n++) {
            assert_ptr_equal(f->layers[t->layers[k]].table, t->table);
            assert_true(k == 0 || t->layers[k] > t->layers[k - 1]);
        }
    }
    assert_int_equal(n, f->n_layers);
}

static const struct forest *compile(struct walk *w, const struct shape_request *requests, size_t n)
{
    const struct forest *f = NULL;
    struct shape_faults faults = {0};
    if (!shape_compile(w->a, w->model, requests, n, &f, &faults)) {
        fail_msg("%.*s", STR_ARG(faults.items[0].message));
    }
    return f;
}

static void round_of(struct walk *w)
{
    struct shape_request one[MAX_REQUESTS], other[MAX_REQUESTS + 1];
    struct shape_select turned[MAX_REQUESTS];
    size_t n = 1 + draw(w, MAX_REQUESTS);
    for (size_t i = 0; i < n; i++) {
        const struct table *t = w->model->tables[draw(w, (unsigned)w->model->n_tables)];
        one[i] = fx_request(random_tree(w, t, true, (int)draw(w, DEPTH)));
        turned[i] = reversed(w, one[i].selects);
        other[n - 1 - i] = fx_request(&turned[i]);
    }
    other[n] = one[draw(w, (unsigned)n)];
    const struct forest *f = compile(w, one, n), *g = compile(w, other, n + 1);
    assert_true(str_eq(f->key, g->key));
    assert_int_equal(f->n_layers, g->n_layers);
    for (uint32_t i = 0; i < f->n_layers; i++) {
        assert_ptr_equal(f->layers[i].table, g->layers[i].table);
        assert_int_equal(f->layers[i].kind, g->layers[i].kind);
        assert_int_equal(f->layers[i].parent, g->layers[i].parent);
        check_edges(w->model, f, &f->layers[i]);
        check_children(f, i);
    }
    check_tables(f);
}

static void forests_of_random_requests(void **state)
{
    CLEANUP(schema_deinit) struct schema model = SCHEMA_INIT;
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct walk w = {.a = &a, .model = &model, .seed = 1};
    fx_add_tables(&model, TABLES, ARRAY_LEN(TABLES));
    for (int i = 0; i < ROUNDS; i++) {
        round_of(&w);
        arena_reset(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(forests_of_random_requests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
