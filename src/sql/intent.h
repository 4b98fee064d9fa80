/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a DDL statement is about to do to a table that clients of the table could not follow, or to an event
 * trigger. The database decides whether the table is electrified or the trigger its own, and refuses
 * (busbar.precheck(rule, relation, object)).
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

struct intent {
    const char *rule;     /* drop_column, rename_column, rename_table, rename_constraint, rename_other,
                             alter_type, alter_column, add_unique, add_primary_key, set_schema, drop_table,
                             event_trigger */
    const char *relation; /* quoted, qualified as written: "s"."t"; "" for event_trigger */
    const char *object;   /* column, constraint, event trigger, new name or schema; of add_unique the quoted
                             columns; "" when the rule has none */
    size_t position;      /* of the word to point at: 1-based, in characters of the statement; 0 unknown */
};

/*
 * Lists the intents of one STATEMENT_DDL in statement order, in the arena. Returns 0: a text that does not
 * parse, or is too long to be parsed while others wait, has no intents, and the server and its guard decide.
 */
int intent_list(struct arena *a, struct str statement, struct intent **out, size_t *n);
