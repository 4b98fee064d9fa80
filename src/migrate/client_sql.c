/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/client_sql.h"

#include "dialect/proof.h"
#include "sync/migration.h"

static size_t count_version(const struct captured_command *c, size_t n)
{
    size_t same = 1;
    while (same < n && c[same].recorded == c[0].recorded && str_eq(c[same].version, c[0].version)) {
        same++;
    }
    return same;
}

static size_t count_recorded(const struct captured_command *c, size_t n)
{
    size_t recorded = 0;
    while (recorded < n && c[recorded].recorded) {
        recorded++;
    }
    return recorded;
}

int client_sql_render(struct arena *a, const struct captured_command *commands, size_t n, struct str *out_sql,
                      struct err *err)
{
    CLEANUP(schema_deinit) struct schema schema = {0};
    struct str *ops = arena_alloc_array(a, n + 1, sizeof *ops);
    struct migration_text text = {.sql = STR("")};
    for (size_t i = 0; i < n; i++) {
        ops[i] = commands[i].ops;
    }
    if (proof_run(ops, n, count_recorded(commands, n), err) < 0) {
        return -1;
    }
    for (size_t i = 0, same; i < n; i += same) {
        same = count_version(commands + i, n - i);
        if (migration_render(a, DIALECT_SQLITE, &schema, commands[i].version, ops + i, same, &text, err) <
            0) {
            return -1;
        }
    }
    *out_sql = n && !commands[n - 1].recorded ? text.sql : STR("");
    return 0;
}
