/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Framing and the readers of messages on any bytes, as they would arrive: a byte more at a time. What was
 * found in a beginning must be what is found in the whole, and what a writer has written a reader must give
 * back.
 */
#include "wire/frame.h"
#include "base/limits.h"
#include "wire/message.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

enum { MAX_COLUMNS = 8, MAX_FIELDS = 64, EVERY_LENGTH = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of this size exactly: the sanitizer sees a byte read past it. The caller frees. */
static char *copy_of(struct str s)
{
    char *copy = malloc(s.n ? s.n : 1);
    assert(copy != NULL);
    memcpy(copy, s.n ? s.p : "", s.n);
    return copy;
}

static bool inside(struct str part, struct str whole)
{
    return part.p >= whole.p && part.p + part.n <= whole.p + whole.n;
}

/* --- framing --- */

/* Five bytes decide, whatever follows them. */
static void check_head(struct str at)
{
    struct frame_head whole = {0}, part = {0};
    struct err err;
    int found = frame_peek(at.p, at.n, &whole, &err);
    assert(found != FRAME_FOUND || (whole.total >= FRAME_HEAD && whole.type == at.p[0]));
    assert(found >= 0 || (err.kind == ERR_PEER && err.msg[0]));
    for (size_t n = 0; n <= FRAME_HEAD && n <= at.n; n++) {
        char *copy = copy_of((struct str){at.p, n});
        int rc = frame_peek(copy, n, &part, &err);
        assert(rc == (n < FRAME_HEAD ? FRAME_NEED_MORE : found));
        assert(rc != FRAME_FOUND || (part.total == whole.total && part.type == whole.type));
        free(copy);
    }
}

/* --- readers --- */

struct fields {
    struct message_field items[MAX_FIELDS];
    size_t n;
};

static void read_fields(struct str body, struct fields *out)
{
    size_t pos = 0;
    out->n = 0;
    while (out->n < MAX_FIELDS && message_next_field(body, &pos, &out->items[out->n])) {
        const struct message_field *f = &out->items[out->n++];
        assert(pos <= body.n && f->code != '\0' && inside(f->value, body) && f->value.p[f->value.n] == '\0');
    }
}

/* The fields of a beginning are the first fields of the whole; the first of a code is the one that is found.
 */
static void check_fields(struct str whole, struct str part)
{
    struct fields all, some;
    read_fields(whole, &all);
    read_fields(part, &some);
    assert(some.n <= all.n);
    for (size_t i = 0; i < some.n; i++) {
        assert(some.items[i].code == all.items[i].code && str_eq(some.items[i].value, all.items[i].value));
    }
    for (size_t i = some.n; i-- > 0;) {
        struct str found = message_field(part, some.items[i].code);
        size_t first = 0;
        while (some.items[first].code != some.items[i].code) {
            first++;
        }
        assert(str_eq(found, some.items[first].value));
    }
}

static int read_row(struct str body)
{
    struct str columns[MAX_COLUMNS];
    int n = message_row(body, columns, MAX_COLUMNS);
    for (int i = 0; i < n; i++) {
        assert(!columns[i].p || inside(columns[i], body));
    }
    return n;
}

/* The counts and lengths in a row say where it ends: no two beginnings of a body are both a row. */
static void check_body(struct str body)
{
    int rows = 0;
    size_t step = body.n / EVERY_LENGTH + 1;
    for (size_t n = 0; n <= body.n; n += step) {
        char *copy = copy_of((struct str){body.p, n});
        check_fields(body, (struct str){copy, n});
        rows += read_row((struct str){copy, n}) >= 0;
        free(copy);
    }
    assert(rows <= 1);
}

/* --- writers --- */

/* What was written is one message, of this type. */
static struct str body_written(const struct buf *b, char type)
{
    struct frame_head head;
    struct err err;
    assert(!b->overflow && frame_peek(b->p, b->n, &head, &err) == FRAME_FOUND);
    assert(head.type == type && head.total == b->n);
    return frame_body(b->p, head);
}

static void check_problem(const struct str parts[5])
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_FRAME);
    struct problem problem = {.severity = "ERROR",
                              .sqlstate = "XX000",
                              .message = parts[0],
                              .detail = parts[1],
                              .hint = parts[2],
                              .schema = parts[3],
                              .table = parts[4]};
    put_error(&b, &problem);
    struct str body = body_written(&b, 'E');
    for (size_t i = 0; i < 5; i++) {
        assert(str_eq(message_field(body, "MDHst"[i]), parts[i]));
    }
    assert(str_eq(message_field(body, 'C'), STR("XX000")));
    check_body(body);
}

/* A DataRow has the shape of the parameters in a Bind. */
static void check_row(const struct str *values, size_t n)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_FRAME);
    struct str columns[MAX_COLUMNS];
    put_bind(&b, STR(""), STR(""), values, n);
    struct str body = body_written(&b, 'B');
    struct str row = {body.p + 4, body.n - 6}; /* behind names and formats, before result formats */
    assert(message_row(row, columns, MAX_COLUMNS) == (int)n);
    for (size_t i = 0; i < n; i++) {
        assert(str_eq(columns[i], values[i]));
    }
    assert(message_row(row, columns, n - 1) < 0);
}

/* The input, cut at its zero bytes. */
static void check_writers(struct str text)
{
    struct str parts[MAX_COLUMNS] = {{0}};
    for (size_t i = 0; i < MAX_COLUMNS; i++) {
        parts[i] = text.n ? str_cut(&text, '\0') : STR("");
    }
    check_problem(parts);
    check_row(parts, MAX_COLUMNS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str stream = {(const char *)data, size};
    check_writers(stream);
    for (;;) {
        struct frame_head head;
        struct err err;
        check_head(stream);
        if (frame_peek(stream.p, stream.n, &head, &err) != FRAME_FOUND || head.total > stream.n) {
            return 0;
        }
        check_body(frame_body(stream.p, head));
        stream = (struct str){stream.p + head.total, stream.n - head.total};
    }
}
