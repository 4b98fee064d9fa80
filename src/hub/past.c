/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/past.h"

/* fn's verdict as an outcome; PAST_END stands for "go on". */
static int outcome_of(int verdict)
{
    return verdict < 0 ? -1 : verdict > 0 ? PAST_END : PAST_STOPPED;
}

static int walk_log(const struct past *p, lsn_t *after, past_fn fn, void *ctx, struct err *err)
{
    struct txlog_reader reader;
    if (txlog_read_begin(p->log, &reader, err) < 0) {
        return -1;
    }
    int rc = PAST_END;
    while (rc == PAST_END) {
        lsn_t lsn;
        struct str record;
        int found = txlog_next(&reader, *after, &lsn, &record, err);
        if (found == 0 || (found == 1 && lsn > p->until)) {
            break;
        }
        if (found != 1) {
            rc = found == TXLOG_GONE ? PAST_GONE : -1;
            break;
        }
        rc = outcome_of(fn(ctx, lsn, record, err));
        *after = lsn;
    }
    txlog_read_end(&reader);
    return rc;
}

int past_walk(const struct past *p, lsn_t after, past_fn fn, void *ctx, struct err *err)
{
    struct txn *t;
    int rc = walk_log(p, &after, fn, ctx, err);
    while (rc == PAST_END && (t = recent_next(p->recent, after)) && txn_head(t)->end_lsn <= p->until) {
        after = txn_head(t)->end_lsn;
        rc = outcome_of(fn(ctx, after, txn_bytes(t), err));
    }
    return rc;
}

static int keep_of_log(const struct past *p, lsn_t lsn, struct kept *out, struct err *err)
{
    struct txlog_reader reader;
    lsn_t found_lsn;
    struct str record;
    if (txlog_read_begin(p->log, &reader, err) < 0) {
        return -1;
    }
    int found = txlog_next(&reader, lsn - 1, &found_lsn, &record, err);
    bool there = found == 1 && found_lsn == lsn;
    if (there) {
        out->record = txlog_keep(&reader, record);
        out->bytes = out->record.bytes;
    }
    txlog_read_end(&reader);
    return there ? PAST_STOPPED : found < 0 ? -1 : PAST_GONE;
}

int past_keep(const struct past *p, lsn_t lsn, struct kept *out, struct err *err)
{
    struct txn *t = recent_next(p->recent, lsn - 1);
    *out = (struct kept){0};
    if (t && txn_head(t)->end_lsn == lsn) {
        out->txn = txn_ref(t);
        out->bytes = txn_bytes(t);
        return PAST_STOPPED;
    }
    return keep_of_log(p, lsn, out, err);
}

void kept_release(struct kept *k)
{
    txn_unref(k->txn);
    txlog_record_free(&k->record);
    *k = (struct kept){0};
}
