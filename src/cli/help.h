/* SPDX-License-Identifier: Apache-2.0 */
/* Text made from the tables of commands and options: --help, the values in force, docs/config.md. */
#pragma once

#include "app/config.h"

struct command;

/* What `busbar COMMAND --help` prints. */
void help_put_command(const struct command *command, const char *name, struct buf *out);

/* docs/config.md. */
void help_put_markdown(struct buf *out);

/* The value in force of an option; a secret as stars, a database URL without its password. */
void help_put_value(const struct settings *settings, const struct config *config, enum option_id id,
                    struct buf *out);
