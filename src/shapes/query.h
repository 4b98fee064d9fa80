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
 * What a query leaves to be done. PREFILTERED: the server was not told the whole where, for it might have
 * raised an error there that has no place here (a cast, a division); who reads the rows drops those that
 * layer_admits() refuses. FILTERED: it would refuse none.
 */
enum query_rows { QUERY_FILTERED, QUERY_PREFILTERED };

/* All rows of a layer's table that the layer admits. `layer` is a LAYER_TOP (of another kind: before it is
 * known which of them are in the layer). A text that does not fit sets out->overflow. */
enum query_rows query_whole(const struct layer *l, struct str user, struct buf *out);

/*
 * Those of them whose `columns` have one of the keys: to many, the children of rows with these keys; to one,
 * the rows with these keys. Not for a LAYER_TOP. keys: n keys, one after the other, of columns.n values each,
 * none NULL. Duplicates are fine. Takes as many as one query may have, at least one, and says how many: the
 * caller asks again for the rest.
 */
enum query_rows query_by_keys(const struct layer *l, struct str user, const struct value *keys, size_t n,
                              struct buf *out, size_t *out_taken);
