/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALTER TABLE by tokens: where each of its actions begins. For what the grammar cannot tell: extensions it
 * does not know (ENABLE ELECTRIC), and positions, which the parse tree does not hold.
 */
#pragma once

#include "sql/lex.h"

struct alter_walk {
    struct lex lex;
    bool more; /* another action follows */
};

struct alter_action {
    struct token first;
    struct token second; /* TOKEN_END when there is none */
    struct token before_last, last;
    size_t tokens; /* how many the action has */
    size_t offset; /* its bytes in the statement: [offset, end) */
    size_t end;
};

/* False when the statement is not ALTER TABLE name …. */
bool alter_walk_init(struct alter_walk *w, struct str statement, bool std_strings);

/* The next action (what stands between commas outside parentheses). False at the end. */
bool alter_walk_next(struct alter_walk *w, struct alter_action *out);
