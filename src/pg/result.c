/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows are copied out of libpq one at a time (single-row mode), so that a result too big is noticed while it
 * arrives and costs no more than its limit. Rows past the limit are read and thrown away.
 */
#include "pg/result.h"

#include "base/mem.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

void pg_result_init(struct pg_result *r)
{
    *r = (struct pg_result){.ok = true, .detail = "", .hint = ""};
}

void pg_result_deinit(struct pg_result *r)
{
    free(r->cells);
    r->cells = NULL;
    arena_deinit(&r->arena);
}

struct str pg_result_get(const struct pg_result *r, size_t row, size_t col)
{
    assert(row < r->rows && col < r->cols);
    return r->cells[row * r->cols + col];
}

const char *pg_result_cstr(const struct pg_result *r, size_t row, size_t col)
{
    return pg_result_get(r, row, col).p;
}

uint64_t pg_result_u64(const struct pg_result *r, size_t row, size_t col)
{
    uint64_t value;
    return str_to_u64(pg_result_get(r, row, col), UINT64_MAX, &value) ? value : 0;
}

bool pg_result_is_true(const struct pg_result *r, size_t row, size_t col)
{
    return str_eq(pg_result_get(r, row, col), STR("t"));
}

void pg_result_clear_rows(struct pg_result *r)
{
    r->rows = 0;
    r->cols = 0;
}

void pg_result_fail(struct pg_result *r, const char *sqlstate, const char *message)
{
    if (!r->ok) {
        return;
    }
    struct str line = str_trim(str_c(message));
    r->ok = false;
    pg_result_clear_rows(r);
    err_set_sqlstate(&r->err, ERR_UPSTREAM, sqlstate, "%.*s", STR_ARG(line));
    for (char *c = r->err.msg; *c; c++) {
        *c = *c == '\n' || *c == '\t' ? ' ' : *c;
    }
}

static const char *field(struct arena *a, const PGresult *res, int code)
{
    const char *value = PQresultErrorField(res, code);
    return value ? arena_strdup(a, value) : "";
}

void pg_result_fail_from(struct pg_result *r, const void *pgresult)
{
    const PGresult *res = pgresult;
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (r->ok) {
        r->detail = field(&r->arena, res, PG_DIAG_MESSAGE_DETAIL);
        r->hint = field(&r->arena, res, PG_DIAG_MESSAGE_HINT);
    }
    pg_result_fail(r, state ? state : "08006", message ? message : PQresultErrorMessage(res));
}

static void grow(struct pg_result *r, size_t need)
{
    if (need > r->cells_cap) {
        r->cells_cap = need > r->cells_cap * 2 ? need : r->cells_cap * 2;
        r->cells = mem_realloc(r->cells, r->cells_cap * sizeof *r->cells);
    }
}

static void add_row(struct pg_result *r, const PGresult *res, int row)
{
    grow(r, (r->rows + 1) * r->cols);
    for (size_t col = 0; col < r->cols; col++) {
        struct str *cell = &r->cells[r->rows * r->cols + col];
        *cell = (struct str){NULL, 0};
        if (!PQgetisnull(res, row, (int)col)) {
            size_t n = (size_t)PQgetlength(res, row, (int)col);
            *cell = arena_str(&r->arena, (struct str){PQgetvalue(res, row, (int)col), n});
            r->bytes += n;
        }
        r->bytes += sizeof *cell;
    }
    r->rows++;
}

void pg_result_add_rows(struct pg_result *r, const void *pgresult)
{
    const PGresult *res = pgresult;
    if (!r->ok) {
        return;
    }
    r->cols = (size_t)PQnfields(res);
    for (int row = 0; row < PQntuples(res) && r->ok; row++) {
        add_row(r, res, row);
        if (r->bytes > PG_RESULT_BYTES) {
            pg_result_fail(r, "54000", "the result is too big");
        }
    }
}
