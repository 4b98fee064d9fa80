/* SPDX-License-Identifier: Apache-2.0 */
/* SQL text from values, values from SQL text. Every name or text put into SQL goes through here. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "sql/lex.h"

/* "name", always quoted. A NUL byte cannot be written in SQL: the caller's values hold none. */
void sql_put_ident(struct buf *b, struct str name);
/* 'text'; E'text' when it holds a backslash, so that it means the same whatever standard_conforming_strings
 * is. */
void sql_put_literal(struct buf *b, struct str text);

/* The same, in the arena and NUL-terminated. */
const char *sql_ident(struct arena *a, struct str name);
const char *sql_literal(struct arena *a, struct str text);

/*
 * The value a token stands for: a word in lower case (ASCII only, as the server does for UTF-8), quoted
 * identifiers and strings without quotes and escapes. Any other token: its text. In the arena, or a slice of
 * the token's text.
 */
struct str sql_unquote(struct arena *a, const struct token *t);
