/* SPDX-License-Identifier: Apache-2.0 */
/* The kind of one statement, by its keywords. */
#pragma once

#include "sql/statement.h"

/* Fills kind, chain and wrap from s->text. */
void classify_statement(struct arena *a, struct statement *s, bool std_strings);
