/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_reader CONNINFO COMMAND: runs a COPY … TO STDOUT and throws the rows away. Prints, tab-separated:
 * seconds, bytes, rows, CPU seconds of its own.
 */
#include "measure.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>

static void start(PGconn *conn, const char *command)
{
    PGresult *result = PQexec(conn, command);
    if (PQresultStatus(result) != PGRES_COPY_OUT) {
        give_up("%s", PQerrorMessage(conn));
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
        give_up("%s", PQerrorMessage(conn));
    }
    double began = now_us();
    start(conn, argv[2]);
    while ((n = PQgetCopyData(conn, &row, 0)) > 0) {
        bytes += (uint64_t)n;
        rows++;
        PQfreemem(row);
    }
    if (n != -1) {
        give_up("%s", PQerrorMessage(conn));
    }
    printf("%.4f\t%" PRIu64 "\t%" PRIu64 "\t%.4f\n", (now_us() - began) / 1e6, bytes, rows, cpu_seconds());
    PQfinish(conn);
    return 0;
}
