/* SPDX-License-Identifier: Apache-2.0 */
#include "database.h"

#include "base/mem.h"
#include "satellite_client.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

struct writer {
    PGconn *conn;
    char insert[200];
    const char *table;
    unsigned body;
    unsigned long long next;
};

static PGconn *connect_to(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK) {
        give_up("%s", PQerrorMessage(conn));
    }
    return conn;
}

static PGresult *check(PGconn *conn, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_BOTH) {
        give_up("%s", PQerrorMessage(conn));
    }
    return result;
}

static void run(PGconn *conn, const char *sql)
{
    PQclear(check(conn, PQexec(conn, sql)));
}

static unsigned long long first_id(const struct writer *w)
{
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT coalesce(max(id), 0) + 1 FROM %s", w->table);
    PGresult *result = check(w->conn, PQexec(w->conn, sql));
    unsigned long long id = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return id;
}

struct writer *writer_new(const char *conninfo, const char *table, unsigned body)
{
    struct writer *w = mem_zalloc(sizeof *w);
    w->conn = connect_to(conninfo);
    w->table = table;
    w->body = body;
    w->next = first_id(w);
    snprintf(w->insert, sizeof w->insert, "INSERT INTO %s VALUES ($1::text::bigint, repeat('x', %u))", table,
             body);
    PQclear(check(w->conn, PQprepare(w->conn, "", w->insert, 0, NULL)));
    return w;
}

int writer_fd(const struct writer *w)
{
    return PQsocket(w->conn);
}

void writer_commit(struct writer *w)
{
    char id[24];
    snprintf(id, sizeof id, "%llu", w->next++);
    if (!PQsendQueryPrepared(w->conn, "", 1, (const char *[]){id}, NULL, NULL, 0) || PQflush(w->conn) != 0) {
        give_up("%s", PQerrorMessage(w->conn));
    }
}

void writer_commit_many(struct writer *w, unsigned n)
{
    char sql[500];
    unsigned long long last = w->next + n - 1;
    snprintf(sql, sizeof sql,
             "DO $$ BEGIN FOR i IN %llu..%llu LOOP INSERT INTO %s VALUES (i, repeat('x', %u));"
             " PERFORM set_config('synchronous_commit', 'on', true) WHERE i = %llu; COMMIT; END LOOP; END $$",
             w->next, last, w->table, w->body, last);
    w->next += n;
    run(w->conn, "SET synchronous_commit = off");
    if (!PQsendQuery(w->conn, sql) || PQflush(w->conn) != 0) {
        give_up("%s", PQerrorMessage(w->conn));
    }
}

bool writer_done(struct writer *w)
{
    if (!PQconsumeInput(w->conn)) {
        give_up("%s", PQerrorMessage(w->conn));
    }
    while (!PQisBusy(w->conn)) {
        PGresult *result = PQgetResult(w->conn);
        if (!result) {
            return true;
        }
        PQclear(check(w->conn, result));
    }
    return false;
}

void writer_free(struct writer *w)
{
    PQfinish(w->conn);
    free(w);
}

/* --- replication --- */

enum { WAL_HEADER = 25, KEEPALIVE_HEADER = 17, STATUS_UPDATE = 34 };

struct wal_reader {
    PGconn *conn;
};

struct wal_reader *wal_reader_new(const char *conninfo, const char *slot, const char *publication)
{
    struct wal_reader *r = mem_zalloc(sizeof *r);
    char sql[300], url[500];
    snprintf(url, sizeof url, "%s&replication=database", conninfo);
    snprintf(sql, sizeof sql,
             "START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names '%s')", slot,
             publication);
    r->conn = connect_to(url);
    run(r->conn, sql);
    return r;
}

int wal_reader_fd(const struct wal_reader *r)
{
    return PQsocket(r->conn);
}

/* The position is confirmed by nobody: runs are short. */
static void answer_keepalive(struct wal_reader *r)
{
    char status[STATUS_UPDATE] = "r";
    if (PQputCopyData(r->conn, status, sizeof status) != 1 || PQflush(r->conn) != 0) {
        give_up("%s", PQerrorMessage(r->conn));
    }
}

unsigned wal_reader_read(struct wal_reader *r)
{
    unsigned commits = 0;
    char *message;
    int n;
    PQconsumeInput(r->conn);
    while ((n = PQgetCopyData(r->conn, &message, 1)) > 0) {
        commits += n > WAL_HEADER && message[0] == 'w' && message[WAL_HEADER] == 'C';
        if (n > KEEPALIVE_HEADER && message[0] == 'k' && message[KEEPALIVE_HEADER]) {
            answer_keepalive(r);
        }
        PQfreemem(message);
    }
    if (n < 0) {
        give_up("%s", PQerrorMessage(r->conn));
    }
    return commits;
}

void wal_reader_free(struct wal_reader *r)
{
    PQfinish(r->conn);
    free(r);
}
