/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that come when they are committed: what is read from them, the versions of relations, and what
 * is refused. */
#include "repl/assemble_fixture.h"
#include "repl/recorded.h"

static void put_update(struct bench *b, uint32_t oid, char old_kind, const char *old, const char *new)
{
    put_head(b, 'U', 0);
    buf_put_u32be(&b->m, oid);
    if (old) {
        put_tuple(b, old_kind, old);
    }
    put_tuple(b, 'N', new);
}

static void transactions_come_whole(void **state)
{
    struct bench *b = *state;
    begin(b, 700, 0x100);
    relation(b, 0, ITEMS, "ab");
    insert(b, 0, "1-");
    put_update(b, ITEMS, 'O', "1-", "1x");
    feed_well(b);
    put_head(b, 'D', 0);
    buf_put_u32be(&b->m, ITEMS);
    put_tuple(b, 'O', "1x");
    feed_well(b);
    message(b, 0, true, "hello");
    expect(b, "relation 1=items/2\n");
    commit(b, 0x100);
    expect(b, "txn 700@108 I1:>1,- U1:<1,->1,x D1:<1,x M:p=hello\n");
    begin(b, 701, 0x200);
    commit(b, 0x200);
    expect(b, "position 208\n");
    message(b, 0, false, "alone");
    expect(b, "message 99 p=alone\n");
    begin(b, 702, 0x300);
    message(b, 0, false, "within");
    expect(b, "message 99 p=within\n");
    insert(b, 0, "2y");
    commit(b, 0x300);
    expect(b, "txn 702@308 I1:>2,y\n");
}

static void truncate_is_a_change_of_each_relation(void **state)
{
    struct bench *b = *state;
    begin(b, 700, 0x100);
    relation(b, 0, ITEMS, "ab");
    relation(b, 0, OTHERS, "a");
    put_head(b, 'T', 0);
    buf_put_u32be(&b->m, 2);
    buf_put_byte(&b->m, 3);
    buf_put_u32be(&b->m, OTHERS);
    buf_put_u32be(&b->m, ITEMS);
    feed_well(b);
    commit(b, 0x100);
    expect(b, "relation 1=items/2\nrelation 2=others/1\ntxn 700@108 T2: T1:\n");
}

static void put_truncate(struct bench *b, uint32_t oid)
{
    put_head(b, 'T', 0);
    buf_put_u32be(&b->m, 1);
    buf_put_byte(&b->m, 0);
    buf_put_u32be(&b->m, oid);
    feed_well(b);
}

static void truncate_of_what_was_emptied_is_no_change(void **state)
{
    struct bench *b = *state;
    char oid[16];
    snprintf(oid, sizeof oid, "%u", ITEMS);
    begin(b, 700, 0x100);
    relation(b, 0, ITEMS, "ab");
    relation(b, 0, OTHERS, "a");
    put_message(b, 0, true, "busbar.emptied", oid);
    feed_well(b);
    put_truncate(b, ITEMS);
    put_truncate(b, ITEMS); /* another statement */
    put_message(b, 0, true, "busbar.emptied", oid);
    feed_well(b);
    put_message(b, 0, true, "busbar.emptied", "x");
    feed_well(b);
    put_truncate(b, OTHERS);
    commit(b, 0x100);
    expect(b, "relation 1=items/2\nrelation 2=others/1\ntxn 700@108 T1: T2:\n");
}

static void what_toast_left_out_is_filled_in(void **state)
{
    struct bench *b = *state;
    begin(b, 700, 0x100);
    relation(b, 0, ITEMS, "ab");
    relation(b, 0, OTHERS, "ab");
    relation(b, 0, SETTINGS, "ab");
    put_update(b, ITEMS, 'O', "1L", "2?");
    feed_well(b);
    put_update(b, ITEMS, 'O', "1-", "2?"); /* NULL is never left out, but would be taken over */
    feed_well(b);
    put_update(b, OTHERS, 'K', "L-", "?x"); /* a key is in the old key, which is no old row */
    feed_well(b);
    put_update(b, OTHERS, 'K', "1-", "2x");
    feed_well(b);
    put_update(b, SETTINGS, 0, NULL, "1?");
    feed_well(b);
    commit(b, 0x100);
    buf_consume(&b->seen, strlen("relation 1=items/2\nrelation 2=others/2\nrelation 3=settings/2\n"));
    expect(b, "txn 700@108 U1:<1,L>2,L U1:<1,->2,- U2:>L,x U2:>2,x U3:>1,-\n");
}

