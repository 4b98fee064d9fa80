/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between a configuration and a service that runs well: each thing looked at, what is wrong with
 * it, and what mends it. */
#pragma once

#include "base/arena.h"

#include <stdbool.h>

struct config;
struct faults;

enum check_state {
    CHECK_OK,
    CHECK_NOTE,  /* works, but less than it could */
    CHECK_FAULT, /* does not work */
};

struct check_item {
    const char *name; /* "wal_level" */
    enum check_state state;
    const char *text;
    const char *mend; /* SQL or what to set; NULL when there is none */
};

/* Zeroed is empty. Texts live in the arena. */
struct check_report {
    struct arena arena;
    struct check_item *items;
    size_t n, cap;
    bool faulty; /* one of them is a fault */
};

void check_report_deinit(struct check_report *report);
void check_add(struct check_report *report, enum check_state state, const char *name, const char *mend,
               const char *fmt, ...) PRINTF_LIKE(5, 6);

/*
 * Looks at the database that the configuration names, as the service would; blocks. adopt: records what
 * clients can follow of what was changed beside the history as a migration.
 */
void check_database(const struct config *config, bool adopt, struct check_report *report);
/* The ports that serve would listen on. */
void check_ports(const struct config *config, struct check_report *report);

const char *check_state_name(enum check_state state); /* "ok", "note", "fault" */
