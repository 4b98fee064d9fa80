/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A schema change in the words of a client's database.
 *
 * SQLite: made from the model, in the layout that published clients know. PostgreSQL: the op's own text. What
 * SQLite has no words for (an index over a function it lacks) is left out and noted, never an error: an index
 * makes a client fast, not right.
 */
#pragma once

#include "schema/schema.h"

enum dialect { DIALECT_SQLITE, DIALECT_POSTGRES };

enum { RENDER_MAX_SQL = 4 * 1024 * 1024 }; /* one statement */

/* Numbers are those of SatOpMigrate.Type. Clients read it for information only; there is none for
 * what is dropped, which goes as CREATE_INDEX: a type that says nothing of a table. */
enum statement_type {
    STATEMENT_CREATE_TABLE = 0,
    STATEMENT_CREATE_INDEX = 1,
    STATEMENT_CREATE_ENUM_TYPE = 2,
    STATEMENT_ALTER_ADD_COLUMN = 6,
};

struct client_statement {
    enum statement_type type;
    struct str sql; /* arena; SQLite: ends with ";\n"; PostgreSQL: no semicolon */
};

/* Remarks for people about what clients do not get. */
struct notes {
    struct str *items;
    size_t n, cap;
};

enum render_outcome {
    RENDER_NOTHING = 0, /* clients of this dialect need no statement for the op */
    RENDER_STATEMENT = 1,
};

/*
 * Renders one op that was applied to `schema` (types of columns are looked up there). Returns an enum
 * render_outcome, or -1 (ERR_LIMIT). `notes` may gain items, in the arena.
 */
MUST_USE int render_op(struct arena *a, enum dialect d, const struct schema *schema, const struct op *op,
                       struct client_statement *out_statement, struct notes *notes, struct err *err);

/* Folder-private: the SQLite half of render_op(). */
MUST_USE int sqlite_render_op(struct arena *a, const struct schema *schema, const struct op *op,
                              struct client_statement *out_statement, struct notes *notes, struct err *err);
void notes_add(struct arena *a, struct notes *notes, const char *fmt, ...) PRINTF_LIKE(3, 4);
