/* SPDX-License-Identifier: Apache-2.0 */
/* Owns where things are in the data folder and who may be there. Knows nothing of PostgreSQL but its user. */
#include "app/folder.h"

#include "app/files.h"
#include "app/postmaster.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SHARED_HOME      "/var/lib/busbar"
#define EPHEMERAL_PREFIX "/tmp/busbar-dev-"
#define EPHEMERAL_MARK   "busbar dev --ephemeral"
#define UNFINISHED       "pg.new."

/* What a socket's address holds, less the longest name of a socket in the folder. */
enum { SOCKET_FOLDER_LIMIT = sizeof((struct sockaddr_un *)NULL)->sun_path - sizeof "/.s.PGSQL.65432" };

/* -1 with code EWOULDBLOCK when somebody else holds it. */
static int take_lock(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot write %s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int code = errno;
        close(fd);
        return err_set_errno(err, code, "cannot lock %s", path);
    }
    return fd;
}

static int write_holder(int fd, const char *mark, struct err *err)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%ld\n%s\n", (long)getpid(), mark);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        return err_set_errno(err, errno, "cannot write the lock file");
    }
    return 0;
}

static int told_holder(const char *lock, const char *dir, struct err *err)
{
    struct err ignored;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(64);
    struct str rest = {0};
    if (file_read(lock, &text, &ignored) == 0) {
        rest = buf_str(&text);
    }
    struct str pid = str_cut(&rest, '\n');
    return err_set(
        err, ERR_INPUT,
        "the folder %s is in use by another busbar dev (process %.*s): stop that one, or give this one a "
        "folder of its own with --data",
        dir, STR_ARG(pid.n ? pid : STR("unknown")));
}

static int lock_folder(struct folder *f, const char *dir, int *out_lock, struct err *err)
{
    char path[PATH_MAX];
    if (path_printf(path, sizeof path, err, "%s/lock", dir) < 0) {
        return -1;
    }
    *out_lock = take_lock(path, err);
    if (*out_lock < 0 && err->code == EWOULDBLOCK) {
        return told_holder(path, f->dir, err);
    }
    if (*out_lock < 0) {
        return err_set_errno(
            err, err->code,
            "cannot write in the folder %s (choose another one with --data, or mend its permissions)", dir);
    }
    return write_holder(*out_lock, f->ephemeral ? EPHEMERAL_MARK : "", err);
}

static int open_dir(struct folder *f, const char *path, struct err *err)
{
    struct err why = ERR_INIT;
    if (folder_make(path, f->user.drop ? 0755 : 0700, &why) < 0) {
        return err_set(err, ERR_INPUT, "%.400s (choose another folder with --data)", why.msg);
    }
    if (!realpath(path, f->dir)) {
        return err_set_errno(err, errno, "cannot find the folder %s", path);
    }
    return lock_folder(f, f->dir, &f->lock, err);
}

/* True for a folder of a busbar that is gone: ours, marked, and nobody holds the lock. */
static bool is_stale(const char *dir, int *out_lock)
{
    char path[PATH_MAX];
    char text[64];
    struct stat st;
    struct err err;
    if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        path_printf(path, sizeof path, &err, "%s/lock", dir) < 0) {
        return false;
    }
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 ? -1 : pread(fd, text, sizeof text, 0);
    if (n <= 0 || !memmem(text, (size_t)n, EPHEMERAL_MARK, strlen(EPHEMERAL_MARK))) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    *out_lock = fd;
    return true;
}

/* Its server stops when its busbar dies, but may still be about to. */
static bool has_server(const char *dir)
{
    char cluster[PATH_MAX];
    struct err err;
    return path_printf(cluster, sizeof cluster, &err, "%s/pg", dir) < 0 || postmaster_running(cluster) != 0;
}

