/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a view costs: time of a transaction of one row, and memory of an index. No sockets, no other process.
 * Prints one line a case: name, nanoseconds of a transaction (of RUNS runs of BATCH, the median); at last the
 * bytes of an index and the time to load a row of it.
 */
#include "base/buf.h"
#include "shapes/shape.h"
#include "shapes/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RUNS = 31, BATCH = 2000, PROJECTS = 1000, ISSUES = 200000, COLUMNS = 6, UUID = 36 };

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "view_cost: %s\n", what);
        exit(1);
    }
}

/* --- the model --- */

static struct column column(const char *name, const char *type)
{
    return (struct column){.name = str_c(name),
                           .type = str_c(type),
                           .type_name = str_c(type),
                           .type_schema = STR("pg_catalog"),
                           .typmod = -1};
}

static void add_table(struct schema *s, struct arena *a, const char *name, const char *refers_to)
{
    struct column columns[COLUMNS] = {
        column("id", "uuid"),     column("parent", "uuid"),         column("title", "text"),
        column("status", "text"), column("created", "timestamptz"), column("done", "bool")};
    struct str id = STR("id"), parent = STR("parent");
    struct foreign_key key = {.name = STR("fk"),
                              .columns = {&parent, 1},
                              .ref_schema = STR("public"),
                              .ref_table = str_c(refers_to),
                              .ref_columns = {&id, 1},
                              .on_delete = 'a',
                              .on_update = 'a'};
    struct table t = {.schema = STR("public"),
                      .name = str_c(name),
                      .columns = columns,
                      .n_columns = COLUMNS,
                      .primary_key = {.name = STR("pk"), .columns = {&id, 1}},
                      .foreign_keys = &key,
                      .n_foreign_keys = *refers_to != '\0'};
    struct op op = {.kind = OP_CREATE_TABLE, .schema = t.schema, .name = t.name, .table = &t};
    struct err err;
    must(schema_apply(s, &op, &err) > 0, "the model");
}

static void add_relation(struct relations *rs, uint32_t id, const struct table *t)
{
    struct relation_column columns[COLUMNS];
    for (uint32_t i = 0; i < COLUMNS; i++) {
        columns[i] = (struct relation_column){.name = t->columns[i].name};
    }
    struct relation r = {.id = id, .schema = t->schema, .name = t->name, .columns = columns, .n = COLUMNS};
    relations_put(rs, relation_copy(&r));
}

/* --- rows and transactions --- */

struct row_text {
    char id[UUID + 1], parent[UUID + 1];
    struct value values[COLUMNS];
};

static void fill_row(struct row_text *r, unsigned id, unsigned parent, const char *status)
{
    snprintf(r->id, sizeof r->id, "%08x-7b51-4d1f-9b0a-%012x", id * 2654435761u, id);
    snprintf(r->parent, sizeof r->parent, "%08x-7b51-4d1f-9b0a-%012x", parent * 2654435761u, parent);
    const char *texts[COLUMNS] = {
        r->id, r->parent, "a title of some length", status, "2024-05-06 07:08:09.123456+00", "t"};
    for (int i = 0; i < COLUMNS; i++) {
        r->values[i] = (struct value){texts[i], (uint32_t)strlen(texts[i])};
    }
}

static void put_txn(struct buf *b, enum change_kind kind, uint32_t relation, const struct row_text *old,
                    const struct row_text *new)
{
    buf_reset(b);
    txn_begin(b);
    txn_add_row(b, kind, relation, old ? old->values : NULL, old ? COLUMNS : 0, new ? new->values : NULL,
                new ? COLUMNS : 0);
    txn_end(b, &(struct txn_head){.end_lsn = 1});
}

struct bench {
    struct schema model;
    struct relations relations; /* 1 projects, 2 issues, 3 others */
    struct arena a;
};

