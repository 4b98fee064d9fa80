/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle_connections N SIDE_BY_SIDE CONNINFO: logs in N times, so many at once, runs SELECT 1 on each
 * connection, prints the seconds that took, and holds them until its standard input ends.
 */
#include "base/mem.h"
#include "base/str.h"
#include "measure.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIMIT_CONNECTIONS = 100000, LIMIT_SIDE_BY_SIDE = 1024, LOGIN_TIMEOUT_MS = 60000 };

/* A connection whose login is under way. */
struct login {
    PGconn *conn;
    PostgresPollingStatusType wants;
};

struct storm {
    const char *conninfo;
    PGconn **conns; /* those that are ready */
    size_t n, ready, started;
    struct login logins[LIMIT_SIDE_BY_SIDE];
    size_t under_way, side_by_side;
};

static void start_logins(struct storm *s)
{
    while (s->started < s->n && s->under_way < s->side_by_side) {
        PGconn *conn = PQconnectStart(s->conninfo);
        s->started++;
        s->logins[s->under_way++] = (struct login){conn, PGRES_POLLING_WRITING};
    }
}

static void wait_for_sockets(const struct storm *s, struct pollfd *fds)
{
    for (size_t i = 0; i < s->under_way; i++) {
        short events = s->logins[i].wants == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        fds[i] = (struct pollfd){.fd = PQsocket(s->logins[i].conn), .events = events};
    }
    if (poll(fds, s->under_way, LOGIN_TIMEOUT_MS) <= 0) {
        give_up("no login came any further");
    }
}

/* From the last on: a login that is done gives its place to the last one. */
static void go_on(struct storm *s, const struct pollfd *fds)
{
    for (size_t i = s->under_way; i-- > 0;) {
        struct login *l = &s->logins[i];
        if (!fds[i].revents) {
            continue;
        }
        l->wants = PQconnectPoll(l->conn);
        if (l->wants == PGRES_POLLING_FAILED) {
            give_up("%s", PQerrorMessage(l->conn));
        }
        if (l->wants == PGRES_POLLING_OK) {
            s->conns[s->ready++] = l->conn;
            *l = s->logins[--s->under_way];
        }
    }
}

static void log_in(struct storm *s)
{
    struct pollfd fds[LIMIT_SIDE_BY_SIDE];
    while (s->ready < s->n) {
        start_logins(s);
        wait_for_sockets(s, fds);
        go_on(s, fds);
    }
}

static void query_each(const struct storm *s)
{
    for (size_t i = 0; i < s->n; i++) {
        PGresult *result = PQexec(s->conns[i], "SELECT 1");
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            give_up("%s", PQerrorMessage(s->conns[i]));
        }
        PQclear(result);
    }
}

static size_t number(const char *text, uint64_t max)
{
    uint64_t n;
    if (!str_to_u64(str_c(text), max, &n) || n == 0) {
        give_up("usage: idle_connections N SIDE_BY_SIDE CONNINFO");
    }
    return (size_t)n;
}

int main(int argc, char **argv)
{
    struct storm s = {0};
    if (argc != 4) {
        give_up("usage: idle_connections N SIDE_BY_SIDE CONNINFO");
    }
    s.n = number(argv[1], LIMIT_CONNECTIONS);
    s.side_by_side = number(argv[2], LIMIT_SIDE_BY_SIDE);
    s.conninfo = argv[3];
    s.conns = mem_alloc_array(s.n, sizeof *s.conns);
    double began = now_us();
    log_in(&s);
    query_each(&s);
    printf("%.4f\n", (now_us() - began) / 1e6);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) { /* hold them */
    }
    for (size_t i = 0; i < s.n; i++) {
        PQfinish(s.conns[i]);
    }
    free(s.conns);
    return 0;
}
