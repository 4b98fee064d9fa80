/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/report.h"

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

void report_init(struct report *r, enum report_format format, bool quiet, bool log_sql)
{
    *r = (struct report){
        .format = format, .quiet = quiet, .log_sql = log_sql, .colour = isatty(STDOUT_FILENO) == 1};
}

static bool is_silent(const struct report *r)
{
    return r->quiet || r->format == REPORT_JSON;
}

static void clear_progress(struct report *r)
{
    if (r->progress_shown) {
        fputs("\r\033[K", stderr);
        r->progress_shown = false;
    }
}

static const char *style(const struct report *r, const char *code)
{
    return r->colour ? code : "";
}

void report_line(struct report *r, const char *fmt, ...)
{
    va_list ap;
    clear_progress(r);
    if (is_silent(r)) {
        return;
    }
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

void report_warning(struct report *r, const char *fmt, ...)
{
    va_list ap;
    clear_progress(r);
    fputs("busbar: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void report_failure(struct report *r, const char *message, const char *detail, const char *hint)
{
    report_warning(r, "%s", message);
    if (detail && *detail) {
        fprintf(stderr, "  detail: %s\n", detail);
    }
    if (hint && *hint) {
        fprintf(stderr, "  hint: %s\n", hint);
    }
}

/* As the console backend of Elixir's Logger writes it. */
static void print_ecto(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void print_ecto(const char *fmt, ...)
{
    struct timespec now;
    struct tm local;
    va_list ap;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    printf("%02d:%02d:%02d.%03ld [info] ", local.tm_hour, local.tm_min, local.tm_sec, now.tv_nsec / 1000000);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

void report_begin(struct report *r, uint64_t version, const char *name, bool down)
{
    if (!r->quiet && r->format == REPORT_ECTO) {
        print_ecto("== Running %llu %s %s", (unsigned long long)version, name, down ? "backward" : "forward");
    } else if (!r->quiet && r->format == REPORT_LINES) {
        report_progress(r, "%-6s%llu %s", down ? "down" : "up", (unsigned long long)version, name);
    }
}

void report_end(struct report *r, uint64_t version, const char *name, bool down, unsigned ms,
                const char *place)
{
    if (!r->quiet && r->format == REPORT_ECTO) {
        print_ecto("== Migrated %llu in %u.%us", (unsigned long long)version, ms / 1000, ms % 1000 / 100);
    } else {
        report_line(r, "%s%-6s%s%llu  %s%s%s  (%u.%03u s)", style(r, "\033[32m"), down ? "down" : "up",
                    style(r, "\033[0m"), (unsigned long long)version, name, place ? "  in " : "",
                    place ? place : "", ms / 1000, ms % 1000);
    }
}

void report_sql(struct report *r, struct str sql)
{
    if (r->log_sql && !is_silent(r)) {
        clear_progress(r);
        printf("%.*s;\n", STR_ARG(sql));
    }
}

void report_progress(struct report *r, const char *fmt, ...)
{
    va_list ap;
    if (is_silent(r) || isatty(STDERR_FILENO) != 1) {
        return;
    }
    clear_progress(r);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fflush(stderr);
    r->progress_shown = true;
}
