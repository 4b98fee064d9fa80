/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the service in the Prometheus text format 0.0.4, and the state in JSON. Pure but for the
 * process's own numbers. */
#pragma once

#include "base/buf.h"
#include "http/api.h"

#include <stdint.h>

struct metrics {
    const struct api_state *state;
    const char *version;        /* of the program */
    const char *postgres_state; /* "up", "down", "connecting" */
    struct proxy_stats numbers;
    struct sync_stats sync;
    bool counted; /* the database answered: */
    uint64_t migrations, electrified_tables;
    double start_time, now; /* seconds since 1970 */
    /* Of the process; < 0: not known. */
    double cpu_seconds;
    int64_t resident_bytes, open_fds, max_fds;
};

void metrics_measure_process(struct metrics *m);
void metrics_write_text(const struct metrics *m, struct buf *out);
void metrics_write_json(const struct metrics *m, struct buf *out);
