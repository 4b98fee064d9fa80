/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions in files of their own. A file is written and synced before the log refers to it, and deleted
 * after the log has forgotten it: what is between the two when the process ends is deleted at the next start.
 */
#include "base/mem.h"
#include "repl/spill.h"
#include "txlog/txlog_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MARK "FILE"

enum { MARK_BYTES = 4 };

struct txlog_map {
    struct txlog_map *next;
    struct str bytes;
};

/* --- what the log says of it --- */

bool txlog_is_large(struct str value)
{
    return str_starts_with(value, STR(MARK));
}

int txlog_decode_large(struct str value, struct txlog_large *out, struct err *err)
{
    struct rd r = rd_init(value.p + MARK_BYTES, value.n - MARK_BYTES);
    uint64_t bytes = txlog_rd_u64(&r);
    struct str name = rd_rest(&r);
    if (r.failed || name.n == 0 || name.n > SPILL_NAME || memchr(name.p, '/', name.n)) {
        return txlog_damaged(err);
    }
    *out = (struct txlog_large){bytes, name};
    return 0;
}

void txlog_encode_large(const struct txlog_large *large, struct buf *out)
{
    buf_put_c(out, MARK);
    txlog_buf_u64(out, large->bytes);
    buf_put_str(out, large->name);
}

/* --- the writer --- */

int txlog_sync_folder(const char *folder, struct err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    int code = errno;
    if (fd >= 0) {
        close(fd);
    }
    return rc < 0 ? err_set_errno(err, code, "cannot sync %s", folder) : 0;
}

static void note_added(struct txlog *log, struct spill *file)
{
    log->added = mem_realloc(log->added, (log->added_n + 1) * sizeof(struct spill *));
    log->added[log->added_n++] = file;
}

int txlog_add_large(struct txlog *log, struct spill *file, struct err *err)
{
    struct str name = spill_name(file);
    MDB_val k = txlog_val(name), nothing = txlog_val((struct str){"", 0});
    if (spill_sync(file, err) < 0) {
        return -1;
    }
    int rc = mdb_put(log->txn, log->db[DB_LARGE], &k, &nothing, 0);
    if (rc != 0) {
        return txlog_fail(log, rc, "cannot write", err);
    }
    note_added(log, file);
    return 0;
}

int txlog_sync_large(struct txlog *log, struct err *err)
{
    return log->added_n > 0 &&
                   (txlog_sync_folder(log->large_folder, err) < 0 || txlog_sync_folder(log->folder, err) < 0)
               ? -1
               : 0;
}

int txlog_find_large(struct txlog *log, struct spill *file, struct err *err)
{
    MDB_val k = txlog_val(spill_name(file)), v;
    int rc = mdb_get(log->txn, log->db[DB_LARGE], &k, &v);
    if (rc == 0) {
        note_added(log, file);
    }
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : txlog_fail(log, rc, "cannot read", err);
}

int txlog_drop_large(struct txlog *log, struct str name, struct err *err)
{
    size_t at = log->gone.n;
    buf_put_str(&log->gone, name);
    buf_put_byte(&log->gone, '\0');
    MDB_val k = txlog_val((struct str){log->gone.p + at, name.n}); /* deleting may move what `name` borrows */
    int rc = mdb_del(log->txn, log->db[DB_LARGE], &k, NULL);
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : txlog_fail(log, rc, "cannot delete", err);
}

int txlog_drop_all_large(struct txlog *log, struct err *err)
{
    MDB_cursor *c;
    MDB_val k, v;
    int rc = mdb_cursor_open(log->txn, log->db[DB_LARGE], &c);
    if (rc != 0) {
        return txlog_fail(log, rc, "cannot read", err);
    }
    while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
        buf_put_str(&log->gone, txlog_str(k));
        buf_put_byte(&log->gone, '\0');
    }
    mdb_cursor_close(c);
    rc = rc == MDB_NOTFOUND ? mdb_drop(log->txn, log->db[DB_LARGE], 0) : rc;
    return rc ? txlog_fail(log, rc, "cannot empty it", err) : 0;
}

/* What cannot be deleted now is at the next start. */
static void delete_file(const struct txlog *log, const char *name)
{
    CLEANUP(buf_deinit) struct buf path = BUF_INIT(8192);
    buf_printf(&path, "%s/%s", log->large_folder, name);
    ignore_result(unlink(buf_cstr(&path)));
}

static void take_effect(struct txlog *log)
{
    struct str gone = buf_str(&log->gone);
    while (gone.n > 0) {
        delete_file(log, str_cut(&gone, '\0').p);
    }
    for (size_t i = 0; i < log->added_n; i++) {
        spill_keep(log->added[i]);
    }
}

void txlog_settle_large(struct txlog *log, bool committed)
{
    if (committed) {
        take_effect(log);
    }
    buf_reset(&log->gone);
    log->added_n = 0;
}

/* --- at the start --- */

static int sweep(struct txlog *log, DIR *folder, MDB_txn *txn, struct err *err)
{
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        MDB_val k = txlog_val(str_c(entry->d_name)), v;
        if (entry->d_name[0] == '.') {
            continue;
        }
        int rc = mdb_get(txn, log->db[DB_LARGE], &k, &v);
        if (rc == MDB_NOTFOUND) {
            delete_file(log, entry->d_name);
        } else if (rc != 0) {
            return txlog_fail(NULL, rc, "cannot read", err);
        }
    }
    return 0;
}

int txlog_sweep_large(struct txlog *log, struct err *err)
{
    MDB_txn *txn;
    DIR *folder = opendir(log->large_folder);
    if (!folder) {
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "cannot read %s", log->large_folder);
    }
    int rc = mdb_txn_begin(log->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        closedir(folder);
        return txlog_fail(NULL, rc, "cannot read", err);
    }
    rc = sweep(log, folder, txn, err);
    mdb_txn_abort(txn);
    closedir(folder);
    return rc;
}

/* --- readers --- */

int txlog_map_large(struct txlog_reader *r, struct str value, struct str *out_record, struct err *err)
{
    struct txlog_large large;
    if (txlog_decode_large(value, &large, err) < 0) {
        return -1;
    }
    int rc = spill_open(r->log->large_folder, large.name, large.bytes, out_record, err);
    if (rc == 1) {
        struct txlog_map *map = mem_alloc(sizeof *map);
        *map = (struct txlog_map){r->maps, *out_record};
        r->maps = map;
    }
    return rc == 0 ? TXLOG_GONE : rc;
}

void txlog_unmap_large(struct txlog_reader *r)
{
    struct txlog_map *next;
    for (struct txlog_map *map = r->maps; map; map = next) {
        next = map->next;
        spill_unmap(map->bytes);
        free(map);
    }
    r->maps = NULL;
}

bool txlog_take_map(struct txlog_reader *r, struct str record)
{
    for (struct txlog_map **link = &r->maps; *link; link = &(*link)->next) {
        struct txlog_map *map = *link;
        if (map->bytes.p == record.p) {
            *link = map->next;
            free(map);
            return true;
        }
    }
    return false;
}
