/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's side of the feed. All but feeder_new() and feeder_free() on the thread. */
#pragma once

#include "feed/feed_impl.h"

MUST_USE int feeder_new(struct feed *feed, struct loop *loop, const struct feed_options *options,
                        struct feeder **out_feeder, struct err *err);
void feeder_free(struct feeder *f); /* after the thread has ended */

void feeder_start(struct feeder *f);
void feeder_stop(struct feeder *f); /* syncs what there is, closes everything on the loop */
void feeder_put(struct feeder *f, struct put *p);
void feeder_resume(struct feeder *f); /* the owner has caught up */

const char *feeder_state_name(enum feed_state state);
