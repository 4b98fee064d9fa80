/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lexer. Rules follow the server's src/backend/parser/scan.l:
 *
 *   blank      space, tab, newline, return, form feed, vertical tab; "--" to the end of the line;
 *              slash-star … star-slash, nested
 *   word       [A-Za-z_ or a byte above 127] then also digits and $
 *   string     '…' with '' for a quote; continued by a blank that holds a newline (but no slash-star comment)
 *              and another quote, in the mode of the first piece
 *   dollar     $tag$ up to the same $tag$; the tag is a word without $, or empty
 *   operator   a run of + - * / < > = ~ ! @ # % ^ & | ` ?, ending before "--" and slash-star
 *
 * One difference: the server gives a sign at the end of an operator run back (a=-1). Nothing here needs that,
 * and giving back makes runs of signs quadratic.
 *
 * Client encodings whose characters hold ASCII bytes are read as they are: only JOHAB can then show a false
 * ';', and SJIS, BIG5, GBK and their kin a false backslash in an E'' string.
 */
#include "sql/lex.h"

enum { SPACE = 1, START = 2, DIGIT = 4, DOLLAR = 8, OPERATOR = 16, QUIET = 32 };

static const uint8_t classes[256] = {
    [' '] = SPACE,    ['\t' ... '\r'] = SPACE, ['A' ... 'Z'] = START, ['a' ... 'z'] = START,
    ['_'] = START,    [128 ... 255] = START,   ['0' ... '9'] = DIGIT, ['$'] = DOLLAR,
    ['+'] = OPERATOR, ['-'] = OPERATOR,        ['*'] = OPERATOR,      ['/'] = OPERATOR,
    ['<'] = OPERATOR, ['>'] = OPERATOR,        ['='] = OPERATOR,      ['~'] = OPERATOR,
    ['!'] = OPERATOR, ['@'] = OPERATOR,        ['#'] = OPERATOR,      ['%'] = OPERATOR,
    ['^'] = OPERATOR, ['&'] = OPERATOR,        ['|'] = OPERATOR,      ['`'] = OPERATOR,
    ['?'] = OPERATOR, [','] = QUIET,           ['('] = QUIET,         [')'] = QUIET,
    ['['] = QUIET,    [']'] = QUIET,           ['.'] = QUIET,
};

static bool is(char c, unsigned class)
{
    return (classes[(uint8_t)c] & class) != 0;
}

bool lex_is_word_byte(char c)
{
    return is(c, START | DIGIT | DOLLAR);
}

/* The byte at `at`, or NUL past the end: no rule begins with NUL. */
static char at(const struct lex *l, size_t pos)
{
    return pos < l->text.n ? l->text.p[pos] : '\0';
}

static bool starts_comment(const struct lex *l, size_t pos)
{
    char c = at(l, pos), d = at(l, pos + 1);
    return (c == '-' && d == '-') || (c == '/' && d == '*');
}

/* First place at or after pos that is of none of the classes. */
static size_t span(const struct lex *l, size_t pos, unsigned class)
{
    while (pos < l->text.n && is(l->text.p[pos], class)) {
        pos++;
    }
    return pos;
}

static size_t line_end(const struct lex *l, size_t pos)
{
    while (pos < l->text.n && l->text.p[pos] != '\n' && l->text.p[pos] != '\r') {
        pos++;
    }
    return pos;
}

/* Past the block comment that begins at pos; 0 when it has no end. */
static size_t block_end(const struct lex *l, size_t pos)
{
    size_t depth = 0;
    while (pos + 1 < l->text.n) {
        char c = l->text.p[pos], d = l->text.p[pos + 1];
        if (c == '/' && d == '*') {
            depth++;
            pos += 2;
        } else if (c == '*' && d == '/') {
            pos += 2;
            if (--depth == 0) {
                return pos;
            }
        } else {
            pos++;
        }
    }
    return 0;
}

bool lex_skip_blank(struct lex *l)
{
    for (;;) {
        l->pos = span(l, l->pos, SPACE);
        if (!starts_comment(l, l->pos)) {
            return true;
        }
        if (l->text.p[l->pos] == '-') {
            l->pos = line_end(l, l->pos);
            continue;
        }
        size_t end = block_end(l, l->pos);
        if (end == 0) {
            return false;
        }
        l->pos = end;
    }
}

/* Makes the token that reaches from l->pos to `end`. */
static struct token take(struct lex *l, enum token_kind kind, size_t end)
{
    struct token t = {.kind = kind, .text = {l->text.p + l->pos, end - l->pos}, .offset = l->pos};
    l->pos = end;
    return t;
}

