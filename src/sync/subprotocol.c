/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/subprotocol.h"

#include <inttypes.h>
#include <stdio.h>

enum { MAJOR = 0, MINOR_FIRST = 10, MINOR_LAST = 12, VERSION_MAX = 19 };

#define PREFIX STR("electric.")

struct version {
    uint64_t major, minor;
};

/* A number of a semantic version. */
static bool read_number(struct str text, uint64_t *out)
{
    bool padded = text.n > 1 && text.p[0] == '0';
    return !padded && str_to_u64(text, UINT64_MAX, out);
}

static bool read_version(struct str offer, struct version *out)
{
    struct str rest = {offer.p + PREFIX.n, offer.n - PREFIX.n};
    bool fits = rest.n <= VERSION_MAX && rest.n > 0 && memchr(rest.p, '.', rest.n);
    struct str major = str_cut(&rest, '.');
    return fits && read_number(major, &out->major) && read_number(rest, &out->minor);
}

/* Exactly one offer is ours. */
static bool find_offer(const struct str *offers, size_t n, struct str *out)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (str_starts_with(offers[i], PREFIX)) {
            *out = offers[i];
            found++;
        }
    }
    return found == 1;
}

int subprotocol_check(const struct str *offers, size_t n, const char *not_ready, struct str *out_offer,
                      char out_text[SUBPROTOCOL_TEXT])
{
    struct str offer;
    struct version v;
    if (!find_offer(offers, n, &offer) || !read_version(offer, &v)) {
        snprintf(out_text, SUBPROTOCOL_TEXT, "Missing satellite websocket subprotocol");
        return 400;
    }
    if (v.major != MAJOR || v.minor < MINOR_FIRST || v.minor > MINOR_LAST) {
        snprintf(out_text, SUBPROTOCOL_TEXT,
                 "Cannot connect satellite version %" PRIu64 ".%" PRIu64
                 ".0: this server requires >= %d.%d.0 and <= %d.%d.0",
                 v.major, v.minor, MAJOR, MINOR_FIRST, MAJOR, MINOR_LAST);
        return 400;
    }
    if (not_ready) {
        snprintf(out_text, SUBPROTOCOL_TEXT, "Postgres connection is not ready: %s...", not_ready);
        return 503;
    }
    *out_offer = offer;
    return 101;
}
