/* SPDX-License-Identifier: Apache-2.0 */
/* The release tasks: configuration to struct task. */
#include "cli/commands.h"
#include "migrate/task.h"

static int wrong(const char *flag, const char *what)
{
    fprintf(stderr, "busbar: %s %s\n", flag, what);
    return -1;
}

static int set_target(struct task *t, const char *flag, enum target_kind kind, uint64_t value)
{
    if (t->has_target) {
        return wrong(flag,
                     "is one target too many: --all, --step, --to and --to-exclusive exclude each other");
    }
    t->target = (struct target){kind, value};
    t->has_target = true;
    return 0;
}

static int set_version(struct task *t, const char *flag, enum target_kind kind, const char *text)
{
    uint64_t version;
    if (!str_to_u64(str_c(text), INT64_MAX, &version)) {
        return wrong(flag, "wants a version: the digits that a migration's file begins with");
    }
    return set_target(t, flag, kind, version);
}

static int read_target(const struct config_release *c, struct task *t)
{
    bool bad =
        (c->all && set_target(t, "--all", TARGET_ALL, 0) < 0) ||
        (c->step && set_target(t, "--step", TARGET_STEP, c->step) < 0) ||
        (c->to && set_version(t, "--to", TARGET_TO, c->to) < 0) ||
        (c->to_exclusive && set_version(t, "--to-exclusive", TARGET_TO_EXCLUSIVE, c->to_exclusive) < 0);
    return bad ? -1 : 0;
}

static struct task make_task(const struct call *call)
{
    const struct config_release *c = &call->config->release;
    struct task t = {
        .choice = {.url = settings_text(call->settings, OPT_DATABASE_URL),
                   .proxy_url = c->proxy_url,
                   .config_file = c->config_file,
                   .names = c->repos,
                   .paths = c->paths,
                   .source = c->source,
                   .prefixes = c->prefixes,
                   .lock = c->lock},
        .data = c->data,
        .strict = c->strict,
        .exit_code = c->exit_code,
        .emit_forward = c->emit_forward,
        .once = c->once,
        .force = c->force,
        .database_wait_ms = c->database_wait_ms,
        .lock_wait_ms = c->lock_wait_ms,
        .run = {.lock_timeout_ms = c->lock_timeout_ms, .lock_retries = c->lock_retries},
        .repair = (enum task_repair)c->action,
        .file = c->file,
        .argument = call->arguments_n ? call->arguments[0] : NULL,
    };
    enum report_format format = call->config->json ? REPORT_JSON : (enum report_format)c->format;
    report_init(&t.report, format, c->quiet, c->log_sql);
    return t;
}

static int run_task(const struct call *call, int (*task)(struct task *t))
{
    struct task t = make_task(call);
    log_set_level(LOG_ERROR); /* a command talks to a person, not to a log */
    if (call->arguments_n > 1) {
        wrong(call->arguments[1], "is one argument too many");
        return STATUS_USAGE;
    }
    return read_target(&call->config->release, &t) < 0 ? STATUS_USAGE : task(&t);
}

int migrate_command(const struct call *call)
{
    return run_task(call, call->config->release.dry_run ? task_plan : task_migrate);
}

int rollback_command(const struct call *call)
{
    return run_task(call, task_rollback);
}

int status_command(const struct call *call)
{
    return run_task(call, task_status);
}

int plan_command(const struct call *call)
{
    return run_task(call, task_plan);
}

int seed_command(const struct call *call)
{
    return run_task(call, task_seed);
}

int new_command(const struct call *call)
{
    return run_task(call, task_new);
}

int dump_command(const struct call *call)
{
    return run_task(call, task_dump);
}

int load_command(const struct call *call)
{
    return run_task(call, task_load);
}

int repair_command(const struct call *call)
{
    return run_task(call, task_repair);
}
