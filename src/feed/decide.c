/* SPDX-License-Identifier: Apache-2.0 */
#include "feed/decide.h"

#include <string.h>

#define SLOT_PREFIX "electric_replication_out_"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

void feed_slot_name(struct str database, char out[static FEED_SLOT])
{
    char name[FEED_SLOT]; /* of a database: as long at most */
    size_t n = 0, prefix = sizeof SLOT_PREFIX - 1;
    for (size_t i = 0; i < database.n && n < sizeof name; i++) {
        char c = database.p[i];
        if (((unsigned char)c & 0xc0) == 0x80) {
            continue; /* the rest of a character of UTF-8 */
        }
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        c = is_letter(c) ? c : '_';
        if (n > 0 || c != '_') {
            name[n++] = c;
        }
    }
    while (n > 0 && name[n - 1] == '_') {
        n--;
    }
    n = n < FEED_SLOT - 1 - prefix ? n : FEED_SLOT - 1 - prefix;
    memcpy(out, SLOT_PREFIX, prefix);
    memcpy(out + prefix, name, n);
    out[prefix + n] = '\0';
}

/* Why the log cannot go on from its position; NULL: it can. */
static const char *find_gap(const struct feed_facts *f, const struct txlog_identity *log, lsn_t position)
{
    if (log->system != f->identity.system) {
        return "the database server is another one";
    }
    if (log->database != f->identity.database || strcmp(log->slot, f->identity.slot) != 0) {
        return "the database is another one";
    }
    if (f->server < position || f->forked < position) {
        return "the database server has lost transactions that the log holds";
    }
    if (!f->has_slot) {
        return log->timeline == f->identity.timeline
                   ? "the replication slot is gone"
                   : "a standby was promoted, and does not have the replication slot";
    }
    if (f->is_lost) {
        return "the replication slot was invalidated: the server no longer has the WAL that it needs";
    }
    if (f->confirmed > position) {
        return "the replication slot has moved on without this log";
    }
    return NULL;
}

enum feed_verdict feed_decide(const struct feed_facts *f, const struct txlog_identity *log, lsn_t position,
                              const char **out_reason)
{
    *out_reason = NULL;
    if (f->is_standby) {
        *out_reason = "the database server is a standby";
        return FEED_REFUSED;
    }
    if (f->is_elsewhere) {
        *out_reason = "the replication slot belongs to another database of the server";
        return FEED_REFUSED;
    }
    if (f->is_active) {
        *out_reason =
            f->is_own ? "the server has not noticed yet that our last connection has ended" : FEED_IN_USE;
        return FEED_REFUSED;
    }
    if (log->system == 0) {
        return FEED_ANEW;
    }
    *out_reason = find_gap(f, log, position);
    return *out_reason ? FEED_ANEW : FEED_RESUME;
}

lsn_t feed_fork(struct str history, uint32_t timeline)
{
    while (history.n) {
        struct str line = str_cut(&history, '\n');
        uint64_t number;
        lsn_t at;
        if (str_to_u64(str_cut(&line, '\t'), UINT32_MAX, &number) && number == timeline &&
            lsn_parse(str_cut(&line, '\t'), &at)) {
            return at;
        }
    }
    return 0;
}
