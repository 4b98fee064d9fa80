/* SPDX-License-Identifier: Apache-2.0 */
/* What CREATE INDEX CONCURRENTLY names. Pure. */
#pragma once

#include "base/arena.h"

struct index_target {
    struct str name;  /* of the index, without quotes */
    struct str table; /* as written, with its schema if it has one */
    bool qualified;   /* it has one */
};

/* False for another statement, and for an index without a name. All in the arena, NUL-terminated. */
bool index_target_parse(struct arena *a, struct str statement, struct index_target *out);