static void a_value_left_out_for_good_is_a_failure(void **state)
{
    struct bench *b = *state;
    for (int with_key = 0; with_key < 2; with_key++) {
        assemble_reset(b->a);
        begin(b, 700, 0x100);
        relation(b, 0, OTHERS, "ab");
        put_update(b, OTHERS, 'K', with_key ? "1-" : NULL, "2?");
        expect_failure(b, ERR_UPSTREAM, "\"public\".\"others\"");
        assert_non_null(strstr(b->err.msg, "REPLICA IDENTITY FULL"));
        put_insert(b, 0, OTHERS, "12");
        expect_failure(b, ERR_PEER, "after a failure");
    }
}

static void a_relation_has_versions(void **state)
{
    struct bench *b = *state;
    begin(b, 700, 0x100);
    relation(b, 0, ITEMS, "ab");
    insert(b, 0, "12");
    relation(b, 0, ITEMS, "ab");
    insert(b, 0, "34");
    relation(b, 0, ITEMS, "abc");
    insert(b, 0, "567");
    commit(b, 0x100);
    expect(b, "relation 1=items/2\nrelation 2=items/3\ntxn 700@108 I1:>1,2 I1:>3,4 I2:>5,6,7\n");
    assemble_reset(b->a);
    begin(b, 701, 0x200);
    put_insert(b, 0, ITEMS, "567");
    expect_failure(b, ERR_PEER, "did not describe relation 16400");
    assemble_reset(b->a);
    begin(b, 701, 0x200);
    relation(b, 0, ITEMS, "abc");
    insert(b, 0, "567");
    commit(b, 0x200);
    expect(b, "txn 701@208 I2:>5,6,7\n");
    begin(b, 702, 0x300);
    put_insert(b, 0, ITEMS, "12");
    expect_failure(b, ERR_PEER, "has not the 3 columns");
}

static void versions_go_on_from_the_log(void **state)
{
    struct bench *b = bench_new(&(struct assemble_options){.next_relation = 8});
    struct relation_column columns[] = {{STR("a"), 25, -1, true}, {STR("b"), 25, -1, false}};
    struct relation r = {7, ITEMS, 'f', STR("public"), STR("items"), columns, 2};
    (void)state;
    relations_put(&b->relations, relation_copy(&r));
    assemble_preload(b->a, &r);
    begin(b, 700, 0x100);
    relation(b, 0, ITEMS, "ab");
    insert(b, 0, "12");
    relation(b, 0, OTHERS, "a");
    commit(b, 0x100);
    expect(b, "relation 8=others/1\ntxn 700@108 I7:>1,2\n");
    bench_free(b);
}

static void transaction_ids_have_their_epoch(void **state)
{
    static const struct {
        uint64_t near;
        uint32_t xid;
        uint64_t whole;
    } rows[] = {
        {0, 700, 700},
        {700, 700, 700},
        {(5ull << 32) + 700, 701, (5ull << 32) + 701},
        {(5ull << 32) + 700, 699, (5ull << 32) + 699},
        {(5ull << 32) + 700, 0xfffffff0, (4ull << 32) + 0xfffffff0},
        {(5ull << 32) + 0xfffffff0, 10, (6ull << 32) + 10},
        {10, 0xfffffff0, 0xfffffff0}, /* there is none before */
        {0xfffffff0, 10, (1ull << 32) + 10},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench *b = bench_new(&(struct assemble_options){.xid_near = rows[i].near});
        char expected[64];
        begin(b, rows[i].xid, 0x100);
        message(b, 0, true, "");
        commit(b, 0x100);
        snprintf(expected, sizeof expected, "txn %llu@108 M:p=\n", (unsigned long long)rows[i].whole);
        expect(b, expected);
        bench_free(b);
    }
    struct bench *b = bench_new(&(struct assemble_options){0});
    assemble_set_xid_near(b->a, 3ull << 32);
    for (uint32_t i = 1; i <= 8; i++) { /* it goes along */
        begin(b, i << 29, 0x100);
        message(b, 0, true, "");
        commit(b, 0x100);
    }
    assert_non_null(strstr(buf_cstr(&b->seen), "txn 17179869184@108"));
    bench_free(b);
}

