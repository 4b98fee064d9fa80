/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of expected answers: for every message sent upstream that the server will answer, one entry says
 * what ends its answer and what becomes of it. The queue is the truth; nothing guesses from the last message.
 */
#pragma once

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>

/* What was sent; the comment says which message ends the answer. */
enum answer_kind {
    ANSWER_QUERY,     /* ReadyForQuery */
    ANSWER_FUNCTION,  /* ReadyForQuery */
    ANSWER_PARSE,     /* ParseComplete */
    ANSWER_BIND,      /* BindComplete */
    ANSWER_DESCRIBE,  /* RowDescription or NoData */
    ANSWER_EXECUTE,   /* CommandComplete, EmptyQueryResponse or PortalSuspended */
    ANSWER_CLOSE,     /* CloseComplete */
    ANSWER_SYNC,      /* ReadyForQuery */
    ANSWER_COPY_DONE, /* nothing: marks where the client ended a COPY (CopyDone, CopyFail) */
};

/* What becomes of the answer. */
enum answer_action {
    ACTION_FORWARD, /* to the client as it is */
    ACTION_SCRIPT,  /* a part of a statement list: forward all but ReadyForQuery */
    ACTION_HIDDEN,  /* belongs to a hidden operation of ours: captured, never forwarded */
};

enum answer_flags {
    ANSWER_HOLD = 1,     /* hold CommandComplete back until the hidden transaction has committed */
    ANSWER_LAST = 2,     /* end of a hidden operation: tell its owner */
    ANSWER_MAY_MARK = 8, /* the statement may turn out to be part of a migration */
    ANSWER_WARNED = 4,   /* swallow a WARNING 25001 (BEGIN inside our hidden transaction) */
};

struct special;

struct answer {
    uint8_t kind;   /* enum answer_kind */
    uint8_t action; /* enum answer_action */
    uint8_t flags;
    uint8_t block; /* enum block: what this does to it when it is run */
    /* ANSWER_EXECUTE: the statement behind it; ANSWER_PARSE, ANSWER_CLOSE: puts the name back when that fails
     * or is skipped. Or NULL; a counted reference. */
    struct special *special;
};

static inline bool answer_undoes(const struct answer *a)
{
    return a->special && (a->kind == ANSWER_PARSE || a->kind == ANSWER_CLOSE);
}

/* A ring. Zeroed is empty. */
struct answers {
    struct answer *ring;
    uint32_t cap; /* a power of two, or 0 */
    uint32_t head;
    uint32_t n;
};

void answers_deinit(struct answers *q);
bool answers_push(struct answers *q, struct answer a); /* false at LIMIT_PIPELINE */
struct answer answers_pop(struct answers *q);          /* not when empty */
void answers_remove(struct answers *q, uint32_t i);    /* the i-th from the front */

static inline struct answer *answers_at(const struct answers *q, uint32_t i)
{
    return &q->ring[(q->head + i) & (q->cap - 1)];
}
static inline struct answer *answers_front(const struct answers *q)
{
    return q->n ? answers_at(q, 0) : NULL;
}
