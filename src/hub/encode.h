/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of rows and migrations on their way to clients: deliveries, made once and queued to all who
 * get the same.
 */
#pragma once

#include "hub/versions.h"
#include "shapes/view.h"
#include "sync/oplog.h"

struct encoder;

struct encoder *encoder_new(void);
void encoder_free(struct encoder *e); /* takes NULL; no model may be in use */

/*
 * The operations of a transaction for one dialect. migrations: versions that it records, in front of its rows
 * (NULL: none). The caller has the one reference. NULL: it would be longer than a client can be sent.
 */
struct delivery *encode_transaction(struct encoder *e, struct model *model, const struct txn_head *head,
                                    const struct version *const *migrations, size_t n, enum dialect dialect,
                                    const struct view_ops *ops);
/* A migration of before a client's time, told at the position where it begins. */
struct delivery *encode_migration(struct encoder *e, struct model *model, const struct version *migration,
                                  lsn_t position, enum dialect dialect);

/* Rows of a subscription that come, or go; in a delivery that is being made. */
struct encode_rows {
    struct encoder *encoder;
    struct model *model;
    struct delivery *out;
    struct oplog log;
    struct buf frame; /* its own: rows come over many turns of the loop, transactions in between */
    bool gone;
    bool open; /* a frame has been begun */
};
void encode_row(struct encode_rows *r, const struct table *table, const struct value *row);
/* Every table of the forest as a relation of the delivery: those of a batch are told before it. */
void encode_relations(struct encoder *e, struct model *model, const struct forest *forest,
                      struct delivery *out);
