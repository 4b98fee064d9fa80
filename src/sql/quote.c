/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quoting writes each quote twice. Unquoting follows the server: continued strings are one value (only the
 * pieces between quotes count), E'' strings know \b \f \n \r \t \ooo \xhh \uhhhh \Uhhhhhhhh, U& texts know
 * \hhhh and \+hhhhhh with the default escape character (a UESCAPE clause is not looked at).
 */
#include "sql/quote.h"

/* What is written never exceeds what is read: p has the room of the token's text. */
struct writer {
    char *p;
    size_t n;
};

static void put_doubled(struct buf *b, struct str s, const char *doubled)
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == doubled[0] || (doubled[1] && s.p[i] == doubled[1])) {
            buf_put(b, s.p + from, i + 1 - from);
            from = i; /* the next piece begins with the same byte again */
        }
    }
    if (from < s.n) {
        buf_put(b, s.p + from, s.n - from);
    }
}

void sql_put_ident(struct buf *b, struct str name)
{
    buf_put_byte(b, '"');
    put_doubled(b, name, "\"");
    buf_put_byte(b, '"');
}

void sql_put_literal(struct buf *b, struct str text)
{
    if (text.n && memchr(text.p, '\\', text.n)) {
        buf_put_byte(b, 'E');
    }
    buf_put_byte(b, '\'');
    put_doubled(b, text, "'\\");
    buf_put_byte(b, '\'');
}

const char *sql_ident(struct arena *a, struct str name)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * name.n + 2);
    sql_put_ident(&b, name);
    return arena_str(a, buf_str(&b)).p;
}

const char *sql_literal(struct arena *a, struct str text)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * text.n + 3);
    sql_put_literal(&b, text);
    return arena_str(a, buf_str(&b)).p;
}

static struct str lower_word(struct arena *a, struct str word)
{
    char *p = arena_alloc(a, word.n + 1);
    for (size_t i = 0; i < word.n; i++) {
        char c = word.p[i];
        p[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    p[word.n] = '\0';
    return (struct str){p, word.n};
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* Reads up to `most` digits of `base`; returns how many. */
static size_t read_digits(struct str s, size_t most, int base, uint32_t *out)
{
    size_t n = 0;
    for (*out = 0; n < most && n < s.n && digit_value(s.p[n]) < base; n++) {
        *out = *out * (uint32_t)base + (uint32_t)digit_value(s.p[n]);
    }
    return n;
}

/* UTF-8; nothing for what is no character (the server refuses the statement then). */
static void write_character(struct writer *w, uint32_t c)
{
    if (c == 0 || c > 0x10FFFF) {
        return;
    }
    if (c < 0x80) {
        w->p[w->n++] = (char)c;
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    w->p[w->n++] = (char)(lead[more] | (c >> (6 * more)));
    while (more-- > 0) {
        w->p[w->n++] = (char)(0x80 | ((c >> (6 * more)) & 0x3F));
    }
}

/* s begins after a backslash of an E'' string. Returns the bytes used. */
static size_t write_escape(struct writer *w, struct str s)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    uint32_t code;
    size_t n;
    const char *simple = memchr(from, s.p[0], sizeof from - 1);
    if (simple) {
        w->p[w->n++] = to[simple - from];
        return 1;
    }
    struct str rest = {s.p + 1, s.n - 1};
    if ((n = read_digits(s, 3, 8, &code)) > 0) {
        w->p[w->n++] = (char)code;
        return n;
    }
    if (s.p[0] == 'x' && (n = read_digits(rest, 2, 16, &code)) > 0) {
        w->p[w->n++] = (char)code;
        return n + 1;
    }
    if ((s.p[0] == 'u' || s.p[0] == 'U') && (n = read_digits(rest, s.p[0] == 'u' ? 4 : 8, 16, &code)) >= 4) {
        write_character(w, code);
        return n + 1;
    }
    w->p[w->n++] = s.p[0];
    return 1;
}

/* s begins after a backslash of a U& text. */
static size_t write_unicode(struct writer *w, struct str s)
{
    uint32_t code;
    if (s.p[0] == '+' && read_digits((struct str){s.p + 1, s.n - 1}, 6, 16, &code) == 6) {
        write_character(w, code);
        return 7;
    }
    if (read_digits(s, 4, 16, &code) == 4) {
        write_character(w, code);
        return 4;
    }
    w->p[w->n++] = s.p[0];
    return 1;
}

typedef size_t escape_fn(struct writer *w, struct str s);

/* One piece from after its opening quote; returns the bytes used, the closing quote included. */
static size_t write_piece(struct writer *w, struct str s, char quote, escape_fn *escape)
{
    size_t i = 0;
    while (i < s.n) {
        if (escape && s.p[i] == '\\' && i + 1 < s.n) {
            i += 1 + escape(w, (struct str){s.p + i + 1, s.n - i - 1});
        } else if (s.p[i] != quote) {
            w->p[w->n++] = s.p[i++];
        } else if (i + 1 < s.n && s.p[i + 1] == quote) {
            w->p[w->n++] = quote;
            i += 2;
        } else {
            return i + 1;
        }
    }
    return i;
}

/* Between two pieces stand white space and line comments, which may hold quotes. */
static size_t skip_gap(struct str s)
{
    struct lex l = lex_init(s, true);
    bool blank = lex_skip_blank(&l);
    return blank ? l.pos : s.n; /* the lexer saw that a gap ends in a quote: never false */
}

static struct str unquote(struct arena *a, struct str s, char quote, escape_fn *escape)
{
    struct writer w = {.p = arena_alloc(a, s.n + 1)};
    const char *open = memchr(s.p, quote, s.n);
    while (open) {
        size_t i = (size_t)(open - s.p) + 1;
        i += write_piece(&w, (struct str){s.p + i, s.n - i}, quote, escape);
        i += skip_gap((struct str){s.p + i, s.n - i});
        s = (struct str){s.p + i, s.n - i};
        open = s.n ? s.p : NULL;
    }
    w.p[w.n] = '\0';
    return (struct str){w.p, w.n};
}

static struct str dollar_content(struct str s)
{
    const char *end = memchr(s.p + 1, '$', s.n - 1);
    size_t delimiter = (size_t)(end - s.p) + 1;
    return (struct str){s.p + delimiter, s.n - 2 * delimiter};
}

struct str sql_unquote(struct arena *a, const struct token *t)
{
    switch (t->kind) {
    case TOKEN_WORD:
        return lower_word(a, t->text);
    case TOKEN_IDENT:
        return unquote(a, t->text, '"', NULL);
    case TOKEN_UNICODE_IDENT:
        return unquote(a, t->text, '"', write_unicode);
    case TOKEN_STRING:
    case TOKEN_BIT_STRING:
        return unquote(a, t->text, '\'', NULL);
    case TOKEN_ESCAPE_STRING:
        return unquote(a, t->text, '\'', write_escape);
    case TOKEN_UNICODE_STRING:
        return unquote(a, t->text, '\'', write_unicode);
    case TOKEN_DOLLAR_STRING:
        return dollar_content(t->text);
    case TOKEN_END:
    case TOKEN_NUMBER:
    case TOKEN_PARAM:
    case TOKEN_PUNCT:
    case TOKEN_OPERATOR:
    case TOKEN_UNTERMINATED:
    case TOKEN_OTHER:
        return t->text;
    }
    return t->text;
}
