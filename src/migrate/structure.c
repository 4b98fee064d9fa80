/* SPDX-License-Identifier: Apache-2.0 */
/* busbar dump, busbar load: by pg_dump and psql, which get the connection in their environment, no password
 * on a command line. */
#include "app/files.h"
#include "migrate/history.h"
#include "migrate/place.h"
#include "sql/quote.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STRUCTURE_LIMIT = 256 * 1024 * 1024, ARGUMENTS = 24 };

static const char *file_of(struct place *p)
{
    return p->task->file ? p->task->file : arena_printf(&p->arena, "%s/structure.sql", p->session.repo->priv);
}

/* Ours, with the URL's settings in front: the first of a name counts. */
static int make_environment(struct place *p, char ***out)
{
    struct err err = ERR_INIT;
    const char **own;
    size_t own_n = 0, env_n = 0, n = 0;
    if (sync_environment(&p->arena, repo_look_url(p->session.repo), &own, &err) < 0) {
        report_failure(&p->task->report, err.msg, NULL, NULL);
        return -1;
    }
    while (own[own_n]) {
        own_n++;
    }
    while (environ[env_n]) {
        env_n++;
    }
    char **list = arena_alloc_array(&p->arena, own_n + env_n + 1, sizeof *list);
    for (size_t i = 0; i < own_n; i++) {
        list[n++] = arena_strdup(&p->arena, own[i]);
    }
    for (size_t i = 0; i < env_n; i++) {
        struct str rest = str_c(environ[i]);
        struct str name = str_cut(&rest, '=');
        bool replaced = false;
        for (size_t k = 0; k < own_n; k++) {
            replaced |= strncmp(own[k], name.p, name.n + 1) == 0;
        }
        if (!replaced) {
            list[n++] = environ[i];
        }
    }
    *out = list;
    return 0;
}

/* Signals are held here; the program must hear them. */
static int start(struct place *p, const char *const *argv, int output, pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    char **env;
    if (make_environment(p, &env) < 0) {
        return -1;
    }
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (output >= 0) {
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    }
    char *arguments[ARGUMENTS] = {0};
    for (size_t i = 0; argv[i] && i + 1 < ARGUMENTS; i++) {
        arguments[i] = arena_strdup(&p->arena, argv[i]);
    }
    int rc = posix_spawnp(out_pid, argv[0], &actions, &attributes, arguments, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0) {
        report_failure(&p->task->report, arena_printf(&p->arena, "cannot run %s: %s", argv[0], strerror(rc)),
                       NULL, "install the PostgreSQL client programs");
        return -1;
    }
    return 0;
}

static int finish(struct place *p, const char *name, pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        report_failure(&p->task->report, arena_printf(&p->arena, "%s has failed", name), NULL, NULL);
        return -1;
    }
    return 0;
}

/* Runs a program and takes what it writes. */
static int capture(struct place *p, const char *const *argv, struct buf *out)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        report_failure(&p->task->report, strerror(errno), NULL, NULL);
        return -1;
    }
    int rc = start(p, argv, ends[1], &pid);
    close(ends[1]);
    char piece[65536];
    ssize_t n = 1;
    while (rc == 0 && n > 0) {
        n = read(ends[0], piece, sizeof piece);
        buf_put(out, piece, n > 0 ? (size_t)n : 0);
    }
    close(ends[0]);
    if (rc == 0) {
        rc = finish(p, argv[0], pid);
    }
    if (rc == 0 && out->overflow) {
        report_failure(&p->task->report, "the structure is too long", NULL, NULL);
        rc = -1;
    }
    return rc;
}

static bool contains(struct str text, struct str part)
{
    return memmem(text.p, text.n, part.p, part.n) != NULL;
}

/* The service's own triggers and publication come with the service. */
static void put_without_service(struct buf *out, struct str text)
{
    static const char *const ours[] = {"CREATE EVENT TRIGGER busbar", "ALTER EVENT TRIGGER busbar",
                                       "CREATE PUBLICATION electric_publication",
                                       "ALTER PUBLICATION electric_publication"};
    bool dropped = false;
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        dropped = dropped || contains(line, STR("TRIGGER busbar_truncate"));
        for (size_t i = 0; i < ARRAY_LEN(ours) && !dropped; i++) {
            dropped = str_starts_with(line, str_c(ours[i]));
        }
        if (!dropped) {
            buf_put_str(out, line);
            buf_put_byte(out, '\n');
        } else if (line.n && line.p[line.n - 1] == ';') {
            dropped = false;
        }
    }
}

static void put_versions(struct place *p, struct buf *out)
{
    for (size_t i = 0; i < p->entries.n; i++) {
        if (p->entries.items[i].up) {
            buf_printf(out,
                       "INSERT INTO %s (\"version\", \"inserted_at\") VALUES (%" PRIu64
                       ", timezone('UTC', now()));\n",
                       p->session.source, p->entries.items[i].version);
        }
    }
}

static int dump(struct place *p)
{
    const char *argv[ARGUMENTS] = {"pg_dump", "--schema-only", "--no-owner", "--no-privileges"};
    size_t n = 4;
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(STRUCTURE_LIMIT);
    CLEANUP(buf_deinit) struct buf whole = BUF_INIT(STRUCTURE_LIMIT);
    if (p->session.service) {
        argv[n++] = "--exclude-schema=busbar";
        argv[n++] = "--exclude-schema=electric";
    }
    if (p->session.prefix) {
        argv[n++] = arena_printf(&p->arena, "--schema=%s", sql_ident(&p->arena, str_c(p->session.prefix)));
    }
    if (place_read(p) < 0 || capture(p, argv, &text) < 0) {
        return TASK_FAILED;
    }
    put_without_service(&whole, buf_str(&text));
    put_versions(p, &whole);
    if (file_write(file_of(p), 0666, buf_str(&whole), &err) < 0) {
        report_failure(&p->task->report, err.msg, NULL, NULL);
        return TASK_FAILED;
    }
    report_line(&p->task->report, "%s", file_of(p));
    return TASK_OK;
}

static int load(struct place *p)
{
    const char *argv[] = {"psql",   "--no-psqlrc",     "--quiet", "--single-transaction",
                          "--set",  "ON_ERROR_STOP=1", "-o",      "/dev/null",
                          "--file", file_of(p),        NULL};
    pid_t pid;
    if (place_read(p) < 0) {
        return TASK_FAILED;
    }
    for (size_t i = 0; i < p->entries.n && !p->task->force; i++) {
        if (p->entries.items[i].up) {
            report_failure(&p->task->report, "migrations have run in this database", NULL,
                           "--force loads all the same");
            return TASK_FAILED;
        }
    }
    if (start(p, argv, -1, &pid) < 0 || finish(p, argv[0], pid) < 0) {
        return TASK_FAILED;
    }
    report_line(&p->task->report, "%s was loaded", file_of(p));
    return TASK_OK;
}

int task_dump(struct task *t)
{
    t->looks = true;
    return place_each(t, dump);
}

int task_load(struct task *t)
{
    t->looks = true; /* psql gets the same URL */
    return place_each(t, load);
}
