/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of rows when transactions move a view: a table of shapes, what is in the database, a
 * transaction, and the operations that come of it. "read: N" says how many needs there were.
 */
#include "shapes/view_fixture.h"

static const struct fx_shape_table TABLES[] = {
    {"users", "id name", "id", ""},
    {"projects", "id kind owner electric_user_id", "id", "owner > users id"},
    {"issues", "id project title", "id", "project > projects id"},
    {"comments", "id issue text", "id", "issue > issues id"},
    {"tree", "id parent", "id", "parent > tree id"},
    {"places", "x y name", "x y", ""},
    {"shops", "id x y", "id", "x y > places x y"},
    {"tags", "id code", "id", ""},
};

struct bench {
    struct schema model;
    struct relations relations;
    struct arena a;
};

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);
    fx_add_tables(&b->model, TABLES, ARRAY_LEN(TABLES));
    db_relations(&b->model, &b->relations);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    arena_deinit(&b->a);
    relations_deinit(&b->relations);
    schema_deinit(&b->model);
    mem_free_p(&b);
    return 0;
}

#define SHAPES(...) ((const struct shape_select *[]){__VA_ARGS__, NULL})

static const struct forest *compile(struct bench *b, const struct shape_select *const *selects)
{
    struct shape_request requests[8];
    struct shape_faults faults;
    const struct forest *f;
    size_t n = 0;
    for (; selects[n]; n++) {
        requests[n] = fx_request(selects[n]);
    }
    if (shape_compile(&b->a, &b->model, requests, n, &f, &faults) != SHAPE_COMPILED) {
        fail_msg("%.*s", STR_ARG(faults.items[0].message));
    }
    return f;
}

static struct view *load(struct bench *b, const struct forest *f, struct db *db)
{
    struct view *v = view_new(f, STR("me"));
    view_load(v, VIEW_LOAD_INDEX, &b->a, NULL, NULL);
    db_answer_all(db, f, v);
    return v;
}

/* "insert issues 1 a t; gone comments 7; read: 2" */
static void put_outcome(struct buf *out, int rc, struct view_ops ops, size_t reads)
{
    if (rc == VIEW_RESYNC) {
        buf_put_c(out, "resync");
    }
    for (size_t i = 0; i < ops.n; i++) {
        buf_put_c(out, out->n ? "; " : "");
        put_op(out, &ops.items[i]);
    }
    if (reads > 0) {
        buf_printf(out, "%sread: %zu", out->n ? "; " : "", reads);
    }
}

static void run(struct bench *b, struct view *v, const struct forest *f, struct db *db,
                const char *statements, struct buf *out)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
    struct view_ops ops = {0};
    struct err err;
    size_t reads = 0;
    db_run(db, &txn, statements);
    int rc = fx_apply(v, buf_str(&txn), &b->relations, &a, &ops, &err);
    if (rc == VIEW_NEEDS) {
        const struct view_need *need;
        buf_deinit(&txn); /* nobody needs it any more */
        for (; (need = view_next_need(v)); reads++) {
            db_answer(db, f, v, need);
        }
        rc = view_finish(v, &ops, &err);
    }
    assert_true(rc > 0);
    put_outcome(out, rc, ops, reads);
}

struct step {
    const char *txn, *wanted;
};

/* `before` is in the database when the view is loaded; then one transaction after the other. */
static void check(struct bench *b, const struct shape_select *const *shapes, const char *before,
                  const struct step *steps)
{
    CLEANUP(buf_deinit) struct buf ignored = BUF_INIT(1 << 16);
    const struct forest *f = compile(b, shapes);
    struct db db;
    db_init(&db, &b->model);
    db_run(&db, &ignored, before);
    struct view *v = load(b, f, &db);
    for (; steps->txn; steps++) {
        CLEANUP(buf_deinit) struct buf out = BUF_INIT(1 << 16);
        run(b, v, f, &db, steps->txn, &out);
        assert_string_equal(buf_cstr(&out), steps->wanted);
    }
    view_free(v);
}

