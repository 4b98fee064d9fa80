/* SPDX-License-Identifier: Apache-2.0 */
#include "feed/keep.h"

#include "base/mem.h"

#include <stdlib.h>

void keep_init(struct keep *k)
{
    *k = (struct keep){0};
    k->last_put = &k->puts;
}

void keep_clear(struct keep *k)
{
    for (size_t i = 0; i < k->txns_n; i++) {
        txn_unref(k->txns[i].txn);
    }
    for (size_t i = 0; i < k->relations_n; i++) {
        relation_free(k->relations[i]);
    }
    k->txns_n = k->relations_n = k->bytes = 0;
    k->changes_history = false;
}

void put_free(struct put *p)
{
    free(p);
}

void keep_deinit(struct keep *k)
{
    struct put *next;
    keep_clear(k);
    for (struct put *p = keep_take_puts(k); p; p = next) {
        next = p->next;
        put_free(p);
    }
    free(k->txns);
    free(k->relations);
}

static void push_txn(struct keep *k, struct kept_txn kept)
{
    if (k->txns_n == k->txns_cap) {
        k->txns_cap = k->txns_cap * 2 + 16;
        k->txns = mem_realloc(k->txns, k->txns_cap * sizeof *k->txns);
    }
    k->txns[k->txns_n++] = kept;
    k->bytes += txn_bytes(kept.txn).n;
    k->changes_history |= kept.changes_history;
}

static void push_relation(struct keep *k, struct relation *r)
{
    if (k->relations_n == k->relations_cap) {
        k->relations_cap = k->relations_cap * 2 + 16;
        k->relations = mem_realloc(k->relations, k->relations_cap * sizeof *k->relations);
    }
    k->relations[k->relations_n++] = r;
}

void keep_add_txn(struct keep *k, struct txn *txn, bool changes_history)
{
    push_txn(k, (struct kept_txn){txn_ref(txn), changes_history});
}

void keep_add_relation(struct keep *k, const struct relation *r)
{
    push_relation(k, relation_copy(r));
}

void keep_add_put(struct keep *k, struct put *p)
{
    p->next = NULL;
    *k->last_put = p;
    k->last_put = &p->next;
}

struct put *keep_take_puts(struct keep *k)
{
    struct put *first = k->puts;
    k->puts = NULL;
    k->last_put = &k->puts;
    return first;
}

void keep_move(struct keep *to, struct keep *from)
{
    for (size_t i = 0; i < from->txns_n; i++) {
        push_txn(to, from->txns[i]);
    }
    for (size_t i = 0; i < from->relations_n; i++) {
        push_relation(to, from->relations[i]);
    }
    if (from->puts) {
        *to->last_put = from->puts;
        to->last_put = from->last_put;
        from->puts = NULL;
        from->last_put = &from->puts;
    }
    from->txns_n = from->relations_n = from->bytes = 0;
    from->changes_history = false;
}

bool keep_is_waiting(const struct keep *k)
{
    return k->txns_n || k->relations_n || k->puts;
}

struct writing {
    const struct keep *keep;
    const struct history *history;
};

static int write_txns(const struct writing *w, struct txlog *log, struct err *err)
{
    const struct keep *k = w->keep;
    for (size_t i = 0; i < k->txns_n; i++) {
        const struct txn *txn = k->txns[i].txn;
        if (txlog_append(log, txn, err) < 0 ||
            (k->txns[i].changes_history && history_apply(w->history, log, txn_bytes(txn), err) < 0)) {
            return -1;
        }
    }
    return 0;
}

static int write_all(void *ctx, struct txlog *log, struct err *err)
{
    const struct writing *w = ctx;
    for (size_t i = 0; i < w->keep->relations_n; i++) {
        if (txlog_put_relation(log, w->keep->relations[i], err) < 0) {
            return -1;
        }
    }
    if (write_txns(w, log, err) < 0) {
        return -1;
    }
    for (const struct put *p = w->keep->puts; p; p = p->next) {
        int rc = p->value.p ? txlog_put_state(log, p->kind, p->key, p->value, err)
                            : txlog_delete_state(log, p->kind, p->key, err);
        if (rc < 0) {
            return -1;
        }
    }
    txlog_set_position(log, w->keep->position);
    return txlog_trim(log, err);
}

int keep_write(struct keep *k, const struct history *h, struct txlog *log, struct err *err)
{
    struct writing w = {k, h};
    if (txlog_write(log, write_all, &w, err) < 0) {
        return -1;
    }
    keep_clear(k);
    return 0;
}
