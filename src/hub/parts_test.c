/* SPDX-License-Identifier: Apache-2.0 */
/* A view that looks at its part of a transaction alone says the same as one that looks at everything. */
#include "hub/parts.h"
#include "shapes/fixture.h"
#include "shapes/view.h"

#include <stdlib.h>
#include <string.h>

static const struct fx_shape_table TABLES[] = {
    {"notes", "id author electric_user_id", "id", ""},
    {"logs", "host id level:int4 text", "id host", ""},
    {"tags", "id note", "id", "note > notes id"},
};

/* tags: with the notes that they refer to. */
static const struct {
    const char *table, *where, *user, *include, *table_included;
} VIEWS[] = {
    {"notes", "", "alice", NULL, NULL},
    {"notes", "", "bob", NULL, NULL},
    {"notes", "this.author = 'kim'", "bob", NULL, NULL},
    {"logs", "this.level = 1", "u", NULL, NULL},
    {"logs", "this.level = 2 AND this.text = 'x'", "u", NULL, NULL},
    {"logs", "this.level > 1", "u", NULL, NULL},
    {"logs", "", "u", NULL, NULL},
    {"tags", "this.note = '1'", "u", NULL, NULL},
    {"notes", "", "alice", "note", "tags"},
    {"notes", "this.author = 'kim'", "bob", "note", "tags"},
};
enum { VIEWS_N = ARRAY_LEN(VIEWS), STEPS = 3000, CHANGES = 14, COLUMNS = 4 };

enum { WHOLE, PART };

struct bench {
    struct schema model;
    struct arena a;
    struct relations relations;
    struct routes *routes;
    struct route *route[VIEWS_N];
    const struct forest *forest[VIEWS_N];
    struct view *view[VIEWS_N][2]; /* one takes everything, one its part */
    struct part part[VIEWS_N];
    unsigned random;
};

static void add_relation(struct bench *b, uint32_t id, const char *name, struct relation_column *columns,
                         uint32_t n)
{
    struct relation r = {id, 100 + id, 'f', STR("public"), str_c(name), columns, n};
    relations_put(&b->relations, relation_copy(&r));
}

/* Of an empty database. */
static struct view *new_view(const struct forest *f, struct str user)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct view *v = view_new(f, user);
    view_load(v, VIEW_LOAD_INDEX, &a, NULL, NULL);
    while (view_next_need(v)) {
    }
    return v;
}

static void setup(struct bench *b)
{
    struct relation_column notes[] = {
        {STR("id"), 25, -1, true}, {STR("author"), 25, -1, true}, {STR("electric_user_id"), 25, -1, true}};
    struct relation_column logs[] = {{STR("host"), 25, -1, true},
                                     {STR("id"), 25, -1, true},
                                     {STR("level"), 23, -1, true},
                                     {STR("text"), 25, -1, true}};
    struct relation_column tags[] = {{STR("id"), 25, -1, true}, {STR("note"), 25, -1, true}};
    memset(b, 0, sizeof *b);
    fx_add_tables(&b->model, TABLES, ARRAY_LEN(TABLES));
    add_relation(b, 1, "notes", notes, 3);
    add_relation(b, 2, "logs", logs, 4);
    add_relation(b, 3, "tags", tags, 2);
    b->routes = routes_new();
    for (size_t i = 0; i < VIEWS_N; i++) {
        struct arena *fx = &b->a;
        const struct shape_select *select =
            VIEWS[i].include ? SELECT(VIEWS[i].table, VIEWS[i].where,
                                      INCLUDE(VIEWS[i].include, SELECT(VIEWS[i].table_included, "")))
                             : SELECT(VIEWS[i].table, VIEWS[i].where);
        struct shape_request r = fx_request(select);
        const struct forest *f;
        struct shape_faults faults;
        if (!shape_compile(&b->a, &b->model, &r, 1, &f, &faults)) {
            fail_msg("%s", faults.items[0].message.p);
        }
        b->forest[i] = f;
        for (int how = WHOLE; how <= PART; how++) {
            b->view[i][how] = new_view(f, str_c(VIEWS[i].user));
        }
        b->route[i] = route_new(b->routes, f, str_c(VIEWS[i].user), &b->part[i]);
    }
}

static void teardown(struct bench *b)
{
    for (size_t i = 0; i < VIEWS_N; i++) {
        route_free(b->route[i]);
        view_free(b->view[i][WHOLE]);
        view_free(b->view[i][PART]);
        part_deinit(&b->part[i]);
    }
    routes_free(b->routes);
    relations_deinit(&b->relations);
    arena_deinit(&b->a);
    schema_deinit(&b->model);
}

