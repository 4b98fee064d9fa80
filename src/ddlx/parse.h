/* SPDX-License-Identifier: Apache-2.0 */
/* Cursor, errors and the parts that all ELECTRIC statements share. Private to this folder. */
#pragma once

#include "base/arena.h"
#include "ddlx/ddlx.h"
#include "sql/lex.h"

struct parser {
    struct arena *arena;
    struct lex lex;
    struct token tok;  /* the token to look at */
    const char *usage; /* the statement's form, for hints */
    struct ddlx_error *error;
};

void parse_init(struct parser *p, struct arena *a, struct str text, struct ddlx_error *error);
void parse_advance(struct parser *p);
struct token parse_peek(const struct parser *p); /* the token behind the current one */
bool parse_at_end(const struct parser *p);       /* the text ends or a ';' is here */

/* The longest beginning of s that has at most `max` bytes and ends between characters. */
struct str parse_shorten(struct str s, size_t max);

/* Each fills the error and returns false. `expected` is a phrase: "the name of a table". */
bool parse_fail(struct parser *p, const char *expected);
bool parse_refuse(struct parser *p, const struct token *at, struct str detail, const char *hint);

/* True and past it when the current token is that keyword or character. */
bool parse_accept(struct parser *p, const char *lower);
bool parse_accept_char(struct parser *p, char c);
/* The same, else fails. */
bool parse_expect(struct parser *p, const char *lower);
bool parse_expect_char(struct parser *p, char c);

bool parse_at_ident(const struct parser *p);
bool parse_ident(struct parser *p, const char *expected, struct str *out);
/* [schema.]table; takes keywords that PostgreSQL does not reserve. */
bool parse_table(struct parser *p, struct ddlx_table *out);
/* [[schema.]table.]column: 1 to 3 parts, missing ones absent */
bool parse_path(struct parser *p, const char *expected, struct ddlx_table *table, struct str *last);
bool parse_string(struct parser *p, const char *expected, struct str *out);
/* ( … ): what stands between, as written; an expression (condition.c) */
bool parse_condition(struct parser *p, struct str *out);
/* [ident {/ ident} [/]] */
bool parse_scope_path(struct parser *p, struct str *out);
bool parse_role(struct parser *p, struct ddlx_role *out);
