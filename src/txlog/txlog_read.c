/* SPDX-License-Identifier: Apache-2.0 */
/* Readers. Each holds the gate while it has an LMDB transaction: its pages would be unmapped otherwise. */
#include "base/mem.h"
#include "repl/spill.h"
#include "txlog/txlog_impl.h"

#include <stdlib.h>

static int fail(int rc, struct err *err)
{
    return txlog_fail(NULL, rc, "cannot read", err);
}

/* --- decoding --- */

int txlog_decode_relation(struct str bytes, lsn_t *out_superseded, struct relation **out, struct err *err)
{
    struct rd r = rd_init(bytes.p, bytes.n);
    lsn_t superseded = txlog_rd_u64(&r);
    if (r.failed || relation_decode(rd_rest(&r), out, err) < 0) {
        return txlog_damaged(err);
    }
    *out_superseded = superseded;
    return 0;
}

static struct str rd_text(struct rd *r)
{
    uint32_t n = rd_u32be(r);
    return n == UINT32_MAX ? (struct str){NULL, 0} : rd_bytes(r, n);
}

int txlog_decode_migration(struct str bytes, struct txlog_migration *out, struct err *err)
{
    struct rd r = rd_init(bytes.p, bytes.n);
    struct txlog_migration m = {0};
    m.lsn = txlog_rd_u64(&r);
    m.xid = txlog_rd_u64(&r);
    m.commit_us = (int64_t)txlog_rd_u64(&r);
    m.version = rd_text(&r);
    m.unusable = rd_text(&r);
    if (!rd_done(&r)) {
        return txlog_damaged(err);
    }
    *out = m;
    return 0;
}

/* --- life --- */

static int get_meta(struct txlog_reader *r, const char *name, MDB_val *out)
{
    MDB_val k = txlog_val(str_c(name));
    return mdb_get(r->txn, r->log->db[DB_META], &k, out);
}

static int open_reader(struct txlog_reader *r, struct err *err)
{
    MDB_val v;
    int rc = mdb_txn_begin(r->log->env, NULL, MDB_RDONLY, &r->txn);
    if (rc != 0) {
        r->txn = NULL;
        return fail(rc, err);
    }
    rc = get_meta(r, "head", &v);
    rc = rc ? rc : mdb_cursor_open(r->txn, r->log->db[DB_TXN], &r->cursor);
    return rc ? fail(rc, err) : txlog_decode_head(txlog_str(v), &r->head, err);
}

int txlog_read_begin(struct txlog *log, struct txlog_reader *out_reader, struct err *err)
{
    struct txlog_reader r = {.log = log};
    pthread_rwlock_rdlock(&log->gate);
    if (!log->env) {
        pthread_rwlock_unlock(&log->gate);
        return err_set(err, ERR_SYSTEM, "the log is not open");
    }
    if (open_reader(&r, err) < 0) {
        txlog_read_end(&r);
        return -1;
    }
    *out_reader = r;
    return 0;
}

int txlog_read_renew(struct txlog_reader *r, struct err *err)
{
    struct txlog *log = r->log;
    txlog_read_end(r);
    return txlog_read_begin(log, r, err);
}

void txlog_read_end(struct txlog_reader *r)
{
    if (!r->log) {
        return;
    }
    if (r->cursor) {
        mdb_cursor_close(r->cursor);
    }
    if (r->txn) {
        mdb_txn_abort(r->txn);
    }
    txlog_unmap_large(r);
    pthread_rwlock_unlock(&r->log->gate);
    *r = (struct txlog_reader){0};
}

/* --- what is there --- */

int txlog_next(struct txlog_reader *r, lsn_t after, lsn_t *out_lsn, struct str *out_record, struct err *err)
{
    char key[KEY_U64];
    if (after < r->head.oldest) {
        return TXLOG_GONE;
    }
    if (after >= r->head.newest) {
        return 0;
    }
    txlog_put_u64(key, after + 1);
    MDB_val k = txlog_val((struct str){key, sizeof key}), v;
    int rc = mdb_cursor_get(r->cursor, &k, &v, MDB_SET_RANGE);
    if (rc != 0) {
        return fail(rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc, err);
    }
    if (k.mv_size != KEY_U64) {
        return txlog_damaged(err);
    }
    *out_lsn = txlog_get_u64(k.mv_data);
    if (txlog_is_large(txlog_str(v))) {
        return txlog_map_large(r, txlog_str(v), out_record, err);
    }
    *out_record = txlog_str(v);
    return 1;
}

struct txlog_record txlog_keep(struct txlog_reader *r, struct str record)
{
    if (txlog_take_map(r, record)) {
        return (struct txlog_record){record, true};
    }
    char *copy = mem_alloc(record.n);
    memcpy(copy, record.p, record.n);
    return (struct txlog_record){{copy, record.n}, false};
}

void txlog_record_free(struct txlog_record *record)
{
    if (record->in_file) {
        spill_unmap(record->bytes);
    } else {
        free((void *)(uintptr_t)record->bytes.p);
    }
    *record = (struct txlog_record){0};
}

