/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable log of the sync service: the transactions of the last while, the relations they were written
 * under, the history of migrations, and small states. What is in it survives kill -9 and power loss.
 *
 * A transaction that came in a file (repl/spill.h) stays in it: the file must be in txlog_large_folder(),
 * where the log deletes it when it trims, and when it opens whatever it does not know.
 *
 * One thread writes (txlog_write()); any thread reads, each through a reader of its own, which sees one
 * moment. One process has the folder at a time.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "repl/lsn.h"
#include "repl/relation.h"
#include "repl/txn.h"

enum {
    TXLOG_FORMAT = 1,
    TXLOG_SLOT = 64,             /* bytes of a slot's name, with NUL */
    TXLOG_STATE_KEY = 255,       /* bytes of a state's key, at least 1 */
    TXLOG_STATE_VALUE = 1 << 26, /* bytes of a state's value */
};

struct txlog;

struct txlog_options {
    uint64_t window;   /* bytes of transactions that are kept; the newest one stays whatever its size */
    uint64_t map_size; /* address space to begin with; 0: from the window */
};

/* Where the transactions come from. system 0: from nowhere yet, the log is empty. */
struct txlog_identity {
    uint64_t system;   /* pg_control's system identifier */
    uint32_t database; /* oid */
    uint32_t timeline;
    char slot[TXLOG_SLOT];
};

struct txlog_head {
    lsn_t oldest;   /* just before the first transaction that is still there: who is here can resume */
    lsn_t newest;   /* the last transaction */
    lsn_t position; /* everything up to here is in the log, or was too old to stay; >= newest */
    uint64_t bytes, transactions;
    uint32_t next_relation; /* version never used so far, whatever became of the earlier ones */
};

/*
 * Makes the folder (0700) and what is missing above it. Fails with ERR_INPUT when another process has the
 * log, or it is of another format or no log at all; with ERR_SYSTEM when the system refuses.
 */
MUST_USE int txlog_open(const char *folder, const struct txlog_options *options, struct txlog **out_log,
                        struct err *err);
void txlog_close(struct txlog *log); /* no reader may be open. Takes NULL */

/* --- writing: one thread --- */

/*
 * Runs fn in a transaction and commits it: when this returns 0 all of it is on the disk, else nothing of it
 * counts and the caller may try again. fn runs once more when the map had to grow, so it must change nothing
 * outside; it passes on the failures of what it calls. A full disk is ERR_SYSTEM with ENOSPC or EDQUOT. Waits
 * for open readers when the map grows.
 */
typedef int (*txlog_write_fn)(void *ctx, struct txlog *log, struct err *err);
MUST_USE int txlog_write(struct txlog *log, txlog_write_fn fn, void *ctx, struct err *err);
const struct txlog_head *txlog_head(const struct txlog *log); /* as of the last commit; the writer's thread */
const char *txlog_large_folder(const struct txlog *log);      /* any thread */
bool txlog_is_over_window(const struct txlog *log); /* the writer's thread; txlog_trim() has more to do */

/* Within fn: */

/* Throws away all there is and begins at `start`. Versions of relations go on counting. */
MUST_USE int txlog_reset(struct txlog *log, const struct txlog_identity *identity, lsn_t start,
                         struct err *err);
MUST_USE int txlog_put_identity(struct txlog *log, const struct txlog_identity *identity, struct err *err);
/* In commit order; one that is there already is passed over. The relations that it names must be there. */
MUST_USE int txlog_append(struct txlog *log, const struct txn *txn, struct err *err);
/* Moves forward only. */
void txlog_set_position(struct txlog *log, lsn_t position);
MUST_USE int txlog_put_relation(struct txlog *log, const struct relation *r, struct err *err);
/* Drops a bounded number of transactions that are outside the window, and relations with them. */
MUST_USE int txlog_trim(struct txlog *log, struct err *err);

/* A row of busbar.migration. One that is there keeps its lsn and commit_us. */
struct txlog_migration {
    uint64_t seq;
    lsn_t lsn; /* of the transaction that recorded it; the log's beginning for earlier ones */
    uint64_t xid;
    int64_t commit_us;   /* since 1970-01-01 UTC */
    struct str version;  /* at most TXLOG_MIGRATION_TEXT bytes, as the next */
    struct str unusable; /* p NULL: usable */
    struct str *ops;     /* JSON of each command; only where it is read */
    size_t n;
};
enum { TXLOG_MIGRATION_TEXT = 1 << 20 };
MUST_USE int txlog_put_migration(struct txlog *log, const struct txlog_migration *m, struct err *err);
MUST_USE int txlog_put_command(struct txlog *log, uint64_t seq, uint64_t id, struct str ops, struct err *err);
MUST_USE int txlog_delete_migration(struct txlog *log, uint64_t seq, struct err *err); /* not its commands */
MUST_USE int txlog_delete_command(struct txlog *log, uint64_t seq, uint64_t id, struct err *err);

/* `kind` is the owner's; the limits above hold. */
MUST_USE int txlog_put_state(struct txlog *log, char kind, struct str key, struct str value, struct err *err);
MUST_USE int txlog_delete_state(struct txlog *log, char kind, struct str key, struct err *err);

/* --- reading: any thread --- */

/* One moment of the log. Keep it for milliseconds: what was trimmed since takes room until it ends. */
struct txlog_reader {
    struct txlog_head head;
    struct txlog *log;
    struct MDB_txn *txn;
    struct MDB_cursor *cursor;
    struct txlog_map *maps; /* of large transactions that were given out */
};

MUST_USE int txlog_read_begin(struct txlog *log, struct txlog_reader *out_reader, struct err *err);
/* The present moment instead. When it fails the reader has ended. */
MUST_USE int txlog_read_renew(struct txlog_reader *r, struct err *err);
void txlog_read_end(struct txlog_reader *r); /* may run twice, and on a zeroed one */

/* What is given out is borrowed until the reader ends or is renewed. Where it says 1 or 0: found, or not. */

enum { TXLOG_GONE = 2 };
/* The first transaction after a position: 1; 0: there is none; TXLOG_GONE: some may be missing between, for
 * `after` lies before head.oldest. */
MUST_USE int txlog_next(struct txlog_reader *r, lsn_t after, lsn_t *out_lsn, struct str *out_record,
                        struct err *err);
/* A record that txlog_next() gave, to stay when its reader has ended: any thread may read it then. One that
 * is in a file is not copied. */
struct txlog_record {
    struct str bytes;
    bool in_file;
};
struct txlog_record txlog_keep(struct txlog_reader *r, struct str record);
void txlog_record_free(struct txlog_record *record); /* may run twice, and on a zeroed one */
MUST_USE int txlog_read_identity(struct txlog_reader *r, struct txlog_identity *out_identity,
                                 struct err *err);
/* Adds all versions, oldest first. */
MUST_USE int txlog_read_relations(struct txlog_reader *r, struct relations *out_relations, struct err *err);
/* The first migration with a greater seq. The array of ops is the arena's. */
MUST_USE int txlog_next_migration(struct txlog_reader *r, uint64_t after_seq, struct arena *a,
                                  struct txlog_migration *out_migration, struct err *err);
MUST_USE int txlog_get_state(struct txlog_reader *r, char kind, struct str key, struct str *out_value,
                             struct err *err);
/* The first of a kind with a greater key, by bytes; `after` empty: the first of all. */
MUST_USE int txlog_next_state(struct txlog_reader *r, char kind, struct str after, struct str *out_key,
                              struct str *out_value, struct err *err);
