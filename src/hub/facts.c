/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/hub_impl.h"

static bool is_migration(const struct relation *r)
{
    return r && str_eq(r->schema, STR("busbar")) && str_eq(r->name, STR("migration"));
}

struct txn_facts txn_facts_of(const struct relations *relations, const struct txn_summary *summary)
{
    struct txn_facts facts = {.summary = summary};
    for (size_t i = 0; i < summary->n && !facts.migrates; i++) {
        facts.migrates = is_migration(relations_get(relations, summary->relations[i]));
    }
    return facts;
}
