/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that we start: in a process group of their own, so that Ctrl-C reaches them through us, with
 * SIGINT sent to them by the kernel when we die, with clean signals and without the PG* environment.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Whom a child runs as. */
struct child_user {
    uid_t uid;
    gid_t gid;
    char name[64];
    gid_t groups[64];
    int groups_n;
    bool drop; /* we are root: become this user */
};

/* Who a PostgreSQL server runs as, which refuses root: we ourselves, or, for root, `postgres`, else `nobody`.
 */
MUST_USE int child_user_find(struct child_user *out, struct err *err);
/* As root: the user with that id. */
MUST_USE int child_user_by_id(uid_t uid, struct child_user *out, struct err *err);
/* True when the user can enter the folder. */
bool child_user_can_enter(const struct child_user *user, const char *folder);

struct child_spec {
    const char *const *argv;       /* argv[0] is the path of the program; ends with NULL */
    const struct child_user *user; /* NULL: as we are */
    int output;                    /* descriptor for stdout and stderr; -1: none */
};

/* Says when to give up waiting, e.g. because a signal is pending. */
struct child_patience {
    bool (*is_over)(void *ctx); /* NULL: never */
    void *ctx;
};

/* Starts a program that reads nothing. The caller waits for it. Fails also when the program cannot be
 * executed. */
MUST_USE int child_start(const struct child_spec *spec, pid_t *out_pid, struct err *err);

/*
 * Runs a program to its end: `input` on its stdin, what it writes appended to `output` (as far as it fits;
 * the spec's own output is not used). *out_status is that of waitpid(). When patience is over the program
 * gets SIGINT, is waited for, and the result is -1 with code EINTR.
 */
MUST_USE int child_run(const struct child_spec *spec, struct str input, const struct child_patience *patience,
                       struct buf *output, int *out_status, struct err *err);

/* "ended with exit status 1", "was ended by signal 9 (Killed)". */
void child_put_status(struct buf *out, int status);
