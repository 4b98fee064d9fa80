/* SPDX-License-Identifier: Apache-2.0 */
#include "app/files.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TAIL_BYTES = 16 * 1024, TREE_DEPTH = 64 };

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static int read_all(int fd, struct buf *out)
{
    char chunk[8192];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0) {
            mem_wipe(chunk, sizeof chunk);
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        buf_put(out, chunk, n > 0 ? (size_t)n : 0);
    }
}

int file_read(const char *path, struct buf *out, struct err *err)
{
    struct stat st;
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return err_set_errno(err, errno, "cannot read %s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(err, ERR_INPUT, "%s is not a regular file", path);
    }
    if (read_all(fd, out) < 0) {
        return err_set_errno(err, errno, "cannot read %s", path);
    }
    return out->overflow ? err_set(err, ERR_LIMIT, "%s is longer than %zu bytes", path, out->max) : 0;
}

static int write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        text.p += n > 0 ? n : 0;
        text.n -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int file_write(const char *path, mode_t mode, struct str text, struct err *err)
{
    char fresh[PATH_MAX];
    if (path_printf(fresh, sizeof fresh, err, "%s.new", path) < 0) {
        return -1;
    }
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot write %s", fresh);
    }
    bool failed = write_all(fd, text) < 0 || fchmod(fd, mode) < 0;
    failed = close(fd) < 0 || failed;
    if (failed || rename(fresh, path) < 0) {
        int code = errno;
        unlink(fresh);
        return err_set_errno(err, code, "cannot write %s", path);
    }
    return 0;
}

static size_t start_of_last_lines(struct str text, size_t lines)
{
    size_t at = text.n && text.p[text.n - 1] == '\n' ? text.n - 1 : text.n;
    while (at > 0) {
        if (text.p[at - 1] == '\n' && --lines == 0) {
            return at;
        }
        at--;
    }
    return 0;
}

void file_tail(const char *path, off_t from, size_t lines, struct buf *out)
{
    char text[TAIL_BYTES];
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (end - TAIL_BYTES > from) {
        from = end - TAIL_BYTES;
    }
    ssize_t n = end > from ? pread(fd, text, sizeof text, from) : 0;
    if (n > 0) {
        size_t start = start_of_last_lines((struct str){text, (size_t)n}, lines);
        buf_put(out, text + start, (size_t)n - start);
    }
}

static int make_one(const char *path, mode_t mode)
{
    struct stat st;
    if (mkdir(path, mode) == 0) {
        return chmod(path, mode); /* whatever the umask says */
    }
    if (errno == EEXIST && stat(path, &st) == 0) {
        errno = ENOTDIR;
        return S_ISDIR(st.st_mode) ? 0 : -1;
    }
    return -1;
}

int folder_make(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    if (path_printf(part, sizeof part, err, "%s", path) < 0) {
        return -1;
    }
    for (char *p = part + 1; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            if (make_one(part, 0755) < 0 && errno != EROFS && errno != EACCES) {
                return err_set_errno(err, errno, "cannot create the folder %s", part);
            }
            *p = '/';
        }
    }
    if (make_one(part, mode) < 0) {
        return err_set_errno(err, errno, "cannot create the folder %s", path);
    }
    return 0;
}

static int remove_entries(int dir_fd, unsigned depth);

/* Never leaves the tree: each step is relative to an open folder, and links are removed, not followed. */
static int remove_entry(int parent_fd, const char *name, unsigned depth)
{
    if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    int code = errno;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        errno = errno == ENOTDIR || errno == ELOOP ? code : errno;
        return -1;
    }
    if (remove_entries(fd, depth) < 0) {
        return -1;
    }
    return unlinkat(parent_fd, name, AT_REMOVEDIR);
}

/* Takes the descriptor. */
static int remove_entries(int dir_fd, unsigned depth)
{
    DIR *dir = depth < TREE_DEPTH ? fdopendir(dir_fd) : NULL;
    int result = 0;
    if (!dir) {
        close(dir_fd);
        errno = depth < TREE_DEPTH ? errno : ELOOP;
        return -1;
    }
    for (struct dirent *entry = readdir(dir); entry && result == 0; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = remove_entry(dirfd(dir), entry->d_name, depth + 1);
        }
    }
    int code = errno;
    closedir(dir);
    errno = code;
    return result;
}

int folder_remove(const char *path, struct err *err)
{
    if (remove_entry(AT_FDCWD, path, 0) < 0) {
        return err_set_errno(err, errno, "cannot remove %s", path);
    }
    return 0;
}

int path_printf(char *path, size_t size, struct err *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(path, size, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= size) {
        return err_set(err, ERR_LIMIT, "the path %.100s… is too long", path);
    }
    return 0;
}
