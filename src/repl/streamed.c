/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/streamed.h"

#include "base/mem.h"

#include <stdlib.h>

struct streamed *streamed_new(uint32_t xid)
{
    struct streamed *s = mem_zalloc(sizeof *s);
    s->xid = xid;
    body_begin(&s->body, 0);
    return s;
}

void streamed_free(struct streamed *s)
{
    catalog_deinit(&s->catalog);
    body_deinit(&s->body);
    free(s->segments);
    free(s);
}

size_t streamed_in_memory(const struct streamed *s)
{
    return body_in_memory(&s->body) + s->n * sizeof *s->segments;
}

void streamed_extend(struct streamed *s, uint32_t xid, bool message)
{
    struct segment *last = s->n ? &s->segments[s->n - 1] : NULL;
    if (last && last->xid == xid && last->message == message) {
        last->end = body_size(&s->body);
        return;
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 16;
        s->segments = mem_realloc(s->segments, s->cap * sizeof *s->segments);
    }
    s->segments[s->n++] = (struct segment){xid, message, body_size(&s->body)};
}

int streamed_roll_back(struct streamed *s, uint32_t xid, struct err *err)
{
    size_t kept = 0, from, to;
    while (kept < s->n && (s->segments[kept].xid != xid || s->segments[kept].message)) {
        kept++;
    }
    from = to = kept ? s->segments[kept - 1].end : TXN_HEAD;
    for (size_t i = kept; i < s->n; i++) {
        struct segment segment = s->segments[i];
        size_t n = segment.end - from;
        if (segment.xid != xid && !segment.message) {
            if (body_move(&s->body, to, from, n, err) < 0) {
                return -1;
            }
            to += n;
            s->segments[kept++] = (struct segment){segment.xid, false, to};
        }
        from = segment.end;
    }
    s->n = kept;
    s->rolled_back = true;
    return body_cut(&s->body, to, err);
}

int streamed_summarize(struct streamed *s, struct err *err)
{
    if (!s->rolled_back) {
        return 0;
    }
    s->rolled_back = false;
    return body_summarize(&s->body, &s->summary, err);
}
