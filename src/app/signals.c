/* SPDX-License-Identifier: Apache-2.0 */
#include "app/signals.h"

#include <signal.h>
#include <stddef.h>

static sigset_t held(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    return set;
}

void signals_hold(void)
{
    sigset_t set = held();
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void signals_release(void)
{
    sigset_t set = held();
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

bool signals_stop_pending(void)
{
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}
