/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ELECTRIC extension of SQL: text to command, command to the SQL that is run instead.
 *
 * ENABLE and DISABLE are carried out. The others are parsed, so that a mistake is told from what is not
 * supported, and then refused (EX001).
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum ddlx_kind {
    DDLX_ENABLE,
    DDLX_DISABLE,
    DDLX_ASSIGN,
    DDLX_UNASSIGN,
    DDLX_GRANT,
    DDLX_REVOKE,
    DDLX_SQLITE,
};

enum ddlx_privilege_bit {
    DDLX_SELECT = 1,
    DDLX_INSERT = 2,
    DDLX_UPDATE = 4,
    DDLX_DELETE = 8,
    DDLX_ALL = DDLX_SELECT | DDLX_INSERT | DDLX_UPDATE | DDLX_DELETE,
};

/* Names are values: lower case unless quoted. An absent part has n == 0. */
struct ddlx_table {
    struct str schema; /* absent: as the session's search_path says */
    struct str name;   /* absent: no table at all */
};

/* Exactly one of name and column is there. */
struct ddlx_role {
    struct ddlx_table scope;
    struct str name;         /* static role, as written */
    struct ddlx_table table; /* dynamic role: the table … */
    struct str column;       /* … and column that hold its name */
};

struct ddlx_privilege {
    unsigned bits;
    struct str *columns; /* none: all */
    size_t n_columns;
};

/* All in the arena or in the text that was parsed. */
struct ddlx {
    enum ddlx_kind kind;
    const char *tag; /* CommandComplete, "" for SQLITE */
    bool if_exists;  /* ALTER TABLE IF EXISTS */
    struct ddlx_table
        *tables; /* one; GRANT and REVOKE may have more. ASSIGN, UNASSIGN: table of the user column */
    size_t n_tables;
    struct str column;       /* ASSIGN, UNASSIGN: the user column */
    struct ddlx_role *roles; /* one; GRANT and REVOKE may have more; none for the other kinds */
    size_t n_roles;
    struct ddlx_privilege *privileges; /* GRANT, REVOKE */
    size_t n_privileges;
    struct str using_path; /* USING: names joined with '/' */
    struct str condition;  /* CHECK or IF: the text between the parentheses as written */
    struct str sqlite;     /* SQLITE: the string's value */
};

struct ddlx_error {
    char message[64];
    char detail[256];
    char hint[320];
    size_t position; /* of the word that is wrong: 1-based, in characters of the text */
};

/* Parses one statement; a ';' ends it. Returns -1 and fills *error (nothing in *out then) when it is not
 * acceptable. */
MUST_USE int ddlx_parse(struct arena *a, struct str text, struct ddlx *out, struct ddlx_error *error);

/* The statement to run instead. NUL-terminated, in the arena. */
const char *ddlx_plan(struct arena *a, const struct ddlx *d);
/* The same as ddlx_plan_error() for a database without anything of Busbar's. */
const char *ddlx_shadow_error(struct arena *a, const struct ddlx_error *error);
const char *ddlx_plan_error(struct arena *a, const struct ddlx_error *error);
