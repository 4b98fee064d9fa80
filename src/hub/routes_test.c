/* SPDX-License-Identifier: Apache-2.0 */
/* Changes lead to those whom they may concern, and to no others. */
#include "hub/routes.h"
#include "shapes/fixture.h"

#include <string.h>

static const struct fx_shape_table TABLES[] = {
    {"users", "id name", "id", ""},
    {"notes", "id author electric_user_id", "id", "author > users id"},
    {"logs", "id level:int4 text", "id", ""},
};

struct bench {
    struct schema model;
    struct arena a;
    struct routes *routes;
    struct relations relations;
    char told[64];
};

static void setup(struct bench *b)
{
    static struct relation_column logs[] = {
        {STR("id"), 25, -1, true}, {STR("level"), 23, -1, true}, {STR("text"), 25, -1, true}};
    static struct relation_column notes[] = {
        {STR("id"), 25, -1, true}, {STR("author"), 25, -1, true}, {STR("electric_user_id"), 25, -1, true}};
    static const struct relation r1 = {1, 100, 'f', STR("public"), STR("logs"), logs, 3};
    static const struct relation r2 = {2, 101, 'f', STR("public"), STR("notes"), notes, 3};
    memset(b, 0, sizeof *b);
    fx_add_tables(&b->model, TABLES, ARRAY_LEN(TABLES));
    b->routes = routes_new();
    relations_put(&b->relations, relation_copy(&r1));
    relations_put(&b->relations, relation_copy(&r2));
}

static void teardown(struct bench *b)
{
    routes_free(b->routes);
    relations_deinit(&b->relations);
    arena_deinit(&b->a);
    schema_deinit(&b->model);
}

static struct route *route(struct bench *b, const char *table, const char *where, const char *user,
                           const char *target)
{
    struct shape_select select = {.table = str_c(table), .where = str_c(where)};
    struct shape_request r = {&select, 1};
    const struct forest *f;
    struct shape_faults faults;
    if (!shape_compile(&b->a, &b->model, &r, 1, &f, &faults)) {
        fail_msg("%s", faults.items[0].message.p);
    }
    return route_new(b->routes, f, str_c(user), (void *)(uintptr_t)target);
}

/* Letters in alphabetical order: who is told first is chance. */
static void on_target(void *ctx, void *target, enum route_how how)
{
    (void)how;
    struct bench *b = ctx;
    char name = *(const char *)target, *at = b->told;
    while (*at && *at < name) {
        at++;
    }
    if (*at != name) {
        assert_true(strlen(b->told) + 1 < sizeof b->told);
        memmove(at + 1, at, strlen(at) + 1);
        *at = name;
    }
}

/* old and new: that column's values; NULL: no such row. */
static const char *change(struct bench *b, enum change_kind kind, uint32_t relation, size_t column,
                          const char *old, const char *new)
{
    struct buf text = BUF_INIT(TXN_CHANGE_MAX);
    struct err err;
    struct value row[2][3];
    const char *given[2] = {old, new};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 3; k++) {
            row[i][k] = (struct value){"1", 1};
        }
        const char *v = given[i] && strcmp(given[i], "null") != 0 ? given[i] : NULL;
        row[i][column] = (struct value){v, v ? (uint32_t)strlen(v) : 0};
    }
    txn_begin(&text);
    txn_add_row(&text, kind, relation, row[0], old ? 3 : 0, row[1], new ? 3 : 0);
    txn_end(&text, &(struct txn_head){.end_lsn = 1});
    b->told[0] = '\0';
    assert_int_equal(routes_follow(b->routes, buf_str(&text), &b->relations, on_target, b, &err), 0);
    buf_deinit(&text);
    return b->told;
}

static const char *follow(struct bench *b, uint32_t relation, size_t column, const char *old, const char *new)
{
    enum change_kind kind = old ? new ? CHANGE_UPDATE : CHANGE_DELETE : CHANGE_INSERT;
    return change(b, kind, relation, column, old, new);
}

static void by_table_and_by_value(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct route *all = route(&b, "logs", "", "u", "A"), *one = route(&b, "logs", "this.level = 1", "u", "B"),
                 *two = route(&b, "logs", "this.text = 'x' AND this.level = 2", "u", "C"),
                 *some = route(&b, "logs", "this.level > 2", "u", "D"),
                 *other = route(&b, "users", "", "u", "E");
    assert_string_equal(follow(&b, 1, 1, NULL, "1"), "ABD");
    assert_string_equal(follow(&b, 1, 1, "1", "2"), "ABD");
    assert_string_equal(follow(&b, 1, 1, "5", NULL), "AD");
    assert_string_equal(follow(&b, 1, 2, NULL, "x"), "ABCD");
    assert_string_equal(follow(&b, 2, 1, NULL, "x"), "");
    route_free(all);
    assert_string_equal(follow(&b, 1, 1, NULL, "1"), "BD");
    route_free(one);
    route_free(two);
    route_free(some);
    route_free(other);
    assert_string_equal(follow(&b, 1, 1, NULL, "1"), "");
    teardown(&b);
}

static void by_user(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct route *alice = route(&b, "notes", "", "alice", "A"), *bob = route(&b, "notes", "", "bob", "B"),
                 *author = route(&b, "notes", "this.author = 'kim'", "alice", "K");
    assert_string_equal(follow(&b, 2, 2, NULL, "alice"), "A");
    assert_string_equal(follow(&b, 2, 2, "alice", "bob"), "AB");
    assert_string_equal(follow(&b, 2, 2, "carol", NULL), "");
    assert_string_equal(follow(&b, 2, 2, NULL, "null"), "AB");
    assert_string_equal(follow(&b, 2, 2, NULL, ""), "AB");
    assert_string_equal(follow(&b, 2, 1, NULL, "kim"), "K");
    route_free(alice);
    route_free(bob);
    route_free(author);
    teardown(&b);
}

/* Whose it was cannot be seen. */
static void a_change_without_its_old_row_concerns_everyone(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct route *one = route(&b, "logs", "this.level = 1", "u", "A"),
                 *two = route(&b, "logs", "this.level = 2", "u", "B"),
                 *other = route(&b, "users", "this.name = 'x'", "u", "C");
    assert_string_equal(change(&b, CHANGE_UPDATE, 1, 1, NULL, "2"), "AB");
    assert_string_equal(change(&b, CHANGE_DELETE, 1, 1, NULL, NULL), "AB");
    route_free(one);
    route_free(two);
    route_free(other);
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_table_and_by_value),
        cmocka_unit_test(by_user),
        cmocka_unit_test(a_change_without_its_old_row_concerns_everyone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
