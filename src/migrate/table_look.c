/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/table_look.h"

static const struct {
    const char *mode, *blocks;
} modes[] = {
    {"", ""}, /* AccessShare, RowShare, RowExclusive: what ordinary statements take */
    {"ShareUpdateExclusiveLock", "other changes of the table and vacuum"},
    {"ShareLock", "writes"},
    {"ShareRowExclusiveLock", "writes"},
    {"ExclusiveLock", "writes"},
    {"AccessExclusiveLock", "reads and writes"},
};

static const char look_sql[] =
    "WITH l AS (SELECT relation, array_agg(mode) AS modes FROM pg_locks"
    " WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted GROUP BY 1)"
    " SELECT c.oid::text, c.relfilenode::text, coalesce(x.seq_scan, 0), coalesce(x.seq_tup_read, 0), "
    "c.oid::regclass::text,"
    " CASE WHEN 'AccessExclusiveLock' = ANY (l.modes) THEN 5 WHEN 'ExclusiveLock' = ANY (l.modes) THEN 4"
    " WHEN 'ShareRowExclusiveLock' = ANY (l.modes) THEN 3 WHEN 'ShareLock' = ANY (l.modes) THEN 2"
    " WHEN 'ShareUpdateExclusiveLock' = ANY (l.modes) THEN 1 ELSE 0 END"
    " FROM pg_class c LEFT JOIN l ON l.relation = c.oid LEFT JOIN pg_stat_xact_all_tables x ON x.relid = "
    "c.oid"
    " WHERE c.relkind IN ('r', 'p', 'm') AND c.oid >= 16384"
    " AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('busbar', 'electric', "
    "'information_schema'))"
    " ORDER BY c.oid";

int table_look_take(struct session *s, struct arena *arena, struct table_look *out)
{
    CLEANUP(sync_answer_deinit) struct sync_answer a = {0};
    if (session_query(s, s->run, look_sql, NULL, 0, &a, "cannot look at the tables") < 0) {
        return -1;
    }
    out->n = a.result.rows;
    out->items = arena_alloc_array(arena, out->n + 1, sizeof *out->items);
    for (size_t i = 0; i < out->n; i++) {
        out->items[i] = (struct table_state){
            .oid = pg_result_u64(&a.result, i, 0),
            .file = pg_result_u64(&a.result, i, 1),
            .scans = pg_result_u64(&a.result, i, 2),
            .rows = pg_result_u64(&a.result, i, 3),
            .name = arena_strdup(arena, pg_result_cstr(&a.result, i, 4)),
            .lock = (unsigned)pg_result_u64(&a.result, i, 5),
        };
    }
    return 0;
}

static uint64_t grown(uint64_t before, uint64_t after)
{
    return after > before ? after - before : 0; /* a new file begins to count anew */
}

static bool compare_one(const struct table_state *b, const struct table_state *a, struct table_effect *out)
{
    bool locked = a->lock > b->lock && a->lock < ARRAY_LEN(modes);
    *out = (struct table_effect){.table = b->name,
                                 .lock = locked ? modes[a->lock].mode : NULL,
                                 .blocks = locked ? modes[a->lock].blocks : NULL,
                                 .rewritten = a->file != b->file,
                                 .scans = grown(b->scans, a->scans),
                                 .rows = grown(b->rows, a->rows)};
    return out->lock || out->rewritten || out->scans;
}

size_t table_look_compare(struct arena *a, const struct table_look *before, const struct table_look *after,
                          struct table_effect **out)
{
    struct table_effect *effects = arena_alloc_array(a, before->n + 1, sizeof *effects);
    size_t n = 0, k = 0;
    for (size_t i = 0; i < before->n; i++) {
        while (k < after->n && after->items[k].oid < before->items[i].oid) {
            k++;
        }
        if (k < after->n && after->items[k].oid == before->items[i].oid &&
            compare_one(&before->items[i], &after->items[k], &effects[n])) {
            n++;
        }
    }
    *out = effects;
    return n;
}
