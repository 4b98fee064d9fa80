/* SPDX-License-Identifier: Apache-2.0 */
/* What SQLite clients would run of changes that are captured and not recorded yet. Pure. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct captured_command {
    struct str version; /* of a recorded one */
    struct str ops;     /* JSON (schema/ops.h) */
    bool recorded;
};

/*
 * commands: all recorded ones in order, then the new ones, as busbar.pending() gives them. Proves them as the
 * proxy does before COMMIT, and renders what is new: statements ended with ";", in the arena. -1: clients
 * could not follow; *err says why.
 */
MUST_USE int client_sql_render(struct arena *a, const struct captured_command *commands, size_t n,
                               struct str *out_sql, struct err *err);
