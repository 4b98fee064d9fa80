/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder, the environment and the write transaction.
 *
 * Durability. LMDB runs with its defaults: pages are never overwritten while a transaction that is committed
 * uses them; a commit writes its pages to free places, syncs the file (fdatasync), and only then writes one
 * of two meta pages through a descriptor that syncs (O_DSYNC). kill -9 leaves what the kernel was given:
 * either the old meta page is the newest, or the new one, whose pages are all there. Power loss is the same,
 * since the pages reached the disk before the meta page was sent there, and what matters of that fits one
 * sector. MDB_NOMETASYNC would save the second sync and may lose the last commit with the power: that commit
 * has been confirmed to PostgreSQL, which would not send it again. MDB_WRITEMAP lets the kernel write pages
 * in any order before the sync and hands stray writes to the file; it saves copying, which is not what costs
 * here. (It needs a file system that keeps the promises of fsync and mmap: no NFS.)
 *
 * The map is address space, not disk: the file grows as pages are used. So it is made several times the
 * window at the start, and growing (close, open with a larger one, while no reader is open) stays rare. The
 * same helps after a meta page could not be written, when LMDB refuses everything until it is opened anew.
 */
#include "base/mem.h"
#include "txlog/txlog_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define GIB (1ull << 30)

enum { READERS = 64 };

static const uint64_t map_least = GIB, map_slack = 8 * GIB, map_most = 1024 * GIB;

/* --- values --- */

void txlog_put_u64(char out[static KEY_U64], uint64_t v)
{
    for (int i = 0; i < KEY_U64; i++) {
        out[i] = (char)(unsigned char)(v >> (56 - 8 * i));
    }
}

uint64_t txlog_get_u64(const void *p)
{
    struct rd r = rd_init(p, KEY_U64);
    return txlog_rd_u64(&r);
}

uint64_t txlog_rd_u64(struct rd *r)
{
    uint64_t high = rd_u32be(r);
    return high << 32 | rd_u32be(r);
}

void txlog_buf_u64(struct buf *b, uint64_t v)
{
    buf_put_u32be(b, (uint32_t)(v >> 32));
    buf_put_u32be(b, (uint32_t)v);
}

int txlog_damaged(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "the log is damaged; remove its folder, and clients load all anew");
}

static void encode_head(const struct txlog_head *h, struct buf *out)
{
    txlog_buf_u64(out, h->oldest);
    txlog_buf_u64(out, h->newest);
    txlog_buf_u64(out, h->position);
    txlog_buf_u64(out, h->bytes);
    txlog_buf_u64(out, h->transactions);
    buf_put_u32be(out, h->next_relation);
}

int txlog_decode_head(struct str bytes, struct txlog_head *out, struct err *err)
{
    struct rd r = rd_init(bytes.p, bytes.n);
    struct txlog_head h;
    h.oldest = txlog_rd_u64(&r);
    h.newest = txlog_rd_u64(&r);
    h.position = txlog_rd_u64(&r);
    h.bytes = txlog_rd_u64(&r);
    h.transactions = txlog_rd_u64(&r);
    h.next_relation = rd_u32be(&r);
    if (!rd_done(&r)) {
        return txlog_damaged(err);
    }
    *out = h;
    return 0;
}

/* LMDB says EIO when only a part of a page could be written. */
static bool no_room(const struct txlog *log, int rc)
{
    struct statvfs fs;
    return rc == ENOSPC || rc == EDQUOT ||
           (rc == EIO && log && log->folder && statvfs(log->folder, &fs) == 0 && fs.f_bavail == 0);
}

int txlog_fail(struct txlog *log, int rc, const char *what, struct err *err)
{
    if (log) {
        log->trouble = rc == MDB_MAP_FULL ? TROUBLE_MAP_FULL : rc == MDB_PANIC ? TROUBLE_PANIC : log->trouble;
    }
    if (no_room(log, rc)) {
        return err_set_errno(err, ENOSPC, "the disk that holds the log is full");
    }
    if (rc > 0) {
        return err_set_errno(err, rc, "log: %s", what);
    }
    if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND) {
        return txlog_damaged(err);
    }
    return err_set(err, ERR_INTERNAL, "log: %s: %s", what, mdb_strerror(rc));
}

/* --- the folder --- */

static int make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return 0;
    }
    const char *slash = strrchr(path, '/');
    if (errno != ENOENT || !slash || slash == path) {
        return -1;
    }
    CLEANUP(mem_free_p) char *above = mem_strndup(path, (size_t)(slash - path));
    return make_folder(above) == 0 && (mkdir(path, 0700) == 0 || errno == EEXIST) ? 0 : -1;
}

static int refuse_second(struct txlog *log, int fd, struct err *err)
{
    char pid[16] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    close(fd);
    return err_set(err, ERR_INPUT, "another busbar%s%.*s uses the log in %s", n > 0 ? ", process " : "",
                   n > 0 ? (int)n : 0, pid, log->folder);
}

