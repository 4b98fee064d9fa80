/* SPDX-License-Identifier: Apache-2.0 */
/* busbar show-config */
#include "cli/commands.h"
#include "cli/help.h"

#include <stdio.h>

enum { OUTPUT_LIMIT = 1024 * 1024 };

/* What the list comes to: of a name that is there twice, the first mention. */
static void put_features(unsigned features, struct buf *out)
{
    buf_put_c(out, "  in force:");
    for (unsigned i = 0; i < FEATURES; i++) {
        buf_printf(out, " %s=%s", feature_names[i], features & 1u << i ? "true" : "false");
    }
}

static void put_option(const struct call *call, enum option_id id, struct buf *out)
{
    const struct setting *setting = &call->settings->of[id];
    CLEANUP(buf_deinit) struct buf value = BUF_INIT(64 * 1024);
    help_put_value(call->settings, call->config, id, &value);
    buf_printf(out, "%-32s", options[id].variable);
    if (value.n) {
        put_quoted(out, buf_str(&value));
        buf_put_c(out, "  (");
        setting_put_source(setting, out);
        buf_put_byte(out, ')');
        if (options[id].type == TYPE_FEATURES && !call->faults->of[id]) {
            put_features(call->config->features, out);
        }
    } else {
        buf_put_c(out, "not set");
    }
    buf_put_c(out, call->faults->of[id] ? "  FAULTY\n" : "\n");
}

static void put_values(const struct call *call, struct buf *out)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (options[id].variable && (options[id].commands & FOR_SHOW_CONFIG)) {
            put_option(call, (enum option_id)id, out);
        }
    }
}

int show_config_command(const struct call *call)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(OUTPUT_LIMIT);
    bool markdown = call->config->show.markdown;
    if (markdown) {
        help_put_markdown(&out);
    } else {
        put_values(call, &out);
    }
    fwrite(out.p, 1, out.n, stdout);
    if (fflush(stdout) != 0) {
        return STATUS_FAULT;
    }
    return call->faults->count && !markdown ? command_report_faults(call->faults, call->settings) : STATUS_OK;
}
