/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for one unit of work (a statement, a decoded transaction, a request): freed at once, never piece by
 * piece. */
#pragma once

#include "base/compiler.h"
#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used; /* bytes handed out since the last reset */
};

#define ARENA_INIT \
    {              \
        0          \
    }

void arena_deinit(struct arena *a); /* frees all; may run twice */
void arena_reset(struct arena *a);  /* empty; keeps one block for reuse */

void *arena_alloc(struct arena *a, size_t size);                     /* uninitialised, aligned for any type */
void *arena_zalloc(struct arena *a, size_t size);                    /* zeroed */
void *arena_alloc_array(struct arena *a, size_t count, size_t size); /* zeroed; aborts on overflow */
char *arena_strdup(struct arena *a, const char *s);
struct str arena_str(struct arena *a, struct str s); /* a copy; a NUL follows it */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
