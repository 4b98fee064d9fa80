/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest in the folders that packages use; when they have none, the newest that PATH and the pg_config
 * there lead to. The version is what `postgres --version` says; a folder counts when it has both initdb and
 * postgres.
 */
#include "app/pgbin.h"

#include "app/child.h"
#include "app/files.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct search {
    int wanted; /* 0: the newest */
    struct pgbin best;
    struct pgbin refused; /* the newest of another version than wanted, or too old; for the message */
};

static const char *const places[] = {
    "/usr/lib/postgresql/*/bin",      "/usr/local/pgsql/bin",
    "/usr/local/pgsql-*/bin",         "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",       "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
};

static bool run_quietly(const char *const *argv, struct buf *output)
{
    struct err err = ERR_INIT;
    struct child_spec spec = {.argv = argv, .output = -1};
    int status;
    return child_run(&spec, (struct str){0}, NULL, output, &status, &err) == 0 && status == 0;
}

/* "postgres (PostgreSQL) 15.4 (Debian 15.4-1)" → 15; 0 when it says something else. */
static int parse_version(struct str text)
{
    static const char mark[] = "(PostgreSQL) ";
    const char *at = text.n ? memmem(text.p, text.n, mark, sizeof mark - 1) : NULL;
    uint64_t major = 0;
    if (!at) {
        return 0;
    }
    at += sizeof mark - 1;
    struct str digits = {at, 0};
    while (at + digits.n < text.p + text.n && at[digits.n] >= '0' && at[digits.n] <= '9') {
        digits.n++;
    }
    return str_to_u64(digits, 1000, &major) ? (int)major : 0;
}

static bool has_program(const char *folder, const char *name, char path[PATH_MAX])
{
    struct err err;
    return path_printf(path, PATH_MAX, &err, "%s/%s", folder, name) == 0 && access(path, X_OK) == 0;
}

static int version_of(const char *folder)
{
    char initdb[PATH_MAX];
    char postgres[PATH_MAX];
    CLEANUP(buf_deinit) struct buf output = BUF_INIT(4096);
    if (!has_program(folder, "initdb", initdb) || !has_program(folder, "postgres", postgres)) {
        return 0;
    }
    const char *const argv[] = {postgres, "--version", NULL};
    return run_quietly(argv, &output) ? parse_version(buf_str(&output)) : 0;
}

static void consider(struct search *search, const char *folder)
{
    int major = version_of(folder);
    bool fits = search->wanted ? major == search->wanted : major >= PGBIN_OLDEST;
    struct pgbin *slot = fits ? &search->best : &search->refused;
    if (major > slot->major) {
        slot->major = major;
        snprintf(slot->folder, sizeof slot->folder, "%s", folder);
    }
}

static void consider_places(struct search *search)
{
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        glob_t found = {0};
        if (glob(places[i], GLOB_ONLYDIR, NULL, &found) == 0) {
            for (size_t k = 0; k < found.gl_pathc; k++) {
                consider(search, found.gl_pathv[k]);
            }
        }
        globfree(&found);
    }
}

/* Where a pg_config says that its server is. */
static void consider_pg_config(struct search *search, const char *folder)
{
    char program[PATH_MAX];
    CLEANUP(buf_deinit) struct buf output = BUF_INIT(PATH_MAX);
    if (!has_program(folder, "pg_config", program)) {
        return;
    }
    const char *const argv[] = {program, "--bindir", NULL};
    if (run_quietly(argv, &output)) {
        struct str bindir = str_trim(buf_str(&output));
        buf_put_byte(&output, '\0');
        output.p[bindir.p - output.p + (ptrdiff_t)bindir.n] = '\0';
        consider(search, bindir.p);
    }
}

static void consider_path(struct search *search)
{
    const char *path = getenv("PATH");
    struct str rest = str_c(path ? path : "");
    while (rest.n) {
        char folder[PATH_MAX];
        struct err err;
        struct str entry = str_cut(&rest, ':');
        if (entry.n && entry.p[0] == '/' &&
            path_printf(folder, sizeof folder, &err, "%.*s", STR_ARG(entry)) == 0) {
            consider_pg_config(search, folder);
            consider(search, folder);
        }
    }
}

static int nothing_found(const struct search *search, const char *folder, struct err *err)
{
    if (folder && !search->refused.major) {
        return err_set(err, ERR_INPUT,
                       "there is no PostgreSQL server in %s (--pg-bin): initdb and postgres must both "
                       "be there",
                       folder);
    }
    if (search->wanted) {
        return err_set(err, ERR_INPUT,
                       "PostgreSQL %d is needed%s%s and is not installed: install it (Debian, Ubuntu: "
                       "apt-get install postgresql-%d)",
                       search->wanted, folder ? " in " : "", folder ? folder : "", search->wanted);
    }
    if (search->refused.major) {
        return err_set(err, ERR_INPUT,
                       "only PostgreSQL %d is installed (%s), %d or later is needed: install a newer one "
                       "(Debian, Ubuntu: apt-get install postgresql)",
                       search->refused.major, search->refused.folder, PGBIN_OLDEST);
    }
    return err_set(err, ERR_INPUT,
                   "no PostgreSQL server (%d or later) is installed: install one (Debian, Ubuntu: "
                   "apt-get install postgresql), name its folder with --pg-bin, or set DATABASE_URL "
                   "to use a database that runs already",
                   PGBIN_OLDEST);
}

int pgbin_find(const char *folder, int major, struct pgbin *out, struct err *err)
{
    struct search search = {.wanted = major};
    if (folder) {
        consider(&search, folder);
    } else {
        consider_places(&search);
        if (!search.best.major) {
            consider_path(&search);
        }
    }
    if (!search.best.major) {
        return nothing_found(&search, folder, err);
    }
    *out = search.best;
    return 0;
}
