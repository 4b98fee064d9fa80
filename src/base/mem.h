/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that cannot fail: out of memory aborts here and nowhere else, because what must survive is in
 * PostgreSQL or on disk. In return no size from a peer may reach these unchecked (base/limits.h).
 */
#pragma once

#include "base/compiler.h"

void *mem_alloc(size_t size);  /* uninitialised */
void *mem_zalloc(size_t size); /* zeroed */
void *mem_realloc(void *p, size_t size);
void *mem_alloc_array(size_t count, size_t size); /* aborts on overflow of the product */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n); /* copies n bytes and adds a NUL; s may be NULL when n is 0 */

/* Overwrites a secret so that the compiler cannot drop the write. */
void mem_wipe(void *p, size_t n);

/* Compares two secrets of n bytes in constant time. */
int mem_equal_secret(const void *a, const void *b, size_t n);

/* For CLEANUP(mem_free_p) char *p. */
void mem_free_p(void *pp);
