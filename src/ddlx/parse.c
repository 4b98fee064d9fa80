/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared parts of the grammar:
 *
 *   table      = [ ident "." ] ident
 *   scope_path = [ ident { "/" ident } [ "/" ] ]
 *
 * Syntax errors keep the words of the original (`syntax error before: <<"TOKEN">>`): tools match on them.
 */
#include "ddlx/parse.h"

#include "sql/quote.h"

#include <stdio.h>

enum { SHOWN_TOKEN = 100 };

/* Quote them to use them as identifiers. */
static const char *const keywords[] = {
    "all",    "alter",  "and",    "assign", "check", "delete",   "disable", "electric", "enable",     "from",
    "grant",  "if",     "insert", "is",     "not",   "null",     "on",      "or",       "privileges", "read",
    "revoke", "select", "sqlite", "table",  "to",    "unassign", "update",  "using",    "write",      NULL,
};

/* Those among them that cannot name a table in PostgreSQL either. */
static const char *const reserved[] = {
    "all", "and", "check",  "from",  "grant", "is",    "not", "null",
    "on",  "or",  "select", "table", "to",    "using", NULL,
};

static bool is_one_of(const struct token *t, const char *const words[])
{
    for (size_t i = 0; words[i]; i++) {
        if (token_is_word(t, words[i])) {
            return true;
        }
    }
    return false;
}

void parse_init(struct parser *p, struct arena *a, struct str text, struct ddlx_error *error)
{
    *p = (struct parser){.arena = a, .lex = lex_init(text, true), .error = error};
    p->tok = lex_next(&p->lex);
}

void parse_advance(struct parser *p)
{
    p->tok = lex_next(&p->lex);
}

struct token parse_peek(const struct parser *p)
{
    return lex_peek(&p->lex);
}

bool parse_at_end(const struct parser *p)
{
    return p->tok.kind == TOKEN_END || token_is_punct(&p->tok, ';');
}

struct str parse_shorten(struct str s, size_t max)
{
    if (s.n > max) {
        s.n = max;
        while (s.n > 0 && ((uint8_t)s.p[s.n] & 0xC0) == 0x80) {
            s.n--;
        }
    }
    return s;
}

static void fill_error(struct parser *p, const struct token *at, struct str detail)
{
    struct ddlx_error *e = p->error;
    detail = parse_shorten(detail, sizeof e->detail - 1);
    snprintf(e->message, sizeof e->message, "Invalid ELECTRIC statement");
    snprintf(e->detail, sizeof e->detail, "%.*s", STR_ARG(detail));
    e->position = lex_position(p->lex.text, at->offset);
}

bool parse_fail(struct parser *p, const char *expected)
{
    struct ddlx_error *e = p->error;
    char detail[SHOWN_TOKEN + 64];
    struct str token = parse_shorten(p->tok.text, SHOWN_TOKEN);
    if (p->tok.kind == TOKEN_END) {
        snprintf(detail, sizeof detail, "syntax error at the end of the statement");
    } else {
        snprintf(detail, sizeof detail, "syntax error before: <<\"%.*s\">>", STR_ARG(token));
    }
    fill_error(p, &p->tok, str_c(detail));
    snprintf(e->hint, sizeof e->hint, "Expected %s%s%s.", expected, p->usage ? ", as in: " : "",
             p->usage ? p->usage : "");
    return false;
}

bool parse_refuse(struct parser *p, const struct token *at, struct str detail, const char *hint)
{
    fill_error(p, at, detail);
    snprintf(p->error->hint, sizeof p->error->hint, "%s", hint);
    return false;
}

bool parse_accept(struct parser *p, const char *lower)
{
    if (!token_is_word(&p->tok, lower)) {
        return false;
    }
    parse_advance(p);
    return true;
}

static bool at_char(const struct parser *p, char c)
{
    const struct token *t = &p->tok;
    return (t->kind == TOKEN_PUNCT || t->kind == TOKEN_OPERATOR) && t->text.n == 1 && t->text.p[0] == c;
}

bool parse_accept_char(struct parser *p, char c)
{
    if (!at_char(p, c)) {
        return false;
    }
    parse_advance(p);
    return true;
}

bool parse_expect(struct parser *p, const char *lower)
{
    if (parse_accept(p, lower)) {
        return true;
    }
    char upper[16] = "";
    for (size_t i = 0; lower[i] && i < sizeof upper - 1; i++) {
        upper[i] = (char)(lower[i] & ~0x20);
    }
    return parse_fail(p, upper);
}

bool parse_expect_char(struct parser *p, char c)
{
    char text[] = {'"', c, '"', '\0'};
    return parse_accept_char(p, c) || parse_fail(p, text);
}

static bool at_name(const struct parser *p, const char *const excluded[])
{
    return token_is_name(&p->tok) && !is_one_of(&p->tok, excluded);
}

bool parse_at_ident(const struct parser *p)
{
    return at_name(p, keywords);
}

static bool take_name(struct parser *p, const char *expected, const char *const excluded[], struct str *out)
{
    if (!at_name(p, excluded)) {
        return parse_fail(p, is_one_of(&p->tok, excluded)
                                 ? "a name (a keyword must be in double quotes to be one)"
                                 : expected);
    }
    struct str value = sql_unquote(p->arena, &p->tok);
    if (value.n == 0) {
        return parse_fail(p, "a name that is not empty");
    }
    parse_advance(p);
    *out = value;
    return true;
}

bool parse_ident(struct parser *p, const char *expected, struct str *out)
{
    return take_name(p, expected, keywords, out);
}

bool parse_table(struct parser *p, struct ddlx_table *out)
{
    struct str first, second;
    if (!take_name(p, "the name of a table", reserved, &first)) {
        return false;
    }
    if (!parse_accept_char(p, '.')) {
        *out = (struct ddlx_table){.name = first};
        return true;
    }
    if (!take_name(p, "the name of a table", reserved, &second)) {
        return false;
    }
    *out = (struct ddlx_table){.schema = first, .name = second};
    return true;
}

bool parse_path(struct parser *p, const char *expected, struct ddlx_table *table, struct str *last)
{
    struct str parts[3];
    size_t n = 0;
    do {
        if (!parse_ident(p, expected, &parts[n++])) {
            return false;
        }
    } while (n < ARRAY_LEN(parts) && parse_accept_char(p, '.'));
    *last = parts[n - 1];
    *table = (struct ddlx_table){0};
    if (n > 1) {
        table->name = parts[n - 2];
    }
    if (n > 2) {
        table->schema = parts[0];
    }
    return true;
}

bool parse_string(struct parser *p, const char *expected, struct str *out)
{
    switch ((int)p->tok.kind) {
    case TOKEN_STRING:
    case TOKEN_ESCAPE_STRING:
    case TOKEN_UNICODE_STRING:
    case TOKEN_DOLLAR_STRING:
        *out = sql_unquote(p->arena, &p->tok);
        parse_advance(p);
        return true;
    default:
        return parse_fail(p, expected);
    }
}

bool parse_scope_path(struct parser *p, struct str *out)
{
    CLEANUP(buf_deinit) struct buf path = BUF_INIT(p->lex.text.n);
    struct str part;
    while (parse_at_ident(p)) {
        if (!parse_ident(p, "a name", &part)) {
            return false;
        }
        if (path.n) {
            buf_put_byte(&path, '/');
        }
        buf_put_str(&path, part);
        if (!parse_accept_char(p, '/')) {
            break;
        }
    }
    *out = arena_str(p->arena, buf_str(&path));
    return true;
}
