/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a migration file, and in its name. Pure.
 *
 *   20210718153339_add_items.sql        -- migrate:up … -- migrate:down …  (without a marker all of it is up)
 *   20210718153339.add_items.up.sql     with 20210718153339.add_items.down.sql beside it
 *   20210718153339_add_items.exs        Ecto's own: known by name, never run
 *
 * Version and name are parted by _ or a dot. Options stand in a comment line before the first statement of
 * the file or of a section:
 *
 *   -- busbar: transaction=off, lock=off, timeout=30s
 *
 * Markers count only where SQL has a comment: not in strings, function bodies or block comments.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum { MIGRATION_CHECKSUM = 65 }; /* SHA-256 in hexadecimal digits, and a NUL */

enum migration_form {
    MIGRATION_SECTIONS, /* one file */
    MIGRATION_UP,       /* .up.sql */
    MIGRATION_DOWN,     /* .down.sql */
    MIGRATION_ELIXIR,   /* .exs */
};

struct migration_name {
    uint64_t version; /* at most INT64_MAX: the column is bigint */
    struct str name;  /* without version and endings; a slice of the file's name */
    enum migration_form form;
};

/* False when the file's name is not that of a migration. */
bool migration_name_parse(const char *file, struct migration_name *out);

struct migration_options {
    bool transaction;    /* default: on */
    bool lock;           /* the migrators' lock; default: on */
    uint64_t timeout_ms; /* for each statement; 0: none */
};

struct migration_parts {
    struct str up, down;         /* slices of the text */
    unsigned up_line, down_line; /* where they begin in the file, from 1 */
    bool has_down;
    struct migration_options up_options, down_options;
};

/* One file of the form MIGRATION_SECTIONS, _UP or _DOWN. -1: a marker or an option is wrong; *err has its
 * line. */
MUST_USE int migration_parse(enum migration_form form, struct str text, struct migration_parts *out,
                             struct err *err);

/* Of what is run: line ends and white space around it do not count, nor does the other section. */
void migration_checksum(struct str up, char out[MIGRATION_CHECKSUM]);
