/* SPDX-License-Identifier: Apache-2.0 */
/* One repo and schema with its files and rows, as the tasks walk over them. */
#pragma once

#include "migrate/session.h"
#include "migrate/task.h"

struct place {
    struct task *task;
    struct session session;
    struct arena arena;
    struct migration_list files;
    struct entry_list entries;
};

typedef int (*place_fn)(struct place *p); /* TASK_… */

/* Opens each place in turn and calls fn; ends at the first that is not TASK_OK or TASK_NOT_UP, with that, or
 * with the worst. */
int place_each(struct task *t, place_fn fn);

/* Reads files and rows anew. -1 was reported. */
MUST_USE int place_read(struct place *p);

/* Makes the tables and takes the lock. A database that only reads is refused. -1 was reported. */
MUST_USE int place_begin_writing(struct place *p);

/* A repo's folder of data migrations, in the arena. */
const char *place_data_folder(struct arena *a, const struct repo *repo);

/* "20240101120000" of now, UTC: a version that nobody chose. */
uint64_t place_new_version(void);
