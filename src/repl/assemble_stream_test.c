/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that are streamed before they are committed: several at a time, with savepoints that are
 * rolled back, and how much of them is held. */
#include "repl/assemble_fixture.h"
#include "repl/recorded.h"

static void stream_commit(struct bench *b, uint32_t xid, lsn_t lsn)
{
    buf_put_byte(&b->m, 'c');
    buf_put_u32be(&b->m, xid);
    put_commit(b, lsn);
    feed_well(b);
}

static void roll_back(struct bench *b, uint32_t xid, uint32_t sub)
{
    buf_put_byte(&b->m, 'A');
    buf_put_u32be(&b->m, xid);
    buf_put_u32be(&b->m, sub);
    feed_well(b);
}

static void streamed_transactions_are_held_apart(void **state)
{
    struct bench *b = *state;
    start(b, 700, true);
    relation(b, 700, ITEMS, "ab");
    insert(b, 700, "1a");
    stop(b);
    start(b, 701, true);
    relation(b, 701, ITEMS, "ab");
    insert(b, 701, "2b");
    stop(b);
    begin(b, 702, 0x100);
    relation(b, 0, ITEMS, "ab");
    insert(b, 0, "3c");
    commit(b, 0x100);
    start(b, 700, false);
    insert(b, 700, "4d");
    message(b, 700, true, "m");
    stop(b);
    expect(b, "relation 1=items/2\ntxn 702@108 I1:>3,c\n");
    stream_commit(b, 701, 0x200);
    expect(b, "txn 701@208 I1:>2,b\n");
    assert_true(assemble_held(b->a) > 0);
    stream_commit(b, 700, 0x300);
    expect(b, "txn 700@308 I1:>1,a I1:>4,d M:p=m\n");
    assert_int_equal(assemble_held(b->a), 0);
    start(b, 703, true);
    stop(b);
    stream_commit(b, 703, 0x400);
    expect(b, "position 408\n");
    start(b, 704, true);
    relation(b, 704, ITEMS, "ab");
    insert(b, 704, "5e");
    stop(b);
    roll_back(b, 704, 704);
    expect(b, "");
    assert_int_equal(assemble_held(b->a), 0);
}

/* Savepoints: 701 and 704 below 700, 702 and 703 below 701. */
static void stream_savepoints(struct bench *b)
{
    start(b, 700, true);
    relation(b, 700, ITEMS, "ab");
    insert(b, 700, "0-");
    insert(b, 701, "1-");
    insert(b, 702, "2-");
    stop(b);
    start(b, 700, false);
    insert(b, 701, "1x");
    insert(b, 703, "3-");
    insert(b, 703, "3x");
    insert(b, 701, "1y");
    stop(b);
}

static void go_on_after_savepoints(struct bench *b)
{
    start(b, 700, false);
    relation(b, 700, ITEMS, "ab");
    insert(b, 704, "4-");
    insert(b, 700, "0x");
    stop(b);
    stream_commit(b, 700, 0x100);
}

