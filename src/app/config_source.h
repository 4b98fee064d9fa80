/* SPDX-License-Identifier: Apache-2.0 */
/* All that a configuration is read from, kept so that it can be read again. */
#pragma once

#include "app/config.h"

struct config_source {
    unsigned command;             /* a FOR_ bit */
    const struct settings *flags; /* of the command line */
    const char *dotenv;           /* path of the .env file */
};

/*
 * Reads flags, environment, .env and the files of secrets, as they are now. The caller gives *out_settings as
 * SETTINGS_INIT and *out as CONFIG_INIT and frees both in any case; *out is fit for use only when no fault
 * was added. Lines of .env that were skipped are told in `warnings`, a line each.
 */
void config_source_read(const struct config_source *source, struct settings *out_settings, struct config *out,
                        struct faults *faults, struct buf *warnings);
