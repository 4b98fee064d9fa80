/* SPDX-License-Identifier: Apache-2.0 */
/* What a person writes for the release tasks, migration files and busbar.toml: any bytes are read or refused.
 */
#include "migrate/file.h"
#include "migrate/toml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct str text, struct str slice)
{
    if (slice.n && (slice.p < text.p || slice.p + slice.n > text.p + text.n)) {
        abort();
    }
}

static int take_key(void *ctx, const char *table, const char *key, const struct toml_value *value,
                    struct err *err)
{
    if (!table || !key || (value->kind == TOML_LIST) == (value->text != NULL)) {
        abort();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct migration_parts t;
    struct err err = ERR_INIT;
    if (migration_parse(MIGRATION_SECTIONS, text, &t, &err) == 0) {
        check_slice(text, t.up);
        check_slice(text, t.down);
    }
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    ignore_result(toml_read(&a, text, take_key, NULL, &err)); /* refused is fine */
    return 0;
}
