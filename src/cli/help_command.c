/* SPDX-License-Identifier: Apache-2.0 */
/* busbar help [COMMAND] */
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/nearest.h"

#include <stdio.h>

int help_command(const struct call *call)
{
    const struct command *command = call->root;
    char name[COMMAND_NAME_LIMIT];
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(256 * 1024);
    snprintf(name, sizeof name, "%s", command->name);
    for (size_t i = 0; i < call->arguments_n; i++) {
        const char *word = call->arguments[i];
        const struct command *child = command_find(command, word);
        if (!child) {
            const char *near = nearest_command(str_c(word), command);
            fprintf(stderr, "busbar help: unknown command %s%s%s%s\n", word, near ? " (did you mean " : "",
                    near ? near : "", near ? "?)" : "");
            return STATUS_USAGE;
        }
        size_t used = strlen(name);
        snprintf(name + used, sizeof name - used, " %s", child->name);
        command = child;
    }
    help_put_command(command, name, &text);
    fwrite(text.p, 1, text.n, stdout);
    return STATUS_OK;
}
