/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SatOpLog: transactions, and the rows of a subscription, written into the frames of a delivery. A frame is
 * cut when it has enough; clients put the pieces together. Pure.
 *
 * Values are the text that PostgreSQL gives (bytea_output hex, TimeZone UTC), and are converted on the way:
 * bytea to its bytes, the "+00" of a timestamptz to "Z". Writing a row allocates nothing but the frame.
 */
#pragma once

#include "base/arena.h"
#include "repl/txn.h"
#include "schema/schema.h"
#include "sync/delivery.h"

enum {
    OPLOG_OPS = 100,         /* in one frame */
    OPLOG_BYTES = 64 * 1024, /* a frame with as much gets no more */
};

/* How the rows of a table are written. Plain value in an arena. */
struct oplog_table {
    uint32_t id;                /* relation_id */
    uint32_t n;                 /* columns */
    const unsigned char *forms; /* one a column */
    const bool *key;            /* of the primary key */
};

struct oplog_table oplog_table(struct arena *a, const struct table *table, uint32_t relation_id);

struct oplog {
    struct delivery *out;
    struct buf *frame; /* the caller's, used again and again */
    unsigned ops;      /* in the frame */
};

/* Until oplog_end() the buffer is in use; its maximum is raised to what a transaction can be. */
void oplog_start(struct oplog *o, struct delivery *out, struct buf *frame);
void oplog_end(struct oplog *o);

struct oplog_transaction {
    int64_t commit_ms; /* Unix time */
    lsn_t lsn;
    uint64_t txid;
    struct str origin; /* empty: none */
    bool is_migration;
};

void oplog_begin(struct oplog *o, const struct oplog_transaction *t);
void oplog_commit(struct oplog *o, const struct oplog_transaction *t);
void oplog_migrate(struct oplog *o, struct str message); /* SatOpMigrate (sync/migration.h) */

/* Rows have table->n values in the order of the table's columns. */
struct oplog_tags {
    const struct str *items;
    size_t n;
};

void oplog_insert(struct oplog *o, const struct oplog_table *t, const struct value *row,
                  struct oplog_tags tags);
void oplog_update(struct oplog *o, const struct oplog_table *t, const struct value *old,
                  const struct value *row, struct oplog_tags tags);
void oplog_delete(struct oplog *o, const struct oplog_table *t, const struct value *old,
                  struct oplog_tags tags);
/* Only the key of the row is looked at. */
void oplog_gone(struct oplog *o, const struct oplog_table *t, const struct value *row);
