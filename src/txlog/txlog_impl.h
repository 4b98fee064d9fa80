/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to txlog: the environment and how its values are encoded. Big endian.
 *
 *   txn        end_lsn u64 → a record of repl/txn.h; or, in a file: "FILE", bytes u64, the file's name
 *   large      file's name → nothing
 *   relation   version u32 → lsn of the first transaction that used a later version of the table u64 (0: none
 *              has), relation
 *   migration  seq u64, 0 u64 → lsn u64, xid u64, commit_us u64, version (n u32, bytes), reason (n u32 or
 *              0xffffffff for none, bytes); seq u64, command's id u64 (> 0) → its ops
 *   state      kind u8, key → value
 *   meta       "format" → u32; "head" → struct txlog_head; "identity" → struct txlog_identity
 */
#pragma once

#include "base/buf.h"
#include "base/rd.h"
#include "txlog/txlog.h"

#include <lmdb.h>
#include <pthread.h>

enum txlog_db { DB_TXN, DB_RELATION, DB_MIGRATION, DB_STATE, DB_META, DB_LARGE, DB_COUNT };

/* What txlog_write() has to do about a failure. */
enum txlog_trouble { TROUBLE_NONE, TROUBLE_MAP_FULL, TROUBLE_PANIC };

enum { KEY_U64 = 8, KEY_MIGRATION = 16, HEAD_BYTES = 44 };

struct txlog {
    char *folder, *large_folder;
    uint64_t window;
    size_t map_size;
    int lock_fd;
    pthread_rwlock_t gate; /* readers share it; held alone while env is replaced */
    MDB_env *env;          /* NULL: could not be opened again */
    MDB_dbi db[DB_COUNT];
    /* The writer's. */
    MDB_txn *txn; /* while txlog_write() runs fn */
    enum txlog_trouble trouble;
    struct txlog_now {
        struct txlog_head head;
        lsn_t superseded; /* when the first relation that is not the newest of its table gave way; 0: none */
    } now, draft;         /* as committed; as the transaction will leave it */
    bool *used;           /* by version - 1: a transaction has used it since the log was opened */
    uint32_t used_n;
    /* Once the transaction has been committed: */
    struct buf gone;      /* names, each with its NUL, of files to delete */
    struct spill **added; /* files to keep */
    size_t added_n;
};

/* Where a transaction is that has a file of its own. */
struct txlog_large {
    uint64_t bytes;
    struct str name;
};
enum { LARGE_BYTES = 64 }; /* encoded, at most */
bool txlog_is_large(struct str value);
MUST_USE int txlog_decode_large(struct str value, struct txlog_large *out, struct err *err);
void txlog_encode_large(const struct txlog_large *large, struct buf *out);
/* Within a transaction. */
MUST_USE int txlog_add_large(struct txlog *log, struct spill *file, struct err *err); /* syncs it */
MUST_USE int txlog_find_large(struct txlog *log, struct spill *file,
                              struct err *err); /* perhaps it was added */
MUST_USE int txlog_drop_large(struct txlog *log, struct str name, struct err *err);
MUST_USE int txlog_drop_all_large(struct txlog *log, struct err *err);
MUST_USE int txlog_sync_large(struct txlog *log, struct err *err); /* ahead of the commit: where they are */
/* When it has ended. */
void txlog_settle_large(struct txlog *log, bool committed);
/* A new file must be found again after power loss: that is up to its folder. */
MUST_USE int txlog_sync_folder(const char *folder, struct err *err);
/* Deletes the files that the log does not know. */
MUST_USE int txlog_sweep_large(struct txlog *log, struct err *err);
/* 1, or TXLOG_GONE: it was trimmed since the reader began. */
MUST_USE int txlog_map_large(struct txlog_reader *r, struct str value, struct str *out_record,
                             struct err *err);
void txlog_unmap_large(struct txlog_reader *r);
/* The mapping is the caller's now. false: the record is not in a file. */
bool txlog_take_map(struct txlog_reader *r, struct str record);

/* Fills err from what LMDB returned; -1. `log` NULL: it was a reader. */
int txlog_fail(struct txlog *log, int rc, const char *what, struct err *err);
int txlog_damaged(struct err *err);

void txlog_put_u64(char out[static KEY_U64], uint64_t v);
uint64_t txlog_get_u64(const void *p);
uint64_t txlog_rd_u64(struct rd *r);
void txlog_buf_u64(struct buf *b, uint64_t v);

void txlog_forget_used(struct txlog *log);

void txlog_migration_key(char out[static KEY_MIGRATION], uint64_t seq, uint64_t id);
int txlog_decode_migration(struct str bytes, struct txlog_migration *out, struct err *err);
int txlog_decode_head(struct str bytes, struct txlog_head *out, struct err *err);
/* The relation is the caller's. */
int txlog_decode_relation(struct str bytes, lsn_t *out_superseded, struct relation **out, struct err *err);

static inline MDB_val txlog_val(struct str s)
{
    return (MDB_val){s.n, (void *)(uintptr_t)s.p};
}

static inline struct str txlog_str(MDB_val v)
{
    return (struct str){v.mv_data, v.mv_size};
}
