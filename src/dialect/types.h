/* SPDX-License-Identifier: Apache-2.0 */
/* What a column's PostgreSQL type is to a client: its SQLite type, its catalog name, its sizes. */
#pragma once

#include "schema/schema.h"

enum { TYPE_MAX_SIZES = 4 }; /* varchar(20): one; numeric(12,6): two */

bool type_is_array(const struct column *c);
/* pg_type.typname; of an array, that of its elements. Borrows from the column. */
struct str type_base_name(const struct column *c);
/* The numbers in parentheses, none for arrays. Returns how many. */
size_t type_sizes(const struct column *c, int32_t out_sizes[TYPE_MAX_SIZES]);
/* "INTEGER", "TEXT(20)", "REAL(12, 6)", "TEXT_JSON"… in the arena. */
struct str type_sqlite(struct arena *a, const struct column *c);
