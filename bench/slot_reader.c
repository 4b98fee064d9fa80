/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot_reader CONNINFO SLOT PUBLICATION LSN: reads a logical replication slot until the stream has passed the
 * position (decimal), throws away what comes and confirms nothing. CONNINFO names the database; that it is
 * for replication is added. Prints, tab-separated: seconds from the command to the end, bytes of messages,
 * messages, CPU seconds of its own.
 *
 * The stream is asked for as Busbar asks for it, so that the server has the same to do. Each message is
 * looked at for its position alone.
 */
#include "base/rd.h"
#include "base/str.h"
#include "measure.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>

enum { STATUS_BYTES = 34, COMMAND_BYTES = 512 };

struct counts {
    uint64_t bytes, messages;
};

static PGconn *connect_for_replication(const char *conninfo)
{
    const char *names[] = {"dbname", "replication", NULL}, *values[] = {conninfo, "database", NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);
    if (PQstatus(conn) != CONNECTION_OK) {
        give_up("%s", PQerrorMessage(conn));
    }
    return conn;
}

static void start(PGconn *conn, const char *slot, const char *publication)
{
    char command[COMMAND_BYTES];
    int n = snprintf(command, sizeof command,
                     "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (publication_names '\"%s\"', "
                     "proto_version '2', streaming 'on', messages 'true')",
                     slot, publication);
    if (n < 0 || n >= (int)sizeof command) {
        give_up("the names are too long");
    }
    PGresult *result = PQexec(conn, command);
    if (PQresultStatus(result) != PGRES_COPY_BOTH) {
        give_up("%s", PQerrorMessage(conn));
    }
    PQclear(result);
}

static uint64_t get_u64(struct rd *r)
{
    uint64_t high = rd_u32be(r);
    return high << 32 | rd_u32be(r);
}

/* Position 0: a sign of life. */
static void answer(PGconn *conn)
{
    static const char status[STATUS_BYTES] = {'r'};
    if (PQputCopyData(conn, status, sizeof status) != 1 || PQflush(conn) != 0) {
        give_up("%s", PQerrorMessage(conn));
    }
}

/* Whether the end has come. */
static bool read_one(PGconn *conn, uint64_t end, struct counts *counts)
{
    char *p;
    int n = PQgetCopyData(conn, &p, 0);
    if (n <= 0) {
        give_up("%s", PQerrorMessage(conn));
    }
    struct rd r = rd_init(p, (size_t)n);
    bool is_data = rd_u8(&r) == 'w';
    uint64_t lsn = get_u64(&r);
    counts->bytes += (uint64_t)n;
    counts->messages++;
    if (!is_data && p[n - 1]) {
        answer(conn);
    }
    PQfreemem(p);
    return lsn > end;
}

int main(int argc, char **argv)
{
    struct counts counts = {0};
    uint64_t end;
    if (argc != 5 || !str_to_u64(str_c(argv[4]), UINT64_MAX, &end)) {
        give_up("usage: slot_reader CONNINFO SLOT PUBLICATION LSN");
    }
    PGconn *conn = connect_for_replication(argv[1]);
    double began = now_us();
    start(conn, argv[2], argv[3]);
    while (!read_one(conn, end, &counts)) {
    }
    printf("%.4f\t%" PRIu64 "\t%" PRIu64 "\t%.4f\n", (now_us() - began) / 1e6, counts.bytes, counts.messages,
           cpu_seconds());
    PQfinish(conn);
    return 0;
}