/* --- transactions that PostgreSQL could have made: a row is there before it is changed, and once --- */

static unsigned draw(struct bench *b, unsigned below)
{
    b->random = b->random * 1664525 + 1013904223;
    return (b->random >> 16) % below;
}

/* Of one table: the row of each key, if there is one. The key's columns come first, or second for logs. */
struct rows {
    bool there[4];
    struct value row[4][COLUMNS];
};

static const struct {
    const char *name;
    uint32_t relation, columns;
} KINDS[] = {{"notes", 1, 3}, {"logs", 2, 4}, {"tags", 3, 2}};
enum { NOTES, LOGS, TAGS };

static struct value word(struct bench *b, const char *const *words, unsigned n)
{
    const char *w = words[draw(b, n)];
    return (struct value){w, w ? (uint32_t)strlen(w) : 0};
}

static void make_row(struct bench *b, size_t kind, unsigned key, struct value *row)
{
    static const char *const ids[] = {"1", "2", "3", "4"};
    static const char *const people[] = {"alice", "bob", "kim", "", NULL};
    static const char *const levels[] = {"1", "2", "3", NULL};
    static const char *const texts[] = {"x", "y"};
    struct value id = {ids[key], 1};
    switch (kind) {
    case 0:
        row[0] = id;
        row[1] = word(b, people, ARRAY_LEN(people));
        row[2] = word(b, people, ARRAY_LEN(people));
        return;
    case 1:
        row[0] = (struct value){key % 2 ? "a" : "b", 1};
        row[1] = (struct value){ids[key / 2], 1};
        row[2] = word(b, levels, ARRAY_LEN(levels));
        row[3] = word(b, texts, ARRAY_LEN(texts));
        return;
    default:
        row[0] = id;
        row[1] = word(b, ids, ARRAY_LEN(ids));
    }
}

static void put_change(struct bench *b, struct rows *tables, struct buf *out)
{
    size_t kind = draw(b, ARRAY_LEN(KINDS));
    struct rows *t = &tables[kind];
    unsigned key = draw(b, 4), to = draw(b, 3) ? key : draw(b, 4);
    uint32_t n = KINDS[kind].columns;
    struct value new[COLUMNS];
    if (!t->there[key]) {
        make_row(b, kind, key, t->row[key]);
        t->there[key] = true;
        txn_add_row(out, CHANGE_INSERT, KINDS[kind].relation, NULL, 0, t->row[key], n);
    } else if (draw(b, 3) == 0) {
        t->there[key] = false;
        txn_add_row(out, CHANGE_DELETE, KINDS[kind].relation, t->row[key], n, NULL, 0);
    } else if (to == key || !t->there[to]) {
        make_row(b, kind, to, new);
        txn_add_row(out, CHANGE_UPDATE, KINDS[kind].relation, t->row[key], n, new, n);
        t->there[key] = false;
        t->there[to] = true;
        memcpy(t->row[to], new, sizeof new);
    }
}

