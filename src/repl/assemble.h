/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of pgoutput, in the order they come, put together to committed transactions. Pure, but for the
 * files that large ones are put in.
 *
 * A transaction that the server streams while it runs is held until it commits; what of it was rolled back to
 * a savepoint is dropped. (One thing pgoutput does not tell: which subtransaction wrote a logical message of
 * a streamed transaction. It goes when the subtransaction that is rolled back has changed a row before it,
 * else it stays.)
 */
#pragma once

#include "base/err.h"
#include "repl/relation.h"
#include "repl/txn.h"

struct assemble;

enum {
    ASSEMBLE_STREAMS = 10000,    /* transactions held at a time */
    ASSEMBLE_RELATIONS = 100000, /* relations known, and those described in held transactions */
};
#define ASSEMBLE_HELD_MAX                                                             \
    ((size_t)2 << 30) /* bytes of all transactions held, as far as they are in memory \
                       */
enum {
    ASSEMBLE_MEMORY = 16 * 1024 * 1024, /* bytes of a transaction in memory: what is larger is in a file */
    ASSEMBLE_HELD_MEMORY = 64 * 1024 * 1024, /* of all held: with more, smaller ones go to files as well */
};

struct assemble_options {
    uint32_t next_relation; /* the first version to give to a new relation; 0 stands for 1 */
    uint64_t xid_near;      /* a recent xid8: assemble_set_xid_near() */
    size_t txn_max;         /* bytes of one transaction; 0: TXN_MAX, which is also the most */
    size_t held_max;        /* bytes of all held in memory; 0: ASSEMBLE_HELD_MAX */
    const char *folder;     /* of files with large transactions (repl/spill.h), copied; NULL: none is made */
    size_t memory_max;      /* 0: ASSEMBLE_MEMORY */
    size_t held_memory_max; /* 0: ASSEMBLE_HELD_MEMORY */
};

/* Called by assemble_feed(); they must not call the assembler. */
struct assemble_events {
    /* A version that did not exist before, ahead of every transaction that refers to it. Valid during the
     * call. It may belong to a transaction that is never committed. */
    void (*on_relation)(void *ctx, const struct relation *relation);
    /* Commit order. The callee's from now on. */
    void (*on_txn)(void *ctx, struct txn *txn);
    /* A transaction without changes ended here. */
    void (*on_position)(void *ctx, lsn_t lsn);
    /* A logical message outside of any transaction. Valid during the call. */
    void (*on_message)(void *ctx, lsn_t lsn, struct str prefix, struct str content);
};

/* *events outlives the assembler. */
struct assemble *assemble_new(const struct assemble_options *options, const struct assemble_events *events,
                              void *ctx);
void assemble_free(struct assemble *a); /* takes NULL */

/* The newest version of a relation, as the log has it (copied): the same description will not make another.
 */
void assemble_preload(struct assemble *a, const struct relation *relation);
/* Transaction ids come with 32 bits; they are taken for the nearest to this one. It advances with the
 * transactions that come; the owner sets it at each connection (pg_snapshot_xmin(pg_current_snapshot())). */
void assemble_set_xid_near(struct assemble *a, uint64_t xid);
/* A new connection: forgets what was begun; the server describes its relations again. */
void assemble_reset(struct assemble *a);

/*
 * One message (XLogData without its head), borrowed during the call. Fails with ERR_PEER (what cannot come),
 * ERR_LIMIT (a transaction too large), ERR_UPSTREAM (an update without its old row leaves values out),
 * ERR_SYSTEM (a file cannot be written). Then
 * nothing of the transaction at hand was told, and the assembler is good for assemble_reset() only: the same
 * would come again.
 */
MUST_USE int assemble_feed(struct assemble *a, struct str bytes, struct err *err);

/* Bytes of transactions in progress that are in memory. */
size_t assemble_held(const struct assemble *a);
