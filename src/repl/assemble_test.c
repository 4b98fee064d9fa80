/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations: what the server sends is put together by the functions below, what comes out is compared as
 * text. */
#include "repl/assemble.h"

#include "base/mem.h"
#include "repl/recorded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { ITEMS = 16400, OTHERS = 16401, SETTINGS = 16402 };

struct bench {
    struct assemble *a;
    struct relations relations;
    struct buf seen; /* as text */
    struct buf m;    /* the message being made */
    bool in_block;
    struct err err;
};

/* --- what comes out --- */

static void on_relation(void *ctx, const struct relation *r)
{
    struct bench *b = ctx;
    buf_printf(&b->seen, "relation %u=%.*s/%u\n", r->id, STR_ARG(r->name), r->n);
    relations_put(&b->relations, relation_copy(r));
}

static void show_tuple(struct bench *b, const struct tuple *t, const char *open)
{
    struct value values[8];
    struct err err;
    if (t->columns == 0) {
        return;
    }
    buf_put_c(&b->seen, open);
    assert_in_range(t->columns, 1, ARRAY_LEN(values));
    assert_int_equal(tuple_values(t, values, &err), 0);
    for (uint32_t i = 0; i < t->columns; i++) {
        buf_put_c(&b->seen, i ? "," : "");
        if (values[i].p) {
            buf_put(&b->seen, values[i].p, values[i].n);
        } else {
            buf_put_c(&b->seen, "-");
        }
    }
}

static void show_change(struct bench *b, const struct change *c)
{
    if (c->kind == CHANGE_MESSAGE) {
        buf_printf(&b->seen, " M:%.*s=%.*s", STR_ARG(c->prefix), STR_ARG(c->content));
        return;
    }
    const struct relation *r = relations_get(&b->relations, c->relation);
    assert_non_null(r);
    buf_printf(&b->seen, " %c%u:", " IUDT"[c->kind], c -> relation);
    show_tuple(b, &c->old, "<");
    show_tuple(b, &c->new, ">");
}

/* What was noted on the way is what going through it finds. */
static void assert_summary(const struct txn *txn)
{
    struct txn_summary found;
    const struct txn_summary *noted = txn_summary(txn);
    struct err err;
    assert_int_equal(txn_summarize(txn_bytes(txn), &found, &err), 0);
    assert_int_equal(noted->changes, found.changes);
    assert_int_equal(noted->n, found.n);
    assert_memory_equal(noted->relations, found.relations, found.n * sizeof *found.relations);
    assert_int_equal(noted->more, found.more);
    assert_int_equal(noted->messages, found.messages);
    assert_int_equal(noted->truncates, found.truncates);
}

static void on_txn(void *ctx, struct txn *txn)
{
    struct bench *b = ctx;
    const struct txn_head *head = txn_head(txn);
    struct txn_cursor cursor = txn_changes(txn_bytes(txn));
    struct change change;
    struct err err;
    uint32_t changes = 0;
    buf_printf(&b->seen, "txn %llu@%X", (unsigned long long)head->xid, (unsigned)head->end_lsn);
    while (txn_next(&cursor, &change, &err) == 1) {
        show_change(b, &change);
        changes++;
    }
    buf_put_c(&b->seen, "\n");
    assert_int_equal(changes, head->changes);
    assert_summary(txn);
    txn_unref(txn);
}

static void on_position(void *ctx, lsn_t lsn)
{
    struct bench *b = ctx;
    buf_printf(&b->seen, "position %X\n", (unsigned)lsn);
}

static void on_message(void *ctx, lsn_t lsn, struct str prefix, struct str content)
{
    struct bench *b = ctx;
    buf_printf(&b->seen, "message %X %.*s=%.*s\n", (unsigned)lsn, STR_ARG(prefix), STR_ARG(content));
}

static const struct assemble_events events = {on_relation, on_txn, on_position, on_message};

/* Every conversation is had with transactions in memory, and with all that comes written to files there. */
static char folder[64];

