/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a text of SQL holds: is it plain (nothing the proxy must act on), and if not, which statements, of
 * which kind. Works on tokens, so it also takes what is not PostgreSQL's grammar (ELECTRIC statements, newer
 * syntax).
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "sql/lex.h"

enum statement_kind {
    STATEMENT_PLAIN,                  /* the server's business alone */
    STATEMENT_BEGIN,                  /* BEGIN, START TRANSACTION */
    STATEMENT_COMMIT,                 /* COMMIT, END */
    STATEMENT_ROLLBACK,               /* ROLLBACK, ABORT */
    STATEMENT_SAVEPOINT,              /* SAVEPOINT, RELEASE, ROLLBACK TO */
    STATEMENT_PREPARE_TRANSACTION,    /* PREPARE TRANSACTION '…' */
    STATEMENT_DDL,                    /* may run in a transaction block */
    STATEMENT_DDL_INDEX_CONCURRENTLY, /* CREATE, DROP INDEX or REINDEX CONCURRENTLY: never in a block */
    STATEMENT_ALONE, /* not in a transaction block (PreventInTransactionBlock), no DDL on tables */
    STATEMENT_DO,
    STATEMENT_CALL,
    STATEMENT_ELECTRIFY,  /* CALL electric.electrify(…), electric.enable(…), electric.disable(…) */
    STATEMENT_DEALLOCATE, /* of one name */
    STATEMENT_DDLX,       /* ELECTRIC …, ALTER TABLE … ENABLE | DISABLE ELECTRIC */
};

struct statement {
    enum statement_kind kind;
    /* Without the ';' and without white space at both ends; with its comments: the text may end in a line
     * comment, so nothing may be put behind it on the same line. A slice of the input. */
    struct str text;
    size_t offset;   /* of text in the input, in bytes */
    const char *tag; /* STATEMENT_ELECTRIFY: the command tag of the statement that it stands for; static */
    bool chain;      /* COMMIT or ROLLBACK AND CHAIN */
    bool wrap;    /* DO whose body may do DDL and does not end transactions: run it in a transaction block */
    size_t count; /* 1; more when plain neighbours were joined (struct splitter) */
};

/*
 * The filter for every Query and Parse: true when the text surely is one statement (or none) that is
 * STATEMENT_PLAIN. When !complete, `text` is the beginning of a longer one and its first keyword decides
 * alone.
 */
bool statement_is_plain(struct str text, bool complete, bool std_strings);

/*
 * Cuts a text while it arrives: what has been looked at is not looked at again, save the token at the end. As
 * statement_split() does it, but plain statements that follow each other are joined to one entry, if wanted.
 */
struct splitter {
    struct lex lex;
    struct arena *arena;
    bool join;
    size_t retry; /* the token at lex.pos was not complete: so many bytes from there are worth another try */
    /* of the statement being read: */
    size_t start;      /* behind the last ';' */
    bool any;          /* a token was seen */
    size_t parens;     /* open ones */
    int head;          /* how much of CREATE [OR REPLACE] FUNCTION was seen */
    bool body;         /* inside BEGIN ATOMIC … END */
    size_t cases;      /* open CASE in the body's statement */
    struct token prev; /* token before; its text is valid during a call only */
    /* what was found, in the arena: */
    struct statement *items;
    size_t n, cap;
    bool too_many;
};

void splitter_init(struct splitter *s, struct arena *a, bool std_strings, bool join);
/* `text` begins as it did in the calls before. Until it is complete the list is not for use; then its texts
 * are slices of this `text`. Fails with ERR_LIMIT past LIMIT_SEGMENTS, from then on. */
MUST_USE int splitter_feed(struct splitter *s, struct str text, bool complete, struct err *err);

/*
 * Cuts the text at the ';' that separate statements; empty statements are left out. *out is in the arena, the
 * texts are slices of the input. An unclosed quote or comment makes the rest one statement: the server will
 * complain. Fails with ERR_LIMIT past LIMIT_SEGMENTS.
 */
MUST_USE int statement_split(struct arena *a, struct str text, bool std_strings, struct statement **out,
                             size_t *n, struct err *err);

const char *statement_kind_name(enum statement_kind kind);
