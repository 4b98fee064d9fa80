/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging: one line an event on stderr: time (UTC), level, prefix, message. Facts follow the message as
 * key=value pairs. Messages start lower case and name the thing. No passwords or row values at any level;
 * SQL text at debug only. Layers below proxy, http and app return errors and do not log above debug.
 */
#pragma once

#include "base/compiler.h"

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* The level is process-wide: one of the two mutable globals the project allows. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* `prefix` (may be NULL) identifies the connection, e.g. "[7 postgres@electric 127.0.0.1:50212] ". */
void log_write(enum log_level level, const char *prefix, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_error(prefix, ...)   log_write(LOG_ERROR, prefix, __VA_ARGS__)
#define log_warning(prefix, ...) log_write(LOG_WARNING, prefix, __VA_ARGS__)
#define log_info(prefix, ...)    log_write(LOG_INFO, prefix, __VA_ARGS__)
#define log_debug(prefix, ...)                         \
    do {                                               \
        if (log_enabled(LOG_DEBUG)) {                  \
            log_write(LOG_DEBUG, prefix, __VA_ARGS__); \
        }                                              \
    } while (0)
