/* SPDX-License-Identifier: Apache-2.0 */
/* The database at an earlier position: what an overlay notes, what a snapshot sees, keys as bytes. */
#include "shapes/keys.h"
#include "shapes/snapshot.h"
#include "shapes/view_fixture.h"

#include <stdlib.h>

static const struct fx_shape_table TABLES[] = {
    {"other", "id", "id", ""},
    {"pairs", "a b name", "a b", ""},
    {"users", "id name", "id", ""},
};

struct bench {
    struct schema model;
    struct relations relations;
    struct db db;
    const struct table *tables[2]; /* pairs, users */
    struct overlay *overlay;
};

static void make_overlay(struct bench *b, size_t max_bytes)
{
    overlay_free(b->overlay);
    b->overlay = overlay_new(b->tables, 2, max_bytes);
}

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);
    fx_add_tables(&b->model, TABLES, ARRAY_LEN(TABLES));
    db_relations(&b->model, &b->relations);
    db_init(&b->db, &b->model);
    b->tables[0] = db_table(&b->db, STR("pairs"))->table;
    b->tables[1] = db_table(&b->db, STR("users"))->table;
    make_overlay(b, 1 << 16);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    overlay_free(b->overlay);
    relations_deinit(&b->relations);
    schema_deinit(&b->model);
    mem_free_p(&b);
    return 0;
}

static int add(struct bench *b, const char *statements)
{
    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
    struct err err;
    db_run(&b->db, &txn, statements);
    return overlay_add(b->overlay, buf_str(&txn), &b->relations, &err);
}

/* The same transactions once more, as the position moves on. */
static int advance(struct bench *b, const struct buf *txn)
{
    struct err err;
    return overlay_advance(b->overlay, buf_str(txn), &b->relations, &err);
}

static void run_before(struct bench *b, const char *statements)
{
    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
    db_run(&b->db, &txn, statements);
}

/* "-": no change; "absent"; or the row */
static void expect(struct bench *b, const char *table, const char *key, const char *wanted)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1000);
    struct value values[DB_COLUMNS];
    const struct value *row;
    const struct table *t = db_table(&b->db, str_c(table))->table;
    db_values(str_c(key), values);
    switch (overlay_find(b->overlay, t, values, &row)) {
    case OVERLAY_UNCHANGED:
        buf_put_c(&out, " unchanged");
        break;
    case OVERLAY_ABSENT:
        buf_put_c(&out, " absent");
        break;
    case OVERLAY_ROW:
        put_row(&out, t, row);
        break;
    }
    assert_string_equal(buf_cstr(&out) + 1, wanted);
}

static void the_first_change_counts(void **state)
{
    struct bench *b = *state;
    run_before(b, "insert users 1 ann; insert users 2 bob; insert users 3 cid; insert pairs 1 2 x");
    assert_int_equal(add(b, "update users 1 anna; insert users 4 dan; insert other 1"), OVERLAY_ADDED);
    assert_int_equal(add(b, "update users 1 annie; delete users 2; delete users 4"), OVERLAY_ADDED);
    assert_int_equal(add(b, "insert users 2 bo; insert users 4 dee; delete pairs 1 2"), OVERLAY_ADDED);
    expect(b, "users", "1", "1 ann");
    expect(b, "users", "2", "2 bob");
    expect(b, "users", "3", "unchanged");
    expect(b, "users", "4", "absent");
    expect(b, "pairs", "1 2", "1 2 x");
    expect(b, "pairs", "12 -", "unchanged");
    expect(b, "other", "1", "unchanged");
}

static void a_key_that_changes_is_two(void **state)
{
    struct bench *b = *state;
    run_before(b, "insert pairs 1 2 x; insert pairs 3 4 -");
    assert_int_equal(add(b, "rekey pairs 1 2 : 1 3 y; rekey pairs 3 4 : 1 2 ''"), OVERLAY_ADDED);
    expect(b, "pairs", "1 2", "1 2 x");
    expect(b, "pairs", "1 3", "absent");
    expect(b, "pairs", "3 4", "3 4 -");
}