static const struct forest *compile(struct bench *b, const struct shape_select *select)
{
    const struct forest *f;
    struct shape_faults faults;
    struct shape_request request = {.selects = select, .n_selects = 1};
    must(shape_compile(&b->a, &b->model, &request, 1, &f, &faults) == SHAPE_COMPILED, "the shape");
    return f;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* `there` and `back` one after the other, so that the view is as it was; the cost of one of them. */
static void measure(struct bench *b, const char *name, struct view *v, const struct buf *there,
                    const struct buf *back, size_t ops)
{
    double runs[RUNS];
    struct arena a = ARENA_INIT;
    struct err err;
    struct txn_summary of_there, of_back;
    must(txn_summarize(buf_str(there), &of_there, &err) == 0 &&
             txn_summarize(buf_str(back), &of_back, &err) == 0,
         name);
    for (int run = 0; run < RUNS; run++) {
        double began = now_ns();
        for (int i = 0; i < BATCH; i++) {
            struct view_ops out;
            must(view_apply(v, buf_str(i % 2 ? back : there), i % 2 ? &of_back : &of_there, &b->relations, &a,
                            &out, &err) == VIEW_DONE &&
                     out.n == ops,
                 name);
            arena_reset(&a);
        }
        runs[run] = (now_ns() - began) / BATCH;
    }
    arena_deinit(&a);
    qsort(runs, RUNS, sizeof runs[0], compare);
    printf("%-40s %8.0f ns\n", name, runs[RUNS / 2]);
}

static void apply_once(struct bench *b, struct view *v, const struct buf *txn, const char *name)
{
    struct view_ops out;
    struct err err;
    struct txn_summary summary;
    must(txn_summarize(buf_str(txn), &summary, &err) == 0 &&
             view_apply(v, buf_str(txn), &summary, &b->relations, &b->a, &out, &err) == VIEW_DONE,
         name);
}

static void change_rows(struct bench *b, struct view *v, const char *what, uint32_t relation, unsigned parent,
                        size_t ops)
{
    struct row_text old, new;
    struct buf there = BUF_INIT(1 << 16), back = BUF_INIT(1 << 16);
    char name[64];
    fill_row(&old, 1000000, parent, "open");
    fill_row(&new, 1000000, parent, "open");
    new.values[2] = (struct value){"another title", 13};
    put_txn(&there, CHANGE_INSERT, relation, NULL, &old);
    put_txn(&back, CHANGE_DELETE, relation, &old, NULL);
    snprintf(name, sizeof name, "%s: insert, delete", what);
    measure(b, name, v, &there, &back, ops);
    apply_once(b, v, &there, "insert");
    put_txn(&there, CHANGE_UPDATE, relation, &old, &new);
    put_txn(&back, CHANGE_UPDATE, relation, &new, &old);
    snprintf(name, sizeof name, "%s: update", what);
    measure(b, name, v, &there, &back, ops);
    put_txn(&back, CHANGE_DELETE, relation, &old, NULL);
    apply_once(b, v, &back, "delete");
    buf_deinit(&there);
    buf_deinit(&back);
}

static void flat(struct bench *b, const char *what, uint32_t relation, const char *where, size_t ops)
{
    struct shape_select others = {.table = STR("others"), .where = str_c(where)};
    struct view *v = view_new(compile(b, &others), STR("u"));
    change_rows(b, v, what, relation, 1, ops);
    view_free(v);
}

static void load_index(struct bench *b, struct view *v)
{
    const struct view_need *need;
    struct row_text row;
    view_load(v, VIEW_LOAD_INDEX, &b->a, NULL, NULL);
    while ((need = view_next_need(v))) {
        unsigned n = need->whole ? PROJECTS : ISSUES;
        for (unsigned i = 0; i < n; i++) {
            fill_row(&row, i, i % PROJECTS, "open");
            view_feed(v, row.values);
        }
    }
}

static void children(struct bench *b)
{
    struct str parent = STR("parent");
    struct shape_select issues = {.table = STR("issues")};
    struct shape_include include = {{&parent, 1}, &issues};
    const struct forest *f =
        compile(b, &(struct shape_select){.table = STR("projects"), .includes = &include, .n_includes = 1});
    struct view *v = view_new(f, STR("u"));
    double began = now_ns();
    load_index(b, v);
    double took = now_ns() - began;
    change_rows(b, v, "child of a row in view", 2, 7, 1);
    change_rows(b, v, "child of another row", 2, PROJECTS + 7, 0);
    printf("%-40s %8.0f bytes a row, %.0f ns to load one\n", "index of children (uuid)",
           (double)view_bytes(v) / ISSUES, took / ISSUES);
    view_free(v);
}

int main(void)
{
    struct bench b = {0};
    add_table(&b.model, &b.a, "projects", "");
    add_table(&b.model, &b.a, "issues", "projects");
    add_table(&b.model, &b.a, "others", "");
    add_relation(&b.relations, 1, schema_table(&b.model, STR("public"), STR("projects")));
    add_relation(&b.relations, 2, schema_table(&b.model, STR("public"), STR("issues")));
    add_relation(&b.relations, 3, schema_table(&b.model, STR("public"), STR("others")));
    flat(&b, "another table", 1, "", 0);
    flat(&b, "no where", 3, "", 1);
    flat(&b, "where true", 3, "this.status = 'open'", 1);
    flat(&b, "where false", 3, "this.status = 'shut'", 0);
    children(&b);
    relations_deinit(&b.relations);
    schema_deinit(&b.model);
    arena_deinit(&b.a);
    return 0;
}
