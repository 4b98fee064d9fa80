/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of PostgreSQL's output plugin pgoutput, one at a time, as values. Pure.
 *
 * Protocol versions 1 and 2 (streaming of transactions in progress), text values, no two-phase commit.
 */
#pragma once

#include "base/err.h"
#include "repl/lsn.h"
#include "repl/relation.h"
#include "repl/txn.h"

enum pgoutput_kind {
    PGOUTPUT_BEGIN = 'B',
    PGOUTPUT_MESSAGE = 'M',
    PGOUTPUT_COMMIT = 'C',
    PGOUTPUT_ORIGIN = 'O',
    PGOUTPUT_RELATION = 'R',
    PGOUTPUT_TYPE = 'Y',
    PGOUTPUT_INSERT = 'I',
    PGOUTPUT_UPDATE = 'U',
    PGOUTPUT_DELETE = 'D',
    PGOUTPUT_TRUNCATE = 'T',
    PGOUTPUT_STREAM_START = 'S',
    PGOUTPUT_STREAM_STOP = 'E',
    PGOUTPUT_STREAM_COMMIT = 'c',
    PGOUTPUT_STREAM_ABORT = 'A',
};

/* A value whose p is NULL: n is 0 for NULL, and this for one that TOAST holds and the update left alone. */
enum { PGOUTPUT_UNCHANGED = 1 };

struct pgoutput_row {
    uint32_t oid;
    char old_kind;         /* 'O' whole row, 'K' key columns (NULL elsewhere), 0: no old row */
    struct value *old;     /* never unchanged */
    struct value *new;     /* of an INSERT or UPDATE */
    uint32_t old_n, new_n; /* columns; 0: there is none */
};

struct pgoutput_commit {
    lsn_t commit_lsn, end_lsn;
    int64_t commit_us; /* since 1970-01-01 UTC */
};

struct pgoutput_logical_message {
    bool transactional;
    lsn_t lsn;
    struct str prefix, content;
};

/* Borrows from the bytes and from the room. */
struct pgoutput_message {
    enum pgoutput_kind kind;
    /* BEGIN, STREAM_START, STREAM_COMMIT, STREAM_ABORT: the transaction. What stands in a streamed block: the
     * (sub)transaction that wrote it; of a MESSAGE the whole transaction's, whatever wrote it. Else 0. */
    uint32_t xid;
    union {
        struct pgoutput_commit commit; /* BEGIN (end_lsn is 0), COMMIT, STREAM_COMMIT */
        struct pgoutput_logical_message message;
        struct relation relation; /* its id is 0 */
        struct pgoutput_row row;  /* INSERT, UPDATE, DELETE */
        struct str truncated;     /* 4 bytes a relation: pgoutput_truncated() */
        uint32_t aborted;         /* STREAM_ABORT: the (sub)transaction; all of it when equal to xid */
        bool first;               /* STREAM_START: no block of this transaction came before */
    };
};

/* Room for what a message repeats. Large: not for the stack. */
struct pgoutput_room {
    struct value old[RELATION_MAX_COLUMNS], new[RELATION_MAX_COLUMNS];
    struct relation_column columns[RELATION_MAX_COLUMNS];
};

/*
 * Decodes one whole message. in_block: it stands between Stream Start and Stream Stop. Values are borrowed
 * from the bytes and not NULL-terminated. Fails with ERR_PEER for what is malformed, unknown or not asked for
 * (binary values), with ERR_LIMIT for a relation over RELATION_MAX_BYTES.
 */
MUST_USE int pgoutput_decode(struct str bytes, bool in_block, struct pgoutput_room *room,
                             struct pgoutput_message *out_message, struct err *err);

size_t pgoutput_truncated_n(const struct pgoutput_message *m);
uint32_t pgoutput_truncated(const struct pgoutput_message *m, size_t i); /* an oid */