static void moves_on_with_the_position(void **state)
{
    struct bench *b = *state;
    struct err err;
    struct buf first = BUF_INIT(1 << 16), second = BUF_INIT(1 << 16), unseen = BUF_INIT(1 << 16);
    run_before(b, "insert users 1 ann; insert users 2 bob; insert pairs 1 2 x");
    db_run(&b->db, &first, "update users 1 anna; insert users 3 cid; rekey pairs 1 2 : 1 3 y");
    db_run(&b->db, &second, "delete users 2; update users 1 annie; delete users 3");
    db_run(&b->db, &unseen, "insert users 4 dan");
    assert_int_equal(overlay_add(b->overlay, buf_str(&first), &b->relations, &err), OVERLAY_ADDED);
    assert_int_equal(overlay_add(b->overlay, buf_str(&second), &b->relations, &err), OVERLAY_ADDED);
    assert_int_equal(advance(b, &first), OVERLAY_ADDED);
    expect(b, "users", "1", "1 anna");
    expect(b, "users", "2", "2 bob");
    expect(b, "users", "3", "3 cid");
    expect(b, "pairs", "1 2", "absent");
    expect(b, "pairs", "1 3", "1 3 y");
    assert_int_equal(advance(b, &second), OVERLAY_ADDED);
    expect(b, "users", "1", "1 annie");
    expect(b, "users", "2", "absent");
    expect(b, "users", "3", "absent");
    assert_int_equal(advance(b, &unseen), OVERLAY_ADDED); /* the snapshot lacks it: the overlay does not */
    expect(b, "users", "4", "4 dan");
    buf_deinit(&first);
    buf_deinit(&second);
    buf_deinit(&unseen);
}

static void count(void *ctx, const struct value *row)
{
    struct buf *out = ctx;
    buf_put(out, row[0].p, row[0].n);
}

static void each_row_that_was_there(void **state)
{
    struct bench *b = *state;
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(100);
    run_before(b, "insert users 1 ann");
    assert_int_equal(add(b, "insert users 2 bob; delete users 1"), OVERLAY_ADDED);
    overlay_each(b->overlay, b->tables[1], count, &out);
    overlay_each(b->overlay, b->tables[0], count, &out);
    assert_string_equal(buf_cstr(&out), "1");
}

/* The keys of the rows, in order. */
static void with_name(struct bench *b, const char *name, const char *wanted)
{
    static const uint32_t columns[] = {1};
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(100);
    struct value key = {name, (uint32_t)strlen(name)};
    overlay_each_with(b->overlay, b->tables[1], (struct columns){columns, 1}, &key, count, &out);
    assert_string_equal(buf_cstr(&out), wanted);
}

static void an_index_follows_the_rows(void **state)
{
    static const uint32_t columns[] = {1};
    struct bench *b = *state;
    struct buf first = BUF_INIT(1 << 16), second = BUF_INIT(1 << 16);
    struct err err;
    overlay_index(b->overlay, b->tables[1], (struct columns){columns, 1});
    run_before(b, "insert users 1 ann; insert users 2 bob; insert users 3 ann; insert users 4 -");
    db_run(&b->db, &first, "update users 1 bob; delete users 3; update users 4 ann; insert users 5 bob");
    db_run(&b->db, &second, "update users 1 ann; update users 5 -; insert users 3 bob; delete users 2");
    assert_int_equal(overlay_add(b->overlay, buf_str(&first), &b->relations, &err), OVERLAY_ADDED);
    with_name(b, "ann", "31");
    with_name(b, "bob", "");
    assert_int_equal(overlay_add(b->overlay, buf_str(&second), &b->relations, &err), OVERLAY_ADDED);
    with_name(b, "bob", "2");
    assert_int_equal(advance(b, &first), OVERLAY_ADDED);
    with_name(b, "ann", "4");
    with_name(b, "bob", "512");
    assert_int_equal(advance(b, &second), OVERLAY_ADDED);
    with_name(b, "ann", "14");
    with_name(b, "bob", "3");
    buf_deinit(&first);
    buf_deinit(&second);
}

static void what_cannot_be_noted(void **state)
{
    struct bench *b = *state;
    struct err err;
    assert_int_equal(add(b, "truncate other"), OVERLAY_ADDED);
    assert_int_equal(add(b, "truncate users"), OVERLAY_TRUNCATED);
    assert_int_equal(add(b, "insert users 1 ann"), OVERLAY_TRUNCATED);
    make_overlay(b, overlay_bytes(b->overlay) + 100);
    assert_int_equal(add(b, "insert users 2 ann; insert users 3 ann; insert users 4 ann"), OVERLAY_FULL);

    CLEANUP(buf_deinit) struct buf txn = BUF_INIT(1 << 16);
    struct value row[] = {{"1", 1}, {"ann", 3}};
    make_overlay(b, 1 << 16);
    txn_begin(&txn);
    txn_add_row(&txn, CHANGE_UPDATE, 5, NULL, 0, row, 2);
    txn_end(&txn, &(struct txn_head){.end_lsn = 1});
    assert_int_equal(overlay_add(b->overlay, buf_str(&txn), &b->relations, &err), -1);
    buf_reset(&txn);
    txn_begin(&txn);
    txn_add_row(&txn, CHANGE_INSERT, 77, NULL, 0, row, 2);
    txn_end(&txn, &(struct txn_head){.end_lsn = 1});
    assert_int_equal(overlay_add(b->overlay, buf_str(&txn), &b->relations, &err), -1);
}

