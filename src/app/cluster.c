/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the life of the server on one cluster. The steps of a start, each a function:
 *
 *   folder, lock → programs → (leftover server?) → initdb into pg.new.N, rename → port → server → ready →
 * database
 *
 * A cluster counts as made only when pg.new has become pg, so an initdb that was killed half way is done
 * again. All settings that we need are given on the server's command line: nothing is edited in the cluster,
 * what its user sets there stays, and a later version of Busbar can ask for others.
 */
#include "app/cluster.h"

#include "app/child.h"
#include "app/files.h"
#include "app/folder.h"
#include "app/pgbin.h"
#include "app/port.h"
#include "app/postmaster.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PASSWORD "db_password"
#define DATABASE "electric"

enum {
    POLL_MS = 5,
    LEFTOVER_MS = 12000, /* a fast shutdown that follows a kill -9 of busbar */
    STOP_MS = 10000,
    ABORT_MS = 10000, /* after SIGQUIT the server gives its processes 5 s */
    START_ATTEMPTS = 10,
    LOG_LINES = 12,
    LOG_KEEP = 16 * 1024 * 1024,
    OUTPUT_LIMIT = 64 * 1024,
};

struct cluster {
    struct cluster_options options;
    struct folder folder;
    struct pgbin bin;
    uint16_t port;
    bool has_ipv6;
    pid_t pid;  /* 0: not running */
    int status; /* how it ended, once it did */
    off_t log_start;
    char url[128];
    char socket_url[3 * PATH_MAX];
};

PRINTF_LIKE(2, 3) static void note(const struct cluster *c, const char *fmt, ...)
{
    char line[2 * PATH_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (c->options.note) {
        c->options.note(c->options.ctx, line);
    }
}

static void note_lines(const struct cluster *c, struct str text)
{
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        note(c, "  %.*s", STR_ARG(line));
    }
}

void cluster_note_log(const struct cluster *c)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(OUTPUT_LIMIT);
    file_tail(c->folder.log, c->log_start, LOG_LINES, &text);
    if (text.n) {
        note(c, "The last lines of %s:", c->folder.log);
        note_lines(c, buf_str(&text));
    }
}

static bool is_cancelled(void *ctx)
{
    const struct cluster *c = ctx;
    return c->options.is_cancelled && c->options.is_cancelled(c->options.ctx);
}