#define STEPS(...) ((const struct step[]){__VA_ARGS__, {NULL, NULL}})

/* shapes.md 6.1; scenarios 37, 62, 45a, 72 */
static void a_top(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    check(b, SHAPES(SELECT("users", "this.name = 'ann'")), "insert users 1 ann; insert users 2 bob",
          STEPS({"insert users 3 ann", "insert users 3 ann"}, {"insert users 4 bob", ""},
                {"update users 2 bobby", ""}, {"update users 2 ann", "insert users 2 ann"},
                {"update users 2 ann", "update users 2 ann > 2 ann"}, {"update users 2 bob", "gone users 2"},
                {"delete users 2", ""}, {"delete users 1", "delete users 1 ann"},
                {"update users 3 x; delete users 3", "delete users 3 ann"},
                {"insert users 5 ann; delete users 5", ""},
                {"insert users 5 x; update users 5 y; update users 5 ann", "insert users 5 ann"},
                {"update users 5 x; update users 5 y; update users 5 ann", "update users 5 ann > 5 ann"},
                {"delete users 5; insert users 5 ann", "update users 5 ann > 5 ann"},
                {"delete users 5; insert users 5 bob", "gone users 5"},
                {"insert users 9 ann; insert users 8 ann", "insert users 9 ann; insert users 8 ann"}));
}

static void a_row_gets_another_key(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    check(b, SHAPES(SELECT("users", "this.name = 'ann'")), "insert users 1 ann; insert users 2 ann",
          STEPS({"rekey users 1 : 3 ann", "delete users 1 ann; insert users 3 ann"},
                {"rekey users 3 : 4 bob", "delete users 3 ann"},
                {"rekey users 4 : 5 ann", "insert users 5 ann"},
                {"rekey users 5 : 6 ann; rekey users 6 : 5 ann", "update users 5 ann > 5 ann"},
                {"rekey users 2 : 7 ann; rekey users 5 : 2 ann",
                 "update users 2 ann > 2 ann; insert users 7 ann; delete users 5 ann"}));
}

/* shapes.md 10; scenarios 43, 82 */
static void rows_of_users(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    check(b, SHAPES(SELECT("projects", "")), "insert projects 1 k - me; insert projects 2 k - you",
          STEPS({"insert projects 3 k - me; insert projects 4 k - you; insert projects 5 k - -; insert "
                 "projects 6 k - ''",
                 "insert projects 3 k - me; insert projects 5 k - -; insert projects 6 k - ''"},
                {"update projects 1 k - you", "gone projects 1"},
                {"update projects 1 k - me", "insert projects 1 k - me"}, {"delete projects 2", ""}));
}

#define PROJECTS                          \
    SELECT("projects", "this.kind = 'a'", \
           INCLUDE("project", SELECT("issues", "", INCLUDE("issue", SELECT("comments", "")))))

/* shapes.md 6.2, 7; scenarios 63 to 67, 71 */
static void children(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const char *before =
        "insert projects 1 a - -; insert projects 2 b - -; insert projects 3 a - -; insert issues 10 1 t; "
        "insert issues 20 2 t; insert comments 100 10 c; insert comments 200 20 c";
    check(b, SHAPES(PROJECTS), before,
          STEPS({"insert issues 11 1 t; insert issues 21 2 t", "insert issues 11 1 t"},
                {"update issues 10 1 new", "update issues 10 1 t > 10 1 new"},
                {"update issues 10 3 new", "update issues 10 1 new > 10 3 new"},
                {"update issues 10 2 new", "gone issues 10; gone comments 100"},
                {"update issues 21 2 x; update comments 200 20 x", ""},
                {"update issues 20 3 t", "insert issues 20 3 t; insert comments 200 20 x; read: 1"},
                {"delete comments 200", "delete comments 200 20 x"},
                {"delete issues 20", "delete issues 20 3 t"}));
    check(b, SHAPES(PROJECTS), before,
          STEPS({"insert comments 101 12 c; insert issues 12 4 t; insert projects 4 a - -",
                 "insert comments 101 12 c; insert issues 12 4 t; insert projects 4 a - -"},
                {"update comments 101 12 d; update projects 4 b - -",
                 "gone comments 101; gone projects 4; gone issues 12"},
                {"update projects 4 a - -",
                 "insert projects 4 a - -; insert issues 12 4 t; insert comments 101 12 d; read: 2"},
                {"update projects 4 b - -; update comments 101 12 e",
                 "gone projects 4; gone comments 101; gone issues 12"},
                {"update issues 10 3 t; delete projects 1",
                 "update issues 10 1 t > 10 3 t; delete projects 1 a - -"},
                {"update issues 10 2 t; delete projects 3",
                 "gone issues 10; delete projects 3 a - -; gone comments 100"}));
}

