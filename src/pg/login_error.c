/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grammar of what libpq leaves in its error text, VERBOSE:
 *
 *   text     = attempt*
 *   attempt  = [ "connection to server at …" " failed: " ] ( server | words ) NL
 *   server   = severity ":  " sqlstate ": " message NL [ "DETAIL:  " … ] [ "HINT:  " … ] [ "LOCATION:  " … ]
 *
 * Severity and field names may be in the server's language, so a server error is known by ":  XXXXX: " alone.
 * A message, detail or hint may go over several lines.
 */
#include "pg/login_error.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

enum rank { RANK_NONE, RANK_LIBPQ, RANK_REFUSED, RANK_SERVER };

static bool is_sqlstate(const char *p, size_t n)
{
    for (size_t i = 0; i < 5; i++) {
        if (i >= n || !((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'A' && p[i] <= 'Z'))) {
            return false;
        }
    }
    return true;
}

/* Where the SQLSTATE of a server error begins in this line, or NULL. */
static const char *find_sqlstate(struct str line)
{
    for (size_t i = 0; i + 10 <= line.n; i++) {
        if (memcmp(line.p + i, ":  ", 3) == 0 && is_sqlstate(line.p + i + 3, line.n - i - 3) &&
            memcmp(line.p + i + 8, ": ", 2) == 0) {
            return line.p + i + 3;
        }
    }
    return NULL;
}

/* Appends a line to a field, white space at its ends dropped, one blank between lines. */
static void append(char *field, size_t size, struct str line)
{
    size_t used = strlen(field);
    line = str_trim(line);
    if (line.n > 0) {
        snprintf(field + used, size - used, "%s%.*s", used ? " " : "", STR_ARG(line));
    }
}

static enum rank rank_of(const struct login_error *e)
{
    if (!e->from_server) {
        return e->err.msg[0] ? RANK_LIBPQ : RANK_NONE;
    }
    return strcmp(e->err.sqlstate, "28000") == 0 && strstr(e->err.msg, "pg_hba.conf") ? RANK_REFUSED
                                                                                      : RANK_SERVER;
}

struct parser {
    struct login_error best, now;
    char *field; /* what a continuation line belongs to; NULL drops it */
    size_t size;
};

static void finish_attempt(struct parser *p)
{
    enum rank now = rank_of(&p->now);
    if (now != RANK_NONE && now >= rank_of(&p->best)) {
        p->best = p->now;
    }
    p->now = (struct login_error){.err.kind = ERR_UPSTREAM};
    p->field = p->now.err.msg;
    p->size = sizeof p->now.err.msg;
}

static bool take_prefix(struct str *line, struct str prefix)
{
    if (!str_starts_with(*line, prefix)) {
        return false;
    }
    line->p += prefix.n;
    line->n -= prefix.n;
    return true;
}

/* A server's fields after its message. English names only: those in other languages join the message. */
static void server_line(struct parser *p, struct str line)
{
    if (take_prefix(&line, STR("DETAIL:  "))) {
        p->field = p->now.detail;
        p->size = sizeof p->now.detail;
    } else if (take_prefix(&line, STR("HINT:  "))) {
        p->field = p->now.hint;
        p->size = sizeof p->now.hint;
    } else if (str_starts_with(line, STR("LOCATION:  ")) || str_starts_with(line, STR("CONTEXT:  "))) {
        p->field = NULL;
    }
    if (p->field) {
        append(p->field, p->size, line);
    }
}

static void parse_line(struct parser *p, struct str line)
{
    const char *state = find_sqlstate(line);
    if (state || str_starts_with(line, STR("connection to server "))) {
        finish_attempt(p);
    }
    if (state) {
        p->now.from_server = true;
        memcpy(p->now.err.sqlstate, state, 5);
        line = (struct str){state + 7, line.n - (size_t)(state + 7 - line.p)};
    }
    if (p->now.from_server) {
        server_line(p, line);
    } else {
        append(p->field, p->size, line);
    }
}

void login_error_parse(const char *text, const char *fallback, struct login_error *out_error)
{
    struct str rest = str_c(text);
    struct parser p = {0};
    finish_attempt(&p);
    while (rest.n > 0) {
        parse_line(&p, str_cut(&rest, '\n'));
    }
    finish_attempt(&p);
    *out_error = p.best;
    out_error->err.kind = ERR_UPSTREAM;
    if (!out_error->from_server) {
        snprintf(out_error->err.sqlstate, sizeof out_error->err.sqlstate, "%s", fallback);
    }
    if (!out_error->err.msg[0]) {
        snprintf(out_error->err.msg, sizeof out_error->err.msg, "%s",
                 "the connection to the database failed");
    }
}