static int cancelled(struct err *err)
{
    return err_set_errno(err, EINTR, "the start of PostgreSQL was given up");
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

/* Runs one of PostgreSQL's programs as the server's user. What it wrote is shown when it failed. */
static int run_program(struct cluster *c, const char *const *argv, struct str input, struct err *err)
{
    CLEANUP(buf_deinit) struct buf output = BUF_INIT(OUTPUT_LIMIT);
    CLEANUP(buf_deinit) struct buf how = BUF_INIT(256);
    struct child_spec spec = {.argv = argv, .user = &c->folder.user, .output = -1};
    struct child_patience patience = {is_cancelled, c};
    int status;
    if (child_run(&spec, input, &patience, &output, &status, err) < 0) {
        return -1;
    }
    if (status != 0) {
        note_lines(c, str_trim(buf_str(&output)));
        child_put_status(&how, status);
        return err_set(err, ERR_SYSTEM, "%s %s", argv[0], buf_cstr(&how));
    }
    return 0;
}

static int not_a_cluster(const char *path, struct err *err)
{
    return err_set(
        err, ERR_INPUT,
        "%s is not a PostgreSQL cluster (it has no file PG_VERSION): move it away, or choose another "
        "folder with --data",
        path);
}

/* 0: there is none yet. */
static int read_version(const struct cluster *c, int *out_major, struct err *err)
{
    const char *cluster = c->folder.cluster;
    char path[PATH_MAX];
    struct stat st;
    struct err unreadable = ERR_INIT;
    uint64_t major;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(64);
    *out_major = 0;
    if (stat(cluster, &st) < 0 && errno == ENOENT) {
        return 0;
    }
    if (path_printf(path, sizeof path, err, "%s/PG_VERSION", cluster) < 0) {
        return -1;
    }
    if (file_read(path, &text, &unreadable) < 0) {
        if (unreadable.code == EACCES) {
            return err_set(
                err, ERR_INPUT,
                "%s belongs to another user: run busbar as that user or as root, or choose another folder "
                "with --data",
                cluster);
        }
        return rmdir(cluster) == 0 ? 0 : not_a_cluster(cluster, err);
    }
    if (!str_to_u64(str_trim(buf_str(&text)), 1000, &major) || major == 0) {
        return not_a_cluster(cluster, err);
    }
    *out_major = (int)major;
    return 0;
}

static int find_programs(struct cluster *c, int made_by, struct err *err)
{
    if (pgbin_find(c->options.pg_bin, made_by, &c->bin, err) < 0) {
        return made_by ? err_context(err, "the cluster in %s was made by PostgreSQL %d", c->folder.cluster,
                                     made_by)
                       : -1;
    }
    return 0;
}

static const char *locale_name(void)
{
    locale_t utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    if (!utf8) {
        return "--locale=C";
    }
    freelocale(utf8);
    return "--locale=C.UTF-8";
}

static int run_initdb(struct cluster *c, struct err *err)
{
    char program[PATH_MAX];
    char password[PATH_MAX];
    char option[PATH_MAX + 16];
    if (path_printf(program, sizeof program, err, "%s/initdb", c->bin.folder) < 0 ||
        path_printf(password, sizeof password, err, "%s/pg.password", c->folder.home) < 0 ||
        file_write(password, 0644, STR(PASSWORD "\n"), err) < 0) {
        return -1;
    }
    snprintf(option, sizeof option, "--pwfile=%s", password);
    const char *const argv[] = {program,
                                "-D",
                                c->folder.fresh,
                                "-U",
                                "postgres",
                                "-E",
                                "UTF8",
                                locale_name(),
                                "--no-sync",
                                "--no-clean",
                                "--auth-local=trust",
                                "--auth-host=scram-sha-256",
                                option,
                                NULL};
    int result = run_program(c, argv, (struct str){0}, err);
    unlink(password);
    return result;
}

/* In single-user mode, because a server would cost another start. Nothing is lost if the machine stops now.
 */
static int create_database(struct cluster *c, struct err *err)
{
    char program[PATH_MAX];
    if (path_printf(program, sizeof program, err, "%s/postgres", c->bin.folder) < 0) {
        return -1;
    }
    const char *const argv[] = {program,    "--single",  "-D", c->folder.fresh,
                                "-c",       "fsync=off", "-c", "exit_on_error=on",
                                "postgres", NULL};
    return run_program(c, argv, STR("CREATE DATABASE " DATABASE "\n"), err);
}

static int create_cluster(struct cluster *c, struct err *err)
{
    if (folder_make_fresh(&c->folder, err) < 0 || run_initdb(c, err) < 0 || create_database(c, err) < 0) {
        return -1;
    }
    if (rename(c->folder.fresh, c->folder.cluster) < 0) {
        return err_set_errno(err, errno, "cannot rename %s to %s", c->folder.fresh, c->folder.cluster);
    }
    return 0;
}

/* A busbar that was killed leaves a server that is stopping; one that somebody started by hand stays. */
static int wait_for_leftover(struct cluster *c, struct err *err)
{
    uint64_t deadline = now_ms() + LEFTOVER_MS;
    pid_t pid = postmaster_running(c->folder.cluster);
    if (pid) {
        note(c, "Waiting for the PostgreSQL server of an earlier run (process %ld) to stop.", (long)pid);
    }
    while (pid && now_ms() < deadline) {
        if (is_cancelled(c)) {
            return cancelled(err);
        }
        pause_ms(POLL_MS);
        pid = postmaster_running(c->folder.cluster);
    }
    if (pid) {
        return err_set(
            err, ERR_INPUT,
            "a PostgreSQL server that this busbar did not start (process %ld) runs on %s: stop it (kill -INT "
            "%ld), or choose another folder with --data",
            (long)pid, c->folder.cluster, (long)pid);
    }
    postmaster_forget(c->folder.cluster);
    return 0;
}

static int open_log(struct cluster *c, struct err *err)
{
    char old[PATH_MAX];
    struct stat st;
    if (stat(c->folder.log, &st) == 0 && st.st_size > LOG_KEEP &&
        path_printf(old, sizeof old, err, "%s.1", c->folder.log) == 0) {
        rename(c->folder.log, old);
    }
    int fd = open(c->folder.log, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return err_set_errno(err, errno, "cannot write %s", c->folder.log);
    }
    c->log_start = lseek(fd, 0, SEEK_END);
    return fd;
}

/* An element of a list setting: in double quotes, as the path may hold spaces and commas. */
static void put_list_element(struct buf *out, const char *text)
{
    buf_put_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"') {
            buf_put_byte(out, '"');
        }
        buf_put_byte(out, *text);
    }
    buf_put_byte(out, '"');
}

