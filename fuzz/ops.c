/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the ops of captured commands, separated by zero bytes, the first of them recorded: parsed,
 * applied, rendered, proved. Success or a failure with a message; nothing else.
 */
#include "dialect/proof.h"

#include <assert.h>
#include <stdint.h>

enum { MAX_COMMANDS = 8, MAX_INPUT = 64 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_failure(const struct err *err)
{
    assert(err->kind == ERR_INTERNAL || err->kind == ERR_LIMIT || err->kind == ERR_INPUT);
    assert(err->msg[0] != '\0' && !strchr(err->msg, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size < MAX_INPUT ? size : MAX_INPUT};
    struct str commands[MAX_COMMANDS];
    size_t n = 0;
    while (rest.n && n < MAX_COMMANDS) {
        commands[n++] = str_cut(&rest, '\0');
    }
    struct err err = ERR_INIT;
    if (proof_run(commands, n, n / 2, &err) < 0) {
        check_failure(&err);
    }
    return 0;
}
