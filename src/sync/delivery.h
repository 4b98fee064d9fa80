/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to clients in one piece: frames in order, and the relations that they use. Made once, then queued
 * to any number of sessions by reference; does not change once it is queued. Belongs to one thread.
 */
#pragma once

#include "base/packet.h"
#include "repl/lsn.h"

enum delivery_kind {
    DELIVERY_TRANSACTION, /* counts in the window of what is not acknowledged */
    DELIVERY_DATA,        /* of a subscription, whole or a part; what is gone with one */
};

struct delivery_relation {
    uint32_t id;          /* as in the rows; one per table */
    uint32_t version;     /* of the table: another one is announced again */
    struct packet *frame; /* SatRelation */
};

struct delivery {
    unsigned refs;
    enum delivery_kind kind;
    lsn_t lsn;     /* of the transaction; the position that the data is told to be at */
    uint64_t txid; /* transaction_id; 0 for data */
    size_t bytes;  /* of the frames */
    struct packet **frames;
    struct delivery_relation *relations;
    size_t n_frames, cap_frames, n_relations, cap_relations;
};

struct delivery *delivery_new(enum delivery_kind kind, lsn_t lsn, uint64_t txid);
struct delivery *delivery_ref(struct delivery *d);
void delivery_unref(struct delivery *d); /* takes NULL */

/* Takes the reference over. */
void delivery_add(struct delivery *d, struct packet *frame);
/* All relations of a batch belong to its first delivery: nothing may come between SatSubsDataBegin and its
 * end. Takes a reference of its own; one that is there already is not added again. */
void delivery_relate(struct delivery *d, uint32_t id, uint32_t version, struct packet *frame);
