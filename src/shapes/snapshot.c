/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes/snapshot.h"

static size_t count_items(struct str list)
{
    size_t n = list.n > 0;
    for (size_t i = 0; i < list.n; i++) {
        n += list.p[i] == ',';
    }
    return n;
}

static bool parse_running(struct str list, struct arena *a, struct snapshot *s)
{
    size_t n = count_items(list);
    if (n > SNAPSHOT_MAX_RUNNING) {
        return false;
    }
    uint64_t *running = arena_alloc_array(a, n, sizeof *running);
    for (size_t i = 0; i < n; i++) {
        struct str item = str_cut(&list, ',');
        uint64_t least = i ? running[i - 1] + 1 : s->xmin;
        if (!str_to_u64(item, UINT64_MAX, &running[i]) || running[i] < least || running[i] >= s->xmax) {
            return false;
        }
    }
    s->running = running;
    s->n = n;
    return true;
}

int snapshot_parse(struct str text, struct arena *a, struct snapshot *out_snapshot, struct err *err)
{
    struct snapshot s = {0};
    struct str rest = text;
    struct str xmin = str_cut(&rest, ':'), xmax = str_cut(&rest, ':');
    if (!str_to_u64(xmin, UINT64_MAX, &s.xmin) || !str_to_u64(xmax, UINT64_MAX, &s.xmax) || s.xmin > s.xmax ||
        text.n < xmin.n + xmax.n + 2 || !parse_running(rest, a, &s)) {
        return err_set(err, ERR_UPSTREAM, "not a snapshot: %.*s", (int)(text.n > 100 ? 100 : text.n), text.p);
    }
    *out_snapshot = s;
    return 0;
}

bool snapshot_sees(const struct snapshot *s, uint64_t xid)
{
    if (xid < s->xmin || xid >= s->xmax) {
        return xid < s->xmin;
    }
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->running[middle] < xid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == s->n || s->running[low] != xid;
}
