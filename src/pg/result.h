/* SPDX-License-Identifier: Apache-2.0 */
/* The outcome of one query of a service connection: rows of text, or an error. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { PG_RESULT_BYTES = 64 * 1024 * 1024 }; /* of values in one result; past it the query fails with 54000 */

struct pg_result {
    bool ok;
    size_t rows, cols;
    /* When !ok. err.msg is one line; sqlstate is always set: the server's, 08006 (connection lost while the
     * query ran: nobody knows whether it took effect), 08003 (never sent), 53400 (queue full), 54000 (result
     * too big). */
    struct err err;
    const char *detail, *hint; /* "" when there is none */
    /* private */
    struct str *cells;
    size_t cells_cap, bytes;
    struct arena arena;
};

/* Valid during the callback. NULL value: p is NULL. A NUL follows the bytes. row and col must exist. */
struct str pg_result_get(const struct pg_result *r, size_t row, size_t col);
/* The same for a C library: NULL for a NULL value. */
const char *pg_result_cstr(const struct pg_result *r, size_t row, size_t col);
/* 0 for what is no number, NULL among it. */
uint64_t pg_result_u64(const struct pg_result *r, size_t row, size_t col);
bool pg_result_is_true(const struct pg_result *r, size_t row, size_t col); /* 't' */

/* For pg/client.c. */
void pg_result_init(struct pg_result *r);
void pg_result_deinit(struct pg_result *r);
void pg_result_clear_rows(struct pg_result *r);
void pg_result_add_rows(struct pg_result *r, const void *pgresult);
/* The first failure stays. */
void pg_result_fail(struct pg_result *r, const char *sqlstate, const char *message);
void pg_result_fail_from(struct pg_result *r, const void *pgresult);
