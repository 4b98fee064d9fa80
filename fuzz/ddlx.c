/* SPDX-License-Identifier: Apache-2.0 */
/* ELECTRIC statements: any bytes are parsed or refused, and either gives one statement to run. */
#include "ddlx/ddlx.h"
#include "sql/statement.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever the names hold, the plan is a single CALL or DO: nothing may break out of the quotes. */
static void check_plan(struct arena *a, const char *plan)
{
    for (int std_strings = 0; std_strings < 2; std_strings++) {
        struct statement *list;
        size_t n;
        struct err err = ERR_INIT;
        if (statement_split(a, str_c(plan), std_strings, &list, &n, &err) < 0 || n != 1 ||
            (list[0].kind != STATEMENT_CALL && list[0].kind != STATEMENT_DO)) {
            abort();
        }
    }
}

/* What is kept as written is a piece of the text. */
static void check_condition(struct str text, struct str condition)
{
    if (condition.n && (condition.p < text.p || condition.p + condition.n >= text.p + text.n)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    if (size && memchr(data, '\0', size)) {
        return 0; /* a statement ends at its first NUL */
    }
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct ddlx d;
    struct ddlx_error e;
    if (ddlx_parse(&a, text, &d, &e) == 0) {
        check_condition(text, d.condition);
        check_plan(&a, ddlx_plan(&a, &d));
    } else {
        if (e.position < 1 || e.position > size + 1) {
            abort();
        }
        check_plan(&a, ddlx_plan_error(&a, &e));
    }
    return 0;
}
