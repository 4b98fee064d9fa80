/* SPDX-License-Identifier: Apache-2.0 */
/* Takes away what keeps costing the database when the service is gone for good. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct config;

/*
 * Drops the replication slot, for which the server keeps WAL without end, and the publication; blocks.
 * Appends a line about each to out, also when it fails at the second. Fails, with nothing changed, while
 * somebody streams from the slot.
 */
MUST_USE int cleanup_database(const struct config *config, struct buf *out, struct err *err);
