/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the slot every now and then, for the numbers. */
#pragma once

#include "feed/feed_impl.h"

struct look;

/* Has a connection of its own: the one that streams cannot be asked. */
struct look *look_new(struct loop *loop, const char *url, bool require_ssl, struct feed_numbers *numbers);
void look_at(struct look *l, const char *slot);
void look_free(struct look *l); /* takes NULL */
