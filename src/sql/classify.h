/* SPDX-License-Identifier: Apache-2.0 */
/* The kind of one statement, by its keywords, and the name in one. */
#pragma once

#include "sql/statement.h"

/* Fills kind, chain and wrap from s->text. */
void classify_statement(struct arena *a, struct statement *s, bool std_strings);
/* The name in a STATEMENT_DEALLOCATE, in the arena or a slice of the text; p NULL for any other statement. */
struct str classify_deallocated(struct arena *a, struct str text, bool std_strings);
