/* SPDX-License-Identifier: Apache-2.0 */
/* The name in CREATE INDEX CONCURRENTLY. Pure. */
#pragma once

#include "base/arena.h"

/* The index that the statement names, without quotes, in the arena; n == 0 when it names none or is another
 * statement. */
struct str index_name(struct arena *a, struct str statement);
