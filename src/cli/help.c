/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/help.h"

#include "cli/command.h"

#include <stdio.h>

enum { WIDTH = 100, INDENT = 36, COMMAND_INDENT = 16 };

static void put_spaces(struct buf *out, size_t n)
{
    buf_printf(out, "%*s", (int)n, "");
}

/* Wraps words at WIDTH; the text begins at column `at`, further lines are indented. */
static void put_wrapped(struct buf *out, const char *text, size_t at, size_t indent)
{
    struct str rest = str_c(text);
    bool first = true;
    while (rest.n) {
        struct str word = str_cut(&rest, ' ');
        if (!first && at + 1 + word.n > WIDTH) {
            buf_put_byte(out, '\n');
            put_spaces(out, indent);
            at = indent;
        } else if (!first) {
            buf_put_byte(out, ' ');
            at++;
        }
        buf_put_str(out, word);
        at += word.n;
        first = false;
    }
    buf_put_byte(out, '\n');
}

/* A name in the left column, a text in the right one; a long name gets a line of its own. */
static void put_row(struct buf *out, const char *name, const char *text, size_t indent)
{
    size_t used = strlen(name) + 2;
    buf_printf(out, "  %s", name);
    if (used + 1 > indent) {
        buf_put_byte(out, '\n');
        used = 0;
    }
    put_spaces(out, indent - used);
    put_wrapped(out, text, indent, indent);
}

static const char *default_of(const struct option *o, unsigned command)
{
    if (command == FOR_DEV && o->dev_value) {
        return o->dev_value;
    }
    return o->value_note ? o->value_note : o->value;
}

static void put_default(struct buf *out, const struct option *o, const char *value)
{
    struct str required = STR("required");
    if (!value || (o->type == TYPE_BOOL && strcmp(value, "false") == 0)) {
        return;
    }
    if (str_starts_with(str_c(value), required)) {
        buf_printf(out, " Required%s.", value + required.n);
    } else {
        buf_printf(out, " Default: %s.", value);
    }
}

static void put_option(struct buf *out, const struct option *o, unsigned command)
{
    char name[128];
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4096);
    snprintf(name, sizeof name, "%s%s%s", o->flag, o->placeholder ? " " : "",
             o->placeholder ? o->placeholder : "");
    buf_put_c(&text, o->help);
    if (o->variable) {
        buf_printf(&text, " [%s%s]", o->variable, o->secret ? "[_FILE]" : "");
    }
    put_default(&text, o, default_of(o, command));
    put_row(out, name, buf_cstr(&text), INDENT);
}

static bool is_listed(const struct option *o, int group, unsigned command)
{
    return (int)o->group == group && o->flag && (o->commands & command);
}

static void put_options(struct buf *out, unsigned command)
{
    for (int group = 0; group < GROUP_COUNT; group++) {
        bool titled = false;
        for (int id = 0; id < OPTION_COUNT; id++) {
            if (is_listed(&options[id], group, command)) {
                if (!titled) {
                    buf_printf(out, "\n%s:\n", option_groups[group]);
                    titled = true;
                }
                put_option(out, &options[id], command);
            }
        }
    }
}

static void put_commands(struct buf *out, const struct command *parent)
{
    buf_put_c(out, "\nCommands:\n");
    for (const struct command *c = parent->children; c->name; c++) {
        put_row(out, c->name, c->summary, COMMAND_INDENT);
    }
}

static const char sources_text[] = "\nEach option can be given as a flag (--flag VALUE or --flag=VALUE; "
                                   "--flag or --no-flag for a switch), as the\n"
                                   "environment variable in brackets, or in the file .env of the working "
                                   "directory, in this order of preference.\n"
                                   "For a secret, NAME_FILE can name a file that holds it.\n";

static const char status_text[] =
    "\nExit status: 0 all went well; 1 a fault of the configuration or at run time; 2 a faulty "
    "command line.\n";

void help_put_command(const struct command *command, const char *name, struct buf *out)
{
    buf_printf(out, "Usage: %s%s%s%s\n\n", name, command->children ? " COMMAND" : "",
               command->options ? " [OPTION]..." : "", command->arguments ? " " : "");
    if (command->arguments) {
        out->n -= 2;
        buf_printf(out, "%s\n\n", command->arguments);
    }
    put_wrapped(out, command->about, 0, 0);
    if (command->children) {
        put_commands(out, command);
        buf_printf(out, "\nOptions of a command: %s COMMAND --help. Version: %s --version.\n", name, name);
    }
    if (command->options) {
        buf_put_c(out, sources_text);
        put_options(out, command->options);
    }
    buf_put_c(out, status_text);
}