/* Whose children are not asked for: a child moves under a row that comes in itself. */
static void children_move_under_a_row_that_enters(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    check(b, SHAPES(PROJECTS),
          "insert projects 1 b - -; insert projects 2 a - -; insert issues 10 1 t; insert issues 11 1 t; "
          "insert issues 20 2 t",
          STEPS({"update issues 20 1 t; update issues 11 2 t; update projects 1 a - -",
                 "update issues 20 2 t > 20 1 t; insert issues 11 2 t; insert projects 1 a - -; insert "
                 "issues 10 1 t; read: 2"},
                {"update projects 1 b - -; update projects 2 b - -; update projects 1 a - -",
                 "update projects 1 a - - > 1 a - -; gone projects 2; gone issues 11"}));
}

/* shapes.md 6.3, 6.4; scenarios 51, 68 to 70 */
static void referenced_rows(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const char *before =
        "insert users 1 ann; insert users 2 bob; insert projects 1 k 1 -; insert projects 2 k 2 you; "
        "insert issues 10 1 t; insert issues 20 2 t; insert comments 100 10 c";
    check(b, SHAPES(SELECT("comments", "")), before,
          STEPS({"update users 1 anna", "update users 1 ann > 1 anna"}, {"update users 2 bill", ""},
                {"insert comments 101 10 c", "insert comments 101 10 c"},
                {"delete comments 100", "delete comments 100 10 c"},
                {"delete comments 101",
                 "delete comments 101 10 c; gone issues 10; gone projects 1; gone users 1"},
                {"insert comments 102 10 c", "insert users 1 anna; insert projects 1 k 1 -; insert issues 10 "
                                             "1 t; insert comments 102 10 c; read: 3"},
                {"update comments 102 20 c", "insert issues 20 2 t; update comments 102 10 c > 102 20 c; "
                                             "gone issues 10; gone projects 1; gone users 1; read: 2"},
                {"update projects 2 k 2 me", "insert users 2 bill; insert projects 2 k 2 me; read: 1"},
                {"insert comments 103 30 c; insert issues 30 - t",
                 "insert comments 103 30 c; insert issues 30 - t"},
                {"update users 2 x; delete comments 102",
                 "gone users 2; delete comments 102 20 c; gone issues 20; gone projects 2"}));
    check(b, SHAPES(SELECT("shops", "")), "insert places 1 2 here; insert places 2 1 there",
          STEPS({"insert shops 1 1 2", "insert places 1 2 here; insert shops 1 1 2; read: 1"},
                {"insert shops 2 2 -", "insert shops 2 2 -"},
                {"update shops 1 2 1",
                 "insert places 2 1 there; update shops 1 1 2 > 1 2 1; gone places 1 2; read: 1"},
                {"rekey places 2 1 : 3 3 there; update shops 1 3 3",
                 "delete places 2 1 there; insert places 3 3 there; update shops 1 2 1 > 1 3 3"}));
}

