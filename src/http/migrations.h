/* SPDX-License-Identifier: Apache-2.0 */
/* The history of captured migrations as the archive that a client's generator fetches. Pure. */
#pragma once

#include "base/buf.h"
#include "dialect/render.h"

enum { MIGRATIONS_ZIP_MAX = 256 * 1024 * 1024 };

/* One captured command. The commands of a version are neighbours. */
struct history_row {
    struct str version;
    struct str ops; /* JSON */
};

enum migrations_outcome {
    MIGRATIONS_NONE = 0, /* no version, none after `after`, or `after` is unknown */
    MIGRATIONS_SOME = 1,
};

/*
 * rows: the whole history, as the model is built up from its beginning. Appends the archive of the versions
 * later than `after` (all when it is empty) to out: <version>/migration.sql and <version>/metadata.json each.
 * In folder names "/", "\", control characters and a leading "." become "_". Returns an enum
 * migrations_outcome, or -1.
 */
MUST_USE int migrations_zip(const struct history_row *rows, size_t n, enum dialect dialect, struct str after,
                            struct buf *out, struct err *err);
