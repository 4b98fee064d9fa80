/* SPDX-License-Identifier: Apache-2.0 */
/* The history of migrations (busbar.migration, busbar.command) on its way into the log. */
#pragma once

#include "repl/relation.h"
#include "repl/txn.h"

struct pg_result;
struct txlog;
struct history_relation;

/* Which relations hold it. Zeroed is empty. */
struct history {
    struct history_relation *items;
    size_t n, cap;
};

void history_deinit(struct history *h);
/* Any relation; those that are not of the history are passed over. */
void history_note(struct history *h, const struct relation *r);

/* What a transaction has for us besides rows of tables. */
struct history_scan {
    bool changes_history;
    const char *gap; /* why others before it may be missing in the stream; NULL: none does */
};
MUST_USE int history_scan(const struct history *h, const struct txn *txn, struct history_scan *out,
                          struct err *err);

/* Within txlog_write(). */
MUST_USE int history_apply(const struct history *h, struct txlog *log, struct str record, struct err *err);
/* The rows of history_sql, as recorded at `lsn`. */
MUST_USE int history_put_rows(struct txlog *log, const struct pg_result *rows, lsn_t lsn, struct err *err);
extern const char history_sql[];
