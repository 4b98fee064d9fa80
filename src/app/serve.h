/* SPDX-License-Identifier: Apache-2.0 */
/* The service: the loop with the proxy, HTTP and the connection to PostgreSQL on it. */
#pragma once

#include "app/inherited.h"
#include "app/notify.h"
#include "base/err.h"

#include <stdint.h>

struct config;
struct config_source;
struct settings;

/* What it runs with; all borrowed. */
struct serve_input {
    struct config *config;              /* SIGHUP changes them */
    struct settings *settings;          /* what config was read from */
    const struct config_source *source; /* to read it again; NULL: SIGHUP is not watched */
    const struct notify *notify;
    const struct inherited_split *sockets;
};

struct serve_hooks {
    /* Everything listens and the database is prepared. Once, on the loop. May be NULL. */
    void (*ready)(void *ctx, uint16_t proxy_port, uint16_t http_port);
    /* On SIGCHLD, and once when it begins to be watched: 0 to go on; -1 with *err set ends the service. May
     * be NULL. */
    int (*child)(void *ctx, struct err *err);
    void *ctx;
};

/*
 * Serves until SIGINT or SIGTERM (0) or until it cannot go on (-1). These signals, SIGHUP and SIGCHLD may
 * come in held (app/signals.h): they are released once they are watched, and held again before they no longer
 * are.
 */
MUST_USE int serve_run(const struct serve_input *input, const struct serve_hooks *hooks, struct err *err);
