/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new configuration for a running service, as one change or not at all:
 *
 *     struct reload reload;
 *     reload_read(&reload, source, settings, config);
 *     if (!reload_is_refused(&reload) && apply(&reload.config, &err) < 0) {
 *         reload_refuse(&reload, err.msg);
 *     }
 *     reload_finish(&reload, settings, config);
 *
 * It is refused when anything is faulty, and when an option changed that only a restart can change: half a
 * change would be in force that stands nowhere. What stands in files that options name (certificates) may
 * have changed while no option has: whoever applies it reads those anew each time.
 */
#pragma once

#include "app/config_source.h"

struct reload {
    struct config config;     /* the new one; for use while not refused */
    struct settings settings; /* what it was read from */
    bool changed[OPTION_COUNT];
    struct buf faults;  /* a line each */
    struct buf refusal; /* why; empty: not refused */
};

/* Reads everything anew and compares it with what is in force. The caller runs reload_finish() in any case.
 */
void reload_read(struct reload *r, const struct config_source *source, const struct settings *settings,
                 const struct config *config);
bool reload_is_refused(const struct reload *r);
void reload_refuse(struct reload *r, const char *why);

/* The outcome in one line: what changed, or why nothing did. */
void reload_put_outcome(const struct reload *r, struct buf *out);

/*
 * Unless it was refused, puts the new configuration and settings in place of those in force, which are freed:
 * nobody may borrow from them any longer. Sets the log level, logs faults and outcome, frees the rest.
 */
void reload_finish(struct reload *r, struct settings *settings, struct config *config);
