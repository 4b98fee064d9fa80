/* SPDX-License-Identifier: Apache-2.0 */
/* A number that one thread counts up and any thread may read. As cheap as a plain integer. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t n;
};

/* Both only on the thread that owns it. */
static inline void counter_add(struct counter *c, uint64_t n)
{
    uint64_t now = atomic_load_explicit(&c->n, memory_order_relaxed);
    atomic_store_explicit(&c->n, now + n, memory_order_relaxed);
}

static inline void counter_sub(struct counter *c, uint64_t n)
{
    counter_add(c, -n);
}

static inline uint64_t counter_get(const struct counter *c)
{
    return atomic_load_explicit(&c->n, memory_order_relaxed);
}
