/* SPDX-License-Identifier: Apache-2.0 */
/* SatOpMigrate: the schema change messages of one captured command, in protobuf. */
#pragma once

#include "dialect/render.h"

enum { OP_MIGRATE_MAX = 32 * 1024 * 1024 }; /* bytes of one message */

/* An op on its way to clients. */
struct rendered_op {
    const struct op *op;
    struct client_statement statement; /* only when has_statement */
    bool has_statement;
};

struct op_migrate {
    struct str version;
    const struct schema *schema; /* the model at the end of the version */
    const struct rendered_op *ops;
    size_t n;
};

struct messages {
    struct str *items; /* SatOpMigrate bytes */
    size_t n, cap;
};

/*
 * Appends the messages of one command to *out, everything in `a`. Statements keep their order over all
 * messages; neighbours that concern one table share a message, because a message names at most one affected
 * table or enum. A table is described as it is at the end of the version; a change of indexes alone names
 * none, nor does a drop. What leaves a client nothing to do yields no message. Fails with ERR_INTERNAL (a
 * table is not in the model) or ERR_LIMIT.
 */
MUST_USE int op_migrate_encode(struct arena *a, const struct op_migrate *command, struct messages *out,
                               struct err *err);
