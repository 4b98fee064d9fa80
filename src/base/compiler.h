/* SPDX-License-Identifier: Apache-2.0 */
/* Compiler attributes and scoped cleanup (GCC and Clang). */
#pragma once

#include <stddef.h>

#define MUST_USE                      __attribute__((warn_unused_result))
#define NORETURN                      __attribute__((noreturn))
#define PRINTF_LIKE(f, a)             __attribute__((format(printf, f, a)))
#define NONNULL                       __attribute__((nonnull))
#define ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

/* CLEANUP(buf_deinit) struct buf b = BUF_INIT(limit);  -- calls buf_deinit(&b) when b goes out of scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands a pointer out of a scope that would free it: `return take_ptr(&p);` */
#define take_ptr(pp)                      \
    ({                                    \
        __typeof__(*(pp)) taken_ = *(pp); \
        *(pp) = NULL;                     \
        taken_;                           \
    })

/* A result dropped on purpose; a comment says why. GCC rejects `(void)f()` for MUST_USE functions. */
#define ignore_result(expr)                 \
    do {                                    \
        __typeof__(expr) ignored_ = (expr); \
        (void)ignored_;                     \
    } while (0)
