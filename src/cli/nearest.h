/* SPDX-License-Identifier: Apache-2.0 */
/* The name that somebody probably meant: by edit distance, where a swap of neighbours counts as one. */
#pragma once

#include "base/str.h"

struct command;

/* NULL when nothing is near. */
const char *nearest_flag(struct str flag, unsigned commands);
const char *nearest_command(struct str name, const struct command *parent);

/* Exported for its test. Names longer than 63 bytes count as far from everything. */
unsigned edit_distance(struct str a, struct str b);
