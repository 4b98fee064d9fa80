/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a view will need for transactions that it has yet to apply, guessed, and the answers of one snapshot:
 * so that one query serves many transactions.
 *
 * A guess that is wrong costs a query, or keys of one that nobody asks for. It never costs a row: what was
 * not read is not answered (ahead_answer()), and answers are rows as the snapshot has them. Who uses them
 * puts them back to the position (shapes/overlay.h), which may be any that the overlay can be moved to.
 *
 *   ahead_need(); ahead_see() for each transaction to come
 *   while ((need = ahead_next())) { for each row that the snapshot has for it: ahead_feed(row); }
 *
 * One thread at a time. Pure.
 */
#pragma once

#include "shapes/view.h"

struct ahead;

/* The view is borrowed, and must keep its forest; what is read may take max_bytes, and a row. */
struct ahead *ahead_new(struct view *v, size_t max_bytes);
void ahead_free(struct ahead *a); /* takes NULL */

/* A transaction behind those that the view has applied, and behind those seen before. -1: the log is damaged.
 */
MUST_USE int ahead_see(struct ahead *a, struct str txn, const struct relations *relations, struct err *err);
/* What the view needs now. Not of a whole layer. */
void ahead_need(struct ahead *a, const struct view_need *need);

/* What is to be read next of the snapshot: keys of a layer. NULL: nothing. Borrowed until the call after. */
const struct view_need *ahead_next(struct ahead *a);
/* A row that the snapshot has for the last of them. */
void ahead_feed(struct ahead *a, const struct value *row);
/* There was more than max_bytes: nothing will be read ahead any more. What was read before is there. */
bool ahead_is_full(const struct ahead *a);

typedef void ahead_row_fn(void *ctx, const struct value *row);

/* The snapshot's rows for a need; fn sees them all. false, and nothing: they were not read. */
bool ahead_answer(struct ahead *a, const struct view_need *need, ahead_row_fn *fn, void *ctx);