int txlog_read_identity(struct txlog_reader *r, struct txlog_identity *out_identity, struct err *err)
{
    MDB_val v;
    struct txlog_identity id = {0};
    int rc = get_meta(r, "identity", &v);
    if (rc == MDB_NOTFOUND) {
        *out_identity = id;
        return 0;
    }
    if (rc != 0) {
        return fail(rc, err);
    }
    struct rd rd = rd_init(v.mv_data, v.mv_size);
    id.system = txlog_rd_u64(&rd);
    id.database = rd_u32be(&rd);
    id.timeline = rd_u32be(&rd);
    struct str slot = rd_rest(&rd);
    if (rd.failed || slot.n >= sizeof id.slot) {
        return txlog_damaged(err);
    }
    memcpy(id.slot, slot.p, slot.n);
    *out_identity = id;
    return 0;
}

static int read_relations(MDB_cursor *c, struct relations *out, struct err *err)
{
    MDB_val k, v;
    int rc;
    while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
        struct relation *relation;
        lsn_t superseded;
        if (txlog_decode_relation(txlog_str(v), &superseded, &relation, err) < 0) {
            return -1;
        }
        relations_put(out, relation);
    }
    return rc == MDB_NOTFOUND ? 0 : fail(rc, err);
}

int txlog_read_relations(struct txlog_reader *r, struct relations *out_relations, struct err *err)
{
    MDB_cursor *c;
    int rc = mdb_cursor_open(r->txn, r->log->db[DB_RELATION], &c);
    if (rc != 0) {
        return fail(rc, err);
    }
    rc = read_relations(c, out_relations, err);
    mdb_cursor_close(c);
    return rc;
}

static void add_ops(struct txlog_migration *m, struct str ops, size_t *cap, struct arena *a)
{
    if (m->n == *cap) {
        *cap = *cap * 2 + 4;
        struct str *more = arena_alloc_array(a, *cap, sizeof *more);
        if (m->n) {
            memcpy(more, m->ops, m->n * sizeof *more);
        }
        m->ops = more;
    }
    m->ops[m->n++] = ops;
}

/* The first whole migration from *k on: its own row, then its commands. Commands whose migration was deleted
 * are passed over. */
static int read_migration(MDB_cursor *c, MDB_val *k, struct arena *a, struct txlog_migration *out,
                          struct err *err)
{
    MDB_val v;
    size_t cap = 0;
    struct txlog_migration m = {0};
    bool found = false;
    int rc = mdb_cursor_get(c, k, &v, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(c, k, &v, MDB_NEXT)) {
        if (k->mv_size != KEY_MIGRATION) {
            return txlog_damaged(err);
        }
        uint64_t seq = txlog_get_u64(k->mv_data);
        bool is_command = txlog_get_u64((const char *)k->mv_data + KEY_U64) != 0;
        if (found && (seq != m.seq || !is_command)) {
            break;
        }
        if (found) {
            add_ops(&m, txlog_str(v), &cap, a);
        } else if (!is_command) {
            if (txlog_decode_migration(txlog_str(v), &m, err) < 0) {
                return -1;
            }
            m.seq = seq;
            found = true;
        }
    }
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return fail(rc, err);
    }
    if (found) {
        *out = m;
    }
    return found;
}

int txlog_next_migration(struct txlog_reader *r, uint64_t after_seq, struct arena *a,
                         struct txlog_migration *out_migration, struct err *err)
{
    char key[KEY_MIGRATION];
    MDB_cursor *c;
    if (after_seq == UINT64_MAX) {
        return 0;
    }
    int rc = mdb_cursor_open(r->txn, r->log->db[DB_MIGRATION], &c);
    if (rc != 0) {
        return fail(rc, err);
    }
    txlog_migration_key(key, after_seq + 1, 0);
    MDB_val k = txlog_val((struct str){key, sizeof key});
    rc = read_migration(c, &k, a, out_migration, err);
    mdb_cursor_close(c);
    return rc;
}

/* --- states --- */

static size_t put_state_key(char out[static 2 + TXLOG_STATE_KEY], char kind, struct str key)
{
    size_t n = key.n < TXLOG_STATE_KEY ? key.n : TXLOG_STATE_KEY;
    out[0] = kind;
    if (n) {
        memcpy(out + 1, key.p, n);
    }
    return 1 + n;
}

int txlog_get_state(struct txlog_reader *r, char kind, struct str key, struct str *out_value, struct err *err)
{
    char bytes[2 + TXLOG_STATE_KEY];
    size_t n = put_state_key(bytes, kind, key);
    MDB_val k = txlog_val((struct str){bytes, n}), v;
    if (key.n > TXLOG_STATE_KEY) {
        return 0;
    }
    int rc = mdb_get(r->txn, r->log->db[DB_STATE], &k, &v);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : fail(rc, err);
    }
    *out_value = txlog_str(v);
    return 1;
}

int txlog_next_state(struct txlog_reader *r, char kind, struct str after, struct str *out_key,
                     struct str *out_value, struct err *err)
{
    char bytes[2 + TXLOG_STATE_KEY];
    size_t n = put_state_key(bytes, kind, after);
    MDB_cursor *c;
    MDB_val v;
    if (after.n) {
        bytes[n++] = '\0'; /* the least key that is greater */
    }
    MDB_val k = txlog_val((struct str){bytes, n});
    int rc = mdb_cursor_open(r->txn, r->log->db[DB_STATE], &c);
    if (rc != 0) {
        return fail(rc, err);
    }
    rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    mdb_cursor_close(c);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : fail(rc, err);
    }
    if (k.mv_size < 1 || *(const char *)k.mv_data != kind) {
        return 0;
    }
    *out_key = (struct str){(const char *)k.mv_data + 1, k.mv_size - 1};
    *out_value = txlog_str(v);
    return 1;
}
