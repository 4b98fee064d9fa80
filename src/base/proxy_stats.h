/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy counts, as a plain value: filled by proxy/, shown by http/, which know nothing of each
 * other. */
#pragma once

#include <stdint.h>

/* All workers together; since the start unless said otherwise. */
struct proxy_stats {
    unsigned workers;
    uint64_t connections; /* now, those not yet logged in among them */
    uint64_t connections_total;
    uint64_t connections_dropped; /* far above the limit: closed as they came */
    uint64_t sessions;            /* now */
    uint64_t sessions_total;
    uint64_t logins_refused; /* by the proxy */
    uint64_t logins_failed;  /* by PostgreSQL */
    uint64_t login_ms;       /* that all logins to PostgreSQL took together */
    uint64_t cancels, timeouts;
    uint64_t bytes_from_clients, bytes_from_server;
    uint64_t messages_from_clients, messages_from_server;
    uint64_t statements_inspected; /* looked at by the grammar */
    uint64_t ddlx_statements;
    uint64_t migrations_recorded, migrations_refused;
    uint64_t history_faults; /* proofs that failed in what is recorded already */
};