static struct bench *bench_new(const struct assemble_options *options)
{
    struct bench *b = mem_zalloc(sizeof *b);
    buf_init(&b->seen, 1024 * 1024);
    buf_init(&b->m, 4 * 1024 * 1024);
    struct assemble_options all = *options;
    all.folder = folder[0] ? folder : NULL;
    all.memory_max = all.memory_max ? all.memory_max : 1;
    b->a = assemble_new(&all, &events, b);
    return b;
}

static void bench_free(struct bench *b)
{
    assemble_free(b->a);
    relations_deinit(&b->relations);
    buf_deinit(&b->seen);
    buf_deinit(&b->m);
    free(b);
}

static void expect(struct bench *b, const char *text)
{
    assert_string_equal(buf_cstr(&b->seen), text);
    buf_reset(&b->seen);
}

/* --- what goes in --- */

static void put_u64(struct bench *b, uint64_t v)
{
    buf_put_u32be(&b->m, (uint32_t)(v >> 32));
    buf_put_u32be(&b->m, (uint32_t)v);
}

static void put_cstr(struct bench *b, const char *s)
{
    buf_put(&b->m, s, strlen(s) + 1);
}

static int feed(struct bench *b)
{
    char *alone = mem_alloc(b->m.n);
    memcpy(alone, b->m.p, b->m.n);
    int rc = assemble_feed(b->a, (struct str){alone, b->m.n}, &b->err);
    free(alone);
    buf_reset(&b->m);
    return rc;
}

static void feed_well(struct bench *b)
{
    if (feed(b) < 0) {
        fail_msg("%s", b->err.msg);
    }
}

static void expect_failure(struct bench *b, enum err_kind kind, const char *words)
{
    assert_int_equal(feed(b), -1);
    assert_int_equal(b->err.kind, kind);
    if (!strstr(b->err.msg, words)) {
        fail_msg("\"%s\" is not in \"%s\"", words, b->err.msg);
    }
}

static void put_head(struct bench *b, char kind, uint32_t xid)
{
    buf_put_byte(&b->m, kind);
    if (b->in_block) {
        buf_put_u32be(&b->m, xid);
    }
}

static void begin(struct bench *b, uint32_t xid, lsn_t lsn)
{
    buf_put_byte(&b->m, 'B');
    put_u64(b, lsn);
    put_u64(b, 0);
    buf_put_u32be(&b->m, xid);
    feed_well(b);
}

static void put_commit(struct bench *b, lsn_t lsn)
{
    buf_put_byte(&b->m, 0);
    put_u64(b, lsn);
    put_u64(b, lsn + 8);
    put_u64(b, 0);
}

static void commit(struct bench *b, lsn_t lsn)
{
    buf_put_byte(&b->m, 'C');
    put_commit(b, lsn);
    feed_well(b);
}

static void put_relation(struct bench *b, uint32_t xid, uint32_t oid, const char *columns)
{
    put_head(b, 'R', xid);
    buf_put_u32be(&b->m, oid);
    put_cstr(b, oid == SETTINGS ? "busbar" : "public");
    put_cstr(b, oid == ITEMS ? "items" : oid == OTHERS ? "others" : "settings");
    buf_put_byte(&b->m, oid == ITEMS ? 'f' : 'd');
    buf_put_u16be(&b->m, (uint16_t)strlen(columns));
    for (const char *c = columns; *c; c++) {
        buf_put_byte(&b->m, c == columns);
        buf_put_byte(&b->m, *c);
        buf_put_byte(&b->m, 0);
        buf_put_u32be(&b->m, 25);
        buf_put_u32be(&b->m, UINT32_MAX);
    }
}

/* One letter a column, the first is the key. */
static void relation(struct bench *b, uint32_t xid, uint32_t oid, const char *columns)
{
    put_relation(b, xid, oid, columns);
    feed_well(b);
}

