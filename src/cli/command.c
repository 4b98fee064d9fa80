/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include "app/version.h"
#include "base/mem.h"
#include "cli/help.h"
#include "cli/nearest.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPORT_LIMIT = 256 * 1024 };

const struct command *command_find(const struct command *parent, const char *name)
{
    for (const struct command *c = parent->children; c && c->name; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

static void descend(struct invocation *in, const struct command *child)
{
    size_t used = strlen(in->name);
    snprintf(in->name + used, sizeof in->name - used, "%s%s", used ? " " : "", child->name);
    in->command = child;
}

static int unknown_option(const struct invocation *in, struct str flag, struct err *err)
{
    const char *near = nearest_flag(flag, in->command->options);
    return err_set(err, ERR_INPUT, "unknown option %.*s%s%s%s", STR_ARG(flag), near ? " (did you mean " : "",
                   near ? near : "", near ? "?)" : "");
}

static int unknown_command(const struct invocation *in, const char *name, struct err *err)
{
    const char *near = nearest_command(str_c(name), in->command);
    return err_set(err, ERR_INPUT, "unknown command %.100s%s%s%s", name, near ? " (did you mean " : "",
                   near ? near : "", near ? "?)" : "");
}

/* --no-FLAG for a boolean option; -1 when it is none. */
static int negated_flag(struct str flag, unsigned commands)
{
    char plain[COMMAND_NAME_LIMIT];
    if (!str_starts_with(flag, STR("--no-")) || flag.n >= sizeof plain) {
        return -1;
    }
    int n = snprintf(plain, sizeof plain, "--%.*s", (int)flag.n - 5, flag.p + 5);
    int id = option_by_flag((struct str){plain, (size_t)n}, commands);
    return id >= 0 && options[id].type == TYPE_BOOL ? id : -1;
}

/*
 * --flag value, --flag=value; for a boolean --flag, --no-flag, --flag=value. `next` is the following argument
 * or NULL. Returns how many arguments were used.
 */
static int parse_flag(struct invocation *in, const char *arg, const char *next, struct err *err)
{
    struct str value = str_c(arg);
    bool has_value = strchr(arg, '=') != NULL;
    struct str flag = str_cut(&value, '=');
    int id = option_by_flag(flag, in->command->options);
    int negated = id < 0 && !has_value ? negated_flag(flag, in->command->options) : -1;
    if (negated >= 0) {
        settings_set(&in->settings, (enum option_id)negated, STR("false"), SOURCE_FLAG);
        return 1;
    }
    if (id < 0) {
        return unknown_option(in, flag, err);
    }
    if (has_value || options[id].type == TYPE_BOOL) {
        settings_set(&in->settings, (enum option_id)id, has_value ? value : STR("true"), SOURCE_FLAG);
        return 1;
    }
    if (!next) {
        return err_set(err, ERR_INPUT, "option %s needs a value: %s %s", options[id].flag, options[id].flag,
                       options[id].placeholder);
    }
    settings_set(&in->settings, (enum option_id)id, str_c(next), SOURCE_FLAG);
    return 2;
}

static int parse_word(struct invocation *in, const char *word, struct err *err)
{
    const struct command *child = in->arguments_n == 0 ? command_find(in->command, word) : NULL;
    if (child) {
        descend(in, child);
    } else if (in->command->children) {
        return unknown_command(in, word, err);
    } else if (!in->command->arguments || in->arguments_n == COMMAND_ARGUMENTS) {
        return err_set(err, ERR_INPUT, "unexpected argument %.100s", word);
    } else {
        in->arguments[in->arguments_n++] = word;
    }
    return 1;
}

static bool parse_common(struct invocation *in, const char *arg)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
        in->help = true;
    } else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
        in->version = true;
    } else {
        return false;
    }
    return true;
}

/* Help wins over what else may be wrong: whoever asks for it is told. */
static bool asks_for_help(int argc, char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

int command_parse(const struct command *root, int argc, char *const *argv, struct invocation *out,
                  struct err *err)
{
    bool words_only = false;
    *out = (struct invocation){.help = asks_for_help(argc, argv)};
    descend(out, root);
    for (int i = 1; i < argc;) {
        const char *arg = argv[i];
        int used = 1;
        if (!words_only && strcmp(arg, "--") == 0) {
            words_only = true;
        } else if (words_only || arg[0] != '-') {
            used = parse_word(out, arg, err);
        } else if (!parse_common(out, arg)) {
            used = parse_flag(out, arg, i + 1 < argc ? argv[i + 1] : NULL, err);
        }
        if (used < 0) {
            return -1;
        }
        i += used;
    }
    return 0;
}

static void print(FILE *file, struct buf *text)
{
    fwrite(text->p, 1, text->n, file);
    fflush(file);
}

static int print_help(const struct invocation *in, FILE *file, int status)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(REPORT_LIMIT);
    help_put_command(in->command, in->name, &text);
    print(file, &text);
    return status;
}

static int usage_error(const struct invocation *in, const struct err *err)
{
    fprintf(stderr, "%s: %s\nTry %s --help.\n", in->name, err->msg, in->name);
    return STATUS_USAGE;
}

int command_report_faults(const struct faults *faults, const struct settings *settings)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(REPORT_LIMIT);
    faults_write(faults, settings, &text);
    print(stderr, &text);
    return STATUS_FAULT;
}

static void read_config(const struct invocation *in, const struct config_source *source,
                        struct settings *settings, struct config *config, struct faults *faults)
{
    CLEANUP(buf_deinit) struct buf warnings = BUF_INIT(4096);
    config_source_read(source, settings, config, faults, &warnings);
    if (warnings.n) {
        fprintf(stderr, "%s: %s", in->name, buf_cstr(&warnings));
    }
}

static int run(const struct command *root, const struct invocation *in)
{
    struct config config = CONFIG_INIT;
    CLEANUP(settings_deinit) struct settings settings = SETTINGS_INIT;
    CLEANUP(faults_deinit) struct faults faults = FAULTS_INIT;
    const struct command *command = in->command;
    struct config_source source = {.command = command->options, .flags = &in->settings, .dotenv = ".env"};
    int status;
    if (command->options) {
        read_config(in, &source, &settings, &config, &faults);
    }
    if (faults.count && !command->shows_faults) {
        status = command_report_faults(&faults, &settings);
    } else {
        status = command->run(&(struct call){.root = root,
                                             .config = &config,
                                             .settings = &settings,
                                             .source = &source,
                                             .faults = &faults,
                                             .arguments = in->arguments,
                                             .arguments_n = in->arguments_n});
    }
    config_deinit(&config);
    return status;
}

static void invocation_deinit(struct invocation *in)
{
    settings_deinit(&in->settings);
}

int command_main(const struct command *root, int argc, char *const *argv)
{
    struct err err = ERR_INIT;
    CLEANUP(invocation_deinit) struct invocation in;
    int parsed = command_parse(root, argc, argv, &in, &err);
    if (in.help) {
        return print_help(&in, stdout, STATUS_OK);
    }
    if (parsed < 0) {
        return usage_error(&in, &err);
    }
    if (in.version) {
        printf("busbar %s\n", busbar_version);
        return STATUS_OK;
    }
    if (!in.command->run) {
        return print_help(&in, stderr, STATUS_USAGE);
    }
    return run(root, &in);
}
