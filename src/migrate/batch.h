/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many small migrations of a new database in one transaction: its tables are new, nobody waits for them. In a
 * database that is in use each migration has a transaction of its own, so that no lock is held longer than it
 * must be.
 */
#pragma once

#include "migrate/run.h"

enum { BATCH_MOST = 50, BATCH_TEXT = 256 * 1024 };

struct batch {
    struct arena arena;
    const struct migration *items[BATCH_MOST];
    size_t statements[BATCH_MOST];
    size_t n, bytes;
};

void batch_deinit(struct batch *b);

/* False when m must run alone: its options, or statements that are not plain DDL. Or the batch is full. */
bool batch_add(struct batch *b, const struct migration *m);

enum batch_outcome { BATCH_DONE = 0, BATCH_NOTHING_KEPT = 1 };

/* BATCH_NOTHING_KEPT: one of them cannot be run so, and nothing was said; run alone, they tell. -1 was
 * reported. durable: as RUN_DURABLE. */
MUST_USE int batch_run(struct batch *b, struct session *s, const struct run_options *o, bool durable);