static void a_rolled_back_savepoint_loses_its_changes_alone(void **state)
{
    static const struct {
        uint32_t aborted[4];
        const char *left;
    } rows[] = {
        {{0}, "I1:>0,- I1:>1,- I1:>2,- I1:>1,x I1:>3,- I1:>3,x I1:>1,y"},
        {{702}, "I1:>0,- I1:>1,- I1:>1,x I1:>3,- I1:>3,x I1:>1,y"},
        {{703}, "I1:>0,- I1:>1,- I1:>2,- I1:>1,x I1:>1,y"},
        {{703, 702}, "I1:>0,- I1:>1,- I1:>1,x I1:>1,y"},
        {{702, 703, 701}, "I1:>0,-"},
        {{701, 702, 703}, "I1:>0,-"},
        {{699}, "I1:>0,- I1:>1,- I1:>2,- I1:>1,x I1:>3,- I1:>3,x I1:>1,y"},
        {{701, 702, 703, 704}, "I1:>0,-"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench *b = bench_new(&(struct assemble_options){0});
        char expected[256];
        stream_savepoints(b);
        for (size_t j = 0; j < ARRAY_LEN(rows[i].aborted) && rows[i].aborted[j]; j++) {
            roll_back(b, 700, rows[i].aborted[j]);
        }
        go_on_after_savepoints(b);
        snprintf(expected, sizeof expected, "relation 1=items/2\ntxn 700@108 %s I1:>4,- I1:>0,x\n",
                 rows[i].left);
        expect(b, expected);
        assert_int_equal(assemble_held(b->a), 0);
        bench_free(b);
    }
}

/* pgoutput gives them the whole transaction's id, whatever wrote them. */
static void messages_go_with_the_savepoint_they_follow(void **state)
{
    struct bench *b = *state;
    start(b, 700, true);
    relation(b, 700, ITEMS, "ab");
    message(b, 700, true, "kept");
    insert(b, 700, "0-");
    message(b, 700, true, "too");
    insert(b, 701, "1-");
    message(b, 700, true, "gone");
    stop(b);
    roll_back(b, 700, 701);
    start(b, 700, false);
    message(b, 700, true, "later");
    stop(b);
    stream_commit(b, 700, 0x100);
    expect(b, "relation 1=items/2\ntxn 700@108 M:p=kept I1:>0,- M:p=too M:p=later\n");
}

static void a_description_in_a_stream_is_its_own(void **state)
{
    struct bench *b = *state;
    begin(b, 690, 0x90);
    relation(b, 0, ITEMS, "ab");
    relation(b, 0, OTHERS, "ab");
    commit(b, 0x90);
    start(b, 700, true);
    relation(b, 700, ITEMS, "abc"); /* 700 has added a column */
    insert(b, 700, "123");
    relation(b, 701, OTHERS, "a"); /* its savepoint has dropped one */
    stop(b);
    begin(b, 702, 0x100);
    insert(b, 0, "45");
    commit(b, 0x100);
    roll_back(b, 700, 701);
    stream_commit(b, 700, 0x200);
    begin(b, 703, 0x300);
    insert(b, 0, "678");
    put_insert(b, 0, OTHERS, "12");
    feed_well(b);
    relation(b, 0, ITEMS, "abc");
    commit(b, 0x300);
    expect(b, "relation 1=items/2\nrelation 2=others/2\nposition 98\n"
              "relation 3=items/3\nrelation 4=others/1\n"
              "txn 702@108 I1:>4,5\ntxn 700@208 I3:>1,2,3\ntxn 703@308 I3:>6,7,8 I2:>1,2\n");
}

static void the_later_description_wins(void **state)
{
    struct bench *b = *state;
    start(b, 700, true);
    relation(b, 700, ITEMS, "a");
    insert(b, 700, "1");
    stop(b);
    begin(b, 701, 0x100);
    relation(b, 0, ITEMS, "ab");
    commit(b, 0x100);
    stream_commit(b, 700, 0x200);
    begin(b, 702, 0x300);
    insert(b, 0, "12");
    commit(b, 0x300);
    expect(b,
           "relation 1=items/1\nrelation 2=items/2\nposition 108\ntxn 700@208 I1:>1\ntxn 702@308 I2:>1,2\n");
}

static void limits_hold(void **state)
{
    struct bench *b = bench_new(&(struct assemble_options){.txn_max = 400, .held_max = 1000});
    (void)state;
    begin(b, 700, 0x100);
    relation(b, 0, ITEMS, "ab");
    for (int i = 0; i < 9; i++) { /* 38 bytes each */
        insert(b, 0, "12");
    }
    put_insert(b, 0, ITEMS, "12");
    expect_failure(b, ERR_LIMIT, "transaction 700 is larger than 400 bytes");
    assemble_reset(b->a);
    for (uint32_t xid = 800; xid < 803; xid++) {
        start(b, xid, true);
        relation(b, xid, ITEMS, "ab");
        for (int i = 0; i < 5; i++) {
            insert(b, xid, "12");
        }
        stop(b);
    }
    start(b, 803, true);
    relation(b, 803, ITEMS, "ab");
    for (int i = 0; i < 5; i++) {
        insert(b, 803, "12");
    }
    put_insert(b, 803, ITEMS, "12");
    if (folder[0]) { /* it is memory that is limited */
        feed_well(b);
        assert_in_range(assemble_held(b->a), 1, 200);
    } else {
        expect_failure(b, ERR_LIMIT, "hold more than 1000 bytes");
    }
    assemble_reset(b->a);
    assert_int_equal(assemble_held(b->a), 0);
    bench_free(b);
}

/* Each of them would have room. */
static void what_is_much_together_goes_to_files(void **state)
{
    enum { MESSAGES = 200, BYTES = 1000, MOST = 300000, LITTLE = 70000 };
    struct bench *b = bench_new(&(struct assemble_options){.memory_max = 1 << 20, .held_memory_max = MOST});
    char text[BYTES + 1];
    (void)state;
    memset(text, 'x', BYTES);
    text[BYTES] = '\0';
    for (uint32_t xid = 1; xid <= 5; xid++) {
        start(b, xid, true);
        for (int i = 0; i < MESSAGES; i++) {
            message(b, xid, true, text);
        }
        stop(b);
    }
    if (folder[0]) {
        assert_in_range(assemble_held(b->a), LITTLE, MOST + LITTLE);
    } else {
        assert_true(assemble_held(b->a) > 5 * MESSAGES * BYTES);
    }
    for (uint32_t xid = 1; xid <= 5; xid++) {
        buf_reset(&b->seen);
        stream_commit(b, xid, 0x100 * xid);
        assert_in_range(b->seen.n, MESSAGES * BYTES, 2 * MESSAGES * BYTES);
    }
    assert_int_equal(assemble_held(b->a), 0);
    bench_free(b);
}

static void too_many_streams_are_refused(void **state)
{
    struct bench *b = *state;
    for (uint32_t i = 1; i <= ASSEMBLE_STREAMS; i++) {
        start(b, i, true);
        stop(b);
    }
    put_start(b, ASSEMBLE_STREAMS + 1, true);
    expect_failure(b, ERR_LIMIT, "10000 transactions are streamed");
}

static void recorded_savepoints_are_rolled_back(void **state)
{
    struct bench *b = *state;
    feed_recorded(b, recorded_savepoints, sizeof recorded_savepoints);
    expect(b, "relation 1=items/3\n"
              "txn 762@205D9B0 I1:>1,-,- I1:>2,-,- U1:<1,-,->1,-,x I1:>5001,-,- I1:>5002,-,- "
              "D1:<2,-,- D1:<3,-,-\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK(streamed_transactions_are_held_apart),
        cmocka_unit_test(a_rolled_back_savepoint_loses_its_changes_alone),
        TALK(messages_go_with_the_savepoint_they_follow),
        TALK(a_description_in_a_stream_is_its_own),
        TALK(the_later_description_wins),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_is_much_together_goes_to_files),
        TALK(too_many_streams_are_refused),
        TALK(recorded_savepoints_are_rolled_back),
    };
    int failed = cmocka_run_group_tests_name("in memory", tests, NULL, NULL);
    failed += go_on_in_files() ? cmocka_run_group_tests_name("in files", tests, NULL, NULL) : 1;
    return failed + (rmdir(folder) != 0); /* none is left */
}
