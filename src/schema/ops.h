/* SPDX-License-Identifier: Apache-2.0 */
/* The ops of one captured command, as the database hands them over: JSON in, values in an arena out. */
#pragma once

#include "schema/schema.h"

enum {
    OPS_MAX_JSON = 16 * 1024 * 1024, /* bytes of one command's ops */
    OPS_MAX = 10000,                 /* ops of one command */
};

/*
 * Parses one JSON array of ops into `a`; nothing borrows from `json`. Fails with ERR_INTERNAL, naming the
 * place
 * ("ops[0].table.columns[2].name: missing"), or ERR_LIMIT. Unknown fields are ignored. What comes out is
 * consistent in itself: key columns exist, names are not empty, names in a table are different.
 */
MUST_USE int ops_parse(struct arena *a, struct str json, struct op **out_ops, size_t *out_n, struct err *err);
