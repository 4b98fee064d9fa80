/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as an index expression. Columns: a name's first letter says its class. What is translated must be
 * free of NUL bytes and stay within bounds; what is not must come with a reason.
 */
#include "sql/expression.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum value_class class_of(void *ctx, struct str name)
{
    static const enum value_class classes[128] = {
        ['b'] = VALUE_BOOL, ['i'] = VALUE_INT,  ['r'] = VALUE_REAL, ['t'] = VALUE_TEXT,
        ['d'] = VALUE_TIME, ['x'] = VALUE_BLOB, ['j'] = VALUE_OTHER};
    return name.n ? classes[name.p[0] & 0x7f] : VALUE_UNKNOWN;
}

static bool is_enum(void *ctx, struct str schema, struct str name)
{
    return str_eq(name, STR("states"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct expression_env env = {.column = class_of, .is_enum = is_enum};
    struct expression e = {0};
    struct str why = {NULL, 0};
    if (expression_to_sqlite(&a, (struct str){(const char *)data, size}, &env, &e, &why) ==
        EXPRESSION_TRANSLATED) {
        assert(e.sql.n > 0 && e.sql.n <= EXPRESSION_MAX_OUTPUT && !memchr(e.sql.p, '\0', e.sql.n));
        assert(e.type != VALUE_UNKNOWN && (!e.exact || e.key_safe));
    } else {
        assert(why.n > 0 && e.sql.p == NULL);
    }
    return 0;
}
