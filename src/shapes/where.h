/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where clauses of shapes: PostgreSQL's expression syntax over the columns of one row (`this.<column>`),
 * compiled once and evaluated here on every row. Pure; what is compiled never changes and may be shared
 * between threads.
 *
 * Means what PostgreSQL means by the same text, with these rules of our own: text is compared by bytes; the
 * time zone is UTC; lower(), upper() and ILIKE fold letters by Unicode's simple mappings; a value that has no
 * result (overflow, division by zero, text that is no number) makes the row not match. Types are bool, int2,
 * int4, int8, numeric, float4, float8, text, varchar, uuid, date, time, timestamp, timestamptz, interval and
 * enums; of any other column only IS [NOT] NULL can be asked. Nothing is converted between timestamps with
 * and without time zone, save by AT TIME ZONE, which knows UTC and fixed offsets: time zone names would need
 * a database of their own that agrees with the server's.
 */
#pragma once

#include "base/buf.h"
#include "repl/txn.h"
#include "schema/schema.h"

enum {
    WHERE_MAX_STEPS = 100000,           /* of one evaluation; the text's own bounds are in sql/condition.h */
    WHERE_MAX_DIGITS = 400,             /* in exact arithmetic: what has more has no result */
    WHERE_MAX_BUILT = 64 * 1024 * 1024, /* bytes that one evaluation may build: beyond, no result */
    /* Steps of one LIKE, besides 16 for each byte of the text: beyond, no result. Only a text and a pattern
     * that nearly repeat themselves get there. */
    WHERE_MAX_MATCHING = 4 * 1024 * 1024,
};

struct where;

struct where_refusal {
    struct str message; /* arena */
    int location;       /* characters before the place; -1: none, the message stands alone */
};

/*
 * 1: *out_where, which lives in the arena and borrows nothing. 0: refused, hostile text included, with the
 * reason. An empty text is true for every row.
 */
MUST_USE int where_parse(struct arena *a, struct str text, const struct table *table,
                         const struct schema *model, const struct where **out_where,
                         struct where_refusal *out_why);

enum truth { TRUTH_FALSE, TRUTH_TRUE, TRUTH_NULL /* or no result */ };

/* The row's values are those of the table's columns, in its order, as PostgreSQL writes them under DateStyle
 * ISO, IntervalStyle postgres, TimeZone UTC. Allocates only for text and numbers that have to be built. */
enum truth where_eval(const struct where *w, const struct value *row);

/*
 * Appends a condition for PostgreSQL in parentheses; columns are written alias."name" (the alias as it is
 * given), literals with their types. How long it may become is the buffer's maximum. It never raises an
 * error. Unless where_may_raise(), its value is that of where_eval() for every row. Otherwise what may raise,
 * or is computed here alone (case folding), is left out: the condition is true at least for the rows that
 * match, and the reader applies where_eval() to them.
 */
void where_print(const struct where *w, struct str alias, struct buf *out);
bool where_may_raise(const struct where *w);

/* Canonical text: for one table, equal texts mean equal conditions. */
void where_put_key(const struct where *w, struct buf *out);

/* A conjunct `column = value` that every matching row fulfils, byte for byte. */
struct where_equality {
    size_t column;    /* index in the table */
    struct str value; /* as PostgreSQL writes it in a row; the where's */
};

/* At most `max` of them; returns how many. */
size_t where_equalities(const struct where *w, struct where_equality *out, size_t max);
