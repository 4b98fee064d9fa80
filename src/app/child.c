/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between fork and exec only what is safe there: everything that allocates is made before. A child that
 * cannot get as far as its program writes errno into a pipe that exec closes. Descriptors 0 to 2 are open
 * (main.c sees to it).
 */
#include "app/child.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_STEP_MS = 50 };

extern char **environ;

static int fill_user(const struct passwd *pw, struct child_user *out, struct err *err)
{
    out->uid = pw->pw_uid;
    out->gid = pw->pw_gid;
    out->groups_n = (int)ARRAY_LEN(out->groups);
    snprintf(out->name, sizeof out->name, "%s", pw->pw_name);
    if (getgrouplist(pw->pw_name, pw->pw_gid, out->groups, &out->groups_n) < 0) {
        return err_set(err, ERR_LIMIT, "user %s is in more than %zu groups", pw->pw_name,
                       ARRAY_LEN(out->groups));
    }
    return 0;
}

int child_user_find(struct child_user *out, struct err *err)
{
    *out = (struct child_user){.uid = geteuid(), .gid = getegid(), .drop = geteuid() == 0};
    const struct passwd *pw = out->drop ? getpwnam("postgres") : getpwuid(geteuid());
    if (out->drop && (!pw || pw->pw_uid == 0)) {
        pw = getpwnam("nobody");
    }
    if (out->drop && (!pw || pw->pw_uid == 0)) {
        return err_set(
            err, ERR_INPUT,
            "PostgreSQL refuses to run as root, and this system has neither a user postgres nor a user "
            "nobody: run busbar as an ordinary user");
    }
    if (!pw) {
        return err_set(err, ERR_INPUT,
                       "the user id %lu has no entry in /etc/passwd, which PostgreSQL insists on",
                       (unsigned long)out->uid);
    }
    return fill_user(pw, out, err);
}

int child_user_by_id(uid_t uid, struct child_user *out, struct err *err)
{
    const struct passwd *pw = getpwuid(uid);
    *out = (struct child_user){.drop = true};
    if (!pw) {
        return err_set(err, ERR_INPUT, "there is no user with the id %lu", (unsigned long)uid);
    }
    return fill_user(pw, out, err);
}

static bool become(const struct child_user *user)
{
    return !user || !user->drop ||
           (setgroups((size_t)user->groups_n, user->groups) == 0 && setgid(user->gid) == 0 &&
            setuid(user->uid) == 0);
}

bool child_user_can_enter(const struct child_user *user, const char *folder)
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(become(user) && chdir(folder) == 0 ? 0 : 1);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Ours without what would change how PostgreSQL's programs behave. Borrows the entries; free the array. */
static char **clean_environment(void)
{
    static char messages[] = "LC_ALL=C";
    size_t n = 0;
    while (environ[n]) {
        n++;
    }
    char **clean = mem_alloc_array(n + 2, sizeof *clean);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct str entry = str_c(environ[i]);
        if (!str_starts_with(entry, STR("PG")) && !str_starts_with(entry, STR("LC_")) &&
            !str_starts_with(entry, STR("LANG"))) {
            clean[kept++] = environ[i];
        }
    }
    clean[kept++] = messages;
    clean[kept] = NULL;
    return clean;
}

struct plan {
    const struct child_spec *spec;
    char **environment;
    int input;  /* for stdin */
    int output; /* for stdout and stderr */
    int report; /* errno of a failure goes here */
    pid_t parent;
};

