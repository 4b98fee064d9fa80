/* SPDX-License-Identifier: Apache-2.0 */
/* The databases that release tasks work on: those of busbar.toml, or the one that DATABASE_URL and PROXY_URL
 * name. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum { REPO_LIMIT = 100, REPO_NAME_LIMIT = 63 };

enum repo_lock {
    REPO_LOCK_TABLE,    /* Ecto's: the migration table, SHARE UPDATE EXCLUSIVE */
    REPO_LOCK_ADVISORY, /* with lock_key when lock_keyed, else a key made from the table's name */
    REPO_LOCK_NONE,
};

struct repo {
    const char *name;
    const char *url;       /* the database; NULL when only the proxy is known */
    const char *proxy_url; /* migrations run here when it is set */
    const char *priv;      /* folder of migrations/, data_migrations/, seeds.sql, structure.sql */
    const char **paths;    /* folders of migrations; none: PRIV/migrations */
    size_t paths_n;
    const char *source;    /* migration table */
    const char **prefixes; /* schemas, one run each; none: as the session's search_path says */
    size_t prefixes_n;
    enum repo_lock lock;
    bool lock_keyed;
    int64_t lock_key;
    unsigned pool_size; /* connections that may be used at once, at least 2 */
};

struct repo_list {
    struct repo *items;
    size_t n;
};

/* What the command line and the environment say. Lists have an entry a line; NULL: not given. */
struct repo_choice {
    const char *url, *proxy_url;
    const char *config_file; /* given by name: must exist */
    const char *names;
    const char *paths, *source, *prefixes, *lock;
};

/*
 * The chosen repos, all of them when no name is given; in the arena, texts borrowed from `choice`. -1: the
 * file cannot be read, a repo is not known, has no URL, …
 */
MUST_USE int repo_list_read(struct arena *a, const struct repo_choice *choice, struct repo_list *out,
                            struct err *err);

/* table, advisory, advisory:KEY, off. */
MUST_USE bool repo_lock_parse(struct repo *repo, const char *text);

/* Where migrations are run: the proxy when there is one. And what else is asked there: the database when it
 * is known. */
const char *repo_run_url(const struct repo *repo);
const char *repo_look_url(const struct repo *repo);
