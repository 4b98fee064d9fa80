/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets that whoever started us opened, by the protocol of sd_listen_fds(3): descriptors from 3
 * on, their number in LISTEN_FDS, their names in LISTEN_FDNAMES, meant for the process LISTEN_PID. They
 * outlive us: clients that come while no busbar runs wait in their queues for the next one.
 */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { INHERITED_SOCKETS = 16, INHERITED_FIRST = 3, INHERITED_NAME = 256 };

struct inherited_socket {
    int fd;
    char name[INHERITED_NAME]; /* "" when it has none */
    uint16_t port;             /* 0: a unix socket */
};

struct inherited {
    struct inherited_socket of[INHERITED_SOCKETS];
    size_t n;
};

/* Who listens with which. */
struct inherited_split {
    int proxy[INHERITED_SOCKETS];
    size_t proxy_n;
    int http[INHERITED_SOCKETS];
    size_t http_n;
};

/*
 * Takes them over: each is checked to be a listening stream socket and made non-blocking and closed on exec.
 * The variables are removed from the environment; call it before there are threads or children. None: *out is
 * empty.
 */
MUST_USE int inherited_read(struct inherited *out, struct err *err);

/*
 * By name, "proxy" or "http" (each may be there several times); those with another name by their port,
 * against the configured ones. Fails for one that belongs to neither.
 */
MUST_USE int inherited_split(const struct inherited *in, uint16_t proxy_port, uint16_t http_port,
                             struct inherited_split *out, struct err *err);
