/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL's lexical rules over a borrowed text: no allocation, no failure, linear time for any input.
 * Tokens are slices of the text; sql/quote.h turns a slice into the value it stands for.
 */
#pragma once

#include "base/str.h"

enum token_kind {
    TOKEN_END,            /* nothing left; offset is the length of the text */
    TOKEN_WORD,           /* keyword or unquoted identifier */
    TOKEN_IDENT,          /* "…" */
    TOKEN_UNICODE_IDENT,  /* U&"…" */
    TOKEN_STRING,         /* '…', N'…': a backslash is a backslash */
    TOKEN_ESCAPE_STRING,  /* E'…', and '…', N'…' when standard_conforming_strings is off */
    TOKEN_UNICODE_STRING, /* U&'…' */
    TOKEN_BIT_STRING,     /* B'…', X'…' */
    TOKEN_DOLLAR_STRING,  /* $tag$…$tag$ */
    TOKEN_NUMBER,
    TOKEN_PARAM,        /* $1 */
    TOKEN_PUNCT,        /* one of , ( ) [ ] . ; : or the pairs :: := .. */
    TOKEN_OPERATOR,     /* a run of operator characters; ends before a comment */
    TOKEN_UNTERMINATED, /* a quote or comment without its end: all of the rest */
    TOKEN_OTHER,        /* one byte that begins no token */
};

struct token {
    enum token_kind kind;
    struct str
        text; /* as written, quotes and prefix included; all pieces of a string continued on a new line */
    size_t offset; /* of text in the whole, in bytes */
};

struct lex {
    struct str text;
    size_t pos;
    bool std_strings; /* the session's standard_conforming_strings */
};

static inline struct lex lex_init(struct str text, bool std_strings)
{
    return (struct lex){.text = text.p ? text : STR(""), .std_strings = std_strings};
}

struct token lex_next(struct lex *l);
/* The token lex_next() would give. */
struct token lex_peek(const struct lex *l);
/* Moves behind the next ';', as lex_next() would until it gives one, but faster. False: there is none. */
bool lex_skip_semicolon(struct lex *l);
/* Moves past white space and comments. False when a comment has no end: pos is then at that comment. */
bool lex_skip_blank(struct lex *l);

/* A byte that may stand inside an unquoted identifier. */
bool lex_is_word_byte(char c);

/* `lower` is a keyword in lower case. Never true for a quoted identifier. */
bool token_is_word(const struct token *t, const char *lower);
bool token_is_punct(const struct token *t, char c);
/* WORD, IDENT or UNICODE_IDENT: can name an object, keywords not considered. */
bool token_is_name(const struct token *t);

/* 1-based character position of a byte offset, as PostgreSQL counts it for UTF-8. */
size_t lex_position(struct str text, size_t offset);
