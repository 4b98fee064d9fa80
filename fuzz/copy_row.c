/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a line of COPY; the first says how many columns are expected. Values lie inside the line, one
 * after the other, and written as PostgreSQL writes them they are read as the same again.
 */
#include "shapes/copy_row.h"
#include "base/buf.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

enum { MAX_COLUMNS = 16, MAX_INPUT = 64 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_value(struct buf *b, const struct value *v)
{
    static const char special[] = "\b\f\n\r\t\v\\", letters[] = "bfnrtv\\";
    for (uint32_t i = 0; v->p && i < v->n; i++) {
        const char *at = memchr(special, v->p[i], sizeof special - 1);
        if (at) {
            buf_put_byte(b, '\\');
        }
        buf_put_byte(b, at ? letters[at - special] : v->p[i]);
    }
    buf_put_c(b, v->p ? "" : "\\N");
}

static void check_again(const struct value *values, size_t n)
{
    CLEANUP(buf_deinit) struct buf line = BUF_INIT(2 * MAX_INPUT + 3 * MAX_COLUMNS);
    for (size_t i = 0; i < n; i++) {
        put_value(&line, &values[i]);
        buf_put_byte(&line, i + 1 < n ? '\t' : '\n');
    }
    struct value again[MAX_COLUMNS];
    struct err err = ERR_INIT;
    int rc = copy_row_decode(line.p, line.n, again, n, &err);
    assert(rc == 0);
    for (size_t i = 0; i < n; i++) {
        assert(!again[i].p == !values[i].p && again[i].n == values[i].n);
        assert(!again[i].n || memcmp(again[i].p, values[i].p, again[i].n) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MAX_INPUT) {
        return 0;
    }
    size_t n = 1 + data[0] % MAX_COLUMNS, bytes = size - 1;
    char *line = malloc(bytes ? bytes : 1);
    assert(line != NULL);
    memcpy(line, data + 1, bytes);
    struct value values[MAX_COLUMNS];
    struct err err = ERR_INIT;
    if (copy_row_decode(line, bytes, values, n, &err) < 0) {
        assert(err.kind == ERR_PEER && err.msg[0] != '\0');
    } else {
        for (size_t i = 0; i < n; i++) {
            assert(!values[i].p || (values[i].p >= line && values[i].p + values[i].n <= line + bytes));
        }
        check_again(values, n);
    }
    free(line);
    return 0;
}
