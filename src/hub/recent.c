/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/recent.h"

#include "base/mem.h"

#include <stdlib.h>

struct known {
    lsn_t lsn;
    uint64_t xid;
};

struct recent {
    struct txn **items; /* a queue: items[head], …, ascending */
    size_t head, n, cap, bytes;
    struct known *ids; /* a ring: the newest is at ids_n - 1, modulo its size */
    uint64_t ids_n;
};

struct recent *recent_new(void)
{
    struct recent *r = mem_zalloc(sizeof *r);
    r->ids = mem_alloc_array(RECENT_XIDS, sizeof *r->ids);
    return r;
}

void recent_reset(struct recent *r)
{
    recent_forget(r, UINT64_MAX);
    r->ids_n = 0;
}

void recent_free(struct recent *r)
{
    if (r) {
        recent_reset(r);
        free(r->items);
        free(r->ids);
        free(r);
    }
}

void recent_add(struct recent *r, struct txn *t)
{
    const struct txn_head *head = txn_head(t);
    if (r->head > 0 && r->head + r->n == r->cap) {
        memmove(r->items, r->items + r->head, r->n * sizeof(struct txn *));
        r->head = 0;
    }
    if (r->n == r->cap) {
        r->cap = r->cap * 2 + 64;
        r->items = mem_realloc(r->items, r->cap * sizeof(struct txn *));
    }
    r->items[r->head + r->n++] = txn_ref(t);
    r->bytes += txn_bytes(t).n;
    r->ids[r->ids_n++ % RECENT_XIDS] = (struct known){head->end_lsn, head->xid};
}

void recent_forget(struct recent *r, lsn_t up_to)
{
    while (r->n > 0 && txn_head(r->items[r->head])->end_lsn <= up_to) {
        r->bytes -= txn_bytes(r->items[r->head]).n;
        txn_unref(r->items[r->head++]);
        r->n--;
    }
}

struct txn *recent_next(const struct recent *r, lsn_t after)
{
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (txn_head(r->items[r->head + middle])->end_lsn <= after) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < r->n ? r->items[r->head + low] : NULL;
}

size_t recent_bytes(const struct recent *r)
{
    return r->bytes;
}

bool recent_missed(const struct recent *r, lsn_t up_to, bool (*sees)(const void *ctx, uint64_t xid),
                   const void *ctx)
{
    uint64_t n = r->ids_n < RECENT_XIDS ? r->ids_n : RECENT_XIDS;
    for (uint64_t i = 0; i < n; i++) {
        const struct known *k = &r->ids[(r->ids_n - 1 - i) % RECENT_XIDS];
        if (k->lsn <= up_to && !sees(ctx, k->xid)) {
            return true;
        }
    }
    return false;
}
