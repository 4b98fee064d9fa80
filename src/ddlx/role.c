/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roles.
 *
 *   role_def = role | scope ":" role | "(" scope "," role ")"
 *   scope    = "NULL" | table
 *   role     = string                        static: 'name' or 'scope:name'
 *            | [ ident "." ] ident "." ident dynamic: [schema.]table.column
 *            | ANYONE | AUTHENTICATED        everybody; everybody who is authenticated
 *            | ident                         always refused: a name must be a string
 */
#include "ddlx/parse.h"

#include "sql/quote.h"

enum { SHOWN_ROLE = 200 };

static const char role_hint[] =
    "A role is a string, 'role' or 'scope_table:role', or the column that holds it, table.column.";

static bool refuse_role(struct parser *p, const struct token *at)
{
    bool string = at->kind != TOKEN_WORD && at->kind != TOKEN_IDENT && at->kind != TOKEN_UNICODE_IDENT;
    struct str text = parse_shorten(string ? sql_unquote(p->arena, at) : at->text, SHOWN_ROLE);
    const char *detail = arena_printf(p->arena, "invalid role assignment \"%.*s\"", STR_ARG(text));
    return parse_refuse(p, at, str_c(detail), role_hint);
}

/* The part of a string before the first ':', itself a table name. */
static bool scope_from_text(struct parser *p, struct str text, struct ddlx_table *out)
{
    struct ddlx_error ignored;
    struct parser inner;
    parse_init(&inner, p->arena, text, &ignored);
    return parse_table(&inner, out) && inner.tok.kind == TOKEN_END;
}

/* 'name', or 'scope:name' when no scope was written outside of the string. */
static bool static_role(struct parser *p, bool scoped, struct ddlx_role *out)
{
    struct token at = p->tok;
    struct str name;
    if (!parse_string(p, "a role", &name)) {
        return false;
    }
    struct str rest = name;
    if (!scoped && name.n && memchr(name.p, ':', name.n)) {
        struct str scope = str_cut(&rest, ':');
        if (!scope_from_text(p, scope, &out->scope)) {
            return refuse_role(p, &at);
        }
    }
    if (rest.n == 0) {
        return refuse_role(p, &at);
    }
    out->name = rest;
    return true;
}

static bool everybody(struct str word)
{
    return str_eq(word, STR("anyone")) || str_eq(word, STR("authenticated"));
}

/* A bare word that is no scope: one of the two built-in roles, which keep their upper case. */
static bool bare_role(struct parser *p, const struct token *at, struct str word, struct ddlx_role *out)
{
    if (at->kind != TOKEN_WORD || !everybody(word)) {
        return refuse_role(p, at);
    }
    out->name = str_eq(word, STR("anyone")) ? STR("ANYONE") : STR("AUTHENTICATED");
    return true;
}

static bool at_string(const struct parser *p)
{
    return p->tok.kind == TOKEN_STRING || p->tok.kind == TOKEN_ESCAPE_STRING ||
           p->tok.kind == TOKEN_UNICODE_STRING || p->tok.kind == TOKEN_DOLLAR_STRING;
}

/* The role where a scope was already read. */
static bool scoped_role(struct parser *p, struct ddlx_role *out)
{
    if (at_string(p)) {
        return static_role(p, true, out);
    }
    struct token at = p->tok;
    struct str last;
    if (!parse_path(p, "a role", &out->table, &last)) {
        return false;
    }
    if (out->table.name.n == 0) {
        return bare_role(p, &at, last, out);
    }
    out->column = last;
    return true;
}

static bool tuple_role(struct parser *p, struct ddlx_role *out)
{
    if (!parse_accept(p, "null") && !parse_table(p, &out->scope)) {
        return false;
    }
    return parse_expect_char(p, ',') && scoped_role(p, out) && parse_expect_char(p, ')');
}

/* What begins with a name is a scope when ':' follows, else a role. */
static bool named_role(struct parser *p, struct ddlx_role *out)
{
    struct token at = p->tok;
    struct ddlx_table table;
    struct str last;
    if (!parse_path(p, "a role", &table, &last)) {
        return false;
    }
    if (table.schema.n == 0 && parse_accept_char(p, ':')) {
        out->scope = (struct ddlx_table){.schema = table.name, .name = last};
        return scoped_role(p, out);
    }
    if (table.name.n == 0) {
        return bare_role(p, &at, last, out);
    }
    out->table = table;
    out->column = last;
    return true;
}

bool parse_role(struct parser *p, struct ddlx_role *out)
{
    *out = (struct ddlx_role){0};
    if (parse_accept_char(p, '(')) {
        return tuple_role(p, out);
    }
    if (at_string(p)) {
        return static_role(p, false, out);
    }
    if (parse_accept(p, "null")) {
        return parse_expect_char(p, ':') && scoped_role(p, out);
    }
    return named_role(p, out);
}
