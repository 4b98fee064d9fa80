/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter and the splitter.
 *
 * A ';' separates statements unless it stands in parentheses (CREATE RULE … DO (a; b)) or in the body of
 * CREATE [OR REPLACE] FUNCTION | PROCEDURE … BEGIN ATOMIC a; b; END, where CASE … END may occur. END ends the
 * body only where a statement could begin: elsewhere it closes a CASE or is a column label.
 */
#include "sql/statement.h"

#include "base/limits.h"
#include "sql/classify.h"
#include "sql/lex.h"

enum { LONGEST_PLAIN = 10 };

/* First keywords of plain statements, all of one length in a string, the most frequent first. */
static const char *const plain_words[LONGEST_PLAIN + 1] = {
    [3] = "set",
    [4] = "withshowcopylockmoveload",
    [5] = "mergefetchclosetableresetgrant",
    [6] = "selectinsertupdatedeletevaluesnotifylistenvacuumrevoke",
    [7] = "executepreparedeclareexplaindiscardanalyzeanalyserefresh",
    [8] = "truncateunlisten",
    [10] = "checkpoint",
};

static bool is_plain_word(struct str word)
{
    if (word.n > LONGEST_PLAIN || !plain_words[word.n]) {
        return false;
    }
    char lower[LONGEST_PLAIN];
    for (size_t i = 0; i < word.n; i++) {
        lower[i] = (char)(word.p[i] | 0x20); /* no other byte of a word becomes a letter by this */
    }
    for (const char *row = plain_words[word.n]; *row; row += word.n) {
        if (row[0] == lower[0] && memcmp(row, lower, word.n) == 0) {
            return true;
        }
    }
    return false;
}

static struct str first_word(struct lex *l)
{
    const char *from = l->text.p + l->pos;
    while (l->pos < l->text.n && lex_is_word_byte(l->text.p[l->pos])) {
        l->pos++;
    }
    return (struct str){from, (size_t)(l->text.p + l->pos - from)};
}

/* No ';' with a statement behind it. Almost always a single memchr(): behind a ';' at the end there is
 * nothing. */
static bool ends_here(struct lex l)
{
    while (l.text.n > l.pos && (l.text.p[l.text.n - 1] == ';' || l.text.p[l.text.n - 1] == '\n')) {
        l.text.n--;
    }
    if (!memchr(l.text.p + l.pos, ';', l.text.n - l.pos)) {
        return true;
    }
    if (!lex_skip_semicolon(&l)) {
        return true;
    }
    struct token t;
    do {
        t = lex_next(&l);
    } while (token_is_punct(&t, ';'));
    return t.kind == TOKEN_END;
}

/* PREPARE TRANSACTION ends a transaction; PREPARE name AS … is plain. */
static bool may_be_prepare_transaction(struct str word, const struct lex *l, bool complete)
{
    if (word.n != 7 || !str_eq_nocase(word, STR("prepare"))) {
        return false;
    }
    struct token name = lex_peek(l);
    return token_is_word(&name, "transaction") || (!complete && name.offset + name.text.n == l->text.n);
}

/* Past white space, comments and empty statements. */
static bool skip_to_statement(struct lex *l)
{
    while (lex_skip_blank(l)) {
        if (l->pos == l->text.n || l->text.p[l->pos] != ';') {
            return true;
        }
        l->pos++;
    }
    return false;
}

bool statement_is_plain(struct str text, bool complete, bool std_strings)
{
    struct lex l = lex_init(text, std_strings);
    if (!skip_to_statement(&l)) {
        return false;
    }
    if (l.pos == text.n) {
        return complete;
    }
    if (text.p[l.pos] == '(') { /* only a query begins like this */
        return !complete || ends_here(l);
    }
    struct str word = first_word(&l);
    if (!is_plain_word(word) || (!complete && l.pos == text.n)) {
        return false;
    }
    if (may_be_prepare_transaction(word, &l, complete)) {
        return false;
    }
    return !complete || ends_here(l);
}

