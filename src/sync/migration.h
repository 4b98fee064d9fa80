/* SPDX-License-Identifier: Apache-2.0 */
/* One migration (all commands of one version) as clients get it: SQL text and messages. */
#pragma once

#include "base/buf.h"
#include "sync/op_migrate.h"

enum { MIGRATION_MAX_SQL = 64 * 1024 * 1024 };

struct migration_text {
    struct str sql; /* all statements, each ended with ";", joined by an empty line; no newline at the end */
    struct str *messages; /* SatOpMigrate bytes, in order */
    size_t n_messages;
    struct str *notes; /* for people: what clients of this dialect do not get, and why */
    size_t n_notes;
};

/*
 * Renders version `version`, whose commands' ops are command_ops[0..n) (JSON, schema/ops.h), for a dialect.
 * *schema is the model before this version and is brought up to it first. Everything in *out lives in `a`.
 * On failure (-1: ERR_INTERNAL, ERR_LIMIT) *schema may be half way: give it up.
 */
MUST_USE int migration_render(struct arena *a, enum dialect d, struct schema *schema, struct str version,
                              const struct str *command_ops, size_t n, struct migration_text *out,
                              struct err *err);

/* Appends the statements of `ops` to the text of a migration. */
void migration_sql(struct buf *sql, const struct rendered_op *ops, size_t n);
