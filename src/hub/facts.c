/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hub_impl.h"

#include <assert.h>

static bool is_migration(const struct relation *r)
{
    return r && str_eq(r->schema, STR("busbar")) && str_eq(r->name, STR("migration"));
}

void txn_facts_of(const struct relations *relations, const struct txn_summary *summary,
                  struct txn_facts *out_facts)
{
    static_assert(sizeof out_facts->relations == sizeof summary->relations, "one is copied to the other");
    *out_facts = (struct txn_facts){.n = summary->n, .more = summary->more, .speaks = summary->messages};
    memcpy(out_facts->relations, summary->relations, summary->n * sizeof *summary->relations);
    for (size_t i = 0; i < out_facts->n; i++) {
        out_facts->migrates =
            out_facts->migrates || is_migration(relations_get(relations, out_facts->relations[i]));
    }
}

int txn_facts_read(const struct relations *relations, struct str record, struct txn_facts *out_facts,
                   struct err *err)
{
    struct txn_summary summary;
    if (txn_summarize(record, &summary, err) < 0) {
        return -1;
    }
    txn_facts_of(relations, &summary, out_facts);
    return 0;
}
