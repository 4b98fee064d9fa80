/* SPDX-License-Identifier: Apache-2.0 */
/* The migrations that lie in folders, read and sorted by version. */
#pragma once

#include "migrate/file.h"

struct migration {
    uint64_t version;
    const char *name;
    const char *path;      /* of what is run by migrate; of the .down.sql when nothing else is there */
    const char *down_path; /* of what is run by rollback */
    bool data;             /* from a folder of data migrations */
    bool elixir;           /* Ecto's file: it has a name and nothing that we could run */
    bool has_up;
    struct migration_parts text;
    char checksum[MIGRATION_CHECKSUM];
};

struct migration_list {
    struct migration *items;
    size_t n, cap;
};

enum { FOLDER_MIGRATIONS = 100000 };

/*
 * Appends what a folder holds, in the arena; files with other names are passed over. A folder that is not
 * there holds nothing when it is `optional`. Fails for a file that cannot be read or is wrong inside.
 */
MUST_USE int migration_folder_read(struct arena *a, const char *folder, bool data, bool optional,
                                   struct migration_list *list, struct err *err);

/* Sorts and joins the files of pairs. Fails when two migrations have one version, or a .down.sql stands
 * alone. */
MUST_USE int migration_list_finish(struct migration_list *list, struct err *err);

/* NULL when there is none. */
const struct migration *migration_list_find(const struct migration_list *list, uint64_t version);