/* A table cell: a bar would end it. */
static void put_cell(struct buf *out, const char *text)
{
    for (; text && *text; text++) {
        buf_put_c(out, *text == '|' ? "\\" : "");
        buf_put_byte(out, *text);
    }
}

static void put_default_cell(struct buf *out, const struct option *o)
{
    if (o->value_note) {
        put_cell(out, o->value_note);
    } else if (o->value) {
        buf_printf(out, "`%s`", o->value);
    }
    if (o->dev_value) {
        buf_printf(out, "%s`busbar dev`: `%s`", o->value || o->value_note ? "; " : "", o->dev_value);
    }
}

static void put_markdown_row(struct buf *out, const struct option *o)
{
    buf_printf(out, "| %s%s%s%s | ", o->variable ? "`" : "", o->variable ? o->variable : "",
               o->variable ? "`" : "", o->secret ? " *or* `_FILE`" : "");
    if (o->flag) {
        buf_printf(out, "`%s%s%s`", o->flag, o->placeholder ? " " : "", o->placeholder ? o->placeholder : "");
    }
    buf_put_c(out, " | ");
    put_default_cell(out, o);
    buf_put_c(out, " | ");
    put_cell(out, o->help);
    buf_put_c(out, o->reloads ? " *Reloadable.* |\n" : " |\n");
}

static const char markdown_head[] =
    "# Configuration\n"
    "\n"
    "<!-- Generated by `busbar show-config --markdown` from src/app/options.c: do not edit. -->\n"
    "\n"
    "Each option is a flag, an environment variable, or a line `NAME=value` of the file `.env` in the "
    "working\n"
    "directory: a flag wins over the environment, the environment over `.env`, and `.env` over the default.\n"
    "\n"
    "- A switch is given as `--flag` or `--no-flag`, or with one of the values `true`, `t`, `yes`, `y`, "
    "`on`, `1`,\n"
    "  `false`, `f`, `no`, `n`, `off`, `0` (any case). Other flags take `--flag value` or `--flag=value`.\n"
    "- A size is a number above 0, decimals allowed, with an optional unit: `k`, `m`, `g` are powers of "
    "1000,\n"
    "  `K`, `M`, `G` powers of 1024.\n"
    "- A time is a whole number with an optional unit, `ms`, `s`, `min`, `h` or `d`; without one it counts "
    "seconds.\n"
    "- In `.env`, values may stand in single quotes (literal) or double quotes (with `\\n`, `\\t`, `\\\"`, "
    "`\\\\`, `\\$`),\n"
    "  quoted values may span lines, lines may begin with `export`, and `#` begins a comment.\n"
    "- A secret can be kept in a file: `PG_PROXY_PASSWORD_FILE` names one whose content, without a line "
    "break "
    "at its end,\n"
    "  is the value of `PG_PROXY_PASSWORD`. Set one of the two. The same goes for every option marked "
    "`_FILE`.\n"
    "\n"
    "Everything is checked before a port opens. All faults are reported together and the exit status is 1; a "
    "faulty\n"
    "command line gives 2. `busbar show-config` prints the values in force and where each comes from.\n"
    "\n"
    "On SIGHUP `busbar serve` reads everything anew. Options marked *reloadable* change then; when any other "
    "one has\n"
    "changed, or anything is faulty, nothing changes and the log says why.\n";

static void put_ignored(struct buf *out)
{
    buf_put_c(
        out,
        "These variables are known so that an existing environment works unchanged; they change nothing: ");
    bool first = true;
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (options[id].type == TYPE_IGNORED) {
            buf_printf(out, "%s`%s`", first ? "" : ", ", options[id].variable);
            first = false;
        }
    }
    buf_put_c(out, ".\n");
}

void help_put_markdown(struct buf *out)
{
    buf_put_c(out, markdown_head);
    for (int group = 0; group < GROUP_COUNT; group++) {
        buf_printf(out, "\n## %s\n\n", option_groups[group]);
        if (group == GROUP_IGNORED) {
            put_ignored(out);
            continue;
        }
        buf_put_c(out, "| Variable | Flag | Default | Meaning |\n| --- | --- | --- | --- |\n");
        for (int id = 0; id < OPTION_COUNT; id++) {
            if ((int)options[id].group == group) {
                put_markdown_row(out, &options[id]);
            }
        }
    }
}

void help_put_value(const struct settings *settings, const struct config *config, enum option_id id,
                    struct buf *out)
{
    const char *text = settings_text(settings, id);
    if (!text) {
        return;
    }
    if (options[id].type == TYPE_URL && config->database.url.host) {
        database_url_put_masked(&config->database.url, out);
    } else {
        buf_put_c(out, options[id].secret ? "********" : text);
    }
}
