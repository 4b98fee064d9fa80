/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the program, one file each; the table is in commands.c. */
#pragma once

#include "cli/command.h"

extern const struct command busbar_commands;

int serve_command(const struct call *call);
int check_command(const struct call *call);
int cleanup_command(const struct call *call);
int dev_command(const struct call *call);
int show_config_command(const struct call *call);
int token_command(const struct call *call);
int migrate_command(const struct call *call);
int rollback_command(const struct call *call);
int status_command(const struct call *call);
int plan_command(const struct call *call);
int seed_command(const struct call *call);
int new_command(const struct call *call);
int dump_command(const struct call *call);
int load_command(const struct call *call);
int repair_command(const struct call *call);
int help_command(const struct call *call);