/* Scenario 78 */
static void a_tree(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    check(b, SHAPES(SELECT("tree", "this.id = '4'")),
          "insert tree 1 -; insert tree 2 1; insert tree 3 2; insert tree 4 3; insert tree 5 5; insert tree "
          "6 5",
          STEPS({"update tree 1 -", "update tree 1 - > 1 -"}, {"insert tree 7 4", ""},
                {"update tree 2 4", "update tree 2 1 > 2 4; gone tree 1; read: 1"},
                {"update tree 4 -", "update tree 4 3 > 4 -; gone tree 3; gone tree 2"},
                {"update tree 4 6", "insert tree 5 5; insert tree 6 5; update tree 4 - > 4 6; read: 2"},
                {"update tree 4 -", "update tree 4 6 > 4 -; gone tree 6; gone tree 5"},
                {"update tree 4 4", "update tree 4 - > 4 4"},
                {"insert tree 8 -; insert tree 9 8; update tree 4 9",
                 "insert tree 8 -; insert tree 9 8; update tree 4 4 > 4 9"},
                {"delete tree 4", "delete tree 4 9; gone tree 9; gone tree 8"}));
}

/* shapes.md 6.5; scenarios 56, 74 */
static void seen_by_two_layers(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    check(b, SHAPES(PROJECTS, SELECT("issues", "this.title = 'x'")),
          "insert projects 1 a - -; insert projects 2 b - -; insert issues 10 1 x; insert issues 11 1 t; "
          "insert issues 20 2 t",
          STEPS({"update projects 1 b - -", "update projects 1 a - - > 1 b - -; gone issues 11"},
                {"update issues 20 2 x", "insert projects 2 b - -; insert issues 20 2 x; read: 1"}));
}

/* The row that is there again has no old row any more, so it comes as an insert. */
static void truncated(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    check(b, SHAPES(PROJECTS), "insert projects 1 a - -; insert issues 10 1 t; insert comments 100 10 c",
          STEPS({"insert comments 102 10 d; truncate comments; insert comments 101 10 e",
                 "delete comments 100 10 -; insert comments 101 10 e"},
                {"truncate comments; insert comments 101 10 f", "insert comments 101 10 f"},
                {"truncate users", ""}, {"truncate projects", "resync"},
                {"insert comments 103 10 x", "insert comments 103 10 x"}));
}

static void old_rows_are_not_there(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
    const struct forest *f = compile(b, SHAPES(SELECT("users", "")));
    struct view *v = view_new(f, STR("me"));
    struct view_ops ops;
    struct err err;
    struct value row[] = {{"1", 1}, {"ann", 3}};
    struct db db;
    db_init(&db, &b->model);
    txn_begin(&txn);
    txn_add_row(&txn, CHANGE_UPDATE, 2 * (uint32_t)(db_table(&db, STR("users")) - db.tables) + 1, NULL, 0,
                row, 2);
    txn_end(&txn, &(struct txn_head){.end_lsn = 1});
    assert_int_equal(fx_apply(v, buf_str(&txn), &b->relations, &b->a, &ops, &err), -1);
    view_free(v);
}

static void given_up(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
    CLEANUP(buf_deinit) struct buf ignored = BUF_INIT(1 << 16);
    const struct forest *f = compile(b, SHAPES(PROJECTS));
    struct view_ops ops;
    struct err err;
    struct db db;
    db_init(&db, &b->model);
    db_run(&db, &ignored,
           "insert projects 1 b - -; insert projects 2 a - -; insert issues 10 1 t; insert issues 20 2 t");
    struct view *v = load(b, f, &db);
    db_run(&db, &txn, "update projects 1 a - -; delete issues 20");
    assert_int_equal(fx_apply(v, buf_str(&txn), &b->relations, &b->a, &ops, &err), VIEW_NEEDS);
    db_answer(&db, f, v, view_next_need(v));
    view_free(v);
    v = view_new(f, STR("me"));
    view_load(v, VIEW_LOAD_ROWS, &b->a, NULL, NULL);
    db_answer(&db, f, v, view_next_need(v));
    view_free(v);
}