static int launch(struct cluster *c, struct err *err)
{
    char program[PATH_MAX];
    char port[32];
    CLEANUP(buf_deinit) struct buf socket = BUF_INIT(3 * PATH_MAX);
    if (path_printf(program, sizeof program, err, "%s/postgres", c->bin.folder) < 0) {
        return -1;
    }
    snprintf(port, sizeof port, "port=%u", (unsigned)c->port);
    buf_put_c(&socket, "unix_socket_directories=");
    put_list_element(&socket, c->folder.socket);
    const char *const argv[] = {program,
                                "-D",
                                c->folder.cluster,
                                "-c",
                                port,
                                "-c",
                                buf_cstr(&socket),
                                "-c",
                                "unix_socket_permissions=0700",
                                "-c",
                                c->has_ipv6 ? "listen_addresses=127.0.0.1,::1" : "listen_addresses=127.0.0.1",
                                "-c",
                                "wal_level=logical",
                                "-c",
                                "max_wal_senders=20",
                                "-c",
                                "max_replication_slots=20",
                                "-c",
                                "logging_collector=off",
                                "-c",
                                "log_destination=stderr",
                                "-c",
                                "cluster_name=busbar",
                                NULL};
    int log = open_log(c, err);
    if (log < 0) {
        return -1;
    }
    struct child_spec spec = {.argv = argv, .user = &c->folder.user, .output = log};
    int result = child_start(&spec, &c->pid, err);
    close(log);
    return result;
}

/* True when the server ended; its number is then no longer ours to signal. */
static bool has_ended(struct cluster *c)
{
    if (c->pid && waitpid(c->pid, &c->status, WNOHANG) == 0) {
        return false;
    }
    c->pid = 0;
    return true;
}

static bool wait_for_end(struct cluster *c, unsigned ms)
{
    uint64_t deadline = now_ms() + ms;
    while (!has_ended(c)) {
        if (now_ms() >= deadline) {
            return false;
        }
        pause_ms(POLL_MS);
    }
    return true;
}

static void stop_server(struct cluster *c)
{
    static const struct {
        int signum;
        unsigned wait_ms;
    } steps[] = {{SIGINT, STOP_MS}, {SIGQUIT, ABORT_MS}, {SIGKILL, ABORT_MS}};
    for (size_t i = 0; i < ARRAY_LEN(steps) && c->pid; i++) {
        if (i > 0) {
            note(c, "PostgreSQL (process %ld) does not stop; sending signal %d.", (long)c->pid,
                 steps[i].signum);
        }
        kill(c->pid, steps[i].signum);
        wait_for_end(c, steps[i].wait_ms);
    }
    c->pid = 0;
}

int cluster_check(struct cluster *c, struct err *err)
{
    CLEANUP(buf_deinit) struct buf how = BUF_INIT(256);
    if (!has_ended(c)) {
        return 0;
    }
    child_put_status(&how, c->status);
    return err_set(err, ERR_UPSTREAM, "the embedded PostgreSQL server %s", buf_cstr(&how));
}

enum readiness { SERVER_READY, SERVER_PORT_TAKEN };

/*
 * The status line of postmaster.pid says `ready` when connections are accepted. A server that could bind only
 * the second address goes on with a warning: somebody took the port on the first one in between.
 */
static int wait_until_ready(struct cluster *c, enum readiness *out, struct err *err)
{
    struct postmaster server;
    for (;;) {
        if (cluster_check(c, err) < 0) {
            if (!port_is_free(c->port, &c->has_ipv6)) {
                *out = SERVER_PORT_TAKEN;
                return 0;
            }
            cluster_note_log(c);
            return -1;
        }
        if (postmaster_read(c->folder.cluster, &server) && server.pid == c->pid && server.ready) {
            *out = strcmp(server.listening, "127.0.0.1") == 0 ? SERVER_READY : SERVER_PORT_TAKEN;
            return 0;
        }
        if (is_cancelled(c)) {
            return cancelled(err);
        }
        pause_ms(POLL_MS);
    }
}

static int port_taken(const struct cluster *c, struct err *err)
{
    return err_set(
        err, ERR_INPUT,
        "port %u, given for the embedded PostgreSQL, is in use by another program: choose another one with "
        "--pg-port, or leave it out to get a free one",
        (unsigned)c->options.pg_port);
}

static int port_path(const struct cluster *c, char path[PATH_MAX], struct err *err)
{
    return path_printf(path, PATH_MAX, err, "%s/port", c->folder.dir);
}

static uint16_t remembered_port(const struct cluster *c)
{
    char path[PATH_MAX];
    struct err err;
    uint64_t port = 0;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(64);
    if (port_path(c, path, &err) < 0 || file_read(path, &text, &err) < 0 ||
        !str_to_u64(str_trim(buf_str(&text)), UINT16_MAX, &port)) {
        return 0;
    }
    return (uint16_t)port;
}

static int remember_port(const struct cluster *c, struct err *err)
{
    char path[PATH_MAX];
    char text[16];
    int n = snprintf(text, sizeof text, "%u\n", (unsigned)c->port);
    return port_path(c, path, err) < 0 ? -1 : file_write(path, 0644, (struct str){text, (size_t)n}, err);
}

