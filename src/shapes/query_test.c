/* SPDX-License-Identifier: Apache-2.0 */
/* The texts that are sent, to the letter. That PostgreSQL takes them: query_live_test.c. */
#include "shapes/fixture.h"

#include "shapes/query.h"
#include "shapes/where.h"

#include "base/mem.h"

static const struct fx_shape_table TABLES[] = {
    {"users", "id name", "id", ""},
    {"Odd 't", "Id:uuid wei\\\"rd mood:Mood", "Id", ""},
    {"notes", "id:int4 author electric_user_id", "id", "author > users id"},
    {"secrets", "id:int8 electric_user_id:uuid", "id", ""},
    {"counts", "id:int8 electric_user_id:int4", "id", ""},
    {"places", "country:varchar city:int2", "country city", ""},
    {"shops", "id land:varchar town:int2 mood:Mood", "id", "land town > places country city"},
};

struct bench {
    struct schema model;
    struct arena a;
    struct buf text;
    const struct forest *forest;
};

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);
    fx_add_tables(&b->model, TABLES, ARRAY_LEN(TABLES));
    buf_init(&b->text, 64 * 1024 * 1024);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    arena_deinit(&b->a);
    schema_deinit(&b->model);
    buf_deinit(&b->text);
    mem_free_p(&b);
    return 0;
}

static const struct layer *compile(struct bench *b, const struct shape_select *select, size_t layer)
{
    struct shape_request r = fx_request(select);
    struct shape_faults faults;
    if (!shape_compile(&b->a, &b->model, &r, 1, &b->forest, &faults)) {
        fail_msg("%s", faults.items[0].message.p);
    }
    assert_true(layer < b->forest->n_layers);
    return &b->forest->layers[layer];
}

static void expect_whole(struct bench *b, const struct shape_select *select, const char *user,
                         const char *expected)
{
    buf_reset(&b->text);
    query_whole(compile(b, select, 0), str_c(user), &b->text);
    assert_string_equal(buf_cstr(&b->text), expected);
}

static void whole_tables(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_whole(b, SELECT("users", ""), "ann",
                 "COPY (SELECT t.\"id\", t.\"name\" FROM \"public\".\"users\" AS t) TO STDOUT");
    expect_whole(
        b, SELECT("Odd 't", ""), "ann",
        "COPY (SELECT t.\"Id\", t.\"wei\"\"rd\", t.\"mood\" FROM \"public\".\"Odd 't\" AS t) TO STDOUT");
}

static void the_user(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_whole(
        b, SELECT("notes", ""), "a'n\\n",
        "COPY (SELECT t.\"id\", t.\"author\", t.\"electric_user_id\" FROM \"public\".\"notes\" AS t "
        "WHERE (t.\"electric_user_id\" IS NULL OR t.\"electric_user_id\" IN (E'a''n\\\\n', ''))) TO STDOUT");
    expect_whole(b, SELECT("secrets", ""), "6A1C9B8E-1F5D-4C53-9C0E-8F3A1B2C3D4E",
                 "COPY (SELECT t.\"id\", t.\"electric_user_id\" FROM \"public\".\"secrets\" AS t "
                 "WHERE (t.\"electric_user_id\" IS NULL OR t.\"electric_user_id\" IN "
                 "('6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4e'))) TO STDOUT");
    expect_whole(b, SELECT("secrets", ""), "ann",
                 "COPY (SELECT t.\"id\", t.\"electric_user_id\" FROM \"public\".\"secrets\" AS t "
                 "WHERE (t.\"electric_user_id\" IS NULL)) TO STDOUT");
    expect_whole(
        b, SELECT("counts", ""), "7",
        "COPY (SELECT t.\"id\", t.\"electric_user_id\" FROM \"public\".\"counts\" AS t "
        "WHERE (t.\"electric_user_id\" IS NULL OR pg_catalog.format('%s', t.\"electric_user_id\") IN "
        "('7', ''))) TO STDOUT");
}

static void a_user_that_no_text_can_be(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    query_whole(compile(b, SELECT("notes", ""), 0), (struct str){"a\0b", 3}, &b->text);
    assert_string_equal(
        buf_cstr(&b->text),
        "COPY (SELECT t.\"id\", t.\"author\", t.\"electric_user_id\" FROM \"public\".\"notes\" AS t "
        "WHERE (t.\"electric_user_id\" IS NULL OR t.\"electric_user_id\" IN (''))) TO STDOUT");
}

