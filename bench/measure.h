/* SPDX-License-Identifier: Apache-2.0 */
/* What every program that measures needs. */
#pragma once

#include "base/compiler.h"

/* Prints a line to standard error and ends the program, with status 1. */
_Noreturn void give_up(const char *fmt, ...) PRINTF_LIKE(1, 2);

double now_us(void);      /* CLOCK_MONOTONIC */
double cpu_seconds(void); /* that the process has used, the kernel's included */
