/* SPDX-License-Identifier: Apache-2.0 */
/* What libpq is told: the url's keywords, ours on top, and host names replaced by addresses before libpq sees
 * them. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct login_params;

enum {
    CONNINFO_KEYWORDS = 128, /* more than libpq knows */
    CONNINFO_ADDRESSES = 32, /* addresses tried in one attempt, over all hosts of the url */
};

/* Owns its strings. The arrays end with a NULL, as PQconnectStartParams wants them. */
struct conninfo {
    char *keywords[CONNINFO_KEYWORDS + 1];
    char *values[CONNINFO_KEYWORDS + 1];
    size_t n;
};

/* Fails with ERR_INPUT when the url does not parse, the url's text (it may hold a password) left out. */
MUST_USE int conninfo_build(const struct login_params *params, struct conninfo *out_info, struct err *err);
void conninfo_deinit(struct conninfo *info); /* wipes the values */

const char *conninfo_get(const struct conninfo *info, const char *keyword); /* NULL when not set or empty */
void conninfo_set(struct conninfo *info, const char *keyword, const char *value);

/* True when a host is a name that has to be looked up, which libpq would do on the loop's thread. */
bool conninfo_has_names(const struct conninfo *info);

/* Looks every name up (blocks: for a helper thread) and sets host, hostaddr and port to one entry an address.
 * A name without address is left out; fails when nothing is left. */
MUST_USE int conninfo_resolve(struct conninfo *info, struct err *err);

/* Number of entries in host / hostaddr; at least 1. */
size_t conninfo_host_count(const struct conninfo *info);
