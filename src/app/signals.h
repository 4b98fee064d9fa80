/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT and SIGTERM, SIGHUP and SIGCHLD held back (blocked) while nobody watches them, so that none is lost
 * between the start of a child and the loop, and none kills us while a child is being stopped.
 */
#pragma once

#include <stdbool.h>

void signals_hold(void);
/* Call it when the loop watches them: what was held is delivered. */
void signals_release(void);
/* True when SIGINT or SIGTERM waits. */
bool signals_stop_pending(void);
