/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/catalog.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static size_t lower_bound(const struct catalog *c, uint32_t oid)
{
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c->items[middle].relation->oid < oid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct described *catalog_find(const struct catalog *c, uint32_t oid)
{
    size_t i = lower_bound(c, oid);
    return i < c->n && c->items[i].relation->oid == oid ? &c->items[i] : NULL;
}

bool catalog_put(struct catalog *c, struct described d)
{
    size_t i = lower_bound(c, d.relation->oid);
    if (i < c->n && c->items[i].relation->oid == d.relation->oid) {
        relation_free(c->items[i].relation);
        c->items[i] = d;
        return false;
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->items = mem_realloc(c->items, c->cap * sizeof *c->items);
    }
    memmove(c->items + i + 1, c->items + i, (c->n - i) * sizeof *c->items);
    c->items[i] = d;
    c->n++;
    return true;
}

void catalog_deinit(struct catalog *c)
{
    for (size_t i = 0; i < c->n; i++) {
        relation_free(c->items[i].relation);
    }
    free(c->items);
    *c = (struct catalog){0};
}

size_t catalog_forget(struct catalog *c, uint32_t xid)
{
    size_t kept = 0, n = c->n;
    for (size_t i = 0; i < n; i++) {
        struct described *d = &c->items[i];
        if (d->xid == xid) {
            relation_free(d->relation);
        } else {
            c->items[kept++] = *d;
        }
    }
    c->n = kept;
    return n - kept;
}
