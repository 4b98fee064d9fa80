/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A condition as it is written after WHERE: a tree of names, literals and operators, without types.
 *
 * PostgreSQL's own grammar reads it. What the grammar takes and no condition on a single row may hold
 * (sub-queries, parameters, further clauses, aggregates) is refused here; what names, types, operators and
 * functions mean is the reader's business.
 */
#pragma once

#include "base/arena.h"

enum {
    CONDITION_MAX_TEXT = 128 * 1024,
    CONDITION_MAX_DEPTH = 2000, /* tokens in a row without a comma or a closing bracket (sql/depth.h) */
};

enum condition_kind {
    CONDITION_COLUMN,    /* this.<text> */
    CONDITION_REFERENCE, /* any other name; its parts joined with dots */
    CONDITION_NULL,
    CONDITION_TRUE,
    CONDITION_FALSE,
    CONDITION_NUMBER, /* digits, '.', 'e', a leading '-' */
    CONDITION_STRING,
    CONDITION_CAST,     /* to the type <text>: pg_type.typname where the grammar knows it */
    CONDITION_OPERATOR, /* one argument (prefix) or two */
    CONDITION_CALL,     /* AT TIME ZONE is timezone(zone, value) */
    CONDITION_AND,
    CONDITION_OR,
    CONDITION_NOT,
    CONDITION_IS_NULL,
    CONDITION_IS_NOT_NULL,
    CONDITION_IS_TRUE,
    CONDITION_IS_NOT_TRUE,
    CONDITION_IS_FALSE,
    CONDITION_IS_NOT_FALSE,
    CONDITION_IS_UNKNOWN,
    CONDITION_IS_NOT_UNKNOWN,
    CONDITION_DISTINCT,
    CONDITION_NOT_DISTINCT,
    CONDITION_IN, /* args[0] is looked for in the others */
    CONDITION_NOT_IN,
    CONDITION_BETWEEN, /* args[0] lies between the other two */
    CONDITION_NOT_BETWEEN,
    CONDITION_COALESCE,
};

/* Lives in the arena. */
struct condition {
    enum condition_kind kind;
    size_t at;       /* bytes before it in the text */
    struct str text; /* NUL-terminated; see the kinds */
    const struct condition **args;
    size_t n;
};

struct condition_refusal {
    struct str message; /* arena */
    int location; /* characters before it in the text; for syntax errors the parser's cursor in "SELECT 1
                     WHERE <text>", from 1 */
};

/* 1: parsed. 0: refused, hostile input included, with the reason. */
MUST_USE int condition_parse(struct arena *a, struct str text, const struct condition **out_condition,
                             struct condition_refusal *out_why);

/* How many characters of UTF-8 lie before byte `at`. */
int condition_location(struct str text, size_t at);
