/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first line is a row, its values between tabs (a lone ~ is NULL), in the order of the columns; the rest
 * is a where over it. What is accepted evaluates, has a key that is the same the second time, and prints SQL
 * that is accepted.
 */
#include "shapes/where.h"
#include "sql/syntax.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COLUMN(title, kind)                                                                  \
    {                                                                                        \
        .name = {title, sizeof title - 1}, .type_schema = {"pg_catalog", 10}, .type_name = { \
            kind,                                                                            \
            sizeof kind - 1                                                                  \
        }                                                                                    \
    }

static struct column columns[] = {
    COLUMN("b", "bool"),
    COLUMN("i2", "int2"),
    COLUMN("i", "int4"),
    COLUMN("i8", "int8"),
    COLUMN("n", "numeric"),
    COLUMN("f4", "float4"),
    COLUMN("f", "float8"),
    COLUMN("t", "text"),
    COLUMN("v", "varchar"),
    COLUMN("u", "uuid"),
    COLUMN("d", "date"),
    COLUMN("ti", "time"),
    COLUMN("ts", "timestamp"),
    COLUMN("tz", "timestamptz"),
    COLUMN("iv", "interval"),
    COLUMN("j", "jsonb"),
    {.name = {"e", 1}, .type_schema = {"public", 6}, .type_name = {"mood", 4}, .is_enum = true},
};

static void read_row(struct str line, struct value *row)
{
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        struct str v = str_cut(&line, '\t');
        bool null = !v.p || str_eq(v, STR("~"));
        row[i] = (struct value){null ? NULL : v.p, null ? 0 : (uint32_t)v.n};
    }
}

static void check_printed(const struct where *w)
{
    CLEANUP(buf_deinit)
    struct buf sql = BUF_INIT(1 << 26), key = BUF_INIT(1 << 26), again = BUF_INIT(1 << 26);
    buf_put_c(&sql, "SELECT 1 WHERE ");
    where_print(w, STR("r"), &sql);
    assert(!sql.overflow && syntax_accepted(buf_str(&sql)));
    where_put_key(w, &key);
    where_put_key(w, &again);
    assert(key.n && str_eq(buf_str(&key), buf_str(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct table table = {
        .schema = STR("public"), .name = STR("x"), .columns = columns, .n_columns = ARRAY_LEN(columns)};
    struct schema model = SCHEMA_INIT;
    struct value row[ARRAY_LEN(columns)];
    struct str text = {(const char *)data, size};
    read_row(str_cut(&text, '\n'), row);
    const struct where *w = NULL;
    struct where_refusal why = {{NULL, 0}, 0};
    if (where_parse(&a, text, &table, &model, &w, &why)) {
        enum truth first = where_eval(w, row);
        assert(first == where_eval(w, row));
        struct where_equality e[4];
        assert(where_equalities(w, e, ARRAY_LEN(e)) <= ARRAY_LEN(e));
        check_printed(w);
    } else {
        assert(why.message.n && why.location >= -1);
    }
    return 0;
}
