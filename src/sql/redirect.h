/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogs that an introspecting session sees in part only are temporary views of the same names, which
 * PostgreSQL finds before its own catalogs wherever a name has no schema in front. Names with one are led
 * there here.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>

/* In place: pg_catalog.pg_class becomes pg_temp   .pg_class, and so on for every name that
 * busbar.hide_catalogs() has a view for. The text keeps its length, and all else its place. */
void redirect_catalogs(char *text, size_t n, bool std_strings);
