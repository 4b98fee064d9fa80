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
    STATEMENT_ELECTRIFY, /* CALL electric.electrify(…), electric.enable(…), electric.disable(…) */
    STATEMENT_DDLX,      /* ELECTRIC …, ALTER TABLE … ENABLE | DISABLE ELECTRIC */
};

struct statement {
    enum statement_kind kind;
    /* Without the ';' and without white space at both ends; with its comments: the text may end in a line
     * comment, so nothing may be put behind it on the same line. A slice of the input. */
    struct str text;
    size_t offset;   /* of text in the input, in bytes */
    const char *tag; /* STATEMENT_ELECTRIFY: the command tag of the statement that it stands for; static */
    bool chain;      /* COMMIT or ROLLBACK AND CHAIN */
    bool wrap; /* DO whose body may do DDL and does not end transactions: run it in a transaction block */
};

/*
 * The filter for every Query and Parse: true when the text surely is one statement (or none) that is
 * STATEMENT_PLAIN. When !complete, `text` is the beginning of a longer one and its first keyword decides
 * alone.
 */
bool statement_is_plain(struct str text, bool complete, bool std_strings);

/*
 * Cuts the text at the ';' that separate statements; empty statements are left out. *out is in the arena, the
 * texts are slices of the input. An unclosed quote or comment makes the rest one statement: the server will
 * complain. Fails with ERR_LIMIT past LIMIT_SEGMENTS.
 */
MUST_USE int statement_split(struct arena *a, struct str text, bool std_strings, struct statement **out,
                             size_t *n, struct err *err);

const char *statement_kind_name(enum statement_kind kind);
