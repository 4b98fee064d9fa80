/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as messages of pgoutput, each with its length (2 bytes) before it, assembled to transactions.
 * What comes out can be read, and refers to relations that were told before with columns as told. A
 * connection that breaks anywhere and begins anew gives the same transactions. A message cut short is
 * refused.
 */
#include "repl/pgoutput.h"
#include "base/mem.h"
#include "base/rd.h"
#include "repl/assemble.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEN_MAX = 64 * 1024 * 1024, CUTS_MAX = 200 };

struct seen {
    struct relations relations;
    struct buf text; /* without versions: they may differ */
};

static void on_relation(void *ctx, const struct relation *r)
{
    struct seen *s = ctx;
    assert(!relations_get(&s->relations, r->id));
    relations_put(&s->relations, relation_copy(r));
}

static void put_tuple(struct seen *s, const struct relation *r, const struct tuple *t)
{
    static struct value values[RELATION_MAX_COLUMNS];
    struct err err;
    assert(t->columns == 0 || t->columns == r->n);
    int rc = tuple_values(t, values, &err);
    assert(rc == 0);
    buf_put(&s->text, t->p, t->bytes);
    (void)rc;
}

static void put_change(struct seen *s, const struct change *c)
{
    buf_put_byte(&s->text, (char)c->kind);
    if (c->kind == CHANGE_MESSAGE) {
        buf_put_str(&s->text, c->prefix);
        buf_put_str(&s->text, c->content);
        return;
    }
    const struct relation *r = relations_get(&s->relations, c->relation);
    assert(r);
    struct relation unversioned = *r;
    unversioned.id = 0;
    relation_encode(&unversioned, &s->text);
    put_tuple(s, r, &c->old);
    put_tuple(s, r, &c->new);
}

static void on_txn(void *ctx, struct txn *txn)
{
    struct seen *s = ctx;
    struct txn_cursor cursor = txn_changes(txn_bytes(txn));
    struct change change;
    struct err err;
    uint32_t n = 0;
    int rc;
    buf_put(&s->text, txn_bytes(txn).p, TXN_HEAD);
    while ((rc = txn_next(&cursor, &change, &err)) == 1) {
        put_change(s, &change);
        n++;
    }
    assert(rc == 0 && n == txn_head(txn)->changes && n > 0);
    txn_unref(txn);
}

static void on_position(void *ctx, lsn_t lsn)
{
    struct seen *s = ctx;
    buf_put(&s->text, &lsn, sizeof lsn);
}

static void on_message(void *ctx, lsn_t lsn, struct str prefix, struct str content)
{
    struct seen *s = ctx;
    on_position(ctx, lsn);
    buf_put_str(&s->text, prefix);
    buf_put_str(&s->text, content);
}

/* From an allocation of its own, so that the sanitizer sees a byte read too far. */
static int feed_alone(struct assemble *a, struct str m, struct err *err)
{
    char *alone = mem_alloc(m.n ? m.n : 1);
    memcpy(alone, m.p, m.n);
    int rc = assemble_feed(a, (struct str){alone, m.n}, err);
    free(alone);
    return rc;
}

/* Feeds up to `most` messages; says how many were taken before a failure. */
static size_t feed_some(struct assemble *a, const uint8_t *data, size_t size, size_t most)
{
    struct rd r = rd_init(data, size);
    struct err err = ERR_INIT;
    for (size_t taken = 0; taken < most; taken++) {
        size_t n = rd_u16be(&r);
        struct str m = rd_bytes(&r, n < rd_left(&r) ? n : rd_left(&r));
        if (r.failed) {
            return taken;
        }
        if (feed_alone(a, m, &err) < 0) {
            assert(err.kind == ERR_PEER || err.kind == ERR_LIMIT || err.kind == ERR_UPSTREAM);
            assert(err.msg[0] != '\0');
            return taken;
        }
    }
    return most;
}

static const struct assemble_options options = {
    .xid_near = 1ull << 33, .txn_max = 1 << 20, .held_max = 1 << 21};
static const struct assemble_events events = {on_relation, on_txn, on_position, on_message};

static void whole(const uint8_t *data, size_t size, struct seen *s, size_t *out_messages)
{
    struct assemble *a = assemble_new(&options, &events, s);
    *out_messages = feed_some(a, data, size, SIZE_MAX);
    assemble_free(a);
}

static void interrupted(const uint8_t *data, size_t size, struct seen *s, size_t at)
{
    struct assemble *a = assemble_new(&options, &events, s);
    feed_some(a, data, size, at);
    assemble_reset(a);
    assemble_set_xid_near(a, options.xid_near);
    assert(assemble_held(a) == 0);
    buf_reset(&s->text);
    feed_some(a, data, size, SIZE_MAX);
    assemble_free(a);
}

static void seen_init(struct seen *s)
{
    *s = (struct seen){.text = BUF_INIT(SEEN_MAX)};
}

static void seen_deinit(struct seen *s)
{
    relations_deinit(&s->relations);
    buf_deinit(&s->text);
}

static void check_cuts(const uint8_t *data, size_t size, bool in_block)
{
    static struct pgoutput_room room;
    struct pgoutput_message m;
    struct err err;
    struct str bytes = {(const char *)data, size};
    if (size > CUTS_MAX || pgoutput_decode(bytes, in_block, &room, &m, &err) < 0) {
        return;
    }
    for (bytes.n = 0; bytes.n < size; bytes.n++) {
        int rc = pgoutput_decode(bytes, in_block, &room, &m, &err);
        assert(rc < 0);
        (void)rc;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen once, again;
    size_t messages;
    seen_init(&once);
    seen_init(&again);
    whole(data, size, &once, &messages);
    interrupted(data, size, &again, size ? data[size - 1] % (messages + 2) : 0);
    assert(str_eq(buf_str(&once.text), buf_str(&again.text)));
    seen_deinit(&once);
    seen_deinit(&again);
    check_cuts(data, size, false);
    check_cuts(data, size, true);
    return 0;
}
