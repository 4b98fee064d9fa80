/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction while it is put together (repl/txn.h): its bytes are in memory, and once they are many in a
 * file. Offsets count from the head.
 */
#pragma once

#include "base/buf.h"
#include "repl/spill.h"
#include "repl/txn.h"

enum { BODY_CHUNK = 1024 * 1024 /* bytes that are written to the file at a time, about */ };

struct body {
    struct buf tail;    /* what follows the file: changes are added here, one whole one at a time */
    struct spill *file; /* NULL: there is none */
};

/* A head alone. `first_bytes` are there at once. */
void body_begin(struct body *b, size_t first_bytes);
void body_deinit(struct body *b); /* may run twice, and on a zeroed one */
size_t body_size(const struct body *b);
static inline size_t body_in_memory(const struct body *b)
{
    return b->tail.n;
}

/* Moves the tail into the file, which is made in the folder when there is none. ERR_SYSTEM. */
MUST_USE int body_spill(struct body *b, const char *folder, struct err *err);
/* Moves n bytes towards the front, where the last of such moves has ended. body_cut() ends there. */
MUST_USE int body_move(struct body *b, size_t to, size_t from, size_t n, struct err *err);
MUST_USE int body_cut(struct body *b, size_t size, struct err *err);
/* Goes through all of it, as txn_summarize(). */
MUST_USE int body_summarize(struct body *b, struct txn_summary *out_summary, struct err *err);
/* The body is empty then, whatever happens; another begins with body_begin(). */
MUST_USE int body_end(struct body *b, const struct txn_head *head, const struct txn_summary *summary,
                      struct txn **out_txn, struct err *err);
