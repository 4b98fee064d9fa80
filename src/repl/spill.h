/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one transaction in a file of its own: written from the front while it comes, then read in
 * place. What is read of it is the kernel's to keep in memory, or not.
 *
 * The file is deleted with its struct spill, unless it is kept: then it is its folder's owner's (txlog/).
 * One thread at a time, save what only reads.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>

struct spill;

enum { SPILL_NAME = 16 /* bytes of a file's name, at most */ };

/* A new file with a name of its own in the folder, which is made when it is missing (0700; the one above must
 * be there). This, and what follows, fails with ERR_SYSTEM. */
MUST_USE int spill_new(const char *folder, struct spill **out_spill, struct err *err);
void spill_free(struct spill *s); /* what was mapped is gone. Takes NULL */

size_t spill_size(const struct spill *s);
MUST_USE int spill_append(struct spill *s, struct str bytes, struct err *err);
/* Overwrites; `at` + bytes.n must not be behind the end. */
MUST_USE int spill_put(struct spill *s, size_t at, struct str bytes, struct err *err);
/* Moves n bytes towards the front; the two places may overlap. */
MUST_USE int spill_move(struct spill *s, size_t to, size_t from, size_t n, struct err *err);
MUST_USE int spill_truncate(struct spill *s, size_t size, struct err *err);

/* All of it, borrowed until the next change. */
MUST_USE int spill_map(struct spill *s, struct str *out_bytes, struct err *err);

/* What was written survives the loss of power, once the folder has been synced as well. */
MUST_USE int spill_sync(struct spill *s, struct err *err);
struct str spill_name(const struct spill *s);
/* From now on the file stays. */
void spill_keep(struct spill *s);

/* A file that was kept, which must be of that size (ERR_INTERNAL otherwise). 1: *out_bytes are to be given
 * back by spill_unmap(). 0: it is not there. */
MUST_USE int spill_open(const char *folder, struct str name, size_t size, struct str *out_bytes,
                        struct err *err);
void spill_unmap(struct str bytes);
