/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small, strict part of TOML, enough for busbar.toml: tables ([a.b], bare or quoted names), key = value
 * with a basic string "…" (escapes \\ \" \n \t \r), a literal string '…', a whole number, true, false, or a
 * list of strings, and comments. What else TOML has is refused by line, never misread. Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum { TOML_LIMIT = 1024 * 1024, TOML_LIST_LIMIT = 1000 };

enum toml_kind { TOML_TEXT, TOML_NUMBER, TOML_BOOL, TOML_LIST };

struct toml_value {
    enum toml_kind kind;
    const char *text; /* TEXT: its value; NUMBER and BOOL: as written */
    const char **items;
    size_t items_n; /* LIST */
};

/* One key. `table` is its table's name with dots ("repo.main"), "" before the first. -1 with *err stops. */
typedef int (*toml_key_fn)(void *ctx, const char *table, const char *key, const struct toml_value *value,
                           struct err *err);

/* Reads the whole text; all strings live in the arena. -1: *err says what is wrong in which line. */
MUST_USE int toml_read(struct arena *a, struct str text, toml_key_fn fn, void *ctx, struct err *err);
