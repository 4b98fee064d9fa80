/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What to do about a database that cannot be reached, by what libpq says of it; "" when nothing is known.
 * Static text. */
const char *advice_for_connection(const char *message);
