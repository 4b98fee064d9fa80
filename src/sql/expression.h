/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expressions of PostgreSQL's catalogs (index keys, predicates, checks) in SQLite's words.
 *
 * A strict allow-list with types: what is not known to mean something in SQLite is not translated. What is
 * translated may still differ for some values (collation order, rounding); `exact` tells, so that a caller
 * can tell what merely speeds queries up from what could reject a row that the server accepts.
 */
#pragma once

#include "base/arena.h"

enum {
    EXPRESSION_MAX_TEXT = 64 * 1024,
    EXPRESSION_MAX_OUTPUT = 256 * 1024,
    EXPRESSION_MAX_DEPTH =
        500, /* half of SQLite's bound (SQLITE_MAX_EXPR_DEPTH), and bounds libpg_query's stack */
};

/* How a value is held by a SQLite client. */
enum value_class {
    VALUE_UNKNOWN, /* no such column; never the class of a translated expression */
    VALUE_NULL,
    VALUE_BOOL, /* 0 or 1 */
    VALUE_INT,
    VALUE_REAL,
    VALUE_TEXT, /* also uuid and enums */
    VALUE_TIME, /* date, time, timestamps: text in more than one form */
    VALUE_BLOB,
    VALUE_OTHER, /* JSON, arrays and the rest: only IS NULL can be said of it */
};

struct expression_env {
    void *ctx;
    enum value_class (*column)(void *ctx, struct str name);
    /* `schema` is empty when the type was written without. */
    bool (*is_enum)(void *ctx, struct str schema, struct str name);
};

struct expression {
    struct str sql; /* arena */
    enum value_class type;
    bool exact;    /* SQLite computes what PostgreSQL computes, for every row */
    bool key_safe; /* values equal in SQLite are equal in PostgreSQL: a unique key over it refuses nothing
                      more */
};

enum expression_outcome { EXPRESSION_UNSUPPORTED = 0, EXPRESSION_TRANSLATED = 1 };

/*
 * Translates the text of one expression. Never fails: what cannot be translated, hostile input included, is
 * EXPRESSION_UNSUPPORTED with a reason for people in *out_why (arena).
 */
MUST_USE enum expression_outcome expression_to_sqlite(struct arena *a, struct str text,
                                                      const struct expression_env *env,
                                                      struct expression *out, struct str *out_why);

/* The class of a value of a PostgreSQL type, by pg_type.typname in pg_catalog. */
enum value_class value_class_of(struct str type_name);