static void remove_stale(void)
{
    glob_t found = {0};
    struct err ignored;
    int lock;
    if (glob(EPHEMERAL_PREFIX "??????", GLOB_ONLYDIR, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (is_stale(found.gl_pathv[i], &lock)) {
                if (!has_server(found.gl_pathv[i])) {
                    ignore_result(
                        folder_remove(found.gl_pathv[i], &ignored)); /* the next start tries again */
                }
                close(lock);
            }
        }
    }
    globfree(&found);
}

static int open_ephemeral(struct folder *f, struct err *err)
{
    char path[] = EPHEMERAL_PREFIX "XXXXXX";
    remove_stale();
    if (!mkdtemp(path)) {
        return err_set_errno(err, errno, "cannot create a temporary folder");
    }
    snprintf(f->dir, sizeof f->dir, "%s", path);
    f->ephemeral = true;
    if (f->user.drop && chmod(path, 0711) < 0) {
        return err_set_errno(err, errno, "cannot change the permissions of %s", path);
    }
    return lock_folder(f, f->dir, &f->lock, err);
}

/* As root an existing cluster keeps the user that it belongs to. */
static int find_owner(struct folder *f, const char *cluster, struct err *err)
{
    struct stat st;
    if (f->user.drop && stat(cluster, &st) == 0 && st.st_uid != 0 && st.st_uid != f->user.uid) {
        return child_user_by_id(st.st_uid, &f->user, err);
    }
    return 0;
}

/* /var/lib/busbar/<16 hex digits>/pg */
static bool is_shared_home(const char *link)
{
    size_t prefix = strlen(SHARED_HOME "/");
    return strncmp(link, SHARED_HOME "/", prefix) == 0 && strspn(link + prefix, "0123456789abcdef") == 16 &&
           strcmp(link + prefix + 16, "/pg") == 0;
}

static int shared_home(struct folder *f, struct err *err)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)f->dir, strlen(f->dir), digest);
    int n = snprintf(f->home, sizeof f->home, "%s/", SHARED_HOME);
    for (size_t i = 0; i < 8; i++) {
        n += snprintf(f->home + n, sizeof f->home - (size_t)n, "%02x", digest[i]);
    }
    return folder_make(f->home, 0755, err);
}

static int link_home(const struct folder *f, const char *pointer, struct err *err)
{
    if (symlink(f->cluster, pointer) < 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot create the link %s", pointer);
    }
    return 0;
}

/* DIR/pg that is a link of ours, from an earlier start, decides; else whether the server's user can enter
 * DIR. */
static int choose_home(struct folder *f, struct err *err)
{
    char pointer[PATH_MAX];
    char target[PATH_MAX] = "";
    struct stat st;
    if (path_printf(pointer, sizeof pointer, err, "%s/pg", f->dir) < 0) {
        return -1;
    }
    bool linked = readlink(pointer, target, sizeof target - 1) > 0 && f->user.drop && is_shared_home(target);
    if (linked) {
        target[strlen(target) - strlen("/pg")] = '\0';
        snprintf(f->home, sizeof f->home, "%s", target);
        return folder_make(f->home, 0755, err);
    }
    if (!f->user.drop || child_user_can_enter(&f->user, f->dir)) {
        snprintf(f->home, sizeof f->home, "%s", f->dir);
        return 0;
    }
    if (lstat(pointer, &st) == 0) {
        return err_set(
            err, ERR_INPUT,
            "user %s, who runs PostgreSQL, cannot enter %s: give others the right to pass through its parent "
            "folders (chmod o+x), or choose another folder with --data",
            f->user.name, f->dir);
    }
    return shared_home(f, err);
}

static int set_paths(struct folder *f, struct err *err)
{
    if (path_printf(f->cluster, sizeof f->cluster, err, "%s/pg", f->home) < 0 ||
        path_printf(f->fresh, sizeof f->fresh, err, "%s/" UNFINISHED "%ld", f->home, (long)getpid()) < 0 ||
        path_printf(f->log, sizeof f->log, err, "%s/postgres.log", f->dir) < 0) {
        return -1;
    }
    return find_owner(f, f->cluster, err);
}

