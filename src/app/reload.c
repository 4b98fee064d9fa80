/* SPDX-License-Identifier: Apache-2.0 */
/* What changed is told from the texts of the options: they have one type, and defaults are among them. */
#include "app/reload.h"

#include "base/mem.h"

#include <stdlib.h>

enum { TEXT_LIMIT = 64 * 1024, LINE_LIMIT = 1800 };

static void note_faults(struct reload *r, const struct faults *faults)
{
    if (faults->file) {
        buf_printf(&r->faults, "%s\n", faults->file);
    }
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (faults->of[id]) {
            buf_printf(&r->faults, "%s %s\n", option_label(&options[id]), faults->of[id]);
        }
    }
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void note_changes(struct reload *r, const struct settings *before)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        r->changed[id] = !same_text(settings_text(before, (enum option_id)id),
                                    settings_text(&r->settings, (enum option_id)id));
    }
}

/* "A, B, C"; returns how many. */
static size_t put_changed(const struct reload *r, bool reloads, struct buf *out)
{
    size_t n = 0;
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (r->changed[id] && options[id].reloads == reloads) {
            buf_printf(out, "%s%s", n++ ? ", " : "", option_label(&options[id]));
        }
    }
    return n;
}

static void refuse_what_needs_a_restart(struct reload *r)
{
    CLEANUP(buf_deinit) struct buf why = BUF_INIT(TEXT_LIMIT);
    size_t n = put_changed(r, false, &why);
    if (n) {
        buf_printf(&why, " changed and need%s a restart", n == 1 ? "s" : "");
        reload_refuse(r, buf_cstr(&why));
    }
}

/* One that was made up at the start stays for as long as the process lives. */
static void keep_instance_id(struct reload *r, const struct config *config)
{
    if (!settings_text(&r->settings, OPT_INSTANCE_ID)) {
        free(r->config.instance_id);
        r->config.instance_id = mem_strdup(config->instance_id);
    }
}

void reload_read(struct reload *r, const struct config_source *source, const struct settings *settings,
                 const struct config *config)
{
    CLEANUP(faults_deinit) struct faults faults = FAULTS_INIT;
    CLEANUP(buf_deinit) struct buf warnings = BUF_INIT(TEXT_LIMIT);
    *r = (struct reload){.faults = BUF_INIT(TEXT_LIMIT), .refusal = BUF_INIT(TEXT_LIMIT)};
    config_source_read(source, &r->settings, &r->config, &faults, &warnings);
    buf_put_str(&r->faults, buf_str(&warnings));
    note_faults(r, &faults);
    note_changes(r, settings);
    keep_instance_id(r, config);
    if (faults.count) {
        reload_refuse(r, "the configuration is faulty");
    } else {
        refuse_what_needs_a_restart(r);
    }
}

bool reload_is_refused(const struct reload *r)
{
    return r->refusal.n > 0;
}

void reload_refuse(struct reload *r, const char *why)
{
    if (!reload_is_refused(r)) {
        buf_put_c(&r->refusal, why);
    }
}

void reload_put_outcome(const struct reload *r, struct buf *out)
{
    if (reload_is_refused(r)) {
        buf_printf(out, "reload refused: %.*s, nothing changed", STR_ARG(buf_str(&r->refusal)));
        return;
    }
    buf_put_c(out, "reloaded: ");
    if (put_changed(r, true, out) == 0) {
        buf_put_c(out, "no option");
    }
    buf_put_c(out, " changed");
}

static void log_lines(enum log_level level, struct str text)
{
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        log_write(level, NULL, "reload: %.*s", (int)(line.n < LINE_LIMIT ? line.n : LINE_LIMIT), line.p);
    }
}

/* At the more talkative of both levels: whoever changes the level wants to see that it was. */
static void log_success(const struct config *before, const struct config *after, const char *outcome)
{
    if (after->log_level > before->log_level) {
        log_set_level(after->log_level);
    }
    log_info(NULL, "%s", outcome);
    log_set_level(after->log_level);
}

void reload_finish(struct reload *r, struct settings *settings, struct config *config)
{
    CLEANUP(buf_deinit) struct buf outcome = BUF_INIT(2 * TEXT_LIMIT);
    reload_put_outcome(r, &outcome);
    log_lines(reload_is_refused(r) ? LOG_ERROR : LOG_WARNING, buf_str(&r->faults));
    if (reload_is_refused(r)) {
        log_error(NULL, "%s", buf_cstr(&outcome));
    } else {
        log_success(config, &r->config, buf_cstr(&outcome));
        struct config old_config = *config;
        struct settings old_settings = *settings;
        *config = r->config;
        *settings = r->settings;
        r->config = old_config;
        r->settings = old_settings;
    }
    config_deinit(&r->config);
    settings_deinit(&r->settings);
    buf_deinit(&r->faults);
    buf_deinit(&r->refusal);
}