/* Only what is seen counts, whether the transaction brings it or it has to be read. */
static void a_limit_on_what_is_seen(void **state)
{
    enum { ROWS = 12, LIMIT = 1000 };
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const struct forest *f = compile(b, SHAPES(PROJECTS));
    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 20);
    CLEANUP(buf_deinit) struct buf unseen = BUF_INIT(1 << 16), seen = BUF_INIT(1 << 16);
    struct view_ops ops;
    struct err err;
    struct db db;
    db_init(&db, &b->model);
    for (int i = 0; i < ROWS; i++) {
        buf_printf(&unseen, "%sinsert issues %d 1 t", i ? "; " : "", 1000 + i);
        buf_printf(&seen, "; insert issues %d 2 t", 2000 + i);
    }
    db_run(&db, &txn, "insert projects 1 b - -; insert projects 2 a - -");
    struct view *v = load(b, f, &db);
    view_limit(v, LIMIT);
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    buf_reset(&txn);
    db_run(&db, &txn, buf_cstr(&unseen));
    assert_int_equal(fx_apply(v, buf_str(&txn), &b->relations, &a, &ops, &err), VIEW_DONE);
    assert_int_equal(ops.n, 0);
    buf_reset(&txn);
    db_run(&db, &txn, "update projects 1 a - -"); /* their issues are to be read */
    assert_int_equal(fx_apply(v, buf_str(&txn), &b->relations, &a, &ops, &err), VIEW_NEEDS);
    db_answer_all(&db, f, v);
    assert_int_equal(view_finish(v, &ops, &err), VIEW_TOO_MUCH);
    view_free(v);
    v = load(b, f, &db);
    view_limit(v, LIMIT);
    buf_reset(&txn);
    db_run(&db, &txn, buf_cstr(&seen) + 2);
    assert_int_equal(fx_apply(v, buf_str(&txn), &b->relations, &a, &ops, &err), VIEW_TOO_MUCH);
    view_free(v);
}

/* A log of another database: a row that is there is said to be new, or to have been otherwise. */
static void the_log_disagrees(void **state)
{
    static const char *const elsewhere[][2] = {{"", "insert issues 10 1 t"},
                                               {"insert issues 10 2 t", "update issues 10 3 t"},
                                               {"insert projects 3 a - -", "delete projects 3"}};
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const struct forest *f = compile(b, SHAPES(PROJECTS));
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
        CLEANUP(buf_deinit) struct buf here = BUF_INIT(1 << 16);
        CLEANUP(buf_deinit) struct buf there = BUF_INIT(1 << 16);
        struct view_ops ops;
        struct err err;
        struct db db, other;
        db_init(&db, &b->model);
        other = db;
        db_run(&db, &here, "insert projects 1 a - -; insert issues 10 1 t");
        struct view *v = load(b, f, &db);
        db_run(&other, &there, elsewhere[i][0]);
        db_run(&other, &txn, elsewhere[i][1]);
        assert_int_equal(fx_apply(v, buf_str(&txn), &b->relations, &b->a, &ops, &err), -1);
        view_free(v);
    }
}

/* Columns that a version of the relation lacks are NULL, those that the model lacks are left out. */
static void versions_of_a_relation(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1 << 16);
    struct relation_column columns[] = {{.name = STR("gone")}, {.name = STR("id")}};
    struct relation old = {
        .id = 100, .schema = STR("public"), .name = STR("users"), .columns = columns, .n = 2};
    struct value row[] = {{"x", 1}, {"1", 1}};
    struct view_ops ops = {0};
    struct err err;
    relations_put(&b->relations, relation_copy(&old));
    struct view *v = view_new(compile(b, SHAPES(SELECT("users", ""))), STR("me"));
    txn_begin(&txn);
    txn_add_row(&txn, CHANGE_INSERT, 100, NULL, 0, row, 2);
    txn_end(&txn, &(struct txn_head){.end_lsn = 1});
    assert_int_equal(fx_apply(v, buf_str(&txn), &b->relations, &b->a, &ops, &err), VIEW_DONE);
    put_outcome(&out, VIEW_DONE, ops, 0);
    assert_string_equal(buf_cstr(&out), "insert users 1 -");
    assert_true(view_concerns(v, &old));
    view_free(v);
}