/* The kernel lets go of it when the process ends, however that comes about. */
static int take_lock(struct txlog *log, struct err *err)
{
    CLEANUP(buf_deinit) struct buf path = BUF_INIT(8192);
    char pid[16];
    buf_printf(&path, "%s/owner", log->folder);
    int fd = open(buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot open %s", buf_cstr(&path));
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return refuse_second(log, fd, err);
    }
    log->lock_fd = fd;
    int n = snprintf(pid, sizeof pid, "%ld", (long)getpid());
    /* For whoever is refused; without it the refusal says less. */
    ignore_result(ftruncate(fd, 0));
    ignore_result(pwrite(fd, pid, (size_t)n, 0));
    return 0;
}

/* --- the environment --- */

static void close_env(struct txlog *log)
{
    if (log->env) {
        mdb_env_close(take_ptr(&log->env));
    }
}

static int try_env(struct txlog *log, size_t size)
{
    int rc = mdb_env_create(&log->env);
    if (rc != 0) {
        log->env = NULL;
        return rc;
    }
    rc = mdb_env_set_maxdbs(log->env, DB_COUNT);
    rc = rc ? rc : mdb_env_set_maxreaders(log->env, READERS);
    rc = rc ? rc : mdb_env_set_mapsize(log->env, size);
    /* A reader belongs to its owner, not to a thread. */
    rc = rc ? rc : mdb_env_open(log->env, log->folder, MDB_NOTLS, 0600);
    if (rc != 0) {
        close_env(log);
    }
    return rc;
}

static bool is_foreign(int rc)
{
    return rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH;
}

/* Address space may be limited (ulimit -v): half of what was wanted will do as well. */
static int open_env(struct txlog *log, struct err *err)
{
    int rc = try_env(log, log->map_size);
    while (rc == ENOMEM && log->map_size / 2 >= map_least) {
        log->map_size /= 2;
        rc = try_env(log, log->map_size);
    }
    if (is_foreign(rc)) {
        return err_set(err, ERR_INPUT, "%s holds no log of this program; remove it, or name another folder",
                       log->folder);
    }
    return rc ? txlog_fail(NULL, rc, "cannot open it", err) : 0;
}