static int choose_port(struct cluster *c, struct err *err)
{
    if (c->options.pg_port) {
        c->port = c->options.pg_port;
        return port_is_free(c->port, &c->has_ipv6) ? 0 : port_taken(c, err);
    }
    c->port = remembered_port(c);
    if (c->port && port_is_free(c->port, &c->has_ipv6)) {
        return 0;
    }
    return port_find_free(!c->options.ephemeral, &c->port, &c->has_ipv6, err);
}

/* Between choosing a port and the server's bind() somebody may take it: then another one is chosen. */
static int start_server(struct cluster *c, struct err *err)
{
    enum readiness readiness;
    for (unsigned attempt = 0; attempt < START_ATTEMPTS; attempt++) {
        if (folder_make_socket(&c->folder, err) < 0 || choose_port(c, err) < 0 || launch(c, err) < 0 ||
            wait_until_ready(c, &readiness, err) < 0) {
            return -1;
        }
        if (readiness == SERVER_READY) {
            return remember_port(c, err);
        }
        stop_server(c);
        pause_ms(POLL_MS); /* the other side may be doing the same */
    }
    return err_set(err, ERR_SYSTEM,
                   "found no free port for PostgreSQL in %d attempts: give one with --pg-port",
                   START_ATTEMPTS);
}

/* The user may have dropped it. Without psql nothing is done: who connects is told by the server. */
static int ensure_database(struct cluster *c, struct err *err)
{
    char program[PATH_MAX];
    char port[16];
    if (path_printf(program, sizeof program, err, "%s/psql", c->bin.folder) < 0) {
        return -1;
    }
    if (access(program, X_OK) < 0) {
        return 0;
    }
    snprintf(port, sizeof port, "%u", (unsigned)c->port);
    const char *const argv[] = {program,          "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h",
                                c->folder.socket, "-p", port, "-U", "postgres",        "-d",
                                "postgres",       NULL};
    return run_program(c, argv,
                       STR("SELECT 'CREATE DATABASE " DATABASE
                           "' WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database "
                           "WHERE datname = '" DATABASE "') \\gexec\n"),
                       err);
}

static void put_percent_encoded(struct buf *out, const char *text)
{
    for (; *text; text++) {
        bool plain = (*text >= '0' && *text <= '9') || (*text >= 'a' && *text <= 'z') ||
                     (*text >= 'A' && *text <= 'Z');
        buf_printf(out, plain ? "%c" : "%%%02X", (unsigned char)*text);
    }
}

static void make_urls(struct cluster *c)
{
    CLEANUP(buf_deinit) struct buf socket = BUF_INIT(3 * PATH_MAX);
    put_percent_encoded(&socket, c->folder.socket);
    snprintf(c->url, sizeof c->url,
             "postgresql://postgres:" PASSWORD "@localhost:%u/" DATABASE "?sslmode=disable",
             (unsigned)c->port);
    snprintf(c->socket_url, sizeof c->socket_url, "postgresql://postgres:" PASSWORD "@%s:%u/" DATABASE,
             buf_cstr(&socket), (unsigned)c->port);
}

static int prepare_and_start(struct cluster *c, struct err *err)
{
    int made_by;
    if (folder_open(c->options.ephemeral ? NULL : c->options.data, &c->folder, err) < 0) {
        return -1;
    }
    if (strcmp(c->folder.home, c->folder.dir) != 0) {
        note(c, "User %s, who runs PostgreSQL, cannot enter %s: the cluster is in %s, linked from there.",
             c->folder.user.name, c->folder.dir, c->folder.home);
    }
    if (read_version(c, &made_by, err) < 0 || find_programs(c, made_by, err) < 0) {
        return -1;
    }
    if ((made_by ? wait_for_leftover(c, err) : create_cluster(c, err)) < 0 || start_server(c, err) < 0) {
        return -1;
    }
    make_urls(c);
    return made_by ? ensure_database(c, err) : 0;
}

int cluster_start(const struct cluster_options *options, struct cluster **out, struct err *err)
{
    struct cluster *c = mem_zalloc(sizeof *c);
    c->options = *options;
    c->folder = (struct folder)FOLDER_INIT;
    if (prepare_and_start(c, err) < 0) {
        cluster_stop(c);
        return -1;
    }
    *out = c;
    return 0;
}

void cluster_stop(struct cluster *c)
{
    if (c) {
        stop_server(c);
        folder_close(&c->folder);
        free(c);
    }
}

const char *cluster_url(const struct cluster *c)
{
    return c->url;
}

const char *cluster_socket_url(const struct cluster *c)
{
    return c->socket_url;
}

const char *cluster_data(const struct cluster *c)
{
    return c->folder.dir;
}

const char *cluster_log(const struct cluster *c)
{
    return c->folder.log;
}

int cluster_version(const struct cluster *c)
{
    return c->bin.major;
}