enum head { HEAD_START, HEAD_CREATE, HEAD_OR, HEAD_REPLACE, HEAD_ROUTINE, HEAD_OTHER };

static enum head next_head(enum head head, const struct token *t)
{
    bool routine = token_is_word(t, "function") || token_is_word(t, "procedure");
    switch (head) {
    case HEAD_START:
        return token_is_word(t, "create") ? HEAD_CREATE : HEAD_OTHER;
    case HEAD_CREATE:
        return routine ? HEAD_ROUTINE : token_is_word(t, "or") ? HEAD_OR : HEAD_OTHER;
    case HEAD_OR:
        return token_is_word(t, "replace") ? HEAD_REPLACE : HEAD_OTHER;
    case HEAD_REPLACE:
        return routine ? HEAD_ROUTINE : HEAD_OTHER;
    case HEAD_ROUTINE:
    case HEAD_OTHER:
        return head;
    }
    return head;
}

/* CASE and END are names behind a dot and labels behind AS. */
static void track_body(struct splitter *s, const struct token *t)
{
    if (token_is_punct(&s->prev, '.') || token_is_word(&s->prev, "as")) {
        return;
    }
    if (token_is_word(t, "case")) {
        s->cases++;
    } else if (token_is_word(t, "end") && s->cases > 0) {
        s->cases--;
    } else if (token_is_word(t, "end")) {
        s->body = !token_is_punct(&s->prev, ';') && !token_is_word(&s->prev, "atomic");
    }
}

static void track(struct splitter *s, const struct token *t)
{
    s->head = next_head((enum head)s->head, t);
    if (token_is_punct(t, '(')) {
        s->parens++;
    } else if (token_is_punct(t, ')')) {
        s->parens -= s->parens > 0;
    } else if (s->parens == 0 && s->body) {
        track_body(s, t);
    } else if (s->parens == 0 && s->head == HEAD_ROUTINE) {
        s->body = token_is_word(t, "atomic") && token_is_word(&s->prev, "begin");
        s->cases = 0;
    }
    s->any = true;
    s->prev = *t;
}

static bool separates(struct splitter *s, const struct token *t)
{
    if (!token_is_punct(t, ';') || s->parens > 0) {
        return false;
    }
    s->cases = 0; /* no CASE spans two statements of a body */
    return !s->body;
}

void splitter_init(struct splitter *s, struct arena *a, bool std_strings, bool join)
{
    *s = (struct splitter){.lex = lex_init(STR(""), std_strings), .arena = a, .join = join};
}

/* The longest look that the lexer takes behind a token, save behind a string and a lone $. */
enum { LOOKAHEAD = 3 };

/* Whatever follows, the token stays what it is. A string may go on behind a newline, a $ be the first of
 * $tag$. */
static bool is_final(const struct splitter *s, const struct token *t)
{
    struct lex behind = s->lex;
    if (t->kind == TOKEN_END || t->kind == TOKEN_UNTERMINATED || behind.pos + LOOKAHEAD > behind.text.n) {
        return false;
    }
    char last = t->text.p[t->text.n - 1];
    if (last == '\'') { /* a '-' may be the first of a comment, behind which the string goes on */
        return lex_skip_blank(&behind) && behind.pos + 1 < behind.text.n;
    }
    if (t->kind == TOKEN_OTHER && last == '$') {
        lex_next(&behind);
        return behind.pos < behind.text.n;
    }
    return true;
}

/* False when more of the text has to come first. A token that was incomplete is tried again when there is
 * twice as much of it, so that the work on a long one stays linear. */
static bool next_token(struct splitter *s, bool complete, struct token *out)
{
    size_t from = s->lex.pos, have = s->lex.text.n - from;
    if (!complete && have < s->retry) {
        return false;
    }
    *out = lex_next(&s->lex);
    if (complete || is_final(s, out)) {
        s->retry = 0;
        return true;
    }
    s->lex.pos = from;
    s->retry = 2 * have;
    return false;
}

