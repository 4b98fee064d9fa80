/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hub_impl.h"

static void add_relation(struct txn_facts *f, uint32_t relation)
{
    for (size_t i = f->n; i > 0; i--) { /* most often the last one again */
        if (f->relations[i - 1] == relation) {
            return;
        }
    }
    if (f->n < ARRAY_LEN(f->relations)) {
        f->relations[f->n++] = relation;
    } else {
        f->more = true;
    }
}

static bool is_migration(const struct relation *r)
{
    return r && str_eq(r->schema, STR("busbar")) && str_eq(r->name, STR("migration"));
}

int txn_facts_read(const struct relations *relations, struct str record, struct txn_facts *out_facts,
                   struct err *err)
{
    struct txn_cursor cursor = txn_changes(record);
    struct change change;
    int rc;
    *out_facts = (struct txn_facts){0};
    while ((rc = txn_next(&cursor, &change, err)) == 1) {
        if (change.kind == CHANGE_MESSAGE) {
            out_facts->speaks = true;
        } else {
            add_relation(out_facts, change.relation);
        }
    }
    for (size_t i = 0; i < out_facts->n; i++) {
        out_facts->migrates =
            out_facts->migrates || is_migration(relations_get(relations, out_facts->relations[i]));
    }
    return rc;
}
