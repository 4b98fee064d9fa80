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

static void log_start(const struct call *call)
{
    log_set_level(call->config->log_level);
    log_info(NULL, "starting busbar version=%s instance_id=%s", busbar_version, call->config->instance_id);
    for (int id = 0; id < OPTION_COUNT && log_enabled(LOG_DEBUG); id++) {
        if (call->settings->of[id].source != SOURCE_UNSET) {
            log_option(call, (enum option_id)id);
        }
    }
}

/* A service manager that cannot be told does not keep us from serving. */
static void open_notify(struct notify *out)
{
    struct err err = ERR_INIT;
    if (notify_open(out, &err) < 0) {
        log_warning(NULL, "%s", err.msg);
    }
}

int startup_begin(const struct call *call, struct startup *out, struct err *err)
{
    struct inherited inherited;
    *out = (struct startup){.notify = NOTIFY_INIT};
    log_start(call);
    open_notify(&out->notify);
    if (inherited_read(&inherited, err) < 0 ||
        inherited_split(&inherited, call->config->proxy.port, call->config->http_port, &out->sockets, err) <
            0) {
        return -1;
    }
    if (inherited.n) {
        log_info(NULL, "sockets taken over proxy=%zu http=%zu", out->sockets.proxy_n, out->sockets.http_n);
    }
    return 0;
}

void startup_deinit(struct startup *s)
{
    notify_close(&s->notify);
}
