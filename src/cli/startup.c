/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/startup.h"

#include "app/version.h"
#include "cli/command.h"
#include "cli/help.h"

static void log_option(const struct call *call, enum option_id id)
{
    CLEANUP(buf_deinit) struct buf value = BUF_INIT(64 * 1024);
    CLEANUP(buf_deinit) struct buf quoted = BUF_INIT(64 * 1024);
    help_put_value(call->settings, call->config, id, &value);
    CLEANUP(buf_deinit) struct buf source = BUF_INIT(64 * 1024);
    put_quoted(&quoted, buf_str(&value));
    setting_put_source(&call->settings->of[id], &source);
    log_debug(NULL, "option name=%s value=%s source=%s", option_label(&options[id]), buf_cstr(&quoted),
              buf_cstr(&source));
}

void startup_log(const struct call *call)
{
    log_set_level(call->config->log_level);
    log_info(NULL, "starting busbar version=%s instance_id=%s", busbar_version, call->config->instance_id);
    for (int id = 0; id < OPTION_COUNT && log_enabled(LOG_DEBUG); id++) {
        if (call->settings->of[id].source != SOURCE_UNSET) {
            log_option(call, (enum option_id)id);
        }
    }
}
