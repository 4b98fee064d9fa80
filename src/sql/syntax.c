/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only where statements end is asked for, not their trees: unlike those it does not nest, so that no text can
 * exhaust the stack (sql/intent.c has to be more careful).
 */
#include "sql/syntax.h"

#include <pg_query.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"

bool syntax_accepted(struct str text)
{
    if (text.n > LIMIT_SYNTAX || memchr(text.p, '\0', text.n)) {
        return true;
    }
    char *copy = mem_strndup(text.p, text.n);
    PgQuerySplitResult r = pg_query_split_with_parser(copy);
    bool accepted = !r.error;
    pg_query_free_split_result(r);
    free(copy);
    return accepted;
}
