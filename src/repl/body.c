/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/body.h"

#include <assert.h>

/* Two changes: the one that makes it too much has been written. */
static const size_t tail_max = 2 * (size_t)TXN_CHANGE_MAX;

static size_t in_file(const struct body *b)
{
    return b->file ? spill_size(b->file) : 0;
}

size_t body_size(const struct body *b)
{
    return in_file(b) + b->tail.n;
}

void body_deinit(struct body *b)
{
    spill_free(take_ptr(&b->file));
    buf_deinit(&b->tail);
}

void body_begin(struct body *b, size_t first_bytes)
{
    spill_free(take_ptr(&b->file));
    b->tail.max = tail_max;
    buf_reset(&b->tail);
    buf_reserve(&b->tail, first_bytes);
    txn_begin(&b->tail);
}

/* There is a file. */
static int flush(struct body *b, struct err *err)
{
    if (spill_append(b->file, buf_str(&b->tail), err) < 0) {
        return -1;
    }
    buf_reset(&b->tail);
    return 0;
}

int body_spill(struct body *b, const char *folder, struct err *err)
{
    if ((!b->file && spill_new(folder, &b->file, err) < 0) || flush(b, err) < 0) {
        return -1;
    }
    if (b->tail.cap > 2 * BODY_CHUNK) {
        buf_deinit(&b->tail); /* the first part was large, those that follow are not */
        buf_init(&b->tail, tail_max);
    }
    return 0;
}

int body_move(struct body *b, size_t to, size_t from, size_t n, struct err *err)
{
    if (!b->file) {
        memmove(b->tail.p + to, b->tail.p + from, n);
        return 0;
    }
    return flush(b, err) < 0 ? -1 : spill_move(b->file, to, from, n, err);
}

int body_cut(struct body *b, size_t size, struct err *err)
{
    size_t before = in_file(b);
    if (size >= before) {
        b->tail.n = size - before;
        return 0;
    }
    buf_reset(&b->tail);
    return spill_truncate(b->file, size, err);
}

int body_summarize(struct body *b, struct txn_summary *out_summary, struct err *err)
{
    struct str bytes = buf_str(&b->tail);
    if (b->file && (flush(b, err) < 0 || spill_map(b->file, &bytes, err) < 0)) {
        return -1;
    }
    return txn_summarize(bytes, out_summary, err);
}

static int end_file(struct body *b, const struct txn_head *head, const struct txn_summary *summary,
                    struct txn **out_txn, struct err *err)
{
    CLEANUP(buf_deinit) struct buf first = BUF_INIT(TXN_HEAD);
    struct str all;
    assert(head->changes > 0);
    txn_begin(&first);
    txn_end(&first, head);
    if (flush(b, err) < 0 || spill_put(b->file, 0, buf_str(&first), err) < 0 ||
        spill_map(b->file, &all, err) < 0) {
        return -1;
    }
    *out_txn = txn_new_in_file(take_ptr(&b->file), all, summary);
    return 0;
}

int body_end(struct body *b, const struct txn_head *head, const struct txn_summary *summary,
             struct txn **out_txn, struct err *err)
{
    if (!b->file) {
        txn_end(&b->tail, head);
        *out_txn = txn_new(&b->tail, summary);
        return 0;
    }
    int rc = end_file(b, head, summary, out_txn, err);
    body_deinit(b);
    return rc;
}
