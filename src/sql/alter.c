/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grammar:
 *
 *   ALTER TABLE [IF EXISTS] relation action {, action}
 *   relation = [ONLY] name {. name} [*] | ONLY ( name {. name} )
 *
 * ONLY and IF may also be names here (the server reserves ONLY, the original's ELECTRIC statements do not):
 * they are keywords when a name follows.
 */
#include "sql/alter.h"

static bool is_operator(const struct token *t, char c)
{
    return t->kind == TOKEN_OPERATOR && t->text.n == 1 && t->text.p[0] == c;
}

static bool skip_word(struct lex *l, const char *lower)
{
    struct token t = lex_peek(l);
    if (!token_is_word(&t, lower)) {
        return false;
    }
    lex_next(l);
    return true;
}

/* Behind U&"…" may stand UESCAPE 'c'. */
static bool skip_name_part(struct lex *l)
{
    struct token name = lex_next(l);
    if (name.kind == TOKEN_UNICODE_IDENT && skip_word(l, "uescape")) {
        lex_next(l);
    }
    return token_is_name(&name);
}

static bool skip_name(struct lex *l)
{
    for (;;) {
        if (!skip_name_part(l)) {
            return false;
        }
        struct token dot = lex_peek(l);
        if (!token_is_punct(&dot, '.')) {
            return true;
        }
        lex_next(l);
    }
}

static bool skip_bracketed_name(struct lex *l)
{
    lex_next(l);
    if (!skip_name(l)) {
        return false;
    }
    struct token close = lex_next(l);
    return token_is_punct(&close, ')');
}

/* ONLY is a name when ENABLE ELECTRIC, DISABLE ELECTRIC or a dot follows. */
static bool only_is_keyword(const struct lex *after_only)
{
    struct lex l = *after_only;
    struct token first = lex_next(&l), second = lex_next(&l);
    if (token_is_word(&first, "enable") || token_is_word(&first, "disable")) {
        return !token_is_word(&second, "electric");
    }
    return token_is_name(&first) || token_is_punct(&first, '(');
}

/* Past [IF EXISTS] relation. False when no name is there. */
static bool skip_relation(struct lex *l)
{
    struct lex ahead = *l;
    if (skip_word(&ahead, "if") && skip_word(&ahead, "exists")) {
        *l = ahead;
    }
    ahead = *l;
    if (skip_word(&ahead, "only") && only_is_keyword(&ahead)) {
        *l = ahead;
        struct token open = lex_peek(l);
        if (token_is_punct(&open, '(')) {
            return skip_bracketed_name(l);
        }
    }
    if (!skip_name(l)) {
        return false;
    }
    struct token star = lex_peek(l);
    if (is_operator(&star, '*')) {
        lex_next(l);
    }
    return true;
}

bool alter_walk_init(struct alter_walk *w, struct str statement, bool std_strings)
{
    *w = (struct alter_walk){.lex = lex_init(statement, std_strings)};
    w->more = skip_word(&w->lex, "alter") && skip_word(&w->lex, "table") && skip_relation(&w->lex);
    return w->more;
}

static int depth_change(const struct token *t)
{
    if (token_is_punct(t, '(') || token_is_punct(t, '[')) {
        return 1;
    }
    return token_is_punct(t, ')') || token_is_punct(t, ']') ? -1 : 0;
}

bool alter_walk_next(struct alter_walk *w, struct alter_action *out)
{
    if (!w->more) {
        return false;
    }
    *out = (struct alter_action){.offset = w->lex.pos};
    for (long depth = 0;;) {
        struct token t = lex_next(&w->lex);
        w->more = t.kind != TOKEN_END;
        if (!w->more || (depth == 0 && token_is_punct(&t, ','))) {
            out->end = t.offset;
            return true;
        }
        depth += depth_change(&t);
        out->tokens++;
        if (out->tokens == 1) {
            out->first = t;
        } else if (out->tokens == 2) {
            out->second = t;
        }
        out->before_last = out->last;
        out->last = t;
    }
}