/* Values are letters; '-' is NULL and '?' what is left out. */
static void put_tuple(struct bench *b, char kind, const char *values)
{
    buf_put_byte(&b->m, kind);
    buf_put_u16be(&b->m, (uint16_t)strlen(values));
    for (const char *v = values; *v; v++) {
        buf_put_byte(&b->m, *v == '-' ? 'n' : *v == '?' ? 'u' : 't');
        if (*v != '-' && *v != '?') {
            buf_put_u32be(&b->m, 1);
            buf_put_byte(&b->m, *v);
        }
    }
}

static void put_insert(struct bench *b, uint32_t xid, uint32_t oid, const char *values)
{
    put_head(b, 'I', xid);
    buf_put_u32be(&b->m, oid);
    put_tuple(b, 'N', values);
}

static void insert(struct bench *b, uint32_t xid, const char *values)
{
    put_insert(b, xid, ITEMS, values);
    feed_well(b);
}

static void put_update(struct bench *b, uint32_t oid, char old_kind, const char *old, const char *new)
{
    put_head(b, 'U', 0);
    buf_put_u32be(&b->m, oid);
    if (old) {
        put_tuple(b, old_kind, old);
    }
    put_tuple(b, 'N', new);
}

static void put_message(struct bench *b, uint32_t xid, bool transactional, const char *prefix,
                        const char *content)
{
    put_head(b, 'M', xid);
    buf_put_byte(&b->m, transactional);
    put_u64(b, 0x99);
    put_cstr(b, prefix);
    buf_put_u32be(&b->m, (uint32_t)strlen(content));
    buf_put_c(&b->m, content);
}

static void message(struct bench *b, uint32_t xid, bool transactional, const char *content)
{
    put_message(b, xid, transactional, "p", content);
    feed_well(b);
}

static void put_start(struct bench *b, uint32_t xid, bool first)
{
    buf_put_byte(&b->m, 'S');
    buf_put_u32be(&b->m, xid);
    buf_put_byte(&b->m, first);
}

static void start(struct bench *b, uint32_t xid, bool first)
{
    put_start(b, xid, first);
    feed_well(b);
    b->in_block = true;
}

static void stop(struct bench *b)
{
    buf_put_byte(&b->m, 'E');
    feed_well(b);
    b->in_block = false;
}

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

/* --- tests --- */

static int setup(void **state)
{
    *state = bench_new(&(struct assemble_options){0});
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
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

/* --- recorded --- */

static void feed_recorded(struct bench *b, const unsigned char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t size = (size_t)p[at] << 8 | p[at + 1];
        buf_put(&b->m, p + at + 2, size);
        feed_well(b);
        at += 2 + size;
    }
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
#define TALK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TALK(transactions_come_whole),
        TALK(truncate_is_a_change_of_each_relation),
        TALK(truncate_of_what_was_emptied_is_no_change),
        TALK(what_toast_left_out_is_filled_in),
        TALK(a_value_left_out_for_good_is_a_failure),
        TALK(a_relation_has_versions),
        cmocka_unit_test(versions_go_on_from_the_log),
        TALK(streamed_transactions_are_held_apart),
        cmocka_unit_test(a_rolled_back_savepoint_loses_its_changes_alone),
        TALK(messages_go_with_the_savepoint_they_follow),
        TALK(a_description_in_a_stream_is_its_own),
        TALK(the_later_description_wins),
        cmocka_unit_test(transaction_ids_have_their_epoch),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(what_is_much_together_goes_to_files),
        TALK(too_many_streams_are_refused),
        TALK(too_many_relations_are_refused),
        cmocka_unit_test(what_cannot_come_is_refused),
        TALK(recorded_rows_are_read),
        TALK(recorded_savepoints_are_rolled_back),
    };
    int failed = cmocka_run_group_tests_name("in memory", tests, NULL, NULL);
    snprintf(folder, sizeof folder, "/tmp/busbar-assemble-XXXXXX");
    failed += mkdtemp(folder) ? cmocka_run_group_tests_name("in files", tests, NULL, NULL) : 1;
    return failed + (rmdir(folder) != 0); /* none is left */
}