static unsigned key_of_note(const struct rows *notes, struct value id)
{
    for (unsigned i = 0; i < ARRAY_LEN(notes->there); i++) {
        if (notes->there[i] && memcmp(notes->row[i][0].p, id.p, 1) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* Foreign keys are satisfied at the end, which is when they are deferred until. */
static void drop_orphans(struct rows *tables, struct buf *out)
{
    struct rows *tags = &tables[TAGS];
    for (unsigned i = 0; i < ARRAY_LEN(tags->there); i++) {
        if (tags->there[i] && key_of_note(&tables[NOTES], tags->row[i][1]) == UINT32_MAX) {
            tags->there[i] = false;
            txn_add_row(out, CHANGE_DELETE, KINDS[TAGS].relation, tags->row[i], KINDS[TAGS].columns, NULL, 0);
        }
    }
}

/* --- what is said of them --- */

static void put_values(struct buf *out, const struct table *t, const struct value *row)
{
    for (size_t i = 0; row && i < t->n_columns; i++) {
        if (row[i].p) {
            buf_printf(out, " '%.*s'", (int)row[i].n, row[i].p);
        } else {
            buf_put_c(out, " null");
        }
    }
}

static void put_ops(struct buf *out, int outcome, const struct view_ops *ops)
{
    buf_printf(out, "%d", outcome);
    for (size_t i = 0; outcome == VIEW_DONE && i < ops->n; i++) {
        const struct view_op *op = &ops->items[i];
        buf_printf(out, "\n%d:", (int)op->kind);
        put_values(out, op->table, op->old);
        buf_put_c(out, " >");
        put_values(out, op->table, op->new);
    }
}

static const struct rows *rows_of(const struct rows *tables, struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        if (str_eq(str_c(KINDS[i].name), name)) {
            return &tables[i];
        }
    }
    fail_msg("no table %.*s", STR_ARG(name));
    return NULL;
}

static void answer(const struct rows *tables, const struct forest *f, struct view *v)
{
    const struct view_need *need;
    while ((need = view_next_need(v))) {
        const struct rows *t = rows_of(tables, f->layers[need->layer].table->name);
        for (size_t i = 0; i < ARRAY_LEN(t->there); i++) {
            if (t->there[i]) {
                view_feed(v, t->row[i]);
            }
        }
    }
}

static void apply(struct bench *b, size_t i, int how, struct str txn, const struct txn_summary *summary,
                  const struct rows *tables, struct buf *out)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct view *v = b->view[i][how];
    struct view_ops ops = {NULL, 0};
    struct err err;
    int outcome = how == WHOLE
                      ? view_apply(v, txn, summary, &b->relations, &a, &ops, &err)
                      : view_apply_part(v, txn, &b->part[i].changes, summary, &b->relations, &a, &ops, &err);
    if (outcome == VIEW_NEEDS) {
        answer(tables, b->forest[i], v);
        outcome = view_finish(v, &ops, &err);
    }
    put_ops(out, outcome, &ops);
}

/* Returns the changes it looked at. */
static size_t compare(struct bench *b, size_t i, struct str txn, const struct txn_summary *summary,
                      const struct rows *tables)
{
    struct buf whole = BUF_INIT(1 << 20), part = BUF_INIT(1 << 20);
    assert_false(b->part[i].whole);
    apply(b, i, WHOLE, txn, summary, tables, &whole);
    apply(b, i, PART, txn, summary, tables, &part);
    if (!str_eq(buf_str(&whole), buf_str(&part))) {
        fail_msg("%s %s: of everything\n%s\nof its part\n%s", VIEWS[i].table, VIEWS[i].where,
                 buf_cstr(&whole), buf_cstr(&part));
    }
    buf_deinit(&whole);
    buf_deinit(&part);
    return b->part[i].changes.n;
}

static void a_part_says_the_same(void **state)
{
    (void)state;
    struct bench b;
    struct rows tables[ARRAY_LEN(KINDS)] = {0};
    size_t looked = 0, changes = 0;
    struct err err;
    setup(&b);
    for (size_t step = 0; step < STEPS; step++) {
        struct buf text = BUF_INIT(TXN_CHANGE_MAX);
        struct txn_summary summary;
        txn_begin(&text);
        for (unsigned n = draw(&b, CHANGES) + 1; n > 0; n--) {
            put_change(&b, tables, &text);
        }
        drop_orphans(tables, &text);
        txn_end(&text, &(struct txn_head){.end_lsn = step + 1});
        assert_int_equal(txn_summarize(buf_str(&text), &summary, &err), 0);
        assert_int_equal(parts_find(b.routes, buf_str(&text), &b.relations, &err), 0);
        for (size_t i = 0; i < VIEWS_N; i++) {
            looked += compare(&b, i, buf_str(&text), &summary, tables);
            changes += summary.changes;
            part_deinit(&b.part[i]);
        }
        buf_deinit(&text);
    }
    assert_true(looked < changes / 2); /* else there is no point in it */
    teardown(&b);
}

static void who_is_not_concerned_looks_at_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct buf text = BUF_INIT(TXN_CHANGE_MAX);
    struct value row[] = {{"a", 1}, {"1", 1}, {"1", 1}, {"x", 1}};
    struct err err;
    setup(&b);
    txn_begin(&text);
    txn_add_row(&text, CHANGE_INSERT, 2, NULL, 0, row, 4);
    txn_end(&text, &(struct txn_head){.end_lsn = 1});
    assert_int_equal(parts_find(b.routes, buf_str(&text), &b.relations, &err), 0);
    for (size_t i = 0; i < VIEWS_N; i++) {
        bool all_logs = strcmp(VIEWS[i].table, "logs") == 0 && !strstr(VIEWS[i].where, "= 2");
        assert_int_equal(b.part[i].changes.n, all_logs);
    }
    buf_deinit(&text);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_says_the_same),
        cmocka_unit_test(who_is_not_concerned_looks_at_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
