/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, version 2: what a load balancer says of a connection before the client's first byte
 * (HAProxy's proxy-protocol.txt, section 2.2). Version 1, the one in words, is not taken.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROXY_HEADER_MIN = 16, PROXY_HEADER_PEER = 80 };

enum proxy_header_outcome { PROXY_HEADER_NEED_MORE, PROXY_HEADER_FOUND };

struct proxy_header {
    size_t total; /* bytes of the header, what follows the addresses included */
    bool local;   /* the load balancer itself (a health check): the socket's peer is the client */
    char peer[PROXY_HEADER_PEER]; /* "address:port" of the client; "" when it is not said */
};

/* *out is set when PROXY_HEADER_FOUND is returned. -1: not such a header, or longer than
 * LIMIT_PROXY_HEADER. Decides as soon as the bytes that are there allow it. */
MUST_USE int proxy_header_parse(const char *p, size_t n, struct proxy_header *out, struct err *err);
