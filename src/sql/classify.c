/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row per first keyword; where the keyword does not decide alone a function looks at what follows.
 *
 * STATEMENT_ALONE is what the server refuses in a transaction block (the callers of
 * PreventInTransactionBlock() in PostgreSQL 14 to 17) and what is no plain statement by its first keyword.
 * REINDEX of a table or index and CLUSTER of a table count as plain: they change no definition, and on
 * partitioned tables they must not be wrapped.
 */
#include "sql/classify.h"

#include "sql/alter.h"
#include "sql/quote.h"

/* Looks at what follows the first keyword; l is behind it. */
typedef void look_fn(struct arena *a, struct statement *s, struct lex *l);

static bool next_is(struct lex *l, const char *lower)
{
    struct token t = lex_next(l);
    return token_is_word(&t, lower);
}

static bool skip_if(struct lex *l, const char *lower)
{
    struct token t = lex_peek(l);
    if (token_is_word(&t, lower)) {
        lex_next(l);
        return true;
    }
    return false;
}

static bool is_any(const struct token *t, const char *const words[])
{
    for (size_t i = 0; words[i]; i++) {
        if (token_is_word(t, words[i])) {
            return true;
        }
    }
    return false;
}

static bool name_is(struct arena *a, const struct token *t, const char *name)
{
    return token_is_name(t) && str_eq(sql_unquote(a, t), str_c(name));
}

/* DATABASE, TABLESPACE, SUBSCRIPTION and the like: no part of a table's definition. */
static const char *const alone_objects[] = {"database", "tablespace", "subscription", NULL};

/* CREATE [UNIQUE] INDEX CONCURRENTLY, DROP INDEX CONCURRENTLY, CREATE | DROP DATABASE … */
static void look_create_drop(struct arena *a, struct statement *s, struct lex *l)
{
    skip_if(l, "unique");
    struct token object = lex_next(l);
    if (is_any(&object, alone_objects)) {
        s->kind = STATEMENT_ALONE;
    } else if (token_is_word(&object, "index") && next_is(l, "concurrently")) {
        s->kind = STATEMENT_DDL_INDEX_CONCURRENTLY;
    }
}

static bool starts_electric(const struct token *t)
{
    return t->kind == TOKEN_WORD && str_starts_with_nocase(t->text, STR("electric"));
}

/* ENABLE ELECTRIC, DISABLE ELECTRICITY (a mistake our parser explains better than the server), or ELECTRIC
 * alone. */
static bool is_ddlx_action(const struct alter_action *action)
{
    if (token_is_word(&action->first, "enable") || token_is_word(&action->first, "disable")) {
        return starts_electric(&action->second);
    }
    return starts_electric(&action->first);
}

/* Behind a dot it is the partition's name. */
static bool detaches_concurrently(const struct alter_action *action)
{
    return token_is_word(&action->first, "detach") && token_is_word(&action->last, "concurrently") &&
           !token_is_punct(&action->before_last, '.');
}

static void look_alter_table(struct statement *s, bool std_strings)
{
    struct alter_walk w;
    struct alter_action action;
    if (!alter_walk_init(&w, s->text, std_strings)) {
        return;
    }
    while (alter_walk_next(&w, &action)) {
        if (is_ddlx_action(&action)) {
            s->kind = STATEMENT_DDLX;
            return;
        }
        if (detaches_concurrently(&action)) {
            s->kind = STATEMENT_ALONE;
        }
    }
}

/* ALTER DATABASE name SET TABLESPACE name; its other forms are ordinary statements. */
static enum statement_kind look_alter_database(struct lex *l)
{
    lex_next(l);
    return next_is(l, "set") && next_is(l, "tablespace") ? STATEMENT_ALONE : STATEMENT_PLAIN;
}

static void look_alter(struct arena *a, struct statement *s, struct lex *l)
{
    struct token object = lex_next(l);
    if (token_is_word(&object, "table")) {
        look_alter_table(s, l->std_strings);
    } else if (token_is_word(&object, "system") || token_is_word(&object, "subscription")) {
        s->kind = STATEMENT_ALONE;
    } else if (token_is_word(&object, "database")) {
        s->kind = look_alter_database(l);
    }
}

/* As defGetBoolean() of PostgreSQL reads an option's value. */
static bool is_off(struct arena *a, const struct token *value)
{
    struct str text = sql_unquote(a, value);
    return str_eq_nocase(text, STR("off")) || str_eq_nocase(text, STR("false")) || str_eq(text, STR("0"));
}

