/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DATABASE_URL taken apart.
 *
 *   postgres[ql]://user[:password]@host[:port][,host[:port]…][/database][?sslmode=MODE][&target_session_attrs=…]
 *
 * user, password, host and database are percent-decoded; an IPv6 host stands in brackets; a host that begins
 * with a slash once decoded is the folder of a unix socket, which is then the only one.
 */
#pragma once

#include "base/buf.h"

struct database_url {
    char *user;
    char *password; /* NULL when the URL has none */
    char *host;     /* names, addresses, with commas between; or absolute path of a socket's folder */
    char *port;     /* one for each host, with commas between */
    char *name;     /* of the database */
    const char *session_attrs; /* which of several servers will do; static text; NULL: the only one */
    const char *sslmode;       /* static text; NULL when the URL has none */
};

#define DATABASE_URL_INIT \
    {                     \
        0                 \
    }

void database_url_deinit(struct database_url *url); /* wipes; may run twice */

/* -1: *fault receives what follows the option's name in the report, e.g. `missing host`. No part of a secret.
 */
MUST_USE int database_url_parse(const char *text, struct database_url *out, struct buf *fault);

static inline bool database_url_is_socket(const struct database_url *url)
{
    return url->host && url->host[0] == '/';
}

/* The URL as a person may see it: the password, if any, replaced by stars. */
void database_url_put_masked(const struct database_url *url, struct buf *out);
