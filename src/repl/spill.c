/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/spill.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOVE_BYTES = 1024 * 1024, PATH_BYTES = 4096 };

struct spill {
    char *path;
    int fd;
    size_t size;
    struct str map; /* p NULL: not mapped */
    atomic_bool kept;
};

static int failed(const struct spill *s, const char *what, struct err *err)
{
    if (errno == ENOSPC || errno == EDQUOT) {
        return err_set_errno(err, ENOSPC, "the disk that holds the log is full");
    }
    return err_set_errno(err, errno, "cannot %s %s", what, s->path);
}

/* --- life --- */

int spill_new(const char *folder, struct spill **out_spill, struct err *err)
{
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/XXXXXX", folder) >= sizeof path) {
        return err_set_errno(err, ENAMETOOLONG, "cannot make a file in %s", folder);
    }
    if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot make the folder %s", folder);
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot make a file in %s", folder);
    }
    struct spill *s = mem_zalloc(sizeof *s);
    s->path = mem_strdup(path);
    s->fd = fd;
    atomic_init(&s->kept, false);
    *out_spill = s;
    return 0;
}

static void forget_map(struct spill *s)
{
    spill_unmap(s->map);
    s->map = (struct str){NULL, 0};
}

void spill_free(struct spill *s)
{
    if (!s) {
        return;
    }
    forget_map(s);
    close(s->fd);
    if (!atomic_load(&s->kept)) {
        unlink(s->path);
    }
    free(s->path);
    free(s);
}

void spill_keep(struct spill *s)
{
    atomic_store(&s->kept, true);
}

struct str spill_name(const struct spill *s)
{
    return str_c(strrchr(s->path, '/') + 1);
}

size_t spill_size(const struct spill *s)
{
    return s->size;
}

/* --- writing --- */

static int write_at(struct spill *s, size_t at, const char *p, size_t n, struct err *err)
{
    while (n > 0) {
        ssize_t done = pwrite(s->fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return failed(s, "write", err);
        }
        p += done;
        at += (size_t)done;
        n -= (size_t)done;
    }
    return 0;
}

int spill_append(struct spill *s, struct str bytes, struct err *err)
{
    if (bytes.n == 0) {
        return 0;
    }
    forget_map(s);
    if (write_at(s, s->size, bytes.p, bytes.n, err) < 0) {
        return -1;
    }
    /* The disk begins now, so that the sync has little left to wait for. What it cannot do, the sync says. */
    ignore_result(sync_file_range(s->fd, (off_t)s->size, (off_t)bytes.n, SYNC_FILE_RANGE_WRITE));
    s->size += bytes.n;
    return 0;
}

int spill_put(struct spill *s, size_t at, struct str bytes, struct err *err)
{
    assert(at + bytes.n <= s->size);
    forget_map(s);
    return write_at(s, at, bytes.p, bytes.n, err);
}

static int read_at(struct spill *s, size_t at, char *p, size_t n, struct err *err)
{
    while (n > 0) {
        ssize_t done = pread(s->fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            errno = done < 0 ? errno : EIO;
            return failed(s, "read", err);
        }
        p += done;
        at += (size_t)done;
        n -= (size_t)done;
    }
    return 0;
}

int spill_move(struct spill *s, size_t to, size_t from, size_t n, struct err *err)
{
    assert(to <= from && from + n <= s->size);
    CLEANUP(mem_free_p) char *bytes = mem_alloc(MOVE_BYTES);
    forget_map(s);
    while (n > 0 && to < from) {
        size_t some = n < MOVE_BYTES ? n : MOVE_BYTES;
        if (read_at(s, from, bytes, some, err) < 0 || write_at(s, to, bytes, some, err) < 0) {
            return -1;
        }
        to += some;
        from += some;
        n -= some;
    }
    return 0;
}

int spill_truncate(struct spill *s, size_t size, struct err *err)
{
    assert(size <= s->size);
    forget_map(s);
    if (ftruncate(s->fd, (off_t)size) < 0) {
        return failed(s, "cut", err);
    }
    s->size = size;
    return 0;
}

int spill_sync(struct spill *s, struct err *err)
{
    return fdatasync(s->fd) < 0 ? failed(s, "sync", err) : 0;
}

/* --- reading --- */

static int map_fd(int fd, size_t size, struct str *out)
{
    void *p = size > 0 ? mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    *out = (struct str){p == MAP_FAILED ? NULL : p, size};
    return p == MAP_FAILED ? -1 : 0;
}

int spill_map(struct spill *s, struct str *out_bytes, struct err *err)
{
    if (!s->map.p && map_fd(s->fd, s->size, &s->map) < 0) {
        return failed(s, "map", err);
    }
    *out_bytes = s->map;
    return 0;
}

void spill_unmap(struct str bytes)
{
    if (bytes.p) {
        munmap((void *)(uintptr_t)bytes.p, bytes.n);
    }
}

static int open_fd(int fd, const char *path, size_t size, struct str *out_bytes, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return err_set_errno(err, errno, "cannot read %s", path);
    }
    if ((uint64_t)st.st_size != size) {
        return err_set(err, ERR_INTERNAL, "%s is damaged: it has not the %zu bytes that the log says", path,
                       size);
    }
    return map_fd(fd, size, out_bytes) < 0 ? err_set_errno(err, errno, "cannot map %s", path) : 1;
}

int spill_open(const char *folder, struct str name, size_t size, struct str *out_bytes, struct err *err)
{
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/%.*s", folder, STR_ARG(name)) >= sizeof path) {
        return err_set_errno(err, ENAMETOOLONG, "cannot open %s", path);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "cannot open %s", path);
    }
    int rc = open_fd(fd, path, size, out_bytes, err);
    close(fd);
    return rc;
}
