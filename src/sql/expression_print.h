/* SPDX-License-Identifier: Apache-2.0 */
/* Folder-private: the printing half of expression_to_sqlite(). */
#pragma once

#include "sql/expression.h"

#include <pg_query/pg_query.pb-c.h>

/* False: *out_why says what has no translation. The tree must not be deeper than EXPRESSION_MAX_DEPTH. */
MUST_USE bool expression_print(struct arena *a, const PgQuery__Node *n, const struct expression_env *env,
                               struct expression *out, struct str *out_why);
