/* SPDX-License-Identifier: Apache-2.0 */
/* The service: the loop with the proxy, HTTP and the connection to PostgreSQL on it. */
#pragma once

#include "base/err.h"

#include <stdint.h>

struct config;

struct serve_hooks {
    /* Everything listens and the database is prepared. Once, on the loop. May be NULL. */
    void (*ready)(void *ctx, uint16_t proxy_port, uint16_t http_port);
    /* On SIGCHLD, and once when it begins to be watched: 0 to go on; -1 with *err set ends the service. May
     * be NULL. */
    int (*child)(void *ctx, struct err *err);
    void *ctx;
};

/*
 * Serves until SIGINT or SIGTERM (0) or until it cannot go on (-1). These signals and SIGCHLD may come in
 * held (app/signals.h): they are released once they are watched, and held again before they no longer are.
 */
MUST_USE int serve_run(const struct config *config, const struct serve_hooks *hooks, struct err *err);
