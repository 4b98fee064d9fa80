/* SPDX-License-Identifier: Apache-2.0 */
/* What has come and is not in the log yet. */
#pragma once

#include "feed/feed_impl.h"
#include "feed/history.h"

struct keep {
    struct kept_txn {
        struct txn *txn;
        bool changes_history;
    } * txns;
    struct relation **relations;
    size_t txns_n, txns_cap, relations_n, relations_cap;
    struct put *puts, **last_put;
    size_t bytes;
    bool changes_history; /* one of the transactions does */
    lsn_t position;
};

void keep_init(struct keep *k);
void keep_deinit(struct keep *k);
void keep_clear(struct keep *k); /* all but the puts */

void keep_add_txn(struct keep *k, struct txn *txn, bool changes_history); /* refs it */
void keep_add_relation(struct keep *k, const struct relation *r);         /* copies it */
void keep_add_put(struct keep *k, struct put *p);                         /* takes it over */
struct put *keep_take_puts(struct keep *k);
void put_free(struct put *p);
/* All that *from holds goes behind what *to holds; `position` stays. */
void keep_move(struct keep *to, struct keep *from);

/* Something besides the position waits. */
bool keep_is_waiting(const struct keep *k);

/* Writes all of it and trims the log; then only the puts are left here. When it fails nothing has changed. */
MUST_USE int keep_write(struct keep *k, const struct history *h, struct txlog *log, struct err *err);
