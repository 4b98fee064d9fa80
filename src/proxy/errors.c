/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/errors.h"

#include <stdio.h>

const struct proxy_error_row proxy_errors[PROXY_ERRORS] = {
#define PROXY_ERROR(name, sqlstate, message, hint) [PROXY_##name] = {sqlstate, message, hint},
#include "proxy/errors.def"
#undef PROXY_ERROR
};

/* One %s at most, put in by hand: a format that is not a literal is no format. */
struct problem proxy_fatal(enum proxy_error e, const char *what, struct proxy_error_text *text)
{
    const struct proxy_error_row *row = &proxy_errors[e];
    const char *hole = strstr(row->message, "%s");
    if (hole) {
        snprintf(text->message, sizeof text->message, "%.*s%s%s", (int)(hole - row->message), row->message,
                 what ? what : "", hole + 2);
    } else {
        snprintf(text->message, sizeof text->message, "%s", row->message);
    }
    return (struct problem){.severity = "FATAL",
                            .sqlstate = row->sqlstate,
                            .message = str_c(text->message),
                            .hint = str_c(row->hint)};
}
