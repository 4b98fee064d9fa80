/* SPDX-License-Identifier: Apache-2.0 */
/* A zip archive in memory. The same entries always give the same bytes: there is no time of day in it. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct archive;

MUST_USE int archive_new(struct archive **out_archive, struct err *err);
void archive_free(struct archive *a); /* takes NULL */

/* name: UTF-8, "/" between folders; a name twice fails. The content is copied. */
MUST_USE int archive_add(struct archive *a, const char *name, struct str content, struct err *err);

/* Appends the archive's bytes to out; nothing can be added afterwards. Fails with ERR_LIMIT past out's
 * maximum. */
MUST_USE int archive_finish(struct archive *a, struct buf *out, struct err *err);
