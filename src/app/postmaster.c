/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postmaster.pid, a line each: process id, data folder, start time, port, socket folder, listen address,
 * shared memory key, status. Servers and their backends have the data folder as working directory, which
 * tells a server from another process that happens to have got the number.
 */
#include "app/postmaster.h"

#include "app/files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIDFILE_LIMIT = 8192 };

static int pidfile_path(const char *cluster, char path[PATH_MAX])
{
    struct err err;
    return path_printf(path, PATH_MAX, &err, "%s/postmaster.pid", cluster);
}

bool postmaster_read(const char *cluster, struct postmaster *out)
{
    char path[PATH_MAX];
    struct err err;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(PIDFILE_LIMIT);
    struct str line[8];
    uint64_t pid;
    if (pidfile_path(cluster, path) < 0 || file_read(path, &text, &err) < 0) {
        return false;
    }
    struct str rest = buf_str(&text);
    for (size_t i = 0; i < ARRAY_LEN(line); i++) {
        line[i] = str_trim(str_cut(&rest, '\n'));
    }
    if (!str_to_u64(line[0], INT_MAX, &pid) || pid == 0) {
        return false;
    }
    out->pid = (pid_t)pid;
    out->ready = str_eq(line[7], STR("ready"));
    snprintf(out->listening, sizeof out->listening, "%.*s", STR_ARG(line[5]));
    return true;
}

static bool works_in(const char *pid, const struct stat *folder)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%.20s/cwd", pid);
    return stat(path, &st) == 0 && st.st_dev == folder->st_dev && st.st_ino == folder->st_ino;
}

static bool is_server(pid_t pid, const struct stat *cluster)
{
    char number[24];
    snprintf(number, sizeof number, "%ld", (long)pid);
    if (kill(pid, 0) < 0 && errno == ESRCH) {
        return false;
    }
    return access("/proc/self/cwd", F_OK) < 0 || works_in(number, cluster);
}

pid_t postmaster_running(const char *cluster)
{
    struct postmaster found;
    struct stat st;
    if (stat(cluster, &st) < 0 || !postmaster_read(cluster, &found) || !is_server(found.pid, &st)) {
        return 0;
    }
    return found.pid;
}

/* Backends can outlive a killed postmaster for a moment; PostgreSQL finds them by the file's shared memory
 * key. */
static bool anybody_works_in(const struct stat *cluster)
{
    DIR *proc = opendir("/proc");
    bool found = !proc;
    if (!proc) {
        return true;
    }
    for (struct dirent *entry = readdir(proc); entry && !found; entry = readdir(proc)) {
        found = isdigit((unsigned char)entry->d_name[0]) && works_in(entry->d_name, cluster);
    }
    closedir(proc);
    return found;
}

void postmaster_forget(const char *cluster)
{
    char path[PATH_MAX];
    struct stat st;
    if (stat(cluster, &st) == 0 && pidfile_path(cluster, path) == 0 && !anybody_works_in(&st)) {
        unlink(path);
    }
}
