/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was set for each option, as text, and where: flag > environment > .env > default. A secret can also be
 * the content of a file, which NAME_FILE names in the environment or .env.
 * And the faults found in it, one an option, to be reported together.
 */
#pragma once

#include "app/options.h"
#include "base/buf.h"

/* Later sources win over earlier ones. */
enum setting_source { SOURCE_UNSET, SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG };

struct setting {
    char *text; /* owned; NULL when unset */
    enum setting_source source;
    char *file; /* owned; what NAME_FILE says, NULL when unset */
    enum setting_source file_source;
};

struct settings {
    struct setting of[OPTION_COUNT];
};

struct faults;

#define SETTINGS_INIT \
    {                 \
        0             \
    }

void settings_deinit(struct settings *s); /* wipes; may run twice */

/* Keeps the text when nothing of a later source is there; a second flag replaces the first, or follows it on
 * a line of its own (option.repeats). */
void settings_set(struct settings *s, enum option_id id, struct str text, enum setting_source source);

/* The same for NAME_FILE. */
void settings_set_file(struct settings *s, enum option_id id, struct str path, enum setting_source source);

/* Sets what a variable of the environment or of .env stands for: an option of `command`, or its file. */
void settings_set_variable(struct settings *s, unsigned command, struct str name, struct str value,
                           enum setting_source source);

/* The text in force, NULL when unset (or empty where empty counts as unset). */
const char *settings_text(const struct settings *s, enum option_id id);

void settings_read_environment(struct settings *s, unsigned command);
/*
 * Puts the content of files in place of their names, without one line break at the end. Both NAME and
 * NAME_FILE set, and a file that cannot be used, are faults. After all sources, before the defaults.
 */
void settings_read_files(struct settings *s, struct faults *faults);
/* `command` is a FOR_ bit: it selects the defaults. */
void settings_read_defaults(struct settings *s, unsigned command);

const char *setting_source_name(enum setting_source source);
/* Appends where a setting comes from: "environment", ".env, file "/run/secrets/key"". */
void setting_put_source(const struct setting *setting, struct buf *out);

struct faults {
    char *of[OPTION_COUNT]; /* what follows the option's name, e.g. "not set" */
    char *advice[OPTION_COUNT];
    char *file; /* a .env file that cannot be used */
    size_t count;
};

#define FAULTS_INIT \
    {               \
        0           \
    }

void faults_deinit(struct faults *f);
/* The first fault of an option stays. The row's hint (or what its type allows) becomes the advice. */
void faults_add(struct faults *f, enum option_id id, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Another advice for an option that has a fault; NULL: none. */
void faults_advise(struct faults *f, enum option_id id, const char *advice);
void faults_add_file(struct faults *f, const char *text);
/* The report for a person. */
void faults_write(const struct faults *f, const struct settings *s, struct buf *out);

/* Appends a value in double quotes, shortened, with control characters escaped. */
void put_quoted(struct buf *out, struct str value);
