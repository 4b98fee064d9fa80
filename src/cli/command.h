/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command tree and the command line. A command's function parses nothing: it receives its configuration
 * and arguments, read and checked. What an option is called and takes stands in app/options.c.
 */
#pragma once

#include "app/config_source.h"
#include "base/err.h"

/* Exit statuses of the program. */
enum { STATUS_OK = 0, STATUS_FAULT = 1, STATUS_USAGE = 2 };

enum { COMMAND_ARGUMENTS = 4, COMMAND_NAME_LIMIT = 64 };

struct command;

/* What a command runs with; all borrowed. `config` and `settings` may be changed and are freed by the caller.
 */
struct call {
    const struct command *root;
    struct config *config;              /* for commands that take options */
    struct settings *settings;          /* what it was read from */
    const struct config_source *source; /* to read it again */
    const struct faults *faults;        /* none, unless the command shows_faults */
    const char *const *arguments;
    size_t arguments_n;
};

struct command {
    const char *name;
    const char *summary;   /* one line for the list of commands */
    const char *about;     /* a paragraph for its own --help */
    const char *arguments; /* how --help calls them; NULL: takes none */
    unsigned options;      /* the FOR_ bit of the options it takes; 0: none, and no configuration is read */
    bool shows_faults;     /* runs with a faulty configuration too, and reports the faults itself */
    int (*run)(const struct call *call);
    const struct command *children; /* ends with a row without name */
};

struct invocation {
    const struct command *command;
    char name[COMMAND_NAME_LIMIT]; /* "busbar dev" */
    bool help;
    bool version;
    struct settings settings; /* the flags */
    const char *arguments[COMMAND_ARGUMENTS];
    size_t arguments_n;
};

/*
 * Reads the command line. -1 for one that is wrong: *err says what, with the nearest name that would have
 * been right; out->command and out->name are set even then. The caller runs settings_deinit(&out->settings)
 * in any case.
 */
MUST_USE int command_parse(const struct command *root, int argc, char *const *argv, struct invocation *out,
                           struct err *err);

/* The child of that name, NULL when there is none. */
const struct command *command_find(const struct command *parent, const char *name);

/* Prints the faults of a configuration on stderr; returns STATUS_FAULT. */
int command_report_faults(const struct faults *faults, const struct settings *settings);

/* The whole program: command line, configuration, the command. Returns the exit status. */
int command_main(const struct command *root, int argc, char *const *argv);
