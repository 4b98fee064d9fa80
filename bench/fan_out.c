/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscribers of one table, all in this process, and the one who writes to it.
 *
 * fan_out burst  service|plain PORT SUBSCRIBERS MESSAGES CONNINFO TABLE BODY
 * fan_out single service|plain PORT SUBSCRIBERS MESSAGES CONNINFO TABLE BODY
 *
 * burst: so many transactions as fast as they can be committed (for a plain broadcaster, which makes the
 * messages itself, one). Prints deliveries, seconds from the first of them to the last, bytes, CPU seconds of
 * this process. single: one transaction, and the next when all have it and have acknowledged it. Prints p50
 * and p99 of the time from the commit's acknowledgement until the last subscriber has it, and of the time
 * between the first and the last; microseconds.
 *
 * Prints "ready" before, and begins when a line comes in.
 */
#include "base/mem.h"
#include "database.h"
#include "satellite_client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARM_UP = 5, PAUSE_US = 20000, TIMEOUT_MS = 60000, NEVER = 1000000000 };

struct fan {
    struct crowd *crowd;
    struct writer *writer;
    bool plain, acknowledged;
    uint64_t before;         /* deliveries when what is timed began */
    double first, last, ack; /* µs */
};

static void on_read(void *ctx, struct satellite *c)
{
    struct fan *f = ctx;
    if (f->crowd && f->crowd->all.transactions > f->before) {
        f->last = now_us();
        f->first = f->first > 0 ? f->first : f->last;
    }
}

static void look_at_writer(struct fan *f)
{
    if (!f->acknowledged && writer_done(f->writer)) {
        f->acknowledged = true;
        f->ack = now_us();
    }
}

/* Both in one thread, as a client would have it that commits and listens. */
static void wait_for(struct fan *f, uint64_t deliveries)
{
    while (!f->acknowledged || f->crowd->all.transactions < f->before + deliveries) {
        struct pollfd fds[] = {{.fd = f->crowd->epoll, .events = POLLIN},
                               {.fd = f->acknowledged ? -1 : writer_fd(f->writer), .events = POLLIN}};
        if (poll(fds, 2, TIMEOUT_MS) <= 0) {
            give_up("%llu of %llu deliveries came",
                    (unsigned long long)(f->crowd->all.transactions - f->before),
                    (unsigned long long)deliveries);
        }
        if (fds[1].revents) {
            look_at_writer(f);
        }
        if (fds[0].revents) {
            crowd_poll(f->crowd, 0);
        }
    }
}

static void begin(struct fan *f)
{
    f->before = f->crowd->all.transactions;
    f->first = f->last = f->ack = 0;
    f->acknowledged = false;
}

static void burst(struct fan *f, unsigned messages)
{
    uint64_t bytes = f->crowd->all.bytes, deliveries = (uint64_t)messages * f->crowd->n;
    double cpu = cpu_seconds();
    begin(f);
    if (f->plain) {
        writer_commit(f->writer);
    } else {
        writer_commit_many(f->writer, messages);
    }
    wait_for(f, deliveries);
    printf("%llu %.6f %llu %.4f\n", (unsigned long long)deliveries, (f->last - f->first) / 1e6,
           (unsigned long long)(f->crowd->all.bytes - bytes), cpu_seconds() - cpu);
}

static void rest(struct fan *f)
{
    double until = now_us() + PAUSE_US;
    if (!f->plain) {
        crowd_ack(f->crowd);
    }
    for (double left; (left = until - now_us()) > 0;) {
        crowd_poll(f->crowd, 1 + (int)(left / 1000));
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, compare);
    printf("%.1f %.1f ", values[n / 2], values[n * 99 / 100]);
}

static void single(struct fan *f, unsigned messages)
{
    double *last = mem_alloc_array(messages, sizeof *last),
           *spread = mem_alloc_array(messages, sizeof *spread);
    for (unsigned i = 0; i < WARM_UP + messages; i++) {
        unsigned at = i < WARM_UP ? 0 : i - WARM_UP;
        rest(f);
        begin(f);
        writer_commit(f->writer);
        wait_for(f, f->crowd->n);
        last[at] = f->last - f->ack;
        spread[at] = f->last - f->first;
    }
    print(last, messages);
    print(spread, messages);
    putchar('\n');
    free(last);
    free(spread);
}

static unsigned number(const char *text)
{
    uint64_t n;
    if (!str_to_u64(str_c(text), 10000000, &n)) {
        give_up("no number: %s", text);
    }
    return (unsigned)n;
}

static void wait_for_a_line(void)
{
    char line[100];
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) {
        exit(0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        give_up("usage: fan_out burst|single service|plain PORT SUBSCRIBERS MESSAGES CONNINFO TABLE BODY");
    }
    bool one = strcmp(argv[1], "single") == 0;
    struct fan f = {.plain = strcmp(argv[2], "plain") == 0};
    struct satellite_options options = {.port = (int)number(argv[3]),
                                        .plain = f.plain,
                                        .table = argv[7],
                                        .ack_every = one ? NEVER : 0,
                                        .on_read = on_read,
                                        .ctx = &f};
    struct crowd *crowd = crowd_new(number(argv[4]), &options);
    crowd_ready(crowd);
    f.crowd = crowd;
    f.writer = writer_new(argv[6], argv[7], number(argv[8]));
    wait_for_a_line();
    (one ? single : burst)(&f, number(argv[5]));
    fflush(stdout);
    getchar(); /* until the figures of others are taken */
    writer_free(f.writer);
    crowd_free(crowd);
    return 0;
}
