/* SPDX-License-Identifier: Apache-2.0 */
/* What a PostgreSQL server says about itself in postmaster.pid (src/include/utils/pidfile.h of PostgreSQL).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct postmaster {
    pid_t pid;
    bool ready;         /* accepts connections */
    char listening[64]; /* the first TCP address that it listens on, "" when none */
};

/* False when there is no such file, or it is not complete yet. */
bool postmaster_read(const char *cluster, struct postmaster *out);

/* The process that runs a server on the cluster; 0 when none does, whatever a file left behind says. */
pid_t postmaster_running(const char *cluster);

/* Removes a postmaster.pid that nobody stands behind, in case its number was given to another process. */
void postmaster_forget(const char *cluster);
