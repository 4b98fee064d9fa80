/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/txn.h"

#include "base/mem.h"
#include "repl/spill.h"

#include <assert.h>
#include <endian.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { CHANGE_HEAD = 12, TUPLE_HEAD = 8, NULL_VALUE = -1 };

struct txn {
    atomic_uint refs;
    struct txn_head head;
    struct txn_summary summary;
    struct str bytes;
    char *owned;        /* the bytes */
    struct spill *file; /* or this has them */
};

/* --- writing --- */

static void put_u32(struct buf *b, uint32_t v)
{
    v = htole32(v);
    buf_put(b, &v, sizeof v);
}

static void put_u64(struct buf *b, uint64_t v)
{
    v = htole64(v);
    buf_put(b, &v, sizeof v);
}

static void set_u32(struct buf *b, size_t at, uint32_t v)
{
    if (!b->overflow) {
        v = htole32(v);
        memcpy(b->p + at, &v, sizeof v);
    }
}

static uint32_t get_u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}

static uint64_t get_u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static void put_head(struct buf *b, const struct txn_head *head)
{
    put_u32(b, TXN_FORMAT);
    put_u32(b, head->changes);
    put_u64(b, head->end_lsn);
    put_u64(b, head->commit_lsn);
    put_u64(b, head->xid);
    put_u64(b, (uint64_t)head->commit_us);
}

void txn_begin(struct buf *b)
{
    assert(b->n == 0);
    put_head(b, &(struct txn_head){0});
}

static uint32_t count_changes(const struct buf *b)
{
    uint32_t n = 0;
    for (const char *p = b->p + TXN_HEAD; p < b->p + b->n; p += get_u32(p)) {
        n++;
    }
    return n;
}

void txn_end(struct buf *b, const struct txn_head *head)
{
    if (b->overflow) {
        return;
    }
    assert(b->n >= TXN_HEAD);
    struct txn_head whole = *head;
    size_t n = b->n;
    if (whole.changes == 0) {
        whole.changes = count_changes(b);
    }
    b->n = 0;
    put_head(b, &whole);
    b->n = n;
}

static void put_text(struct buf *b, struct str s)
{
    put_u32(b, (uint32_t)s.n);
    buf_put_str(b, s);
}

static size_t begin_change(struct buf *b, enum change_kind kind, uint32_t relation)
{
    size_t at = b->n;
    put_u32(b, 0);
    put_u32(b, (uint32_t)kind); /* a byte and three zeroes */
    put_u32(b, relation);
    return at;
}

static void put_tuple(struct buf *b, const struct value *values, uint32_t n)
{
    size_t at = b->n;
    put_u32(b, 0);
    put_u32(b, n);
    for (uint32_t i = 0; i < n; i++) {
        put_u32(b, values[i].p ? values[i].n : (uint32_t)NULL_VALUE);
        if (values[i].p) {
            buf_put(b, values[i].p, values[i].n);
        }
    }
    set_u32(b, at, (uint32_t)(b->n - at - TUPLE_HEAD));
}

void txn_add_row(struct buf *b, enum change_kind kind, uint32_t relation, const struct value *old,
                 uint32_t old_n, const struct value *new, uint32_t new_n)
{
    size_t at = begin_change(b, kind, relation);
    put_tuple(b, old, old_n);
    put_tuple(b, new, new_n);
    set_u32(b, at, (uint32_t)(b->n - at));
}

void txn_add_message(struct buf *b, struct str prefix, struct str content)
{
    size_t at = begin_change(b, CHANGE_MESSAGE, 0);
    put_text(b, prefix);
    put_text(b, content);
    set_u32(b, at, (uint32_t)(b->n - at));
}

/* --- reading --- */

static int damaged(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "a transaction in the log is damaged");
}

int txn_read_head(struct str bytes, struct txn_head *out_head, struct err *err)
{
    if (bytes.n < TXN_HEAD || get_u32(bytes.p) != TXN_FORMAT) {
        return damaged(err);
    }
    *out_head = (struct txn_head){.changes = get_u32(bytes.p + 4),
                                  .end_lsn = get_u64(bytes.p + 8),
                                  .commit_lsn = get_u64(bytes.p + 16),
                                  .xid = get_u64(bytes.p + 24),
                                  .commit_us = (int64_t)get_u64(bytes.p + 32)};
    return 0;
}

struct txn_cursor txn_changes(struct str bytes)
{
    return (struct txn_cursor){bytes.p + TXN_HEAD, bytes.p + bytes.n};
}

struct txn_cursor txn_changes_from(struct str bytes, size_t place)
{
    return (struct txn_cursor){bytes.p + place, bytes.p + bytes.n};
}

