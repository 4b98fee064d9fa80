/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/delivery.h"

#include "base/mem.h"

#include <stdlib.h>

struct delivery *delivery_new(enum delivery_kind kind, lsn_t lsn, uint64_t txid)
{
    struct delivery *d = mem_zalloc(sizeof *d);
    d->refs = 1;
    d->kind = kind;
    d->lsn = lsn;
    d->txid = txid;
    return d;
}

struct delivery *delivery_ref(struct delivery *d)
{
    d->refs++;
    return d;
}

void delivery_unref(struct delivery *d)
{
    if (!d || --d->refs > 0) {
        return;
    }
    for (size_t i = 0; i < d->n_frames; i++) {
        packet_unref(d->frames[i]);
    }
    for (size_t i = 0; i < d->n_relations; i++) {
        packet_unref(d->relations[i].frame);
    }
    free(d->frames);
    free(d->relations);
    free(d);
}

/* Most have one frame. */
static size_t grown(size_t cap)
{
    return cap ? 2 * cap : 1;
}

void delivery_add(struct delivery *d, struct packet *frame)
{
    if (d->n_frames == d->cap_frames) {
        d->cap_frames = grown(d->cap_frames);
        d->frames = mem_realloc(d->frames, d->cap_frames * sizeof(struct packet *));
    }
    d->frames[d->n_frames++] = frame;
    d->bytes += frame->n;
}

void delivery_relate(struct delivery *d, uint32_t id, uint32_t version, struct packet *frame)
{
    for (size_t i = 0; i < d->n_relations; i++) {
        if (d->relations[i].id == id && d->relations[i].version == version) {
            return;
        }
    }
    if (d->n_relations == d->cap_relations) {
        d->cap_relations = grown(d->cap_relations);
        d->relations = mem_realloc(d->relations, d->cap_relations * sizeof *d->relations);
    }
    d->relations[d->n_relations++] = (struct delivery_relation){id, version, packet_ref(frame)};
}
