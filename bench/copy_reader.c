/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_reader CONNINFO COMMAND: runs a COPY … TO STDOUT and throws the rows away. Prints, tab-separated:
 * seconds, bytes, rows, CPU seconds of its own.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

_Noreturn static void give_up(const char *why)
{
    fprintf(stderr, "copy_reader: %s\n", why);
    exit(1);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double of_timeval(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return of_timeval(used.ru_utime) + of_timeval(used.ru_stime);
}

static void start(PGconn *conn, const char *command)
{
    PGresult *result = PQexec(conn, command);
    if (PQresultStatus(result) != PGRES_COPY_OUT) {
        give_up(PQerrorMessage(conn));
    }
    PQclear(result);
}

int main(int argc, char **argv)
{
    uint64_t bytes = 0, rows = 0;
    char *row;
    int n;
    if (argc != 3) {
        give_up("usage: copy_reader CONNINFO COMMAND");
    }
    PGconn *conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK) {
        give_up(PQerrorMessage(conn));
    }
    double began = seconds();
    start(conn, argv[2]);
    while ((n = PQgetCopyData(conn, &row, 0)) > 0) {
        bytes += (uint64_t)n;
        rows++;
        PQfreemem(row);
    }
    if (n != -1) {
        give_up(PQerrorMessage(conn));
    }
    printf("%.4f\t%" PRIu64 "\t%" PRIu64 "\t%.4f\n", seconds() - began, bytes, rows, cpu_seconds());
    PQfinish(conn);
    return 0;
}
