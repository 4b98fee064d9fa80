/* SPDX-License-Identifier: Apache-2.0 */
/* busbar token */
#include "app/dev_token.h"
#include "base/limits.h"
#include "cli/commands.h"

#include <stdio.h>
#include <time.h>

static int64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int token_command(const struct call *call)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf token = BUF_INIT(2 * LIMIT_TOKEN);
    CLEANUP(buf_deinit) struct buf claims = BUF_INIT(2 * LIMIT_TOKEN);
    if (dev_token_make(call->config, unix_ms(), &token, &claims, &err) < 0) {
        fprintf(stderr, "busbar token: %s\n", err.msg);
        return STATUS_FAULT;
    }
    if (call->config->json) {
        printf("{\"token\": \"%s\", \"claims\": %s}\n", buf_cstr(&token), buf_cstr(&claims));
    } else {
        printf("%s\n", buf_cstr(&token));
    }
    return fflush(stdout) != 0 ? STATUS_FAULT : STATUS_OK;
}
