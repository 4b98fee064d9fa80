/* SPDX-License-Identifier: Apache-2.0 */
/* The way back of a migration as a way forward, for tables that are open for sync. Pure. */
#pragma once

#include "base/buf.h"

struct migration;

/* A migration file that undoes m as far as clients can follow; what they cannot follow stands in it as a
 * comment. */
void forward_put(struct buf *out, const struct migration *m);