static void what_a_snapshot_sees(void **state)
{
    static const struct {
        const char *text;
        uint64_t xid;
        bool seen;
    } rows[] = {
        {"10:20:10,14,15", 9, true},
        {"10:20:10,14,15", 10, false},
        {"10:20:10,14,15", 11, true},
        {"10:20:10,14,15", 15, false},
        {"10:20:10,14,15", 19, true},
        {"10:20:10,14,15", 20, false},
        {"10:10:", 9, true},
        {"10:10:", 10, false},
        {"4294967298:4294967299:", 4294967297, true},
        {"10:20:", 15, true},
    };
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct snapshot s;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(snapshot_parse(str_c(rows[i].text), &a, &s, &err), 0);
        assert_int_equal(snapshot_sees(&s, rows[i].xid), rows[i].seen);
    }
}

static void what_is_no_snapshot(void **state)
{
    static const char *const bad[] = {"",      "1",      "1:2",   "1:2:3",  "5:9:6,6", "5:9:7,6",
                                      "5:9:4", "5:9:9",  "9:5:",  "5:9:6,", "5:9:6:7", "a:b:",
                                      " 5:9:", "5:9:,6", "-1:9:", "5:9: 6", "::"};
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct snapshot s;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(snapshot_parse(str_c(bad[i]), &a, &s, &err), -1);
    }
    CLEANUP(buf_deinit) struct buf many = BUF_INIT(16 << 20);
    buf_put_c(&many, "1:9999999:1");
    for (unsigned i = 2; i <= SNAPSHOT_MAX_RUNNING + 1; i++) {
        buf_printf(&many, ",%u", i);
    }
    assert_int_equal(snapshot_parse(buf_str(&many), &a, &s, &err), -1);
}

static void keys_as_bytes(void **state)
{
    static const uint32_t sizes[] = {0, 1, 126, 127, 128, 16382, 16383, 20000};
    static const uint32_t column[] = {0};
    char *bytes = mem_zalloc(20000);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(buf_deinit) struct buf key = BUF_INIT(KEY_MAX);
        struct value v = {bytes, sizes[i]}, null = {NULL, 0}, back;
        assert_true(key_put(&key, &v, column, 1));
        assert_false(key_put(&key, &null, column, 1));
        const char *p = key_take(key.p, &back);
        assert_int_equal(back.n, sizes[i]);
        assert_memory_equal(back.p, bytes, sizes[i]);
        assert_ptr_equal(key_take(p, &back), key.p + key.n);
        assert_null(back.p);
    }
    mem_free_p(&bytes);
}

struct item {
    struct keyed k;
    char key[8];
};

static void a_table_of_keys(void **state)
{
    enum { N = 1000 };
    struct item *items = mem_zalloc(N * sizeof *items);
    struct key_seed seed = key_seed();
    struct keytable t = {.key_at = offsetof(struct item, key)};
    assert_null(keytable_find(&t, STR("1"), key_hash(seed, STR("1"))));
    for (int i = 0; i < N; i++) {
        items[i].k.n = (uint32_t)snprintf(items[i].key, sizeof items[i].key, "%d", i) & 0xff;
        items[i].k.hash =
            key_hash(seed, (struct str){items[i].key, items[i].k.n}) & 0xff; /* many share one */
        keytable_add(&t, &items[i].k);
    }
    for (int i = 0; i < N; i += 3) {
        keytable_remove(&t, &items[i].k);
    }
    for (int i = 0; i < N; i++) {
        struct str key = {items[i].key, items[i].k.n};
        assert_ptr_equal(keytable_find(&t, key, key_hash(seed, key) & 0xff), i % 3 ? &items[i].k : NULL);
    }
    keytable_deinit(&t);
    mem_free_p(&items);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_change_counts),
        TEST(a_key_that_changes_is_two),
        TEST(each_row_that_was_there),
        TEST(an_index_follows_the_rows),
        TEST(what_cannot_be_noted),
        TEST(moves_on_with_the_position),
        cmocka_unit_test(what_a_snapshot_sees),
        cmocka_unit_test(what_is_no_snapshot),
        cmocka_unit_test(keys_as_bytes),
        cmocka_unit_test(a_table_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