static int settle_home(struct folder *f, struct err *err)
{
    char pointer[PATH_MAX];
    if (choose_home(f, err) < 0 || set_paths(f, err) < 0) {
        return -1;
    }
    if (strcmp(f->home, f->dir) == 0) {
        return 0;
    }
    if (lock_folder(f, f->home, &f->home_lock, err) < 0 ||
        path_printf(pointer, sizeof pointer, err, "%s/pg", f->dir) < 0) {
        return -1;
    }
    return link_home(f, pointer, err);
}

int folder_open(const char *path, struct folder *out, struct err *err)
{
    *out = (struct folder)FOLDER_INIT;
    if (child_user_find(&out->user, err) < 0) {
        return -1;
    }
    if ((path ? open_dir(out, path, err) : open_ephemeral(out, err)) < 0) {
        return -1;
    }
    return settle_home(out, err);
}

static void drop_lock(int *lock)
{
    if (*lock >= 0) {
        ignore_result(ftruncate(*lock, 0)); /* only what a person would read is lost */
        close(*lock);
        *lock = -1;
    }
}

void folder_close(struct folder *folder)
{
    struct err ignored;
    if (folder->ephemeral && folder->lock >= 0) {
        ignore_result(
            folder_remove(folder->dir, &ignored)); /* what is left, the next ephemeral start removes */
    }
    if (folder->socket[0]) {
        ignore_result(folder_remove(folder->socket, &ignored)); /* the next start removes it too */
        folder->socket[0] = '\0';
    }
    drop_lock(&folder->home_lock);
    drop_lock(&folder->lock);
}

static int own_private(const struct folder *f, const char *path, struct err *err)
{
    struct stat st;
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot create the folder %s", path);
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || (st.st_uid != geteuid() && st.st_uid != f->user.uid)) {
        int code = fd < 0 ? errno : EPERM;
        if (fd >= 0) {
            close(fd);
        }
        return err_set_errno(err, code, "cannot use the folder %s (remove it)", path);
    }
    bool failed = (f->user.drop && fchown(fd, f->user.uid, f->user.gid) < 0) || fchmod(fd, 0700) < 0;
    int code = errno;
    close(fd);
    return failed ? err_set_errno(err, code, "cannot change the owner of %s", path) : 0;
}

int folder_make_socket(struct folder *f, struct err *err)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    if (path_printf(f->socket, sizeof f->socket, err, "%s/socket", f->home) < 0) {
        return -1;
    }
    /* libpq takes a comma for the end of a host */
    if (strlen(f->socket) > SOCKET_FOLDER_LIMIT || strchr(f->socket, ',')) {
        SHA256((const unsigned char *)f->home, strlen(f->home), digest);
        snprintf(f->socket, sizeof f->socket, "/tmp/busbar-%02x%02x%02x%02x%02x%02x", digest[0], digest[1],
                 digest[2], digest[3], digest[4], digest[5]);
    }
    /* What a killed server left there could name a process that is another one by now. */
    return folder_remove(f->socket, err) < 0 ? -1 : own_private(f, f->socket, err);
}

/* One that an initdb of a killed busbar still works on cannot be removed for good: then the next start does
 * it. */
static void remove_unfinished(const struct folder *f)
{
    DIR *dir = opendir(f->home);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        char path[PATH_MAX];
        struct err ignored;
        if (str_starts_with(str_c(entry->d_name), STR(UNFINISHED)) &&
            path_printf(path, sizeof path, &ignored, "%s/%s", f->home, entry->d_name) == 0) {
            ignore_result(folder_remove(path, &ignored));
        }
    }
    if (dir) {
        closedir(dir);
    }
}

int folder_make_fresh(const struct folder *f, struct err *err)
{
    remove_unfinished(f);
    return own_private(f, f->fresh, err);
}
