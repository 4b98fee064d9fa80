/* SPDX-License-Identifier: Apache-2.0 */
/* busbar serve */
#include "app/serve.h"

#include "app/signals.h"
#include "cli/commands.h"
#include "cli/startup.h"

static int serve(const struct call *call, struct startup *startup, struct err *err)
{
    struct serve_input input = {.config = call->config,
                                .settings = call->settings,
                                .source = call->source,
                                .notify = &startup->notify,
                                .sockets = &startup->sockets};
    return startup_begin(call, startup, err) < 0 ? -1 : serve_run(&input, &(struct serve_hooks){0}, err);
}

int serve_command(const struct call *call)
{
    struct err err = ERR_INIT;
    CLEANUP(startup_deinit) struct startup startup;
    signals_hold();
    if (serve(call, &startup, &err) < 0) {
        log_error(NULL, "%s", err.msg);
        return STATUS_FAULT;
    }
    return STATUS_OK;
}
