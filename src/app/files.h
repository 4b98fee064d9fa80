/* SPDX-License-Identifier: Apache-2.0 */
/* Small whole files and folders. Writing and removing never follow a symbolic link. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <sys/types.h>

/* Appends the whole file, which must be a regular one and fit. */
MUST_USE int file_read(const char *path, struct buf *out, struct err *err);

/* Replaces the file in one step: readers see the old text or the new one. */
MUST_USE int file_write(const char *path, mode_t mode, struct str text, struct err *err);

/* Appends the last lines of a file, not looking at what is before the offset `from`. No file: nothing. */
void file_tail(const char *path, off_t from, size_t lines, struct buf *out);

/* Creates the folder and its parents; an existing one is fine. */
MUST_USE int folder_make(const char *path, mode_t mode, struct err *err);

/* Removes a folder with all that is in it, links as links. None there: fine. */
MUST_USE int folder_remove(const char *path, struct err *err);

/* snprintf() into a path; -1 with ERR_LIMIT when it does not fit. */
MUST_USE int path_printf(char *path, size_t size, struct err *err, const char *fmt, ...) PRINTF_LIKE(4, 5);
