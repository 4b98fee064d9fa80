/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQL that reads the rows of a layer: COPY … TO STDOUT in text format, one line a row (shapes/copy_row.h)
 * with every column of the model's table in its order. Pure.
 *
 * Names and values are quoted by us; nothing that a client wrote reaches the server as it is. The texts
 * expect a session with the display settings of replication (bytea_output hex, DateStyle ISO, TimeZone UTC,
 * extra_float_digits 1), so that values are those of the log, and with search_path = pg_catalog.
 */
#pragma once

#include "shapes/forest.h"

enum {
    QUERY_MAX_KEYS = 5000,                 /* in one query */
    QUERY_MAX_KEY_BYTES = 4 * 1024 * 1024, /* of the values in one query; a single key may pass it */
};

/*
 * A query is a first sieve: it may give rows that layer_admits() refuses, and the reader drops them. What
 * might raise an error in the server is left out of the where (where_print()), and one evaluator decides,
 * here as over the log.
 *
 * A text that does not fit sets out->overflow.
 */

/* Holds off, until the end of the transaction, what changes tables for those too who do not see it: TRUNCATE,
 * ALTER TABLE. n > 0. */
void query_lock(const struct table *const *tables, size_t n, struct buf *out);

/* The rows of the layer's table that it admits: all of a LAYER_TOP. */
void query_whole(const struct layer *l, struct str user, struct buf *out);

/*
 * Those of them whose `columns` are one of the keys: to many, the children of the rows with these keys; to
 * one, the rows with these keys. Not for a LAYER_TOP. keys: n > 0 of them, one after the other, of columns.n
 * values each, none NULL; the same one twice does no harm. Takes as many as one query may have and returns
 * how many, at least one: the caller asks again for the others.
 */
size_t query_by_keys(const struct layer *l, struct str user, const struct value *keys, size_t n,
                     struct buf *out);
