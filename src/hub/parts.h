/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which changes of a large transaction each of many flows has to look at, found in one pass for all of them:
 * each going through all of it would take flows times rows. Pure.
 */
#pragma once

#include "hub/routes.h"

/* What one flow has to look at, for view_apply_part(). */
struct part {
    bool whole; /* everything; else … */
    struct txn_part changes;
    size_t cap;
};

/* Memory, for all parts together; whoever wants more looks at everything. */
enum {
    PARTS_PLACES = 16 * 1024 * 1024, /* changes, 8 bytes each */
    PARTS_LEFT = 4 * 1024 * 1024,    /* rows that have left the values of a flow, 32 bytes each */
};

/* The targets of the routes are parts, zeroed. -1: the log is damaged. */
MUST_USE int parts_find(struct routes *rs, struct str record, const struct relations *relations,
                        struct err *err);
void part_deinit(struct part *p);
