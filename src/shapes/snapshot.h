/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot of the server sees, as pg_current_snapshot() tells it: "xmin:xmax:xip,xip,…", with epochs.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

enum { SNAPSHOT_MAX_RUNNING = 1024 * 1024 /* PostgreSQL has at most 2^18 backends */ };

struct snapshot {
    uint64_t xmin, xmax;     /* all before xmin has ended; xmax and later had not begun */
    const uint64_t *running; /* those between that had not ended: ascending, top-level transactions alone */
    size_t n;
};

/* The list is in the arena. Fails with ERR_UPSTREAM when the text is anything else. */
MUST_USE int snapshot_parse(struct str text, struct arena *a, struct snapshot *out_snapshot, struct err *err);

/* `xid`: with epoch, of a transaction that was committed (struct txn_head). */
bool snapshot_sees(const struct snapshot *s, uint64_t xid);
