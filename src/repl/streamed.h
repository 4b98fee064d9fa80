/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction that the server streams while it runs. Its bytes lie in segments, one a run of changes of the
 * same (sub)transaction, so that those of a subtransaction that is rolled back can be taken out.
 */
#pragma once

#include "repl/body.h"
#include "repl/catalog.h"

struct segment {
    uint32_t xid;
    bool message;
    size_t end; /* begins where the one before ends */
};

struct streamed {
    uint32_t xid;
    struct body body;
    struct txn_summary summary; /* of it, and of what was rolled back until streamed_summarize() */
    bool rolled_back;           /* something was */
    struct segment *segments;
    size_t n, cap;
    struct catalog catalog;
};

struct streamed *streamed_new(uint32_t xid);
void streamed_free(struct streamed *s);
size_t streamed_in_memory(const struct streamed *s); /* bytes */
/* What was appended to the body last is of this (sub)transaction. */
void streamed_extend(struct streamed *s, uint32_t xid, bool message);
/* Drops a subtransaction's changes; and the messages behind its first, for when it is rolled back everything
 * since then was part of it. Fails as the body does, and is of no use then. */
MUST_USE int streamed_roll_back(struct streamed *s, uint32_t xid, struct err *err);
/* The summary is that of the body, from now on. Goes through all of it when something was rolled back. */
MUST_USE int streamed_summarize(struct streamed *s, struct err *err);
