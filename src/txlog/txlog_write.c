/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done within txlog_write(). Everything may be done twice: after a failure that left open whether
 * a commit counts, the caller repeats it.
 */
#include "base/mem.h"
#include "repl/spill.h"
#include "repl/txn.h"
#include "txlog/txlog_impl.h"

#include <assert.h>
#include <stdlib.h>

/* Bounds one commit's share of trimming; above what is received in the meantime, so that it keeps up. */
enum { TRIM_RECORDS = 16384, TRIM_BYTES = 64 * 1024 * 1024, MIGRATION_HEAD = 3 * KEY_U64 + 8 };

static int put(struct txlog *log, enum txlog_db db, struct str key, struct str value, struct err *err)
{
    MDB_val k = txlog_val(key), v = txlog_val(value);
    int rc = mdb_put(log->txn, log->db[db], &k, &v, 0);
    return rc ? txlog_fail(log, rc, "cannot write", err) : 0;
}

static int delete_key(struct txlog *log, enum txlog_db db, struct str key, struct err *err)
{
    MDB_val k = txlog_val(key);
    int rc = mdb_del(log->txn, log->db[db], &k, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : txlog_fail(log, rc, "cannot delete", err);
}

/* --- relations --- */

static int put_relation(struct txlog *log, const struct relation *r, lsn_t superseded, struct err *err)
{
    CLEANUP(buf_deinit) struct buf value = BUF_INIT(RELATION_MAX_BYTES);
    CLEANUP(buf_deinit) struct buf key = BUF_INIT(4);
    buf_put_u32be(&key, r->id);
    txlog_buf_u64(&value, superseded);
    relation_encode(r, &value);
    if (value.overflow) {
        return err_set(err, ERR_LIMIT, "the names of table %.*s and its columns are too long",
                       STR_ARG(r->name));
    }
    return put(log, DB_RELATION, buf_str(&key), buf_str(&value), err);
}

int txlog_put_relation(struct txlog *log, const struct relation *r, struct err *err)
{
    assert(r->id > 0);
    if (r->id >= log->draft.head.next_relation) {
        log->draft.head.next_relation = r->id + 1;
    }
    return put_relation(log, r, 0, err);
}

static int get_relation(struct txlog *log, uint32_t id, struct relation **out, struct err *err)
{
    CLEANUP(buf_deinit) struct buf key = BUF_INIT(4);
    lsn_t superseded;
    buf_put_u32be(&key, id);
    MDB_val k = txlog_val(buf_str(&key)), v;
    int rc = mdb_get(log->txn, log->db[DB_RELATION], &k, &v);
    if (rc == MDB_NOTFOUND) {
        return err_set(err, ERR_INTERNAL, "a transaction refers to a relation that is not in the log");
    }
    return rc ? txlog_fail(log, rc, "cannot read", err)
              : txlog_decode_relation(txlog_str(v), &superseded, out, err);
}

/* Notes since when a relation that is there is out of use. */
static int supersede(struct txlog *log, const struct relation *r, lsn_t at, struct err *err)
{
    if (!log->draft.superseded || at < log->draft.superseded) {
        log->draft.superseded = at;
    }
    return put_relation(log, r, at, err);
}

/* An earlier version of r's table that nothing has superseded: 1 (*out is the caller's), 0 for none, -1. */
static int find_earlier(struct txlog *log, MDB_cursor *c, const struct relation *r, struct relation **out,
                        struct err *err)
{
    MDB_val k, v;
    int rc;
    for (rc = mdb_cursor_get(c, &k, &v, MDB_FIRST); rc == 0; rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) {
        struct relation *other = NULL;
        lsn_t superseded;
        if (txlog_decode_relation(txlog_str(v), &superseded, &other, err) < 0) {
            return -1;
        }
        if (!superseded && other->oid == r->oid && other->id < r->id) {
            *out = other;
            return 1;
        }
        relation_free(other);
    }
    return rc == MDB_NOTFOUND ? 0 : txlog_fail(log, rc, "cannot read", err);
}

/* From its first use in a committed transaction on, no later one uses an earlier version: who changed the
 * table had it for himself. */
static int end_earlier(struct txlog *log, MDB_cursor *c, const struct relation *r, lsn_t at, struct err *err)
{
    struct relation *other = NULL;
    int rc;
    while ((rc = find_earlier(log, c, r, &other, err)) == 1) {
        rc = supersede(log, other, at, err);
        relation_free(other);
        if (rc < 0) {
            return -1;
        }
    }
    return rc;
}

static int note_use(struct txlog *log, uint32_t id, lsn_t at, struct err *err)
{
    struct relation *r;
    MDB_cursor *c;
    if (get_relation(log, id, &r, err) < 0) {
        return -1;
    }
    int rc = mdb_cursor_open(log->txn, log->db[DB_RELATION], &c);
    if (rc == 0) {
        rc = end_earlier(log, c, r, at, err);
        mdb_cursor_close(c);
    } else {
        ignore_result(txlog_fail(log, rc, "cannot read", err));
    }
    relation_free(r);
    return rc == 0 ? 0 : -1;
}

static bool is_used(struct txlog *log, uint32_t id)
{
    if (id > log->used_n) {
        uint32_t n = id + id / 2 + 16;
        log->used = mem_realloc(log->used, n * sizeof *log->used);
        memset(log->used + log->used_n, 0, (n - log->used_n) * sizeof *log->used);
        log->used_n = n;
    }
    return log->used[id - 1];
}

static int use(struct txlog *log, uint32_t id, lsn_t at, struct err *err)
{
    if (id && !is_used(log, id)) {
        if (note_use(log, id, at, err) < 0) {
            return -1;
        }
        log->used[id - 1] = true;
    }
    return 0;
}

/* Of a record with more relations than its summary can name. */
static int use_all(struct txlog *log, struct str record, lsn_t at, struct err *err)
{
    struct txn_cursor c = txn_changes(record);
    struct change change;
    int rc;
    while ((rc = txn_next(&c, &change, err)) == 1) {
        if (use(log, change.relation, at, err) < 0) {
            return -1;
        }
    }
    return rc;
}

static int note_uses(struct txlog *log, struct str record, const struct txn_summary *summary, lsn_t at,
                     struct err *err)
{
    if (summary->more) {
        return use_all(log, record, at, err);
    }
    for (uint32_t i = 0; i < summary->n; i++) {
        if (use(log, summary->relations[i], at, err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- transactions --- */

static int put_txn(struct txlog *log, lsn_t lsn, struct str value, struct err *err)
{
    char key[KEY_U64];
    txlog_put_u64(key, lsn);
    MDB_val k = txlog_val((struct str){key, sizeof key}), v = txlog_val(value);
    int rc = mdb_put(log->txn, log->db[DB_TXN], &k, &v, MDB_APPEND); /* in order: leaves pages full */
    return rc ? txlog_fail(log, rc, "cannot write a transaction", err) : 0;
}

static int put_large(struct txlog *log, const struct txn *txn, struct err *err)
{
    struct spill *file = txn_file(txn);
    CLEANUP(buf_deinit) struct buf value = BUF_INIT(LARGE_BYTES);
    txlog_encode_large(&(struct txlog_large){txn_bytes(txn).n, spill_name(file)}, &value);
    return txlog_add_large(log, file, err) < 0 ? -1
                                               : put_txn(log, txn_head(txn)->end_lsn, buf_str(&value), err);
}

int txlog_append(struct txlog *log, const struct txn *txn, struct err *err)
{
    lsn_t lsn = txn_head(txn)->end_lsn;
    struct str record = txn_bytes(txn);
    struct txlog_head *d = &log->draft.head;
    if (lsn <= d->newest) {
        return txn_file(txn) ? txlog_find_large(log, txn_file(txn), err) : 0;
    }
    if (note_uses(log, record, txn_summary(txn), lsn, err) < 0 ||
        (txn_file(txn) ? put_large(log, txn, err) : put_txn(log, lsn, record, err)) < 0) {
        return -1;
    }
    d->newest = lsn;
    d->position = d->position > d->newest ? d->position : d->newest;
    d->bytes += record.n;
    d->transactions++;
    return 0;
}

void txlog_set_position(struct txlog *log, lsn_t position)
{
    if (position > log->draft.head.position) {
        log->draft.head.position = position;
    }
}

/* What the first transaction takes. A file of its own goes. */
static int drop_body(struct txlog *log, struct str value, uint64_t *out_size, struct err *err)
{
    struct txlog_large large = {.bytes = value.n};
    if (txlog_is_large(value) &&
        (txlog_decode_large(value, &large, err) < 0 || txlog_drop_large(log, large.name, err) < 0)) {
        return -1;
    }
    *out_size = large.bytes;
    return large.bytes > log->draft.head.bytes ? txlog_damaged(err) : 0;
}

/* Deletes from the front what is too much. */
static int trim_front(struct txlog *log, MDB_cursor *c, struct err *err)
{
    struct txlog_head *d = &log->draft.head;
    uint64_t dropped = 0, size;
    size_t n = 0;
    while (d->bytes > log->window && d->transactions > 1 && n < TRIM_RECORDS && dropped < TRIM_BYTES) {
        MDB_val k, v;
        int rc = mdb_cursor_get(c, &k, &v, MDB_FIRST);
        if (rc == 0 && k.mv_size != KEY_U64) {
            return txlog_damaged(err);
        }
        lsn_t lsn = rc ? 0 : txlog_get_u64(k.mv_data);
        if (rc == 0 && drop_body(log, txlog_str(v), &size, err) < 0) {
            return -1;
        }
        rc = rc ? rc : mdb_cursor_del(c, 0);
        if (rc != 0) {
            return txlog_fail(log, rc, "cannot trim", err);
        }
        d->oldest = lsn;
        d->bytes -= size;
        d->transactions--;
        dropped += size;
        n++;
    }
    return 0;
}

static int delete_superseded(struct txlog *log, MDB_cursor *c, struct err *err)
{
    MDB_val k, v;
    int rc;
    lsn_t next = 0;
    while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
        lsn_t at = v.mv_size < KEY_U64 ? 0 : txlog_get_u64(v.mv_data);
        if (at && at <= log->draft.head.oldest) {
            rc = mdb_cursor_del(c, 0);
            if (rc != 0) {
                return txlog_fail(log, rc, "cannot trim", err);
            }
        } else if (at && (!next || at < next)) {
            next = at;
        }
    }
    log->draft.superseded = next;
    return rc == MDB_NOTFOUND ? 0 : txlog_fail(log, rc, "cannot trim", err);
}

typedef int (*cursor_fn)(struct txlog *log, MDB_cursor *c, struct err *err);

static int with_cursor(struct txlog *log, enum txlog_db db, cursor_fn fn, struct err *err)
{
    MDB_cursor *c;
    int rc = mdb_cursor_open(log->txn, log->db[db], &c);
    if (rc != 0) {
        return txlog_fail(log, rc, "cannot read", err);
    }
    rc = fn(log, c, err);
    mdb_cursor_close(c);
    return rc;
}

int txlog_trim(struct txlog *log, struct err *err)
{
    if (with_cursor(log, DB_TXN, trim_front, err) < 0) {
        return -1;
    }
    /* The transaction that brought the later version was the first not to use the earlier one. */
    if (!log->draft.superseded || log->draft.superseded > log->draft.head.oldest) {
        return 0;
    }
    return with_cursor(log, DB_RELATION, delete_superseded, err);
}

/* --- migrations --- */

void txlog_migration_key(char out[static KEY_MIGRATION], uint64_t seq, uint64_t id)
{
    txlog_put_u64(out, seq);
    txlog_put_u64(out + KEY_U64, id);
}

/* What one that is there keeps. */
static int keep_moment(struct txlog *log, struct str key, struct txlog_migration *m, struct err *err)
{
    struct txlog_migration was;
    MDB_val k = txlog_val(key), v;
    int rc = mdb_get(log->txn, log->db[DB_MIGRATION], &k, &v);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    if (rc != 0) {
        return txlog_fail(log, rc, "cannot read", err);
    }
    if (txlog_decode_migration(txlog_str(v), &was, err) < 0) {
        return -1;
    }
    m->lsn = was.lsn;
    m->commit_us = was.commit_us;
    return 0;
}

static void put_text(struct buf *b, struct str s)
{
    buf_put_u32be(b, s.p ? (uint32_t)s.n : UINT32_MAX);
    buf_put_str(b, s);
}

int txlog_put_migration(struct txlog *log, const struct txlog_migration *m, struct err *err)
{
    char key[KEY_MIGRATION];
    struct txlog_migration row = *m;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(MIGRATION_HEAD + 2 * TXLOG_MIGRATION_TEXT);
    txlog_migration_key(key, m->seq, 0);
    if (keep_moment(log, (struct str){key, sizeof key}, &row, err) < 0) {
        return -1;
    }
    txlog_buf_u64(&b, row.lsn);
    txlog_buf_u64(&b, row.xid);
    txlog_buf_u64(&b, (uint64_t)row.commit_us);
    put_text(&b, row.version);
    put_text(&b, row.unusable);
    if (b.overflow) {
        return err_set(err, ERR_LIMIT, "the version of migration %llu is too long",
                       (unsigned long long)m->seq);
    }
    return put(log, DB_MIGRATION, (struct str){key, sizeof key}, buf_str(&b), err);
}

int txlog_put_command(struct txlog *log, uint64_t seq, uint64_t id, struct str ops, struct err *err)
{
    char key[KEY_MIGRATION];
    txlog_migration_key(key, seq, id);
    return put(log, DB_MIGRATION, (struct str){key, sizeof key}, ops, err);
}

int txlog_delete_migration(struct txlog *log, uint64_t seq, struct err *err)
{
    return txlog_delete_command(log, seq, 0, err);
}

int txlog_delete_command(struct txlog *log, uint64_t seq, uint64_t id, struct err *err)
{
    char key[KEY_MIGRATION];
    txlog_migration_key(key, seq, id);
    return delete_key(log, DB_MIGRATION, (struct str){key, sizeof key}, err);
}

/* --- states --- */

static struct str state_key(char out[static 1 + TXLOG_STATE_KEY], char kind, struct str key)
{
    assert(key.n > 0 && key.n <= TXLOG_STATE_KEY);
    out[0] = kind;
    memcpy(out + 1, key.p, key.n);
    return (struct str){out, 1 + key.n};
}

int txlog_put_state(struct txlog *log, char kind, struct str key, struct str value, struct err *err)
{
    char k[1 + TXLOG_STATE_KEY];
    assert(value.n <= TXLOG_STATE_VALUE);
    return put(log, DB_STATE, state_key(k, kind, key), value, err);
}

int txlog_delete_state(struct txlog *log, char kind, struct str key, struct err *err)
{
    char k[1 + TXLOG_STATE_KEY];
    return delete_key(log, DB_STATE, state_key(k, kind, key), err);
}

/* --- where it comes from --- */

int txlog_put_identity(struct txlog *log, const struct txlog_identity *identity, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(KEY_U64 + 8 + TXLOG_SLOT);
    txlog_buf_u64(&b, identity->system);
    buf_put_u32be(&b, identity->database);
    buf_put_u32be(&b, identity->timeline);
    buf_put_c(&b, identity->slot);
    return put(log, DB_META, STR("identity"), buf_str(&b), err);
}

int txlog_reset(struct txlog *log, const struct txlog_identity *identity, lsn_t start, struct err *err)
{
    static const enum txlog_db emptied[] = {DB_TXN, DB_RELATION, DB_MIGRATION, DB_STATE};
    if (txlog_drop_all_large(log, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(emptied); i++) {
        int rc = mdb_drop(log->txn, log->db[emptied[i]], 0);
        if (rc != 0) {
            return txlog_fail(log, rc, "cannot empty it", err);
        }
    }
    log->draft = (struct txlog_now){.head = {.oldest = start,
                                             .newest = start,
                                             .position = start,
                                             .next_relation = log->draft.head.next_relation}};
    return txlog_put_identity(log, identity, err);
}
