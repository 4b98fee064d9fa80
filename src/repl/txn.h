/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A committed transaction as a value: bytes that are written once, kept in the log, and read in place by
 * everyone.
 *
 *   head     format u32, changes u32, end_lsn u64, commit_lsn u64, xid u64, commit_us i64        little
 * endian, 40 bytes change   bytes u32 (all of it), kind u8, 3 zeroes, relation u32 | 0, then row changes: old
 * tuple, new tuple (each: bytes u32, columns u32, values) message:     prefix (n u32, bytes), content (n u32,
 * bytes) value    n u32 (0xffffffff: NULL), bytes        the text that PostgreSQL's output function gives
 *
 * An update has both tuples whole: what TOAST left out of the new one is taken from the old (REPLICA IDENTITY
 * FULL). Without an old tuple (other identities) its `columns` is 0.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "repl/lsn.h"

enum {
    TXN_FORMAT = 1,
    TXN_HEAD = 40,
    TXN_CHANGE_MAX = 1 << 30, /* bytes of one change: a message of PostgreSQL's is not as long */
};
#define TXN_MAX ((size_t)1 << 40) /* bytes of one transaction */

enum change_kind { CHANGE_INSERT = 1, CHANGE_UPDATE, CHANGE_DELETE, CHANGE_TRUNCATE, CHANGE_MESSAGE };

struct txn_head {
    lsn_t end_lsn;     /* of the commit record's end: the transaction's position */
    lsn_t commit_lsn;  /* of its beginning */
    uint64_t xid;      /* with epoch, comparable with xid8 */
    int64_t commit_us; /* since 1970-01-01 UTC */
    uint32_t changes;
};

struct value {
    const char *p; /* NULL: SQL NULL */
    uint32_t n;
};

struct tuple {
    const char *p; /* encoded values */
    uint32_t bytes;
    uint32_t columns; /* 0: there is no tuple */
};

/* Borrowed from the transaction. */
struct change {
    enum change_kind kind;
    uint32_t relation;          /* version (repl/relation.h); 0 for messages */
    struct tuple old;           /* UPDATE, DELETE */
    struct tuple new;           /* INSERT, UPDATE */
    struct str prefix, content; /* MESSAGE: transactional ones only */
};

/* What a transaction has, noted while it is built: nobody has to go through a large one for it. */
enum { TXN_RELATIONS = 64 };
struct txn_summary {
    uint32_t changes;
    uint32_t n, relations[TXN_RELATIONS]; /* versions, each once; those of more than that are `more` */
    bool more, messages, truncates;
};
void txn_note(struct txn_summary *s, enum change_kind kind, uint32_t relation);

/* Shared between threads: never changes, counted atomically. */
struct txn;
struct spill;
/* Takes the bytes out of the buffer; they must be those of a builder, and the summary theirs. */
struct txn *txn_new(struct buf *bytes, const struct txn_summary *summary);
/* The same of all that is in a file, which it takes over. */
struct txn *txn_new_in_file(struct spill *file, struct str bytes, const struct txn_summary *summary);
struct spill *txn_file(const struct txn *t); /* NULL: it is in memory */
struct txn *txn_ref(struct txn *t);
void txn_unref(struct txn *t); /* takes NULL */
struct str txn_bytes(const struct txn *t);
const struct txn_head *txn_head(const struct txn *t);
const struct txn_summary *txn_summary(const struct txn *t);

/* Reading bytes, of a struct txn or of the log. Fails with ERR_INTERNAL: they are ours, so the disk lied. */
MUST_USE int txn_read_head(struct str bytes, struct txn_head *out_head, struct err *err);

struct txn_cursor {
    const char *p, *end;
};

struct txn_cursor txn_changes(struct str bytes); /* after txn_read_head() */
/* From the change that begins so many bytes into the transaction, as txn_place() gave it. */
struct txn_cursor txn_changes_from(struct str bytes, size_t place);
/* Where the next change begins. */
static inline size_t txn_place(const struct txn_cursor *c, struct str bytes)
{
    return (size_t)(c->p - bytes.p);
}
/* 1: *out is the next change. 0: there is none. -1: as txn_read_head(). */
MUST_USE int txn_next(struct txn_cursor *c, struct change *out, struct err *err);

/* Some of a transaction's changes, by where they begin, ascending. */
struct txn_part {
    const size_t *places;
    size_t n;
};

/* Goes through all of it; the head need not be written yet. -1: as txn_read_head(). */
MUST_USE int txn_summarize(struct str bytes, struct txn_summary *out_summary, struct err *err);

/* The values of a tuple, in column order. out has room for n = tuple.columns. -1: as txn_read_head(). */
MUST_USE int tuple_values(const struct tuple *t, struct value *out, struct err *err);

/* Building. txn_begin() writes a head, which txn_end() fills in; changes 0: it counts them. A tuple is given
 * as its values. When the bytes pass the buffer's maximum its `overflow` says so at the end. */
void txn_begin(struct buf *b);
void txn_add_row(struct buf *b, enum change_kind kind, uint32_t relation, const struct value *old,
                 uint32_t old_n, const struct value *new, uint32_t new_n);
void txn_add_message(struct buf *b, struct str prefix, struct str content);
void txn_end(struct buf *b, const struct txn_head *head);
