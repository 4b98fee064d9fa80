/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditions of CHECK and IF: whether the text is an expression at all, so that a slip of the pen is pointed
 * at. What it means is PostgreSQL's business; the text is kept as written.
 *
 *   condition = "(" expr ")"
 *   expr      = operand { operator operand }
 *   operand   = { NOT | + | - } primary { "::" name [ "(" list ")" ] | "[" expr "]" | IS [NOT] NULL … }
 *   primary   = string | number | parameter | name { "." name } [ "(" [ list ] ")" ] | "(" list ")"
 *             | "(" SELECT … ")" | CASE [ expr ] { WHEN expr THEN expr } [ ELSE expr ] END
 *   list      = expr { "," expr }
 *   operator  = operator characters | AND | OR | [NOT] IN | [NOT] LIKE | [NOT] ILIKE | [NOT] BETWEEN | IS … |
 * NOT
 */
#include "ddlx/parse.h"

enum { MAX_NESTING = 200 }; /* bounds the stack */

static bool expr(struct parser *p, int depth);

static bool is_any(const struct token *t, const char *const words[])
{
    for (size_t i = 0; words[i]; i++) {
        if (token_is_word(t, words[i])) {
            return true;
        }
    }
    return false;
}

/* Words that stand between operands, never for one. */
static bool is_structure(const struct token *t)
{
    static const char *const words[] = {"and",     "or",   "not",  "is",   "in",  "like", "ilike",
                                        "between", "when", "then", "else", "end", NULL};
    return is_any(t, words);
}

static bool list(struct parser *p, int depth)
{
    do {
        if (!expr(p, depth)) {
            return false;
        }
    } while (parse_accept_char(p, ','));
    return true;
}

/* A query in parentheses: only that they are balanced. */
static bool query(struct parser *p)
{
    for (size_t open = 0; p->tok.kind != TOKEN_END && p->tok.kind != TOKEN_UNTERMINATED; parse_advance(p)) {
        if (token_is_punct(&p->tok, ')') && open-- == 0) {
            return true;
        }
        open += token_is_punct(&p->tok, '(');
    }
    return parse_fail(p, "the \")\" that ends the query");
}

static bool parenthesised(struct parser *p, int depth)
{
    static const char *const queries[] = {"select", "with", "values", NULL};
    return (is_any(&p->tok, queries) ? query(p) : list(p, depth)) && parse_expect_char(p, ')');
}

/* CASE has been read. */
static bool case_rest(struct parser *p, int depth)
{
    if (!token_is_word(&p->tok, "when") && !expr(p, depth)) {
        return false;
    }
    do {
        if (!parse_expect(p, "when") || !expr(p, depth) || !parse_expect(p, "then") || !expr(p, depth)) {
            return false;
        }
    } while (token_is_word(&p->tok, "when"));
    return (!parse_accept(p, "else") || expr(p, depth)) && parse_expect(p, "end");
}

/* name {. name} [(…)], also the name of a type */
static bool name(struct parser *p, int depth)
{
    do {
        if (!token_is_name(&p->tok)) {
            return parse_fail(p, "a name");
        }
        parse_advance(p);
    } while (parse_accept_char(p, '.'));
    if (!parse_accept_char(p, '(')) {
        return true;
    }
    return parse_accept_char(p, ')') || parenthesised(p, depth);
}

static bool primary(struct parser *p, int depth)
{
    switch ((int)p->tok.kind) {
    case TOKEN_STRING:
    case TOKEN_ESCAPE_STRING:
    case TOKEN_UNICODE_STRING:
    case TOKEN_BIT_STRING:
    case TOKEN_DOLLAR_STRING:
    case TOKEN_NUMBER:
    case TOKEN_PARAM:
        parse_advance(p);
        return true;
    default:
        break;
    }
    if (parse_accept_char(p, '(')) {
        return parenthesised(p, depth);
    }
    if (parse_accept(p, "case")) {
        return case_rest(p, depth);
    }
    if (!token_is_name(&p->tok) || is_structure(&p->tok)) {
        return parse_fail(p, "a column, a value or a function");
    }
    return name(p, depth);
}

/* IS [NOT] NULL | TRUE | FALSE | UNKNOWN. False when something else follows IS: then it is an operator. */
static bool accept_is(struct parser *p)
{
    static const char *const tests[] = {"null", "true", "false", "unknown", NULL};
    struct lex ahead = p->lex;
    struct token t = lex_next(&ahead);
    bool negated = token_is_word(&t, "not");
    t = negated ? lex_next(&ahead) : t;
    if (!token_is_word(&p->tok, "is") || !is_any(&t, tests)) {
        return false;
    }
    parse_advance(p);
    if (negated) {
        parse_advance(p);
    }
    parse_advance(p);
    return true;
}

static bool is_cast(const struct token *t)
{
    return t->kind == TOKEN_PUNCT && str_eq(t->text, STR("::"));
}

static bool operand(struct parser *p, int depth)
{
    while (parse_accept(p, "not") || parse_accept_char(p, '-') || parse_accept_char(p, '+')) {
    }
    if (!primary(p, depth)) {
        return false;
    }
    for (;;) {
        if (is_cast(&p->tok)) {
            parse_advance(p);
            if (!name(p, depth)) {
                return false;
            }
        } else if (parse_accept_char(p, '[')) {
            if (!expr(p, depth) || !parse_expect_char(p, ']')) {
                return false;
            }
        } else if (!accept_is(p)) {
            return true;
        }
    }
}

/* Past one operator, of several words perhaps. */
static bool accept_operator(struct parser *p)
{
    static const char *const words[] = {"and", "or", "in", "like", "ilike", "between", NULL};
    if (p->tok.kind == TOKEN_OPERATOR || is_any(&p->tok, words)) {
        parse_advance(p);
        return true;
    }
    if (parse_accept(p, "is")) { /* IS [NOT] DISTINCT FROM; the original takes IS between any two operands */
        parse_accept(p, "not");
        if (parse_accept(p, "distinct")) {
            parse_accept(p, "from");
        }
        return true;
    }
    if (parse_accept(p, "not")) {
        ignore_result(parse_accept(p, "in") || parse_accept(p, "like") || parse_accept(p, "ilike") ||
                      parse_accept(p, "between")); /* none of them: the original's NOT between two operands */
        return true;
    }
    return false;
}

static bool expr(struct parser *p, int depth)
{
    if (depth == MAX_NESTING) {
        return parse_fail(p, "a condition with less nesting");
    }
    do {
        if (!operand(p, depth + 1)) {
            return false;
        }
    } while (accept_operator(p));
    return true;
}

bool parse_condition(struct parser *p, struct str *out)
{
    size_t from = p->tok.offset + 1;
    if (!parse_expect_char(p, '(')) {
        return false;
    }
    if (token_is_punct(&p->tok, ')')) {
        return parse_fail(p, "a condition");
    }
    if (!expr(p, 0)) {
        return false;
    }
    size_t to = p->tok.offset;
    if (!parse_expect_char(p, ')')) {
        return false;
    }
    *out = str_trim((struct str){p->lex.text.p + from, to - from});
    return true;
}
