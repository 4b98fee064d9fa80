/* SPDX-License-Identifier: Apache-2.0 */
/* TCP ports on the loopback addresses. An answer holds for the moment: nothing is reserved. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Free on 127.0.0.1 and, where there is one, ::1; *out_has_ipv6 tells the latter. */
bool port_is_free(uint16_t port, bool *out_has_ipv6);

/* One of a fixed range when it is `to_keep` (easy to remember, seldom taken by others), else any. */
MUST_USE int port_find_free(bool to_keep, uint16_t *out_port, bool *out_has_ipv6, struct err *err);
