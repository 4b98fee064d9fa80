/* SPDX-License-Identifier: Apache-2.0 */
/* What the sync service counts, as a plain value: filled by hub/ and sync/, shown by http/. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Since the start, unless said otherwise. */
struct sync_stats {
    bool ready;            /* clients are served */
    const char *state;     /* of the replication: "connecting", …, "ready"; NULL: it has not begun */
    const char *trouble;   /* why nothing comes from the database; NULL: it does */
    uint64_t position;     /* in the WAL: everything up to here has been seen */
    uint64_t lag_bytes;    /* WAL that the server has and we have not */
    uint64_t lag_ms;       /* how old the newest transaction was when it came; 0: there were no more */
    uint64_t retained;     /* bytes of WAL that the server keeps for us */
    uint64_t transactions; /* received */
    uint64_t bytes;
    uint64_t connects;                    /* to the server's replication */
    uint64_t resets;                      /* how often the log has begun anew */
    uint64_t log_bytes, log_transactions; /* now */
    uint64_t clients, subscriptions;      /* now; subscriptions of those clients */
    uint64_t flows;                       /* now: views that are followed at different positions */
    uint64_t transactions_sent, bytes_sent;
    uint64_t snapshots, queries; /* taken, and run in them, to read rows */
    uint64_t clients_dropped;    /* could not follow */
    uint64_t clients_sent_away;  /* could not be served for a moment */
};
