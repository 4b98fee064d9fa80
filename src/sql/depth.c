/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upper bound on the depth of the tree, from the flat list of tokens: tokens in a row may each go one
 * level down, but what stands behind a comma in brackets is beside, not below, what stands before it.
 */
#include "sql/depth.h"

#include <assert.h>
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

static size_t depth_bound(const PgQuery__ScanResult *scan, size_t limit)
{
    struct {
        size_t base, peak;
    } open[DEPTH_MAX] = {{0}};
    size_t level = 0, depth = 0;
    for (size_t i = 0; i < scan->n_tokens && depth < limit; i++) {
        switch (scan->tokens[i]->token) {
        case PG_QUERY__TOKEN__ASCII_40: /* ( */
        case PG_QUERY__TOKEN__ASCII_91: /* [ */
            depth++;
            if (level + 1 == limit) {
                return limit;
            }
            level++;
            open[level].base = open[level].peak = depth;
            break;
        case PG_QUERY__TOKEN__ASCII_41: /* ) */
        case PG_QUERY__TOKEN__ASCII_93: /* ] */
            depth = depth > open[level].peak ? depth : open[level].peak;
            level = level ? level - 1 : 0;
            break;
        case PG_QUERY__TOKEN__ASCII_44: /* , */
            open[level].peak = depth > open[level].peak ? depth : open[level].peak;
            depth = open[level].base;
            break;
        default:
            depth++;
        }
    }
    return depth > open[0].peak ? depth : open[0].peak;
}

enum depth depth_check(const char *sql, size_t limit)
{
    assert(limit <= DEPTH_MAX);
    PgQueryScanResult r = pg_query_scan(sql);
    enum depth depth = DEPTH_UNKNOWN;
    if (!r.error) {
        PgQuery__ScanResult *scan =
            pg_query__scan_result__unpack(NULL, r.pbuf.len, (const uint8_t *)r.pbuf.data);
        depth = scan && depth_bound(scan, limit) < limit ? DEPTH_FINE : DEPTH_EXCEEDED;
        pg_query__scan_result__free_unpacked(scan, NULL);
    }
    pg_query_free_scan_result(r);
    return depth;
}