static void add_column(struct schema *model, const char *table, const char *name)
{
    struct column column = {.name = str_c(name),
                            .type = STR("text"),
                            .type_name = STR("text"),
                            .type_schema = STR("pg_catalog"),
                            .num = 100,
                            .typmod = -1};
    struct op op = {.kind = OP_ADD_COLUMN, .schema = STR("public"), .name = str_c(table), .column = &column};
    struct err err;
    if (schema_apply(model, &op, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

/* A migration adds a column: the view goes on with the same index. */
static void another_model(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    CLEANUP(buf_deinit) struct buf ignored = BUF_INIT(1 << 16);
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1 << 16);
    const struct shape_select *projects = PROJECTS;
    const struct forest *f = compile(b, SHAPES(projects)), *more;
    struct schema bigger = SCHEMA_INIT;
    struct db db;
    fx_add_tables(&bigger, TABLES, ARRAY_LEN(TABLES));
    db_init(&db, &b->model);
    db_run(&db, &ignored, "insert projects 1 a - -; insert issues 10 1 t");
    struct view *v = load(b, f, &db);
    add_column(&bigger, "issues", "more");
    struct shape_request request = fx_request(projects), other = fx_request(SELECT("users", ""));
    struct shape_faults faults;
    assert_int_equal(shape_compile(&b->a, &bigger, &other, 1, &more, &faults), SHAPE_COMPILED);
    assert_false(view_set_forest(v, more));
    assert_int_equal(shape_compile(&b->a, &bigger, &request, 1, &more, &faults), SHAPE_COMPILED);
    assert_true(view_set_forest(v, more));
    run(b, v, more, &db, "update issues 10 1 new; update projects 1 b - -", &out);
    assert_string_equal(buf_cstr(&out), "gone issues 10; gone projects 1");
    assert_false(view_set_forest(v, f)); /* it has fewer columns */
    view_free(v);
    schema_deinit(&bigger);
}

static void count_row(void *ctx, const struct table *table, const struct value *row)
{
    struct buf *out = ctx;
    buf_put_c(out, out->n ? "; " : "");
    buf_put_str(out, table->name);
    put_row(out, table, row);
}

/* Scenarios 56, 57: each row once; a second subscription has the rows that the client lacks. */
static void initial_rows(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    CLEANUP(buf_deinit) struct buf ignored = BUF_INIT(1 << 16);
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1 << 16);
    const struct forest *f = compile(
        b, SHAPES(SELECT("issues", "this.title = 'x'"), SELECT("issues", ""), SELECT("projects", "")));
    struct db db;
    size_t n;
    db_init(&db, &b->model);
    db_run(&db, &ignored,
           "insert projects 1 k - you; insert projects 2 k 1 -; insert users 1 ann; insert issues 1 2 x; "
           "insert issues 2 1 y");
    struct view *v = view_new(f, STR("me"));
    assert_true(view_keeps_index(v));
    view_load(v, VIEW_LOAD_ROWS, &b->a, count_row, &out);
    db_answer_all(&db, f, v);
    assert_string_equal(buf_cstr(&out), "issues 1 2 x; issues 2 1 y; projects 2 k 1 -; users 1 ann");
    assert_ptr_equal(view_tables(v, &n)[0], f->tables[0].table);
    assert_int_equal(n, 3);
    assert_true(view_sees(v, db.tables[1].table, db_table(&db, STR("issues"))->rows[0]));
    view_free(v);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_top),
        TEST(a_row_gets_another_key),
        TEST(rows_of_users),
        TEST(children),
        TEST(children_move_under_a_row_that_enters),
        TEST(referenced_rows),
        TEST(a_tree),
        TEST(seen_by_two_layers),
        TEST(truncated),
        TEST(old_rows_are_not_there),
        TEST(given_up),
        TEST(a_limit_on_what_is_seen),
        TEST(the_log_disagrees),
        TEST(versions_of_a_relation),
        TEST(another_model),
        TEST(initial_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