static void reset_signals(void)
{
    sigset_t none;
    for (int signum = 1; signum < NSIG; signum++) {
        signal(signum, SIG_DFL); /* fails for SIGKILL and the like, which is fine */
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * The death signal comes after setuid(), which clears it. A parent that died before it was set is seen by the
 * changed parent id. "/" is a folder that every user can be in.
 */
static bool prepare(const struct plan *plan)
{
    reset_signals();
    if (setpgid(0, 0) < 0 || !become(plan->spec->user) || prctl(PR_SET_PDEATHSIG, SIGINT) < 0) {
        return false;
    }
    if (getppid() != plan->parent) {
        _exit(1);
    }
    return chdir("/") == 0 && dup2(plan->input, STDIN_FILENO) >= 0 &&
           dup2(plan->output, STDOUT_FILENO) >= 0 && dup2(plan->output, STDERR_FILENO) >= 0;
}

NORETURN static void run_child(const struct plan *plan)
{
    if (prepare(plan)) {
        union {
            const char *const *fixed;
            char *const *argv; /* what execve() takes for historical reasons; it changes nothing */
        } args = {plan->spec->argv};
        execve(args.argv[0], args.argv, plan->environment);
    }
    int code = errno;
    ssize_t written = write(plan->report, &code, sizeof code);
    (void)written; /* nobody is left to tell */
    _exit(127);
}

/* Reads the errno of a child that could not start; 0 when exec closed the pipe. */
static int read_report(int fd)
{
    int code = 0;
    ssize_t n;
    do {
        n = read(fd, &code, sizeof code);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof code ? code : 0;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static int fork_child(struct plan *plan, pid_t *out_pid, struct err *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) {
        return err_set_errno(err, errno, "cannot create a pipe");
    }
    plan->report = report[1];
    plan->parent = getpid();
    plan->environment = clean_environment();
    pid_t pid = fork();
    if (pid == 0) {
        run_child(plan);
    }
    int code = pid < 0 ? errno : 0;
    free(plan->environment);
    close(report[1]);
    if (pid > 0) {
        code = read_report(report[0]);
    }
    close(report[0]);
    if (code) {
        if (pid > 0) {
            wait_for(pid);
        }
        return err_set_errno(err, code, "cannot run %s", plan->spec->argv[0]);
    }
    *out_pid = pid;
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

int child_start(const struct child_spec *spec, pid_t *out_pid, struct err *err)
{
    CLEANUP(close_fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) {
        return err_set_errno(err, errno, "cannot open /dev/null");
    }
    struct plan plan = {.spec = spec, .input = null, .output = spec->output >= 0 ? spec->output : null};
    return fork_child(&plan, out_pid, err);
}

/* Collects until the child and all who share its output are gone. False when patience is over. */
static bool collect(int fd, const struct child_patience *patience, struct buf *output)
{
    char chunk[4096];
    for (;;) {
        struct pollfd watched = {.fd = fd, .events = POLLIN};
        int ready = poll(&watched, 1, PATIENCE_STEP_MS);
        if (ready > 0) {
            ssize_t n = read(fd, chunk, sizeof chunk);
            if (n == 0 || (n < 0 && errno != EINTR)) {
                return true;
            }
            buf_put(output, chunk, n > 0 ? (size_t)n : 0);
        }
        if (patience && patience->is_over && patience->is_over(patience->ctx)) {
            return false;
        }
    }
}

/* The socket takes what PostgreSQL's programs are told here (some hundred bytes) without a reader. */
static void send_input(int fd, struct str input)
{
    if (input.n) {
        ignore_result(
            send(fd, input.p, input.n, MSG_NOSIGNAL)); /* a child that does not read fails by itself */
    }
    shutdown(fd, SHUT_WR);
}

int child_run(const struct child_spec *spec, struct str input, const struct child_patience *patience,
              struct buf *output, int *out_status, struct err *err)
{
    int in[2];
    int out[2];
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) < 0) {
        return err_set_errno(err, errno, "cannot create a socket");
    }
    CLEANUP(close_fd) int in_ours = in[0];
    CLEANUP(close_fd) int in_its = in[1];
    if (pipe2(out, O_CLOEXEC) < 0) {
        return err_set_errno(err, errno, "cannot create a pipe");
    }
    CLEANUP(close_fd) int out_ours = out[0];
    CLEANUP(close_fd) int out_its = out[1];
    struct plan plan = {.spec = spec, .input = in_its, .output = out_its};
    if (fork_child(&plan, &pid, err) < 0) {
        return -1;
    }
    close_fd(&in_its);
    close_fd(&out_its);
    send_input(in_ours, input);
    bool complete = collect(out_ours, patience, output);
    if (!complete) {
        kill(-pid, SIGINT);
        collect(out_ours, NULL, output);
    }
    *out_status = wait_for(pid);
    return complete ? 0 : err_set_errno(err, EINTR, "%s was stopped", spec->argv[0]);
}

void child_put_status(struct buf *out, int status)
{
    if (WIFSIGNALED(status)) {
        buf_printf(out, "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        buf_printf(out, "ended with exit status %d", WEXITSTATUS(status));
    }
}