static void too_many_relations_are_refused(void **state)
{
    struct bench *b = *state;
    buf_init(&b->seen, 0);
    begin(b, 700, 0x100);
    for (uint32_t i = 0; i < ASSEMBLE_RELATIONS; i++) {
        relation(b, 0, 20000 + i, "a");
    }
    put_relation(b, 0, 1, "a");
    expect_failure(b, ERR_LIMIT, "100000 relations");
}

/* Each after what a bench has been told; a message that cannot come now. */
static void what_cannot_come_is_refused(void **state)
{
    enum place { IDLE, IN_TXN, IN_BLOCK };
    static const struct {
        const char *name;
        enum place place;
        struct str bytes;
    } rows[] = {
        {"a row of no transaction", IDLE, {"I\0\0@\1N\0\0", 8}},
        {"a commit of nothing", IDLE, {"C\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 26}},
        {"a transactional message of none", IDLE, {"M\1\0\0\0\0\0\0\0\0\0\0\0\0\0", 15}},
        {"the end of no block", IDLE, {"E", 1}},
        {"a block goes on that was not", IDLE, {"S\0\0\0\1\0", 6}},
        {"a commit of no stream", IDLE, {"c\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 30}},
        {"an abort of no stream", IDLE, {"A\0\0\0\1\0\0\0\1", 9}},
        {"begin in a transaction", IN_TXN, {"B\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 21}},
        {"another position", IN_TXN, {"C\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 26}},
        {"a block in a transaction", IN_TXN, {"S\0\0\0\1\1", 6}},
        {"an unknown relation", IN_TXN, {"I\0\0@\1N\0\0", 8}},
        {"truncate of an unknown relation", IN_TXN, {"T\0\0\0\1\0\0\0@\1", 10}},
        {"begin in a block", IN_BLOCK, {"B\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 21}},
        {"a block in a block", IN_BLOCK, {"S\0\0\0\1\1", 6}},
        {"malformed", IN_BLOCK, {"I", 1}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench *b = bench_new(&(struct assemble_options){0});
        if (rows[i].place == IN_TXN) {
            begin(b, 700, 0x100);
        } else if (rows[i].place == IN_BLOCK) {
            start(b, 700, true);
        }
        buf_put_str(&b->m, rows[i].bytes);
        if (feed(b) == 0) {
            fail_msg("%s: taken", rows[i].name);
        }
        assert_int_equal(b->err.kind, ERR_PEER);
        expect(b, "");
        bench_free(b);
    }
    struct bench *b = bench_new(&(struct assemble_options){0});
    start(b, 700, true);
    stop(b);
    put_start(b, 700, true);
    expect_failure(b, ERR_PEER, "do not fit together");
    bench_free(b);
}

static void recorded_rows_are_read(void **state)
{
    struct bench *b = *state;
    feed_recorded(b, recorded_rows, sizeof recorded_rows);
    expect(b, "relation 1=items/3\n"
              "txn 729@1540D40 I1:>1,a,\\x00ff I1:>2,-,\\x\n"
              "txn 730@1540DD0 U1:<1,a,\\x00ff>1,b,\\x00ff\n"
              "txn 731@1540E48 D1:<2,-,\\x\n"
              "relation 2=others/2\n"
              "txn 732@1540F58 I2:>1,1\n"
              "txn 733@1540FD8 U2:>1,2\n"
              "txn 734@15410A0 U2:>3,2\n" /* the old key alone is no old row */
              "txn 735@1541110 D2:\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK(transactions_come_whole),
        TALK(truncate_is_a_change_of_each_relation),
        TALK(truncate_of_what_was_emptied_is_no_change),
        TALK(what_toast_left_out_is_filled_in),
        TALK(a_value_left_out_for_good_is_a_failure),
        TALK(a_relation_has_versions),
        cmocka_unit_test(versions_go_on_from_the_log),
        cmocka_unit_test(transaction_ids_have_their_epoch),
        TALK(too_many_relations_are_refused),
        cmocka_unit_test(what_cannot_come_is_refused),
        TALK(recorded_rows_are_read),
    };
    int failed = cmocka_run_group_tests_name("in memory", tests, NULL, NULL);
    failed += go_on_in_files() ? cmocka_run_group_tests_name("in files", tests, NULL, NULL) : 1;
    return failed + (rmdir(folder) != 0); /* none is left */
}
