/* SPDX-License-Identifier: Apache-2.0 */
/* Whether PostgreSQL's grammar takes a text. */
#pragma once

#include "base/str.h"

/*
 * False when the grammar that is built in (that of libpg_query, PostgreSQL 15) refuses the text: a newer
 * server may still take it. True when it is longer than LIMIT_SYNTAX.
 * standard_conforming_strings must be on.
 */
bool syntax_accepted(struct str text);