static struct token take_rest(struct lex *l)
{
    return take(l, TOKEN_UNTERMINATED, l->text.n);
}

/* After a closing quote at pos - 1: the first byte of the piece that continues the string, or 0. */
static size_t continuation(const struct lex *l, size_t pos)
{
    bool newline = false;
    while (pos < l->text.n) {
        char c = l->text.p[pos];
        if (c == '\'') {
            return newline ? pos + 1 : 0;
        }
        if (is(c, SPACE)) {
            newline = newline || c == '\n' || c == '\r';
            pos++;
        } else if (c == '-' && at(l, pos + 1) == '-') {
            pos = line_end(l, pos);
        } else {
            return 0;
        }
    }
    return 0;
}

/* The next place that may end a string, or the end of the text: most of a long literal is passed by memchr().
 */
static size_t next_quote(const struct lex *l, size_t pos, enum token_kind kind)
{
    const char *quote =
        kind == TOKEN_ESCAPE_STRING ? l->text.p + pos : memchr(l->text.p + pos, '\'', l->text.n - pos);
    return quote ? (size_t)(quote - l->text.p) : l->text.n;
}

/* Past the string whose content begins at pos; 0 when it has no end. */
static size_t string_end(const struct lex *l, size_t pos, enum token_kind kind)
{
    while (pos < l->text.n && (pos = next_quote(l, pos, kind)) < l->text.n) {
        char c = l->text.p[pos++];
        if (c == '\\' && kind == TOKEN_ESCAPE_STRING) {
            pos++;
        } else if (c == '\'' && kind != TOKEN_BIT_STRING && at(l, pos) == '\'') {
            pos++;
        } else if (c == '\'') {
            size_t next = continuation(l, pos);
            if (next == 0) {
                return pos;
            }
            pos = next;
        }
    }
    return 0;
}

static struct token take_string(struct lex *l, size_t prefix, enum token_kind kind)
{
    size_t end = string_end(l, l->pos + prefix + 1, kind);
    return end ? take(l, kind, end) : take_rest(l);
}

static struct token take_ident(struct lex *l, size_t prefix, enum token_kind kind)
{
    size_t pos = l->pos + prefix + 1;
    for (;;) {
        const char *quote = pos < l->text.n ? memchr(l->text.p + pos, '"', l->text.n - pos) : NULL;
        if (!quote) {
            return take_rest(l);
        }
        pos = (size_t)(quote - l->text.p) + 1;
        if (at(l, pos) != '"') {
            return take(l, kind, pos);
        }
        pos++;
    }
}

static enum token_kind plain_string(const struct lex *l)
{
    return l->std_strings ? TOKEN_STRING : TOKEN_ESCAPE_STRING;
}

static struct token take_word(struct lex *l)
{
    char next = at(l, l->pos + 1);
    char first = (char)(l->text.p[l->pos] | 0x20);
    if (next == '\'' && first == 'e') {
        return take_string(l, 1, TOKEN_ESCAPE_STRING);
    }
    if (next == '\'' && (first == 'b' || first == 'x')) {
        return take_string(l, 1, TOKEN_BIT_STRING);
    }
    if (next == '\'' && first == 'n') {
        return take_string(l, 1, plain_string(l));
    }
    if (next == '&' && first == 'u' && at(l, l->pos + 2) == '\'') {
        return take_string(l, 2, TOKEN_UNICODE_STRING);
    }
    if (next == '&' && first == 'u' && at(l, l->pos + 2) == '"') {
        return take_ident(l, 2, TOKEN_UNICODE_IDENT);
    }
    return take(l, TOKEN_WORD, span(l, l->pos, START | DIGIT | DOLLAR));
}

/* $1, $tag$…$tag$, or a $ that means nothing. */
static struct token take_dollar(struct lex *l)
{
    size_t tag = l->pos + 1;
    if (is(at(l, tag), DIGIT)) {
        return take(l, TOKEN_PARAM, span(l, tag, DIGIT));
    }
    size_t end = span(l, tag, START | DIGIT);
    if (at(l, end) != '$') {
        return take(l, TOKEN_OTHER, tag);
    }
    end++;
    size_t delimiter = end - l->pos;
    const char *close = memmem(l->text.p + end, l->text.n - end, l->text.p + l->pos, delimiter);
    if (!close) {
        return take_rest(l);
    }
    return take(l, TOKEN_DOLLAR_STRING, (size_t)(close - l->text.p) + delimiter);
}