static bool take(const char **p, const char *end, size_t n, const char **out)
{
    if ((size_t)(end - *p) < n) {
        return false;
    }
    *out = *p;
    *p += n;
    return true;
}

static bool take_tuple(const char **p, const char *end, struct tuple *out)
{
    const char *head;
    if (!take(p, end, TUPLE_HEAD, &head)) {
        return false;
    }
    out->bytes = get_u32(head);
    out->columns = get_u32(head + 4);
    return take(p, end, out->bytes, &out->p);
}

static bool take_text(const char **p, const char *end, struct str *out)
{
    const char *head;
    if (!take(p, end, 4, &head)) {
        return false;
    }
    out->n = get_u32(head);
    return take(p, end, out->n, &out->p);
}

int txn_next(struct txn_cursor *c, struct change *out, struct err *err)
{
    if (c->p == c->end) {
        return 0;
    }
    if ((size_t)(c->end - c->p) < CHANGE_HEAD || get_u32(c->p) < CHANGE_HEAD ||
        get_u32(c->p) > (size_t)(c->end - c->p)) {
        return damaged(err);
    }
    const char *p = c->p + CHANGE_HEAD, *end = c->p + get_u32(c->p);
    *out = (struct change){.kind = (enum change_kind)get_u32(c->p + 4), .relation = get_u32(c->p + 8)};
    bool ok = out->kind == CHANGE_MESSAGE
                  ? take_text(&p, end, &out->prefix) && take_text(&p, end, &out->content)
                  : take_tuple(&p, end, &out->old) && take_tuple(&p, end, &out->new);
    if (!ok || p != end || out->kind < CHANGE_INSERT || out->kind > CHANGE_MESSAGE) {
        return damaged(err);
    }
    c->p = end;
    return 1;
}

/* --- what it has --- */

static void note_relation(struct txn_summary *s, uint32_t relation)
{
    for (uint32_t i = s->n; i > 0; i--) { /* most often the last one again */
        if (s->relations[i - 1] == relation) {
            return;
        }
    }
    if (s->n < TXN_RELATIONS) {
        s->relations[s->n++] = relation;
    } else {
        s->more = true;
    }
}

void txn_note(struct txn_summary *s, enum change_kind kind, uint32_t relation)
{
    s->changes++;
    s->truncates = s->truncates || kind == CHANGE_TRUNCATE;
    if (kind == CHANGE_MESSAGE) {
        s->messages = true;
    } else {
        note_relation(s, relation);
    }
}

int txn_summarize(struct str bytes, struct txn_summary *out_summary, struct err *err)
{
    struct txn_cursor c = txn_changes(bytes);
    struct change change;
    int rc;
    *out_summary = (struct txn_summary){0};
    while ((rc = txn_next(&c, &change, err)) == 1) {
        txn_note(out_summary, change.kind, change.relation);
    }
    return rc;
}

int tuple_values(const struct tuple *t, struct value *out, struct err *err)
{
    const char *p = t->p, *end = t->p + t->bytes;
    for (uint32_t i = 0; i < t->columns; i++) {
        const char *head;
        if (!take(&p, end, 4, &head)) {
            return damaged(err);
        }
        uint32_t n = get_u32(head);
        out[i] = (struct value){NULL, 0};
        if (n != (uint32_t)NULL_VALUE) {
            out[i].n = n;
            if (!take(&p, end, n, &out[i].p)) {
                return damaged(err);
            }
        }
    }
    return p == end ? 0 : damaged(err);
}

/* --- shared --- */

static struct txn *new_txn(struct str bytes, const struct txn_summary *summary)
{
    struct err err;
    struct txn *t = mem_zalloc(sizeof *t);
    atomic_init(&t->refs, 1);
    int rc = txn_read_head(bytes, &t->head, &err);
    assert(rc == 0);
    ignore_result(rc);
    t->summary = *summary;
    t->bytes = bytes;
    return t;
}

struct txn *txn_new(struct buf *bytes, const struct txn_summary *summary)
{
    struct txn *t = new_txn(buf_str(bytes), summary);
    size_t max = bytes->max;
    t->owned = bytes->p;
    buf_init(bytes, max);
    return t;
}

struct txn *txn_new_in_file(struct spill *file, struct str bytes, const struct txn_summary *summary)
{
    struct txn *t = new_txn(bytes, summary);
    t->file = file;
    return t;
}

struct txn *txn_ref(struct txn *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void txn_unref(struct txn *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        free(t->owned);
        spill_free(t->file);
        free(t);
    }
}

struct str txn_bytes(const struct txn *t)
{
    return t->bytes;
}

const struct txn_head *txn_head(const struct txn *t)
{
    return &t->head;
}

const struct txn_summary *txn_summary(const struct txn *t)
{
    return &t->summary;
}

struct spill *txn_file(const struct txn *t)
{
    return t->file;
}
