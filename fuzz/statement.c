/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL analysis on any bytes. The first byte picks standard_conforming_strings; the rest is the text. Besides
 * not crashing: what the filter passes must be at most one statement, and plain.
 */
#include "sql/statement.h"
#include "base/arena.h"
#include "base/err.h"
#include "sql/intent.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_filter(struct str text, bool std_strings, const struct statement *list, size_t n)
{
    if (statement_is_plain(text, true, std_strings) &&
        (n > 1 || (n == 1 && list[0].kind != STATEMENT_PLAIN))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool std_strings = data[0] & 1;
    struct str text = {(const char *)data + 1, size - 1};
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct statement *list;
    size_t n;
    struct err err = ERR_INIT;
    statement_is_plain(text, false, std_strings);
    if (statement_split(&a, text, std_strings, &list, &n, &err) < 0) {
        return 0;
    }
    check_filter(text, std_strings, list, n);
    for (size_t i = 0; i < n; i++) {
        struct intent *intents;
        size_t n_intents;
        if (list[i].offset + list[i].text.n > text.n) {
            abort();
        }
        if (list[i].kind == STATEMENT_DDL) {
            intent_list(&a, list[i].text, &intents, &n_intents);
        }
    }
    return 0;
}
