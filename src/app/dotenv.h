/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The .env file of the working directory.
 *
 *   file   = { line }
 *   line   = blank | "#" comment | [ "export" ] KEY "=" value
 *   value  = 'literal text, may span lines'
 *          | "text with \n \r \t \" \\ \$ escapes, may span lines"
 *          | plain text up to the end of the line or to white space and "#"
 *
 * After a quoted value only a comment may follow. Nothing is expanded, nothing is put into the environment.
 */
#pragma once

#include "app/settings.h"

typedef void (*dotenv_fn)(void *ctx, struct str key, struct str value);

struct dotenv_problem {
    unsigned line; /* 0: none */
    const char *what;
    bool fatal; /* a quote that never ends: the rest of the file is lost */
};

/*
 * Calls fn for each assignment in order; both strings are borrowed for the call. A line that is no assignment
 * is skipped; the first one is told in *out_problem.
 */
void dotenv_parse(struct str text, dotenv_fn fn, void *ctx, struct dotenv_problem *out_problem);

/*
 * Reads `path` into the settings that `command` (a FOR_ bit) knows. No file, or something else than a regular
 * file (a Python environment is often called .env): nothing happens. Writes a line on `warnings` for a line
 * that was skipped; a file that cannot be read or used is a fault.
 */
void dotenv_read(const char *path, unsigned command, struct settings *settings, struct faults *faults,
                 struct buf *warnings);
