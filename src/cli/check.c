/* SPDX-License-Identifier: Apache-2.0 */
/* busbar check */
#include "app/check.h"

#include "cli/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void add_faults(const struct call *call, struct check_report *report)
{
    const struct faults *faults = call->faults;
    if (faults->file) {
        check_add(report, CHECK_FAULT, ".env", NULL, "%s", faults->file);
    }
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (faults->of[id]) {
            check_add(report, CHECK_FAULT, option_label(&options[id]), faults->advice[id], "%s",
                      faults->of[id]);
        }
    }
    if (faults->count == 0) {
        check_add(report, CHECK_OK, "configuration", NULL, "is complete");
    }
}

/* The configuration's own check has read the files. */
static void add_certificate(const struct call *call, struct check_report *report)
{
    const struct config_tls *tls = &call->config->proxy.tls;
    const struct faults *f = call->faults;
    if (tls->mode != TLS_DISABLE && !f->of[OPT_TLS_CERT] && !f->of[OPT_TLS_KEY] &&
        !f->of[OPT_TLS_CLIENT_CA]) {
        check_add(report, CHECK_OK, "certificate", NULL, "%s and its key can be used", tls->cert);
    }
}

static json_t *text_or_null(const char *text)
{
    json_t *s = text ? json_string(text) : NULL;
    return s ? s : json_null();
}

static void print_json(const struct check_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->n; i++) {
        const struct check_item *item = &report->items[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "name", item->name, "state",
                                              check_state_name(item->state), "text", text_or_null(item->text),
                                              "mend", text_or_null(item->mend)));
    }
    json_t *root = json_pack("{s:b, s:o}", "ok", !report->faulty, "checks", list);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    printf("%s\n", text);
    free(text);
}

/* One line each, whatever a statement holds. */
static void print_text(const struct check_report *report)
{
    for (size_t i = 0; i < report->n; i++) {
        const struct check_item *item = &report->items[i];
        CLEANUP(buf_deinit) struct buf line = BUF_INIT(1024 * 1024);
        buf_printf(&line, "%-5s %s: ", check_state_name(item->state), item->name);
        buf_put_c(&line, item->text);
        if (item->mend) {
            buf_put_c(&line, "; mend: ");
            buf_put_c(&line, item->mend);
        }
        for (size_t k = 0; k < line.n; k++) {
            line.p[k] = line.p[k] == '\n' ? ' ' : line.p[k];
        }
        printf("%s\n", buf_cstr(&line));
    }
}

static void report_deinit(struct check_report *report)
{
    check_report_deinit(report);
}

int check_command(const struct call *call)
{
    CLEANUP(report_deinit) struct check_report report = {0};
    log_set_level(LOG_ERROR); /* what there is to say is in the report */
    add_faults(call, &report);
    add_certificate(call, &report);
    if (!call->faults->of[OPT_PG_PROXY_PORT] && !call->faults->of[OPT_HTTP_PORT]) {
        check_ports(call->config, &report);
    }
    if (call->config->database.conninfo && !call->faults->of[OPT_DATABASE_URL]) {
        check_database(call->config, call->config->check.adopt, &report);
    }
    if (call->config->json) {
        print_json(&report);
    } else {
        print_text(&report);
    }
    return fflush(stdout) != 0 || report.faulty ? STATUS_FAULT : STATUS_OK;
}
