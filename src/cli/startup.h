/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that serve do first. */
#pragma once

struct call;

/* Sets the log level, says what starts, and at debug the value of every option, secrets masked. */
void startup_log(const struct call *call);