/* ( name [value] [, …] ): whether CONCURRENTLY is among the names and not switched off. */
static bool concurrently_option(struct arena *a, struct lex *l)
{
    bool found = false, at_name = false;
    for (;;) {
        struct token t = lex_next(l);
        if (t.kind == TOKEN_END || token_is_punct(&t, ')')) {
            return found;
        }
        if (at_name && name_is(a, &t, "concurrently")) {
            struct token value = lex_peek(l);
            found = !is_off(a, &value);
        }
        at_name = token_is_punct(&t, '(') || token_is_punct(&t, ',');
    }
}

/* REINDEX [(options)] INDEX | TABLE | SCHEMA | DATABASE | SYSTEM [CONCURRENTLY] … */
static void look_reindex(struct arena *a, struct statement *s, struct lex *l)
{
    struct token open = lex_peek(l);
    bool concurrently = token_is_punct(&open, '(') && concurrently_option(a, l);
    struct token object = lex_next(l);
    if (concurrently || next_is(l, "concurrently")) {
        s->kind = STATEMENT_DDL_INDEX_CONCURRENTLY;
    } else if (is_any(&object, (const char *const[]){"schema", "database", "system", NULL})) {
        s->kind = STATEMENT_ALONE;
    }
}

/* CLUSTER [VERBOSE] or CLUSTER (options) without a table: all tables, each in a transaction of its own. */
static void look_cluster(struct arena *a, struct statement *s, struct lex *l)
{
    skip_if(l, "verbose");
    struct token t = lex_next(l);
    if (token_is_punct(&t, '(')) {
        while (t.kind != TOKEN_END && !token_is_punct(&t, ')')) {
            t = lex_next(l);
        }
        t = lex_next(l);
    }
    if (t.kind == TOKEN_END) {
        s->kind = STATEMENT_ALONE;
    }
}

static void look_start(struct arena *a, struct statement *s, struct lex *l)
{
    if (!next_is(l, "transaction")) {
        s->kind = STATEMENT_PLAIN;
    }
}

/* [AND [NO] CHAIN] */
static bool look_chain(struct lex *l)
{
    return next_is(l, "and") && next_is(l, "chain");
}

/* COMMIT | END | ROLLBACK | ABORT [WORK | TRANSACTION] [AND [NO] CHAIN]; … PREPARED 'id'; ROLLBACK … TO … */
static void look_end(struct arena *a, struct statement *s, struct lex *l)
{
    if (skip_if(l, "prepared")) {
        s->kind = STATEMENT_ALONE;
        return;
    }
    if (!skip_if(l, "work")) {
        skip_if(l, "transaction");
    }
    if (s->kind == STATEMENT_ROLLBACK && skip_if(l, "to")) {
        s->kind = STATEMENT_SAVEPOINT;
        return;
    }
    s->chain = look_chain(l);
}

/* PREPARE TRANSACTION 'id', not PREPARE transaction AS … */
static void look_prepare(struct arena *a, struct statement *s, struct lex *l)
{
    bool transaction = next_is(l, "transaction");
    struct token id = lex_next(l);
    if (transaction && !token_is_word(&id, "as") && !token_is_punct(&id, '(')) {
        s->kind = STATEMENT_PREPARE_TRANSACTION;
    }
}

/* DEALLOCATE [PREPARE] name | ALL; l is behind the first word. */
static struct str deallocated(struct arena *a, struct lex *l)
{
    struct token name = lex_next(l), next = lex_peek(l);
    if (token_is_word(&name, "prepare") && token_is_name(&next)) {
        name = next;
    }
    bool one = token_is_name(&name) && !token_is_word(&name, "all");
    return one ? sql_unquote(a, &name) : (struct str){NULL, 0};
}

static void look_deallocate(struct arena *a, struct statement *s, struct lex *l)
{
    if (deallocated(a, l).p) {
        s->kind = STATEMENT_DEALLOCATE;
    }
}

struct str classify_deallocated(struct arena *a, struct str text, bool std_strings)
{
    struct lex l = lex_init(text, std_strings);
    struct token first = lex_next(&l);
    return token_is_word(&first, "deallocate") ? deallocated(a, &l) : (struct str){NULL, 0};
}

