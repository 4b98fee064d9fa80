/* SPDX-License-Identifier: Apache-2.0 */
#include "app/advice.h"

#include "base/compiler.h"

#include <stddef.h>
#include <string.h>

const char *advice_for_connection(const char *message)
{
    static const struct {
        const char *says;
        const char *advice;
    } rows[] = {
        {"server does not support SSL",
         "to go without TLS set DATABASE_REQUIRE_SSL=false or sslmode=disable in DATABASE_URL"},
        {"no encryption", "the server wants TLS: set DATABASE_REQUIRE_SSL=true"},
        {"password authentication failed", "check user and password in DATABASE_URL"},
        {"does not exist", "check the names in DATABASE_URL"},
        {"Connection refused", "is PostgreSQL running there, and does it listen on that address?"},
        {"could not translate host name", "check the host in DATABASE_URL"},
        {"timeout", "is the address right, and does a firewall let it through?"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strstr(message, rows[i].says)) {
            return rows[i].advice;
        }
    }
    return "";
}
