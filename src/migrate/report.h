/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person sees: results on stdout, warnings and failures on stderr, colours and progress only on a
 * terminal.
 */
#pragma once

#include "base/compiler.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdio.h>

enum report_format { REPORT_LINES, REPORT_ECTO, REPORT_JSON };

struct report {
    enum report_format format;
    bool quiet;   /* failures and warnings only */
    bool log_sql; /* each statement as it is sent */
    bool colour;  /* stdout is a terminal */
    bool progress_shown;
};

void report_init(struct report *r, enum report_format format, bool quiet, bool log_sql);

/* A line on stdout: not when quiet, and not among JSON. */
void report_line(struct report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "busbar: …" on stderr, whatever was asked for. */
void report_warning(struct report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* With what is known of it, a line each: detail and hint may be NULL or "". */
void report_failure(struct report *r, const char *message, const char *detail, const char *hint);

/* A migration begins, ends. `place` names repo or schema where there are several, else NULL. */
void report_begin(struct report *r, uint64_t version, const char *name, bool down);
void report_end(struct report *r, uint64_t version, const char *name, bool down, unsigned ms,
                const char *place);
void report_sql(struct report *r, struct str sql);

/* One line that the next one replaces; on a terminal only. */
void report_progress(struct report *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
