/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is streamed: a queue of deliveries, the window of transactions that are not acknowledged, and the
 * relations that the client knows. Invariant: nothing waits in the queue unless the window is full.
 */
#include "base/limits.h"
#include "base/mem.h"
#include "sync/session_impl.h"

#include <assert.h>
#include <stdlib.h>

void sync_stream_start(struct sync_session *s, lsn_t position)
{
    s->in_window = 0;
    s->last_acked = (struct sync_sent){0};
    s->sent_lsn = position;
    s->n_announced = 0;
}

void sync_stream_stop(struct sync_session *s)
{
    for (; s->queue_n > 0; s->queue_n--) {
        delivery_unref(s->queue[s->queue_first]);
        s->queue_first = (s->queue_first + 1) % s->queue_cap;
    }
    s->queue_bytes = 0;
}

void sync_stream_free(struct sync_session *s)
{
    sync_stream_stop(s);
    free(take_ptr(&s->queue));
    free(take_ptr(&s->announced));
}

/* --- relations --- */

/* Where the relation is, or belongs. */
static size_t find_announced(const struct sync_session *s, uint32_t id)
{
    size_t low = 0, high = s->n_announced;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->announced[mid].id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static void insert_announced(struct sync_session *s, size_t at, uint32_t id)
{
    if (s->n_announced == s->cap_announced) {
        s->cap_announced = s->cap_announced ? 2 * s->cap_announced : 8;
        s->announced = mem_realloc(s->announced, s->cap_announced * sizeof *s->announced);
    }
    memmove(s->announced + at + 1, s->announced + at, (s->n_announced - at) * sizeof *s->announced);
    s->announced[at] = (struct sync_announced){.id = id};
    s->n_announced++;
}

static void announce(struct sync_session *s, const struct delivery_relation *r)
{
    size_t at = find_announced(s, r->id);
    bool known = at < s->n_announced && s->announced[at].id == r->id;
    if (known && s->announced[at].version == r->version) {
        return;
    }
    if (!known) {
        insert_announced(s, at, r->id);
    }
    s->announced[at].version = r->version;
    s->host_calls->send(s->host, r->frame);
}

/* --- the queue --- */

static void push(struct sync_session *s, struct delivery *d)
{
    if (s->queue_n == s->queue_cap) {
        size_t cap = s->queue_cap ? 2 * s->queue_cap : 8;
        struct delivery **queue = mem_alloc_array(cap, sizeof *queue);
        for (size_t i = 0; i < s->queue_n; i++) {
            queue[i] = s->queue[(s->queue_first + i) % s->queue_cap];
        }
        free(s->queue);
        s->queue = queue;
        s->queue_cap = cap;
        s->queue_first = 0;
    }
    s->queue[(s->queue_first + s->queue_n++) % s->queue_cap] = delivery_ref(d);
    s->queue_bytes += d->bytes;
}

static struct delivery *pop(struct sync_session *s)
{
    struct delivery *d = s->queue[s->queue_first];
    s->queue_first = (s->queue_first + 1) % s->queue_cap;
    s->queue_n--;
    s->queue_bytes -= d->bytes;
    return d;
}

static void send_out(struct sync_session *s, const struct delivery *d)
{
    for (size_t i = 0; i < d->n_relations; i++) {
        announce(s, &d->relations[i]);
    }
    for (size_t i = 0; i < d->n_frames; i++) {
        s->host_calls->send(s->host, d->frames[i]);
    }
    if (d->kind == DELIVERY_TRANSACTION) {
        s->window[s->in_window++] = (struct sync_sent){d->txid, d->lsn};
    }
    s->sent_lsn = d->lsn > s->sent_lsn ? d->lsn : s->sent_lsn;
}

static void release(struct sync_session *s)
{
    while (s->queue_n > 0 && s->in_window < SYNC_WINDOW) {
        struct delivery *d = pop(s);
        send_out(s, d);
        delivery_unref(d);
    }
}

size_t sync_session_backlog(const struct sync_session *s)
{
    return s->state == SYNC_ENDED ? 0 : s->queue_bytes + s->host_calls->unsent(s->host);
}

void sync_session_send(struct sync_session *s, struct delivery *d)
{
    if (s->state != SYNC_REPLICATING) {
        return;
    }
    if (sync_session_backlog(s) > LIMIT_SYNC_BACKLOG || s->queue_n >= LIMIT_SYNC_QUEUE) {
        sync_set_state(s, SYNC_ENDED);
        sync_stream_stop(s);
        s->host_calls->drop(s->host);
        return;
    }
    push(s, d);
    release(s);
}

void sync_session_drained(struct sync_session *s)
{
    if (s->state == SYNC_REPLICATING && s->queue_n == 0) {
        s->service->drained(s->client);
    }
}

/* --- acknowledgements --- */

/* The window's place of a transaction; in_window when it is not there. */
static size_t find_sent(const struct sync_session *s, uint64_t txid)
{
    size_t i = 0;
    while (i < s->in_window && s->window[i].txid != txid) {
        i++;
    }
    return i;
}

/* False: there is no such transaction. *out_lsn: its position; 0 without one. */
static bool acknowledge(struct sync_session *s, uint64_t txid, lsn_t *out_lsn)
{
    size_t i = find_sent(s, txid);
    if (txid == 0 || i == s->in_window) {
        *out_lsn = txid ? s->last_acked.lsn : 0;
        return txid == 0 || txid == s->last_acked.txid;
    }
    s->last_acked = s->window[i];
    *out_lsn = s->last_acked.lsn;
    s->in_window -= i + 1;
    memmove(s->window, s->window + i + 1, s->in_window * sizeof *s->window);
    return true;
}

static lsn_t position_of(const struct sync_session *s, lsn_t told, lsn_t transaction)
{
    lsn_t possible = told < s->sent_lsn ? told : s->sent_lsn;
    return possible > transaction ? possible : transaction;
}

void sync_on_ack(struct sync_session *s, const struct sat_ack *ack)
{
    lsn_t told = 0, transaction = 0;
    if (ack->lsn.n > 0 && !str_to_u64(ack->lsn, UINT64_MAX, &told)) {
        sync_refuse(s, SAT_INVALID_REQUEST, "Malformed LSN");
    } else if (ack->subscriptions.n > LIMIT_SUBSCRIPTIONS || ack->gone.n > LIMIT_SUBSCRIPTIONS) {
        sync_refuse(s, SAT_INVALID_REQUEST, "Too many subscriptions");
    } else if (!acknowledge(s, ack->txid, &transaction)) {
        sync_refuse(s, SAT_INVALID_REQUEST, "Acknowledged unknown txn");
    } else {
        struct sync_ack out = {.txid = ack->txid,
                               .lsn = position_of(s, told, transaction),
                               .subscriptions = &ack->subscriptions,
                               .gone = &ack->gone};
        s->service->acked(s->client, &out);
        if (s->state == SYNC_REPLICATING) {
            release(s);
        }
    }
}