static struct token take_number(struct lex *l)
{
    size_t end = span(l, l->pos, DIGIT);
    if (at(l, end) == '.' && at(l, end + 1) != '.') {
        end = span(l, end + 1, DIGIT);
    }
    if ((at(l, end) | 0x20) == 'e') {
        size_t sign = at(l, end + 1) == '+' || at(l, end + 1) == '-';
        if (is(at(l, end + 1 + sign), DIGIT)) {
            end = span(l, end + 1 + sign, DIGIT);
        }
    }
    return take(l, TOKEN_NUMBER, end);
}

static struct token take_operator(struct lex *l)
{
    size_t end = l->pos + 1;
    while (end < l->text.n && is(l->text.p[end], OPERATOR) && !starts_comment(l, end)) {
        end++;
    }
    return take(l, TOKEN_OPERATOR, end);
}

static struct token take_punct(struct lex *l)
{
    char c = l->text.p[l->pos], next = at(l, l->pos + 1);
    if (memchr(",()[];", c, 6)) {
        return take(l, TOKEN_PUNCT, l->pos + 1);
    }
    if (c == ':') {
        return take(l, TOKEN_PUNCT, l->pos + (next == ':' || next == '=' ? 2 : 1));
    }
    if (c == '.') {
        return take(l, TOKEN_PUNCT, l->pos + (next == '.' ? 2 : 1));
    }
    return take(l, TOKEN_OTHER, l->pos + 1);
}

struct token lex_next(struct lex *l)
{
    if (!lex_skip_blank(l)) {
        return take_rest(l);
    }
    if (l->pos == l->text.n) {
        return take(l, TOKEN_END, l->pos);
    }
    char c = l->text.p[l->pos];
    if (is(c, START)) {
        return take_word(l);
    }
    if (is(c, DIGIT) || (c == '.' && is(at(l, l->pos + 1), DIGIT))) {
        return take_number(l);
    }
    if (is(c, OPERATOR)) {
        return take_operator(l);
    }
    switch (c) {
    case '\'':
        return take_string(l, 0, plain_string(l));
    case '"':
        return take_ident(l, 0, TOKEN_IDENT);
    case '$':
        return take_dollar(l);
    default:
        return take_punct(l);
    }
}

static bool behind_number(const struct lex *l, size_t from)
{
    return l->pos > from && (is(l->text.p[l->pos - 1], DIGIT) || l->text.p[l->pos - 1] == '.');
}

/* A letter or $ behind digits may belong to them: 1e5$a$ is a number and a dollar quote. Back to where they
 * begin, `from` at the earliest, and over the letter token by token. */
static void skip_from_number(struct lex *l, size_t from)
{
    size_t pos = l->pos;
    while (behind_number(l, from)) {
        l->pos--;
    }
    while (l->pos <= pos) {
        lex_next(l);
    }
}

bool lex_skip_semicolon(struct lex *l)
{
    for (;;) {
        size_t from = l->pos;
        l->pos = span(l, from, SPACE | QUIET | DIGIT);
        char c = at(l, l->pos), next = at(l, l->pos + 1);
        if (is(c, START | DOLLAR) && behind_number(l, from)) {
            skip_from_number(l, from);
        } else if (is(c, START) && next != '\'' && next != '&') { /* no prefix of a string */
            l->pos = span(l, l->pos, START | DIGIT | DOLLAR);
        } else if (c == '\'') {
            take_string(l, 0, plain_string(l));
        } else {
            struct token t = lex_next(l);
            if (t.kind == TOKEN_END || token_is_punct(&t, ';')) {
                return t.kind != TOKEN_END;
            }
        }
    }
}

struct token lex_peek(const struct lex *l)
{
    struct lex copy = *l;
    return lex_next(&copy);
}

bool token_is_word(const struct token *t, const char *lower)
{
    return t->kind == TOKEN_WORD && str_eq_nocase(t->text, str_c(lower));
}

bool token_is_punct(const struct token *t, char c)
{
    return t->kind == TOKEN_PUNCT && t->text.n == 1 && t->text.p[0] == c;
}

bool token_is_name(const struct token *t)
{
    return t->kind == TOKEN_WORD || t->kind == TOKEN_IDENT || t->kind == TOKEN_UNICODE_IDENT;
}

size_t lex_position(struct str text, size_t offset)
{
    size_t position = 1;
    for (size_t i = 0; i < offset && i < text.n; i++) {
        position += ((uint8_t)text.p[i] & 0xC0) != 0x80;
    }
    return position;
}
