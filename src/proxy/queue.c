/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/queue.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

enum { QUEUE_FIRST = 4 };

void answers_deinit(struct answers *q)
{
    free(q->ring);
    *q = (struct answers){0};
}

static void grow(struct answers *q)
{
    uint32_t cap = q->cap ? q->cap * 2 : QUEUE_FIRST;
    struct answer *ring = mem_alloc_array(cap, sizeof *ring);
    for (uint32_t i = 0; i < q->n; i++) {
        ring[i] = *answers_at(q, i);
    }
    free(q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
}

bool answers_push(struct answers *q, struct answer a)
{
    if (q->n == q->cap) {
        if (q->n >= LIMIT_PIPELINE) {
            return false;
        }
        grow(q);
    }
    q->n++;
    *answers_at(q, q->n - 1) = a;
    return true;
}

struct answer answers_pop(struct answers *q)
{
    assert(q->n > 0);
    struct answer a = *answers_at(q, 0);
    q->head = (q->head + 1) & (q->cap - 1);
    q->n--;
    return a;
}

void answers_remove(struct answers *q, uint32_t at)
{
    assert(at < q->n);
    for (uint32_t i = at; i + 1 < q->n; i++) {
        *answers_at(q, i) = *answers_at(q, i + 1);
    }
    q->n--;
}
