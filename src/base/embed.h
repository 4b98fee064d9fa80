/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the build put into the program (tools/embed). A table ends with a row whose name is NULL. */
#pragma once

struct embedded_file {
    const char *name; /* without folder */
    const char *text; /* NUL-terminated */
};

extern const struct embedded_file sql_migrations[]; /* sql/NNNN_*.sql in order: run once each, recorded */
extern const struct embedded_file sql_routines[]; /* sql/routines/ files in order: re-created at each start */
extern const struct embedded_file
    sql_event_triggers[]; /* the guard; needs a privilege that not every role has */
