/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Value model of what clients are told about: tables, enums, and the changes (ops) that make them.
 *
 * Everything below struct schema is a plain value whose strings and arrays live in somebody's arena: the
 * caller's for ops (schema/ops.h), the schema's own for tables and enums. A struct schema changes by
 * schema_apply() alone; pointers into it stay valid until schema_deinit(), their contents until the next
 * apply.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <stdint.h>

enum {
    SCHEMA_MAX_TABLES = 10000,
    SCHEMA_MAX_ENUMS = 10000,
    SCHEMA_MAX_COLUMNS = 1600,     /* PostgreSQL's MaxHeapAttributeNumber */
    SCHEMA_MAX_KEY_COLUMNS = 1600, /* PostgreSQL's own bound is 32; builds differ */
    SCHEMA_MAX_CONSTRAINTS = 2000, /* in one table, each kind */
    SCHEMA_MAX_INDEXES = 2000,     /* in one table */
    SCHEMA_MAX_LABELS = 10000,     /* in one enum */
    SCHEMA_MAX_NAME = 1024,        /* identifiers; PostgreSQL's usual bound is 63 */
};

struct names {
    struct str *items;
    size_t n;
};

struct column {
    struct str name;
    struct str type;        /* format_type(): "integer", "character varying(20)", "integer[]" */
    struct str type_name;   /* pg_type.typname: "int4", "_int4", the enum's name */
    struct str type_schema; /* "pg_catalog" for PostgreSQL's own */
    int32_t num;            /* attnum: identity across renames */
    int32_t typmod;         /* -1 when there is none */
    bool not_null;
    bool is_enum;
};

struct primary_key {
    struct str name;
    struct names columns; /* key order; n = 0: the table has no primary key */
};

struct foreign_key {
    struct str name;
    struct names columns;
    struct str ref_schema;
    struct str ref_table;
    struct names ref_columns; /* as many as columns */
    char on_delete;           /* pg_constraint.confdeltype: a r c n d */
    char on_update;
    bool deferrable;
};

struct constraint { /* neither primary nor foreign key */
    struct str name;
    char type; /* pg_constraint.contype */
    struct names columns;
    struct str definition; /* pg_get_constraintdef() */
};

struct index_column {
    struct str name;       /* p = NULL when the key is an expression */
    struct str expression; /* PostgreSQL text; p = NULL when the key is a column */
    bool descending;
};

struct index {
    struct str name;
    bool unique;
    struct index_column *columns;
    size_t n_columns;
    struct str predicate; /* PostgreSQL text; p = NULL when the index is whole */
};

struct table {
    struct str schema;
    struct str name;
    struct column *columns; /* attnum order */
    size_t n_columns, columns_cap;
    struct primary_key primary_key;
    struct foreign_key *foreign_keys;
    size_t n_foreign_keys;
    struct constraint *constraints;
    size_t n_constraints;
    struct index *indexes; /* in order of creation */
    size_t n_indexes, indexes_cap;
};

struct enum_type {
    struct str schema;
    struct str name;
    struct names labels;
};

enum op_kind {
    OP_CREATE_ENUM,
    OP_CREATE_TABLE,
    OP_CREATE_INDEX,
    OP_DROP_INDEX,
    OP_ADD_COLUMN,
    OP_DROP_TABLE, /* DISABLE ELECTRIC: clients drop it, the server keeps it */
    OP_DROP_ENUM,  /* no table of the clients uses it any more */
};

struct op {
    enum op_kind kind;
    struct str sql;               /* PostgreSQL text that does the same, no semicolon */
    struct str schema;            /* of the table, or of the enum */
    struct str name;              /* of the table, or of the enum */
    const struct table *table;    /* OP_CREATE_TABLE; its indexes follow as ops of their own */
    const struct enum_type *type; /* OP_CREATE_ENUM */
    const struct column *column;  /* OP_ADD_COLUMN */
    const struct index *index;    /* OP_CREATE_INDEX; OP_DROP_INDEX: only the name is set */
};

struct schema {
    struct arena arena;
    struct table **tables; /* ordered by (schema, name) */
    size_t n_tables, tables_cap;
    struct enum_type **enums; /* ordered by (schema, name) */
    size_t n_enums, enums_cap;
};

#define SCHEMA_INIT \
    {               \
        0           \
    }

void schema_deinit(struct schema *s); /* frees; may run twice; *s is empty and usable afterwards */

enum schema_outcome {
    SCHEMA_UNCHANGED = 0, /* the op says what is already so: an equal enum again, a table already gone */
    SCHEMA_CHANGED = 1,
};

/*
 * Applies one op, copying what it keeps. Returns an enum schema_outcome, or -1 (ERR_INTERNAL or ERR_LIMIT, *s
 * as before) when the op contradicts the model: a table or column twice, an unknown table, an index over a
 * column that is not there.
 */
MUST_USE int schema_apply(struct schema *s, const struct op *op, struct err *err);

bool op_is_about_enum(const struct op *op); /* its schema and name are those of an enum, not of a table */

/* NULL when there is none. */
const struct table *schema_table(const struct schema *s, struct str schema, struct str name);
const struct enum_type *schema_enum(const struct schema *s, struct str schema, struct str name);
const struct column *table_column(const struct table *t, struct str name);
bool table_in_primary_key(const struct table *t, struct str column);
bool names_contain(const struct names *names, struct str name);

/* Order of bytes; of lists, the first difference decides. */
int name_compare(struct str a, struct str b);
int names_compare(const struct names *a, const struct names *b);
