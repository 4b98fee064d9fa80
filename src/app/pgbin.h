/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the PostgreSQL server programs that are installed. */
#pragma once

#include "base/err.h"

#include <limits.h>

enum { PGBIN_OLDEST = 14 };

struct pgbin {
    char folder[PATH_MAX];
    int major;
};

/*
 * `folder` (NULL: search the usual places) is where to look; `major` is the version that is needed, 0 for the
 * newest. The failure says what to install.
 */
MUST_USE int pgbin_find(const char *folder, int major, struct pgbin *out, struct err *err);
