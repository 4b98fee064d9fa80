/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that serve do first, before there are threads or children. */
#pragma once

#include "app/serve.h"

struct call;

struct startup {
    struct notify notify;
    struct inherited_split sockets;
};

/*
 * Sets the log level, says what starts, and at debug the value of every option, secrets masked. Takes over
 * what the service manager gives. *out is fit for startup_deinit() in any case.
 */
MUST_USE int startup_begin(const struct call *call, struct startup *out, struct err *err);
void startup_deinit(struct startup *s);
