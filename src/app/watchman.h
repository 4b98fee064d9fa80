/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks after the database while the service runs: at each start and reconnection, then every few minutes,
 * and soon after the history is said to be faulty.
 *
 * - Drift: electrified tables that differ from what clients have. Reported; what CREATE INDEX CONCURRENTLY
 * left unrecorded is recorded.
 * - History: migrations that clients cannot apply are marked, and so left out (ADR 10). Reported.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct config;
struct findings;
struct loop;
struct pg_client;
struct watchman;

struct watchman_options {
    const struct config *config;
    struct pg_client *client;              /* the service's; lives longer */
    struct findings *drift;                /* written; by table */
    struct findings *unusable;             /* written; by version */
    uint64_t (*history_faults)(void *ctx); /* how often somebody found the history faulty */
    void *ctx;
};

struct watchman *watchman_new(struct loop *loop, const struct watchman_options *how);
/* The database is ready: looks now, and again from time to time. secret: of busbar.settings (copied). */
void watchman_start(struct watchman *w, const char *secret);
/* The database is not reachable: what was found stays. */
void watchman_stop(struct watchman *w);
/* Takes NULL. */
void watchman_free(struct watchman *w);
