/* SPDX-License-Identifier: Apache-2.0 */
/* busbar cleanup */
#include "app/cleanup.h"

#include "cli/commands.h"

#include <stdio.h>

int cleanup_command(const struct call *call)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(64 * 1024);
    struct err err = ERR_INIT;
    log_set_level(LOG_ERROR);
    int result = cleanup_database(call->config, &out, &err);
    fputs(buf_cstr(&out), stdout);
    if (result < 0) {
        fprintf(stderr, "busbar cleanup: %s\n", err.msg);
    }
    return fflush(stdout) != 0 || result < 0 ? STATUS_FAULT : STATUS_OK;
}
