/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records what was changed where nobody looked (drift) as a migration: captured by busbar.adopt(), proved in
 * SQLite and recorded, in one transaction on a connection of its own.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct adopt;
struct config;
struct loop;

struct adopt_outcome {
    bool ok;
    uint64_t tables;     /* adopted; 0: there was nothing to adopt */
    const char *version; /* of the migration, when there was something */
    /* When not ok; nothing has changed then. */
    struct err err;
    const char *detail, *hint; /* "" when there is none */
};

/* The outcome is valid during the call; the handle of adopt_start() is gone when it is made. */
typedef void (*adopt_fn)(void *ctx, const struct adopt_outcome *outcome);

/* secret: of busbar.settings. indexes_only: what CREATE INDEX CONCURRENTLY leaves when it is cut off before
 * it is recorded, and nothing else. */
struct adopt *adopt_start(struct loop *loop, const struct config *config, const char *secret,
                          bool indexes_only, adopt_fn fn, void *ctx);
/* Gives up: no callback comes, and nothing has changed unless all of it has. Takes NULL. */
void adopt_cancel(struct adopt *a);
