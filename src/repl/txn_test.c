/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/relation.h"
#include "repl/txn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct value v(const char *s)
{
    return (struct value){s, s ? (uint32_t)strlen(s) : 0};
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(TXN_CHANGE_MAX);
    struct err err;
    struct value old[] = {v("1"), v(NULL)}, new[] = {v("1"), v("")};
    txn_begin(&b);
    txn_add_row(&b, CHANGE_UPDATE, 7, old, 2, new, 2);
    txn_add_message(&b, STR("marker"), STR("x\0y"));
    txn_end(&b,
            &(struct txn_head){.end_lsn = 0x123456789, .commit_lsn = 5, .xid = 1ull << 40, .commit_us = -1});
    struct txn *t = txn_new(&b, &(struct txn_summary){0});
    assert_null(b.p);
    assert_int_equal(txn_head(t)->changes, 2);
    assert_int_equal(txn_head(t)->end_lsn, 0x123456789);
    assert_int_equal(txn_head(t)->xid, 1ull << 40);
    assert_int_equal(txn_head(t)->commit_us, -1);
    struct txn_cursor c = txn_changes(txn_bytes(t));
    struct change change;
    assert_int_equal(txn_next(&c, &change, &err), 1);
    assert_int_equal(change.kind, CHANGE_UPDATE);
    assert_int_equal(change.relation, 7);
    struct value values[2];
    assert_int_equal(tuple_values(&change.old, values, &err), 0);
    assert_null(values[1].p);
    assert_int_equal(tuple_values(&change.new, values, &err), 0);
    assert_non_null(values[1].p);
    assert_int_equal(values[1].n, 0);
    assert_memory_equal(values[0].p, "1", 1);
    assert_int_equal(txn_next(&c, &change, &err), 1);
    assert_int_equal(change.kind, CHANGE_MESSAGE);
    assert_int_equal(change.content.n, 3);
    assert_int_equal(txn_next(&c, &change, &err), 0);
    txn_unref(txn_ref(t));
    txn_unref(t);
    buf_deinit(&b);
}

static void a_summary_names_so_many_relations(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(TXN_CHANGE_MAX);
    struct err err;
    struct txn_summary s;
    struct value new[] = {v("1")};
    txn_begin(&b);
    txn_add_message(&b, STR("p"), STR("c"));
    for (uint32_t i = 0; i < 2 * TXN_RELATIONS; i++) { /* each twice */
        txn_add_row(&b, CHANGE_INSERT, 1 + i / 2, NULL, 0, new, 1);
    }
    assert_int_equal(txn_summarize(buf_str(&b), &s, &err), 0);
    assert_int_equal(s.changes, 1 + 2 * TXN_RELATIONS);
    assert_int_equal(s.n, TXN_RELATIONS);
    assert_int_equal(s.relations[0], 1);
    assert_int_equal(s.relations[TXN_RELATIONS - 1], TXN_RELATIONS);
    assert_true(s.messages);
    assert_false(s.truncates);
    assert_false(s.more);
    txn_add_row(&b, CHANGE_TRUNCATE, TXN_RELATIONS + 1, NULL, 0, NULL, 0);
    assert_int_equal(txn_summarize(buf_str(&b), &s, &err), 0);
    assert_int_equal(s.n, TXN_RELATIONS);
    assert_true(s.more);
    assert_true(s.truncates);
    buf_deinit(&b);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(TXN_CHANGE_MAX);
    struct err err;
    struct value new[] = {v("value"), v("more")};
    txn_begin(&b);
    txn_add_row(&b, CHANGE_INSERT, 1, NULL, 0, new, 2);
    txn_end(&b, &(struct txn_head){.end_lsn = 1});
    for (size_t n = 0; n < b.n; n++) {
        struct txn_head head;
        struct change change;
        if (txn_read_head((struct str){b.p, n}, &head, &err) < 0) {
            continue;
        }
        struct txn_cursor c = txn_changes((struct str){b.p, n});
        assert_int_equal(txn_next(&c, &change, &err), n == TXN_HEAD ? 0 : -1);
    }
    buf_deinit(&b);
}

static void a_relation_survives_the_log(void **state)
{
    (void)state;
    struct err err;
    struct relation_column columns[] = {{STR("id"), 23, -1, true}, {STR("näme"), 1043, 24, false}};
    struct relation r = {3, 16400, 'f', STR("public"), STR("items"), columns, 2}, *copy;
    struct buf b = BUF_INIT(RELATION_MAX_BYTES);
    relation_encode(&r, &b);
    for (size_t n = 0; n < b.n; n++) {
        assert_int_equal(relation_decode((struct str){b.p, n}, &copy, &err), -1);
    }
    assert_int_equal(relation_decode(buf_str(&b), &copy, &err), 0);
    buf_deinit(&b);
    assert_true(relation_equal(&r, copy));
    assert_int_equal(copy->id, 3);
    assert_int_equal(relation_column(copy, STR("näme")), 1);
    assert_int_equal(relation_column(copy, STR("none")), -1);
    struct relations all = {0};
    relations_put(&all, copy);
    relations_put(&all, relation_copy(&r));
    assert_non_null(relations_get(&all, 3));
    assert_null(relations_get(&all, 1));
    assert_null(relations_get(&all, 4));
    assert_null(relations_get(&all, 0));
    relations_deinit(&all);
}

static void lsn_text(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/", "1", "1/", "/1", "123456789/0", "1/g", "1/ 2", "1/2/3"};
    lsn_t lsn;
    assert_true(lsn_parse(STR("16/B374D848"), &lsn));
    assert_int_equal(lsn, 0x16B374D848);
    assert_true(lsn_parse(STR("ffffffff/FFFFFFFF"), &lsn));
    assert_int_equal(lsn, UINT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(lsn_parse(str_c(bad[i]), &lsn));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(a_summary_names_so_many_relations),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(a_relation_survives_the_log),
        cmocka_unit_test(lsn_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
