/* SPDX-License-Identifier: Apache-2.0 */
/* Files and rows put side by side, and what of it a command runs. Pure. */
#pragma once

#include "migrate/folder.h"

enum history_state { HISTORY_UP, HISTORY_RUNNING, HISTORY_FAILED };

/* What the database knows of a version. Texts live in the arena of whoever read them. */
struct version_row {
    uint64_t version;
    bool up;    /* it is in the migration table: it counts */
    bool facts; /* what follows was found in our own table */
    bool data;
    bool down; /* RUNNING or FAILED: while it was rolled back */
    enum history_state state;
    size_t done;                         /* RUNNING, FAILED: statements that were completed */
    const char *name, *checksum, *error; /* "" when not known */
};

struct entry {
    uint64_t version;
    const struct migration *file;  /* NULL: not found */
    const struct version_row *row; /* NULL: the database does not know it */
    bool up;
    bool out_of_order; /* not up, though a later one is */
    bool edited;       /* its checksum is another than when it ran */
    bool broken;       /* RUNNING or FAILED */
};

struct entry_list {
    struct entry *items;
    size_t n;
};

/* rows: sorted by version. The entries are sorted, in the arena, and borrow from both. */
struct entry_list entry_list_make(struct arena *a, const struct migration_list *files,
                                  const struct version_row *rows, size_t rows_n);

bool entry_is_data(const struct entry *e);
const char *entry_name(const struct entry *e); /* "** FILE NOT FOUND **" when there is no file */

enum target_kind { TARGET_ALL, TARGET_STEP, TARGET_TO, TARGET_TO_EXCLUSIVE };

struct target {
    enum target_kind kind;
    uint64_t value; /* number of steps, or a version */
};

/* What is to be run, in that order; in the arena. data: of the data migrations, else of the others. */
size_t entry_list_select_up(struct arena *a, const struct entry_list *list, const struct target *target,
                            bool data, const struct entry ***out);
size_t entry_list_select_down(struct arena *a, const struct entry_list *list, const struct target *target,
                              bool data, const struct entry ***out);
