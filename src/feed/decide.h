/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the log can go on with what the server has. Pure. */
#pragma once

#include "feed/feed.h"
#include "txlog/txlog.h"

/* electric_replication_out_<database>: lower case, _ for what is no letter, digit or _, none of them at the
 * ends; the whole of at most 63 bytes. */
void feed_slot_name(struct str database, char out[static FEED_SLOT]);

#define FEED_IN_USE "Another instance of Busbar appears to be connected to this database"

/* What was found out about the server. */
struct feed_facts {
    struct txlog_identity identity;
    lsn_t server; /* its WAL, flushed */
    lsn_t forked; /* how far its timeline is that of the log; UINT64_MAX: all the way */
    bool is_standby;
    bool has_slot;
    bool is_elsewhere; /* the slot is of another database of the server */
    bool is_active;    /* somebody streams from the slot */
    bool is_own;       /* our own last connection, that is, which the server has not noticed the end of */
    bool is_lost;      /* the slot's WAL is gone */
    lsn_t confirmed;   /* by the slot */
};

enum feed_verdict {
    FEED_REFUSED, /* not now: *out_reason */
    FEED_RESUME,  /* from the log's position */
    FEED_ANEW,    /* with a new slot: *out_reason, or NULL when there was no log to lose */
};

/* log: where it comes from; system 0 when it is empty. position: how far it is. */
enum feed_verdict feed_decide(const struct feed_facts *facts, const struct txlog_identity *log,
                              lsn_t position, const char **out_reason);

/* Where a timeline was left, from the history file of a later one (lines of: timeline, position, reason); 0
 * when it is not in it. */
lsn_t feed_fork(struct str history, uint32_t timeline);
