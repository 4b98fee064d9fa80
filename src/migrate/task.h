/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The release tasks: each does its work for all chosen repos and schemas, reports, and returns the exit
 * status of the program. Signals are held while one runs (app/signals.h): SIGINT and SIGTERM cancel the
 * statement that runs, and then it ends in order.
 */
#pragma once

#include "migrate/list.h"
#include "migrate/repo.h"
#include "migrate/report.h"
#include "migrate/run.h"

enum { TASK_OK = 0, TASK_FAILED = 1, TASK_USAGE = 2, TASK_NOT_UP = 3 /* status, plan with exit_code */ };

enum task_repair {
    REPAIR_SHOW,   /* say what is wrong, and what can be done */
    REPAIR_RETRY,  /* forget the attempt: the next run begins anew */
    REPAIR_RESUME, /* go on with the statement that failed */
    REPAIR_UP,     /* counts as run */
    REPAIR_DOWN,   /* counts as not run */
    REPAIR_ACCEPT, /* of an edited file: what it is now is what ran */
};

struct task {
    struct repo_choice choice;
    struct target target;
    bool has_target;
    bool looks; /* set by the task: it runs nothing */
    bool data, strict, exit_code, emit_forward, once, force;
    uint64_t database_wait_ms, lock_wait_ms;
    struct run_options run;
    enum task_repair repair;
    const char *file;     /* seed, dump, load */
    const char *argument; /* new: the name; repair: the version; NULL: none */
    struct report report;
};

int task_migrate(struct task *t);
int task_rollback(struct task *t);
int task_status(struct task *t);
int task_plan(struct task *t);
int task_seed(struct task *t);
int task_new(struct task *t);
int task_dump(struct task *t);
int task_load(struct task *t);
int task_repair(struct task *t);
