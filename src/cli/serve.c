/* SPDX-License-Identifier: Apache-2.0 */
/* busbar serve */
#include "app/serve.h"

#include "app/signals.h"
#include "cli/commands.h"
#include "cli/startup.h"

int serve_command(const struct call *call)
{
    struct err err = ERR_INIT;
    startup_log(call);
    signals_hold();
    if (serve_run(call->config, &(struct serve_hooks){0}, &err) < 0) {
        log_error(NULL, "%s", err.msg);
        return STATUS_FAULT;
    }
    return STATUS_OK;
}
