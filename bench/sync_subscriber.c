/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_subscriber PORT TABLE [PAUSE]: one client of the sync service that loads a table, and after each read
 * does nothing for PAUSE microseconds. Prints, tab-separated: seconds, bytes, rows.
 */
#include "satellite_client.h"

#include <stdio.h>
#include <unistd.h>

enum { PAUSE_MAX = 999999, SLOW_BUFFER = 65536 };

static void rest(void *ctx, struct satellite *c)
{
    const uint64_t *pause = ctx;
    usleep((useconds_t)*pause);
}

int main(int argc, char **argv)
{
    uint64_t port, pause = 0;
    if (argc < 3 || argc > 4 || !str_to_u64(str_c(argv[1]), 65535, &port) ||
        (argc == 4 && !str_to_u64(str_c(argv[3]), PAUSE_MAX, &pause))) {
        give_up("usage: sync_subscriber PORT TABLE [PAUSE]");
    }
    struct satellite_options options = {.port = (int)port, .table = argv[2]};
    if (pause) {
        options.on_read = rest;
        options.ctx = &pause;
        options.receive_buffer = SLOW_BUFFER;
    }
    double began = now_us();
    struct crowd *crowd = crowd_new(1, &options);
    crowd_ready(crowd);
    printf("%.4f\t%llu\t%llu\n", (now_us() - began) / 1e6, (unsigned long long)crowd->all.bytes,
           (unsigned long long)crowd->all.rows);
    crowd_free(crowd);
    return 0;
}