static int open_databases(struct txlog *log, MDB_txn *txn)
{
    static const char *const names[DB_COUNT] = {"txn", "relation", "migration", "state", "meta", "large"};
    for (int i = 0; i < DB_COUNT; i++) {
        int rc = mdb_dbi_open(txn, names[i], MDB_CREATE, &log->db[i]);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int put_meta(struct txlog *log, const char *name, struct str value, struct err *err)
{
    MDB_val k = txlog_val(str_c(name)), v = txlog_val(value);
    int rc = mdb_put(log->txn, log->db[DB_META], &k, &v, 0);
    return rc ? txlog_fail(log, rc, "cannot write", err) : 0;
}

static int put_head(struct txlog *log, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(HEAD_BYTES);
    encode_head(&log->draft.head, &b);
    return put_meta(log, "head", buf_str(&b), err);
}

/* --- a write transaction --- */

void txlog_forget_used(struct txlog *log)
{
    if (log->used_n) {
        memset(log->used, 0, log->used_n * sizeof *log->used);
    }
}

static void drop_txn(struct txlog *log)
{
    if (log->txn) {
        mdb_txn_abort(take_ptr(&log->txn));
    }
    txlog_forget_used(log);
    txlog_settle_large(log, false);
}

static int begin(struct txlog *log, struct err *err)
{
    int rc = mdb_txn_begin(log->env, NULL, 0, &log->txn);
    if (rc != 0) {
        log->txn = NULL;
        return txlog_fail(log, rc, "cannot begin", err);
    }
    log->draft = log->now;
    return 0;
}

static int commit(struct txlog *log, struct err *err)
{
    if (txlog_sync_large(log, err) < 0 || put_head(log, err) < 0) {
        drop_txn(log);
        return -1;
    }
    int rc = mdb_txn_commit(take_ptr(&log->txn)); /* ends it in any case */
    if (rc != 0) {
        drop_txn(log);
        return txlog_fail(log, rc, "cannot commit", err);
    }
    log->now = log->draft;
    txlog_settle_large(log, true);
    return 0;
}

/* A new log gets its first values; another is looked at. */
static int read_start(struct txlog *log, struct err *err)
{
    MDB_val k = txlog_val(STR("format")), v;
    char format[] = {0, 0, 0, TXLOG_FORMAT};
    int rc = mdb_get(log->txn, log->db[DB_META], &k, &v);
    if (rc == MDB_NOTFOUND) {
        log->draft.head = (struct txlog_head){.next_relation = 1};
        return put_meta(log, "format", (struct str){format, sizeof format}, err);
    }
    if (rc != 0) {
        return txlog_fail(log, rc, "cannot read", err);
    }
    struct rd r = rd_init(v.mv_data, v.mv_size);
    uint32_t found = rd_u32be(&r);
    if (found != TXLOG_FORMAT) {
        return err_set(err, ERR_INPUT,
                       "the log in %s is of format %u, this program writes %d; remove it, and "
                       "clients load all anew",
                       log->folder, found, TXLOG_FORMAT);
    }
    k = txlog_val(STR("head"));
    rc = mdb_get(log->txn, log->db[DB_META], &k, &v);
    return rc ? txlog_damaged(err) : txlog_decode_head(txlog_str(v), &log->draft.head, err);
}

/* When the first of the relations that are there gave way to a later version. */
static int read_superseded(struct txlog *log, struct err *err)
{
    MDB_cursor *c;
    MDB_val k, v;
    int rc = mdb_cursor_open(log->txn, log->db[DB_RELATION], &c);
    log->draft.superseded = 0;
    if (rc != 0) {
        return txlog_fail(log, rc, "cannot read", err);
    }
    while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
        lsn_t at = v.mv_size < KEY_U64 ? 0 : txlog_get_u64(v.mv_data);
        if (at && (!log->draft.superseded || at < log->draft.superseded)) {
            log->draft.superseded = at;
        }
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : txlog_fail(log, rc, "cannot read", err);
}

static int start(struct txlog *log, struct err *err)
{
    if (begin(log, err) < 0) {
        return -1;
    }
    int rc = open_databases(log, log->txn);
    if (rc != 0) {
        ignore_result(txlog_fail(log, rc, "cannot open its parts", err));
    } else if (read_start(log, err) == 0 && read_superseded(log, err) == 0) {
        return commit(log, err);
    }
    drop_txn(log);
    return -1;
}

static int reopen(struct txlog *log, size_t map_size, struct err *err)
{
    pthread_rwlock_wrlock(&log->gate);
    close_env(log);
    log->map_size = map_size;
    int rc = open_env(log, err);
    if (rc == 0 && (rc = start(log, err)) < 0) {
        close_env(log);
    }
    pthread_rwlock_unlock(&log->gate);
    return rc;
}

static int write_once(struct txlog *log, txlog_write_fn fn, void *ctx, struct err *err)
{
    log->trouble = TROUBLE_NONE;
    if (!log->env && reopen(log, log->map_size, err) < 0) {
        return -1;
    }
    if (begin(log, err) < 0) {
        return -1;
    }
    if (fn(ctx, log, err) < 0) {
        drop_txn(log);
        return -1;
    }
    return commit(log, err);
}

int txlog_write(struct txlog *log, txlog_write_fn fn, void *ctx, struct err *err)
{
    for (;;) {
        struct err ignored;
        int rc = write_once(log, fn, ctx, err);
        if (rc == 0) {
            return 0;
        }
        switch (log->trouble) {
        case TROUBLE_NONE:
            return -1;
        case TROUBLE_PANIC: /* a meta page was not written, earlier: the caller tries again with the new one
                             */
            ignore_result(reopen(log, log->map_size, &ignored));
            return -1;
        case TROUBLE_MAP_FULL:
            if (reopen(log, log->map_size * 2, err) < 0) {
                return -1;
            }
        }
    }
}

/* --- life --- */

static size_t first_map(const struct txlog_options *options)
{
    uint64_t size = options->map_size;
    if (size == 0) {
        size = options->window < map_most / 4 ? options->window * 4 + map_slack : map_most;
    }
    size = size < map_most ? size : map_most;
    return (size_t)(size + 0xffff) & ~(size_t)0xffff; /* whole pages of any kind */
}

static int set_up(struct txlog *log, struct err *err)
{
    if (make_folder(log->folder) < 0) {
        return err_set_errno(err, errno, "cannot make the folder %s", log->folder);
    }
    if (take_lock(log, err) < 0 || reopen(log, log->map_size, err) < 0 || txlog_sweep_large(log, err) < 0) {
        return -1;
    }
    return txlog_sync_folder(log->folder, err);
}

static char *large_folder(const char *folder)
{
    CLEANUP(buf_deinit) struct buf path = BUF_INIT(8192);
    buf_printf(&path, "%s/large", folder);
    return mem_strdup(buf_cstr(&path));
}

int txlog_open(const char *folder, const struct txlog_options *options, struct txlog **out_log,
               struct err *err)
{
    struct txlog *log = mem_zalloc(sizeof *log);
    log->folder = mem_strdup(folder);
    log->large_folder = large_folder(folder);
    buf_init(&log->gone, SIZE_MAX);
    log->window = options->window;
    log->map_size = first_map(options);
    log->lock_fd = -1;
    int rc = pthread_rwlock_init(&log->gate, NULL);
    assert(rc == 0);
    ignore_result(rc);
    if (set_up(log, err) < 0) {
        txlog_close(log);
        return -1;
    }
    *out_log = log;
    return 0;
}

void txlog_close(struct txlog *log)
{
    if (!log) {
        return;
    }
    close_env(log);
    if (log->lock_fd >= 0) {
        close(log->lock_fd);
    }
    pthread_rwlock_destroy(&log->gate);
    buf_deinit(&log->gone);
    free(log->added);
    free(log->used);
    free(log->large_folder);
    free(log->folder);
    free(log);
}

const char *txlog_large_folder(const struct txlog *log)
{
    return log->large_folder;
}

const struct txlog_head *txlog_head(const struct txlog *log)
{
    return &log->now.head;
}

bool txlog_is_over_window(const struct txlog *log)
{
    return log->now.head.bytes > log->window && log->now.head.transactions > 1;
}
