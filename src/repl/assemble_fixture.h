/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: conversations. What the server sends is put together by the functions below, what comes out is
 * compared as text. */
#pragma once

#include "base/mem.h"
#include "repl/assemble.h"

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

static inline void on_relation(void *ctx, const struct relation *r)
{
    struct bench *b = ctx;
    buf_printf(&b->seen, "relation %u=%.*s/%u\n", r->id, STR_ARG(r->name), r->n);
    relations_put(&b->relations, relation_copy(r));
}

static inline void show_tuple(struct bench *b, const struct tuple *t, const char *open)
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

static inline void show_change(struct bench *b, const struct change *c)
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
static inline void assert_summary(const struct txn *txn)
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

static inline void on_txn(void *ctx, struct txn *txn)
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

static inline void on_position(void *ctx, lsn_t lsn)
{
    struct bench *b = ctx;
    buf_printf(&b->seen, "position %X\n", (unsigned)lsn);
}

static inline void on_message(void *ctx, lsn_t lsn, struct str prefix, struct str content)
{
    struct bench *b = ctx;
    buf_printf(&b->seen, "message %X %.*s=%.*s\n", (unsigned)lsn, STR_ARG(prefix), STR_ARG(content));
}

/* Every conversation is had with transactions in memory, and with all that comes written to files there. */
static char folder[64];

static inline struct bench *bench_new(const struct assemble_options *options)
{
    static const struct assemble_events events = {on_relation, on_txn, on_position, on_message};
    struct bench *b = mem_zalloc(sizeof *b);
    buf_init(&b->seen, 1024 * 1024);
    buf_init(&b->m, 4 * 1024 * 1024);
    struct assemble_options all = *options;
    all.folder = folder[0] ? folder : NULL;
    all.memory_max = all.memory_max ? all.memory_max : 1;
    b->a = assemble_new(&all, &events, b);
    return b;
}

static inline void bench_free(struct bench *b)
{
    assemble_free(b->a);
    relations_deinit(&b->relations);
    buf_deinit(&b->seen);
    buf_deinit(&b->m);
    free(b);
}

static inline void expect(struct bench *b, const char *text)
{
    assert_string_equal(buf_cstr(&b->seen), text);
    buf_reset(&b->seen);
}

/* --- what goes in --- */

static inline void put_u64(struct bench *b, uint64_t v)
{
    buf_put_u32be(&b->m, (uint32_t)(v >> 32));
    buf_put_u32be(&b->m, (uint32_t)v);
}

static inline void put_cstr(struct bench *b, const char *s)
{
    buf_put(&b->m, s, strlen(s) + 1);
}

static inline int feed(struct bench *b)
{
    char *alone = mem_alloc(b->m.n);
    memcpy(alone, b->m.p, b->m.n);
    int rc = assemble_feed(b->a, (struct str){alone, b->m.n}, &b->err);
    free(alone);
    buf_reset(&b->m);
    return rc;
}

static inline void feed_well(struct bench *b)
{
    if (feed(b) < 0) {
        fail_msg("%s", b->err.msg);
    }
}

static inline void expect_failure(struct bench *b, enum err_kind kind, const char *words)
{
    assert_int_equal(feed(b), -1);
    assert_int_equal(b->err.kind, kind);
    if (!strstr(b->err.msg, words)) {
        fail_msg("\"%s\" is not in \"%s\"", words, b->err.msg);
    }
}

static inline void put_head(struct bench *b, char kind, uint32_t xid)
{
    buf_put_byte(&b->m, kind);
    if (b->in_block) {
        buf_put_u32be(&b->m, xid);
    }
}

static inline void begin(struct bench *b, uint32_t xid, lsn_t lsn)
{
    buf_put_byte(&b->m, 'B');
    put_u64(b, lsn);
    put_u64(b, 0);
    buf_put_u32be(&b->m, xid);
    feed_well(b);
}

static inline void put_commit(struct bench *b, lsn_t lsn)
{
    buf_put_byte(&b->m, 0);
    put_u64(b, lsn);
    put_u64(b, lsn + 8);
    put_u64(b, 0);
}

static inline void commit(struct bench *b, lsn_t lsn)
{
    buf_put_byte(&b->m, 'C');
    put_commit(b, lsn);
    feed_well(b);
}

static inline void put_relation(struct bench *b, uint32_t xid, uint32_t oid, const char *columns)
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
static inline void relation(struct bench *b, uint32_t xid, uint32_t oid, const char *columns)
{
    put_relation(b, xid, oid, columns);
    feed_well(b);
}

/* Values are letters; '-' is NULL and '?' what is left out. */
static inline void put_tuple(struct bench *b, char kind, const char *values)
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

static inline void put_insert(struct bench *b, uint32_t xid, uint32_t oid, const char *values)
{
    put_head(b, 'I', xid);
    buf_put_u32be(&b->m, oid);
    put_tuple(b, 'N', values);
}

static inline void insert(struct bench *b, uint32_t xid, const char *values)
{
    put_insert(b, xid, ITEMS, values);
    feed_well(b);
}

static inline void put_message(struct bench *b, uint32_t xid, bool transactional, const char *prefix,
                               const char *content)
{
    put_head(b, 'M', xid);
    buf_put_byte(&b->m, transactional);
    put_u64(b, 0x99);
    put_cstr(b, prefix);
    buf_put_u32be(&b->m, (uint32_t)strlen(content));
    buf_put_c(&b->m, content);
}

static inline void message(struct bench *b, uint32_t xid, bool transactional, const char *content)
{
    put_message(b, xid, transactional, "p", content);
    feed_well(b);
}

static inline void put_start(struct bench *b, uint32_t xid, bool first)
{
    buf_put_byte(&b->m, 'S');
    buf_put_u32be(&b->m, xid);
    buf_put_byte(&b->m, first);
}

static inline void start(struct bench *b, uint32_t xid, bool first)
{
    put_start(b, xid, first);
    feed_well(b);
    b->in_block = true;
}

static inline void stop(struct bench *b)
{
    buf_put_byte(&b->m, 'E');
    feed_well(b);
    b->in_block = false;
}

static inline void feed_recorded(struct bench *b, const unsigned char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t size = (size_t)p[at] << 8 | p[at + 1];
        buf_put(&b->m, p + at + 2, size);
        feed_well(b);
        at += 2 + size;
    }
}

/* --- a group of tests --- */

static inline int setup(void **state)
{
    *state = bench_new(&(struct assemble_options){0});
    return 0;
}

static inline int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

#define TALK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* The tests that follow: with files. False when there can be no folder. */
static inline bool go_on_in_files(void)
{
    snprintf(folder, sizeof folder, "/tmp/busbar-assemble-XXXXXX");
    return mkdtemp(folder) != NULL;
}
