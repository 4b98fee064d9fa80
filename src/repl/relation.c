/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoded: version, oid, columns u32, replica identity u8, schema, name, then for each column its name, type
 * oid u32, typmod u32, key u8. Big endian; a text is its length u32 and its bytes.
 */
#include "repl/relation.h"

#include "base/mem.h"
#include "base/rd.h"

#include <stdlib.h>

static struct str copy_text(char **at, struct str s)
{
    char *p = *at;
    if (s.n) {
        memcpy(p, s.p, s.n);
    }
    *at += s.n;
    return (struct str){p, s.n};
}

struct relation *relation_copy(const struct relation *r)
{
    size_t texts = r->schema.n + r->name.n;
    for (uint32_t i = 0; i < r->n; i++) {
        texts += r->columns[i].name.n;
    }
    struct relation *copy = mem_alloc(sizeof *copy + r->n * sizeof *r->columns + texts);
    *copy = *r;
    copy->columns = (struct relation_column *)(copy + 1);
    char *at = (char *)(copy->columns + r->n);
    copy->schema = copy_text(&at, r->schema);
    copy->name = copy_text(&at, r->name);
    for (uint32_t i = 0; i < r->n; i++) {
        copy->columns[i] = r->columns[i];
        copy->columns[i].name = copy_text(&at, r->columns[i].name);
    }
    return copy;
}

void relation_free(struct relation *r)
{
    free(r);
}

bool relation_equal(const struct relation *a, const struct relation *b)
{
    if (a->oid != b->oid || a->n != b->n || a->replica_identity != b->replica_identity ||
        !str_eq(a->schema, b->schema) || !str_eq(a->name, b->name)) {
        return false;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        const struct relation_column *x = &a->columns[i], *y = &b->columns[i];
        if (x->type_oid != y->type_oid || x->typmod != y->typmod || x->key != y->key ||
            !str_eq(x->name, y->name)) {
            return false;
        }
    }
    return true;
}

int relation_column(const struct relation *r, struct str name)
{
    for (uint32_t i = 0; i < r->n; i++) {
        if (str_eq(r->columns[i].name, name)) {
            return (int)i;
        }
    }
    return -1;
}

static void put_text(struct buf *out, struct str s)
{
    buf_put_u32be(out, (uint32_t)s.n);
    buf_put_str(out, s);
}

void relation_encode(const struct relation *r, struct buf *out)
{
    buf_put_u32be(out, r->id);
    buf_put_u32be(out, r->oid);
    buf_put_u32be(out, r->n);
    buf_put_byte(out, r->replica_identity);
    put_text(out, r->schema);
    put_text(out, r->name);
    for (uint32_t i = 0; i < r->n; i++) {
        put_text(out, r->columns[i].name);
        buf_put_u32be(out, r->columns[i].type_oid);
        buf_put_u32be(out, (uint32_t)r->columns[i].typmod);
        buf_put_byte(out, r->columns[i].key ? 1 : 0);
    }
}

static struct str get_text(struct rd *r)
{
    uint32_t n = rd_u32be(r);
    return rd_bytes(r, n);
}

int relation_decode(struct str bytes, struct relation **out_relation, struct err *err)
{
    struct rd rd = rd_init(bytes.p, bytes.n);
    struct relation r = {0};
    r.id = rd_u32be(&rd);
    r.oid = rd_u32be(&rd);
    r.n = rd_u32be(&rd);
    r.replica_identity = (char)rd_u8(&rd);
    r.schema = get_text(&rd);
    r.name = get_text(&rd);
    if (rd.failed || r.n > RELATION_MAX_COLUMNS) {
        return err_set(err, ERR_INTERNAL, "a relation in the log is damaged");
    }
    struct relation_column *list = mem_alloc_array(r.n + 1, sizeof *list);
    for (uint32_t i = 0; i < r.n; i++) {
        list[i].name = get_text(&rd);
        list[i].type_oid = rd_u32be(&rd);
        list[i].typmod = (int32_t)rd_u32be(&rd);
        list[i].key = rd_u8(&rd) != 0;
    }
    int rc = 0;
    if (rd_done(&rd)) {
        r.columns = list;
        *out_relation = relation_copy(&r);
    } else {
        rc = err_set(err, ERR_INTERNAL, "a relation in the log is damaged");
    }
    free(list);
    return rc;
}

void relations_deinit(struct relations *rs)
{
    for (uint32_t i = 0; i < rs->n; i++) {
        relation_free(rs->items[i]);
    }
    free(rs->items);
    *rs = (struct relations){0};
}

void relations_put(struct relations *rs, struct relation *r)
{
    if (r->id > rs->cap) {
        uint32_t cap = r->id + r->id / 2 + 16;
        rs->items = mem_realloc(rs->items, cap * sizeof *rs->items);
        rs->cap = cap;
    }
    while (rs->n < r->id) {
        rs->items[rs->n++] = NULL;
    }
    struct relation **slot = &rs->items[r->id - 1];
    if (*slot) {
        relation_free(r);
    } else {
        *slot = r;
    }
}

const struct relation *relations_get(const struct relations *rs, uint32_t id)
{
    return id > 0 && id <= rs->n ? rs->items[id - 1] : NULL;
}
