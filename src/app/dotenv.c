/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the grammar in dotenv.h. What it cannot read it names by line; it never guesses. */
#include "app/dotenv.h"

#include "app/files.h"
#include "base/mem.h"

#include <stdio.h>
#include <sys/stat.h>

enum { DOTENV_LIMIT = 1024 * 1024 };

struct parser {
    const char *p;
    const char *end;
    unsigned line;
    struct buf value;
    struct dotenv_problem problem;
};

static void set_problem(struct parser *in, unsigned line, const char *what, bool fatal)
{
    if (!in->problem.line || fatal) {
        in->problem = (struct dotenv_problem){line, what, fatal};
    }
}

static bool at_end(const struct parser *in)
{
    return in->p == in->end;
}

static bool at_line_end(const struct parser *in)
{
    return at_end(in) || *in->p == '\n' || (*in->p == '\r' && in->p + 1 < in->end && in->p[1] == '\n');
}

static void skip_blanks(struct parser *in)
{
    while (!at_end(in) && (*in->p == ' ' || *in->p == '\t')) {
        in->p++;
    }
}

static void skip_line(struct parser *in)
{
    while (!at_end(in) && *in->p != '\n') {
        in->p++;
    }
    if (!at_end(in)) {
        in->p++;
        in->line++;
    }
}

static bool is_key_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

static struct str read_key(struct parser *in)
{
    struct str key = {in->p, 0};
    while (!at_end(in) && is_key_char(*in->p, key.n == 0)) {
        in->p++;
        key.n++;
    }
    return key;
}

static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case '"':
    case '\\':
    case '$':
        return c;
    default:
        return '\0';
    }
}

/* Both kinds of quotes may span lines: keys in PEM form are written like that. */
static bool read_quoted(struct parser *in)
{
    char quote = *in->p++;
    unsigned first = in->line;
    while (!at_end(in) && *in->p != quote) {
        char c = *in->p++;
        char escaped = quote == '"' && c == '\\' && !at_end(in) ? unescape(*in->p) : '\0';
        if (escaped) {
            in->p++;
            c = escaped;
        } else if (c == '\n') {
            in->line++;
        } else if (c == '\r' && !at_end(in) && *in->p == '\n') {
            continue;
        }
        buf_put_byte(&in->value, c);
    }
    if (at_end(in)) {
        set_problem(in, first, "the quote that begins here never ends", true);
        return false;
    }
    in->p++;
    return true;
}

static void read_plain(struct parser *in)
{
    const char *start = in->p;
    while (!at_line_end(in) &&
           !(*in->p == '#' && (in->p == start || in->p[-1] == ' ' || in->p[-1] == '\t'))) {
        in->p++;
    }
    buf_put_str(&in->value, str_trim((struct str){start, (size_t)(in->p - start)}));
}

static bool read_value(struct parser *in)
{
    buf_reset(&in->value);
    skip_blanks(in);
    if (at_end(in) || (*in->p != '"' && *in->p != '\'')) {
        read_plain(in);
        return true;
    }
    unsigned line = in->line;
    if (!read_quoted(in)) {
        return false;
    }
    skip_blanks(in);
    if (!at_line_end(in) && *in->p != '#') {
        set_problem(in, line, "text follows the closing quote", false);
        return false;
    }
    return true;
}

/* "export" is a prefix only when a name follows: `export=1` assigns to a variable of that name. */
static bool read_assignment(struct parser *in, struct str *out_key)
{
    struct str key = read_key(in);
    const char *after = in->p;
    skip_blanks(in);
    if (str_eq(key, STR("export")) && in->p > after && !at_end(in) && is_key_char(*in->p, true)) {
        key = read_key(in);
        skip_blanks(in);
    }
    if (key.n == 0 || at_end(in) || *in->p != '=') {
        set_problem(in, in->line, "not a KEY=VALUE line", false);
        return false;
    }
    in->p++;
    *out_key = key;
    return read_value(in);
}

void dotenv_parse(struct str text, dotenv_fn fn, void *ctx, struct dotenv_problem *out_problem)
{
    struct parser in = {.p = text.p, .end = text.p + text.n, .line = 1, .value = BUF_INIT(DOTENV_LIMIT)};
    if (str_starts_with(text, STR("\xef\xbb\xbf"))) {
        in.p += 3;
    }
    while (!at_end(&in)) {
        struct str key;
        skip_blanks(&in);
        if (!at_line_end(&in) && *in.p != '#' && read_assignment(&in, &key)) {
            fn(ctx, key, buf_str(&in.value));
        }
        skip_line(&in);
    }
    if (in.value.p) {
        mem_wipe(in.value.p, in.value.cap);
    }
    buf_deinit(&in.value);
    *out_problem = in.problem;
}

struct target {
    unsigned command;
    struct settings *settings;
};

static void on_assignment(void *ctx, struct str key, struct str value)
{
    const struct target *target = ctx;
    settings_set_variable(target->settings, target->command, key, value, SOURCE_FILE);
}

static void report(const char *path, const struct dotenv_problem *problem, struct faults *faults,
                   struct buf *warnings)
{
    char line[200];
    snprintf(line, sizeof line, "line %u of the file %s: %s", problem->line, path, problem->what);
    if (problem->fatal) {
        faults_add_file(faults, line);
    } else {
        buf_printf(warnings, "%s (skipped)\n", line);
    }
}

void dotenv_read(const char *path, unsigned command, struct settings *settings, struct faults *faults,
                 struct buf *warnings)
{
    struct stat st;
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT(DOTENV_LIMIT);
    struct target target = {command, settings};
    struct dotenv_problem problem;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return;
    }
    if (file_read(path, &text, &err) < 0) {
        faults_add_file(faults, err.msg);
    } else {
        dotenv_parse(buf_str(&text), on_assignment, &target, &problem);
        if (problem.line) {
            report(path, &problem, faults, warnings);
        }
    }
    if (text.p) {
        mem_wipe(text.p, text.cap);
    }
    buf_deinit(&text);
}
