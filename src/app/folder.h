/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data folder of `busbar dev`:
 *
 *   DIR/lock          held (flock) by the busbar that uses the folder, with its process id
 *   DIR/postgres.log  what the server says
 *   DIR/port          the port of the last start
 *   HOME/pg           the cluster; HOME/pg.new.<process id> while it is made: an initdb that outlives a
 * killed busbar then does not get in the way of the next one HOME/socket       the server's unix socket
 *
 * HOME is DIR, unless the user that the server must run as cannot enter DIR (we are root, DIR lies below a
 * private folder): then it is /var/lib/busbar/<hash of DIR>, and DIR/pg is a link to HOME/pg.
 */
#pragma once

#include "app/child.h"

#include <limits.h>

struct folder {
    char dir[PATH_MAX];
    char home[PATH_MAX];
    char cluster[PATH_MAX]; /* HOME/pg */
    char fresh[PATH_MAX];   /* HOME/pg.new.<process id> */
    char log[PATH_MAX];
    char socket[PATH_MAX];  /* set by folder_make_socket() */
    struct child_user user; /* who the server runs as */
    int lock;               /* -1: not held */
    int home_lock;          /* -1: HOME is DIR */
    bool ephemeral;         /* folder_close() removes it */
};

#define FOLDER_INIT                 \
    {                               \
        .lock = -1, .home_lock = -1 \
    }

/*
 * Creates what is missing, takes the lock. `path` NULL: a new temporary folder; stale ones of processes that
 * were killed are removed first. *out is fit for folder_close() in any case.
 */
MUST_USE int folder_open(const char *path, struct folder *out, struct err *err);
void folder_close(struct folder *folder); /* may run twice */

/*
 * Makes the folder of the unix socket, owned by the server's user and closed to others. It is below /tmp when
 * HOME is too long for a socket's address.
 */
MUST_USE int folder_make_socket(struct folder *folder, struct err *err);

/* An empty folder->fresh of the server's user; those that interrupted starts left are removed. */
MUST_USE int folder_make_fresh(const struct folder *folder, struct err *err);