static void a_where_and_the_user(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const struct shape_select *notes = SELECT("notes", "this.author = 'a' OR 1=1 --");
    CLEANUP(buf_deinit) struct buf where = BUF_INIT(1000);
    where_print(compile(b, notes, 0)->where, STR("t"), &where);
    expect_whole(
        b, notes, "ann",
        arena_printf(fx,
                     "COPY (SELECT t.\"id\", t.\"author\", t.\"electric_user_id\" FROM \"public\".\"notes\" "
                     "AS t WHERE %s AND (t.\"electric_user_id\" IS NULL OR t.\"electric_user_id\" IN "
                     "('ann', ''))) TO STDOUT",
                     buf_cstr(&where)));
    assert_true(str_starts_with(buf_str(&where), STR("(")));
    assert_null(strstr(buf_cstr(&where), "--"));
}

#define V(text)                \
    {                          \
        text, sizeof(text) - 1 \
    }

static void children(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct value keys[] = {V("a"), V(""), V("NULL"), V("a\"b"), V("a\\b"), V("{a,b}'")};
    const struct layer *l = compile(b, SELECT("users", "", INCLUDE("author", SELECT("notes", ""))), 1);
    assert_int_equal(query_by_keys(l, STR("u"), keys, ARRAY_LEN(keys), &b->text), ARRAY_LEN(keys));
    assert_string_equal(
        buf_cstr(&b->text),
        "COPY (SELECT t.\"id\", t.\"author\", t.\"electric_user_id\" FROM \"public\".\"notes\" AS t "
        "WHERE (t.\"electric_user_id\" IS NULL OR t.\"electric_user_id\" IN ('u', '')) "
        "AND (t.\"author\") IN (SELECT u.k1 FROM unnest("
        "E'{\"a\",\"\",\"NULL\",\"a\\\\\"b\",\"a\\\\\\\\b\",\"{a,b}''\"}'::\"pg_catalog\".\"text\"[]"
        ") AS u (k1))) TO STDOUT");
}

static void rows_referred_to(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct value keys[] = {V("de"), V("7"), V("f r"), V("-1")};
    const struct layer *l = compile(b, SELECT("shops", ""), 1);
    assert_int_equal(query_by_keys(l, STR("u"), keys, 2, &b->text), 2);
    assert_string_equal(buf_cstr(&b->text),
                        "COPY (SELECT t.\"country\", t.\"city\" FROM \"public\".\"places\" AS t "
                        "WHERE (t.\"country\", t.\"city\") IN (SELECT u.k1, u.k2 FROM unnest("
                        "'{\"de\",\"f r\"}'::\"pg_catalog\".\"varchar\"[], "
                        "'{\"7\",\"-1\"}'::\"pg_catalog\".\"int8\"[]) AS u (k1, k2))) TO STDOUT");
}

static void portions(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const struct layer *l = compile(b, SELECT("shops", ""), 1);
    struct value *keys = arena_alloc_array(fx, 2 * (QUERY_MAX_KEYS + 1), sizeof *keys);
    char *long_text = arena_alloc(fx, QUERY_MAX_KEY_BYTES);
    memset(long_text, 'x', QUERY_MAX_KEY_BYTES);
    for (size_t i = 0; i < 2 * (QUERY_MAX_KEYS + 1); i++) {
        keys[i] = (struct value)V("1");
    }
    assert_int_equal(query_by_keys(l, STR(""), keys, QUERY_MAX_KEYS + 1, &b->text), QUERY_MAX_KEYS);
    keys[0] = (struct value){long_text, QUERY_MAX_KEY_BYTES};
    assert_int_equal(query_by_keys(l, STR(""), keys, 2, &b->text), 1);
    keys[0] = (struct value){long_text, QUERY_MAX_KEY_BYTES - 3};
    assert_int_equal(query_by_keys(l, STR(""), keys, 3, &b->text), 2);
    assert_false(b->text.overflow);
    CLEANUP(buf_deinit) struct buf small = BUF_INIT(1000);
    assert_int_equal(query_by_keys(l, STR(""), keys, 3, &small), 2);
    assert_true(small.overflow);
}

static void locks(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const struct table *tables[] = {compile(b, SELECT("users", ""), 0)->table,
                                    compile(b, SELECT("Odd 't", ""), 0)->table};
    query_lock(tables, 2, &b->text);
    assert_string_equal(buf_cstr(&b->text),
                        "LOCK TABLE \"public\".\"users\", \"public\".\"Odd 't\" IN ACCESS SHARE MODE");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whole_tables),
        TEST(the_user),
        TEST(a_where_and_the_user),
        TEST(a_user_that_no_text_can_be),
        TEST(children),
        TEST(rows_referred_to),
        TEST(portions),
        TEST(locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
