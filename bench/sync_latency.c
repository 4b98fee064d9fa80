/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time from the acknowledgement of a commit until a reader has it: a reader of the slot, or a client of the
 * sync service.
 *
 * sync_latency CONNINFO TABLE BODY N PAUSE_US slot NAME PUBLICATION
 * sync_latency CONNINFO TABLE BODY N PAUSE_US service PORT
 *
 * One transaction of one row at a time, so long after the one before was read. Prints p50, p90, p99 and the
 * longest, in microseconds, and the same of the commits themselves. Negative is what came before the commit
 * was acknowledged.
 */
#include "base/mem.h"
#include "database.h"
#include "satellite_client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WARM_UP = 50, TIMEOUT_MS = 10000 };

struct reader {
    struct wal_reader *slot; /* one of the two */
    struct crowd *client;
    int fd;
    uint64_t read; /* transactions */
};

static struct reader open_reader(const char *conninfo, const char *table, char **argv)
{
    if (strcmp(argv[0], "slot") == 0) {
        struct wal_reader *slot = wal_reader_new(conninfo, argv[1], argv[2]);
        return (struct reader){.slot = slot, .fd = wal_reader_fd(slot)};
    }
    uint64_t port;
    if (!str_to_u64(str_c(argv[1]), 65535, &port)) {
        give_up("no port: %s", argv[1]);
    }
    struct crowd *client = crowd_new(1, &(struct satellite_options){.port = (int)port, .table = table});
    crowd_ready(client);
    return (struct reader){.client = client, .fd = client->epoll, .read = client->all.transactions};
}

/* Whether a transaction came. */
static bool read_some(struct reader *r)
{
    uint64_t before = r->read;
    if (r->slot) {
        r->read += wal_reader_read(r->slot);
    } else {
        crowd_poll(r->client, 0);
        r->read = r->client->all.transactions;
    }
    return r->read > before;
}

static void measure_one(struct writer *w, struct reader *r, double *commit, double *delay)
{
    double began = now_us(), acknowledged = 0, arrived = 0;
    writer_commit(w);
    while (acknowledged == 0 || arrived == 0) {
        struct pollfd fds[] = {{.fd = writer_fd(w), .events = POLLIN}, {.fd = r->fd, .events = POLLIN}};
        if (poll(fds, 2, TIMEOUT_MS) <= 0) {
            give_up("a transaction did not arrive");
        }
        double now = now_us();
        if (fds[0].revents && writer_done(w) && acknowledged == 0) {
            acknowledged = now;
        }
        if (fds[1].revents && read_some(r)) {
            arrived = now;
        }
    }
    *commit = acknowledged - began;
    *delay = arrived - acknowledged;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    printf("%.1f %.1f %.1f %.1f ", values[n / 2], values[n * 9 / 10], values[n * 99 / 100], values[n - 1]);
}

static unsigned number(const char *text)
{
    uint64_t n;
    if (!str_to_u64(str_c(text), 10000000, &n)) {
        give_up("no number: %s", text);
    }
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    if (argc < 8) {
        give_up("usage: sync_latency CONNINFO TABLE BODY N PAUSE_US slot NAME PUBLICATION | service PORT");
    }
    unsigned n = number(argv[4]), pause = number(argv[5]);
    struct writer *w = writer_new(argv[1], argv[2], number(argv[3]));
    struct reader r = open_reader(argv[1], argv[2], argv + 6);
    double *commits = mem_alloc_array(n + 1, sizeof *commits),
           *delays = mem_alloc_array(n + 1, sizeof *delays);
    for (unsigned i = 0; i < WARM_UP + n; i++) {
        size_t at = i < WARM_UP ? 0 : i - WARM_UP;
        usleep(pause);
        measure_one(w, &r, &commits[at], &delays[at]);
    }
    print(delays, n);
    print(commits, n);
    putchar('\n');
    writer_free(w);
    return 0;
}
