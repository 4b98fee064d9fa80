/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_clients N PORT [TABLE [WHERE]]: so many clients of the sync service, subscribed to the table. Prints
 * the seconds until all have its data, and the rows that they got, and holds them until its standard input
 * ends.
 */
#include "satellite_client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool input_ended(void)
{
    char byte;
    return read(STDIN_FILENO, &byte, 1) <= 0;
}

static void hold(struct crowd *crowd)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = crowd->epoll, .events = POLLIN}};
    while (poll(fds, 2, -1) >= 0 && !(fds[0].revents && input_ended())) {
        crowd_poll(crowd, 0);
    }
}

int main(int argc, char **argv)
{
    uint64_t n, port;
    if (argc < 3 || argc > 5 || !str_to_u64(str_c(argv[1]), 100000, &n) ||
        !str_to_u64(str_c(argv[2]), 65535, &port)) {
        give_up("usage: sync_clients N PORT [TABLE [WHERE]]");
    }
    struct satellite_options options = {
        .port = (int)port, .table = argv[3], .where = argc == 5 ? argv[4] : NULL};
    double began = now_us();
    struct crowd *crowd = crowd_new((unsigned)n, &options);
    crowd_ready(crowd);
    printf("%.4f %llu\n", (now_us() - began) / 1e6, (unsigned long long)crowd->all.rows);
    fflush(stdout);
    hold(crowd);
    crowd_free(crowd);
    return 0;
}