static void look_call(struct arena *a, struct statement *s, struct lex *l)
{
    struct token schema = lex_next(l), dot = lex_next(l), name = lex_next(l), open = lex_next(l);
    if (!token_is_punct(&dot, '.') || !token_is_punct(&open, '(') || !name_is(a, &schema, "electric")) {
        return;
    }
    if (name_is(a, &name, "electrify") || name_is(a, &name, "enable")) {
        s->tag = "ELECTRIC ENABLE";
    } else if (name_is(a, &name, "disable")) {
        s->tag = "ELECTRIC DISABLE";
    }
    s->kind = s->tag ? STATEMENT_ELECTRIFY : STATEMENT_CALL;
}

/* A word of a DO body. A $ ends it too: it may close a dollar quote inside. */
static bool is_body_byte(char c)
{
    return lex_is_word_byte(c) && c != '$';
}

struct mentions {
    bool ddl;
    bool end;
    bool call; /* the word before was CALL */
};

static void note_word(struct mentions *m, struct str text)
{
    struct token word = {.kind = TOKEN_WORD, .text = text};
    /* A procedure may end transactions too, save those of schema electric. */
    m->end |= m->call && !token_is_word(&word, "electric");
    m->call = token_is_word(&word, "call");
    m->ddl |= is_any(&word, (const char *const[]){"alter", "create", "drop", "electric", "execute", NULL});
    m->end |= is_any(&word, (const char *const[]){"commit", "rollback", NULL});
}

static void note_mentions(struct mentions *m, struct str body)
{
    for (size_t i = 0; i < body.n;) {
        size_t from = i;
        while (i < body.n && is_body_byte(body.p[i])) {
            i++;
        }
        /* Most words are none of them. */
        if (i > from && (m->call || memchr("acderACDER", body.p[from], 10))) {
            note_word(m, (struct str){body.p + from, i - from});
        }
        i += i == from;
    }
}

static bool is_string(const struct token *t)
{
    return t->kind == TOKEN_STRING || t->kind == TOKEN_ESCAPE_STRING || t->kind == TOKEN_UNICODE_STRING ||
           t->kind == TOKEN_DOLLAR_STRING;
}

/* DO [LANGUAGE name] 'body' [LANGUAGE name] */
static void look_do(struct arena *a, struct statement *s, struct lex *l)
{
    struct mentions m = {0};
    for (struct token t = lex_next(l); t.kind != TOKEN_END; t = lex_next(l)) {
        if (is_string(&t)) {
            note_mentions(&m, sql_unquote(a, &t));
        }
    }
    s->wrap = m.ddl && !m.end;
}

static const struct {
    const char *word;
    enum statement_kind kind;
    look_fn *look; /* may change the kind */
} keywords[] = {
    {"begin", STATEMENT_BEGIN, NULL},
    {"start", STATEMENT_BEGIN, look_start},
    {"commit", STATEMENT_COMMIT, look_end},
    {"end", STATEMENT_COMMIT, look_end},
    {"rollback", STATEMENT_ROLLBACK, look_end},
    {"abort", STATEMENT_ROLLBACK, look_end},
    {"savepoint", STATEMENT_SAVEPOINT, NULL},
    {"release", STATEMENT_SAVEPOINT, NULL},
    {"prepare", STATEMENT_PLAIN, look_prepare},
    {"deallocate", STATEMENT_PLAIN, look_deallocate},
    {"create", STATEMENT_DDL, look_create_drop},
    {"drop", STATEMENT_DDL, look_create_drop},
    {"alter", STATEMENT_DDL, look_alter},
    {"comment", STATEMENT_DDL, NULL},
    {"security", STATEMENT_DDL, NULL},
    {"reassign", STATEMENT_DDL, NULL},
    {"import", STATEMENT_DDL, NULL},
    {"reindex", STATEMENT_PLAIN, look_reindex},
    {"cluster", STATEMENT_PLAIN, look_cluster},
    {"do", STATEMENT_DO, look_do},
    {"call", STATEMENT_CALL, look_call},
    {"electric", STATEMENT_DDLX, NULL},
};

void classify_statement(struct arena *a, struct statement *s, bool std_strings)
{
    struct lex l = lex_init(s->text, std_strings);
    struct token first = lex_next(&l);
    s->kind = STATEMENT_PLAIN;
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (token_is_word(&first, keywords[i].word)) {
            s->kind = keywords[i].kind;
            if (keywords[i].look) {
                keywords[i].look(a, s, &l);
            }
            return;
        }
    }
}
