/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transactions that came last: those that the log may not have on disk yet, and the ids of some more, to
 * tell whether a snapshot misses one that has gone by. Pure.
 */
#pragma once

#include "repl/txn.h"

/* A commit that stays invisible for longer than so many others take is not one that is on its way. */
enum { RECENT_XIDS = 65536 };

struct recent;

struct recent *recent_new(void);
void recent_free(struct recent *r); /* takes NULL */
/* Of a higher position than all before. Keeps a reference. */
void recent_add(struct recent *r, struct txn *t);
/* Lets go of those up to a position; their ids stay known. */
void recent_forget(struct recent *r, lsn_t up_to);
/* Forgets everything. */
void recent_reset(struct recent *r);
/* The first one behind a position; NULL: none is kept. Borrowed. */
struct txn *recent_next(const struct recent *r, lsn_t after);
size_t recent_bytes(const struct recent *r);

/* Whether `sees` says of any known transaction up to a position that it does not see it. */
bool recent_missed(const struct recent *r, lsn_t up_to, bool (*sees)(const void *ctx, uint64_t xid),
                   const void *ctx);