/* Up to the next ';' that separates, or the end: *out_t. False: more of the text has to come first. */
static bool find_separator(struct splitter *s, bool complete, struct token *out_t)
{
    while (next_token(s, complete, out_t)) {
        if (out_t->kind == TOKEN_END || separates(s, out_t)) {
            return true;
        }
        track(s, out_t);
    }
    return false;
}

static struct statement *new_item(struct splitter *s)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 8;
        struct statement *grown = arena_alloc_array(s->arena, s->cap, sizeof *grown);
        if (s->n) {
            memcpy(grown, s->items, s->n * sizeof *grown);
        }
        s->items = grown;
    }
    return &s->items[s->n++];
}

/* The statement between s->start and `end`. */
static void add(struct splitter *s, size_t end)
{
    const char *text = s->lex.text.p;
    struct str piece = str_trim((struct str){text + s->start, end - s->start});
    struct statement st = {.text = piece, .offset = (size_t)(piece.p - text), .count = 1};
    classify_statement(s->arena, &st, s->lex.std_strings);
    struct statement *last = s->n ? &s->items[s->n - 1] : NULL;
    if (s->join && last && st.kind == STATEMENT_PLAIN && last->kind == STATEMENT_PLAIN) {
        last->text.n = st.offset + st.text.n - last->offset;
        last->count++;
    } else if (s->n == LIMIT_SEGMENTS) {
        s->too_many = true;
    } else {
        *new_item(s) = st;
    }
}

/* Behind the separator, or the end, at t. */
static void begin_statement(struct splitter *s, const struct token *t)
{
    s->start = t->offset + t->text.n;
    s->any = false;
    s->parens = 0;
    s->head = HEAD_START;
    s->body = false;
    s->cases = 0;
    s->prev = (struct token){0};
}

int splitter_feed(struct splitter *s, struct str text, bool complete, struct err *err)
{
    struct token t = {0};
    s->lex.text = text.p ? text : STR("");
    s->prev.text.p = s->lex.text.p + s->prev.offset;
    while (!s->too_many && find_separator(s, complete, &t)) {
        if (s->any) {
            add(s, t.offset);
        }
        begin_statement(s, &t);
        if (t.kind == TOKEN_END) {
            break;
        }
    }
    for (size_t i = 0; complete && i < s->n; i++) {
        s->items[i].text.p = s->lex.text.p + s->items[i].offset;
    }
    return s->too_many ? err_set_sqlstate(err, ERR_LIMIT, "54000", "more than %d statements in one query",
                                          LIMIT_SEGMENTS)
                       : 0;
}

int statement_split(struct arena *a, struct str text, bool std_strings, struct statement **out, size_t *n,
                    struct err *err)
{
    struct splitter s;
    splitter_init(&s, a, std_strings, false);
    if (splitter_feed(&s, text, true, err) < 0) {
        return -1;
    }
    *out = s.items;
    *n = s.n;
    return 0;
}

const char *statement_kind_name(enum statement_kind kind)
{
    switch (kind) {
    case STATEMENT_PLAIN:
        return "plain";
    case STATEMENT_BEGIN:
        return "begin";
    case STATEMENT_COMMIT:
        return "commit";
    case STATEMENT_ROLLBACK:
        return "rollback";
    case STATEMENT_SAVEPOINT:
        return "savepoint";
    case STATEMENT_PREPARE_TRANSACTION:
        return "prepare transaction";
    case STATEMENT_DDL:
        return "ddl";
    case STATEMENT_DDL_INDEX_CONCURRENTLY:
        return "index concurrently";
    case STATEMENT_ALONE:
        return "alone";
    case STATEMENT_DO:
        return "do";
    case STATEMENT_CALL:
        return "call";
    case STATEMENT_ELECTRIFY:
        return "electrify";
    case STATEMENT_DEALLOCATE:
        return "deallocate";
    case STATEMENT_DDLX:
        return "ddlx";
    }
    return "unknown";
}
