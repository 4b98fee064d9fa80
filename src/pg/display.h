/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How sessions that read rows have values printed. What the replication stream and queries give of the same
 * row has to be the same bytes: rows are compared, and put in each other's place.
 */
#pragma once

/* For the start-up option `options`: so that it holds whatever role and database say. */
#define PG_DISPLAY_OPTIONS                                                        \
    "-c standard_conforming_strings=on -c bytea_output=hex -c DateStyle=ISO,DMY " \
    "-c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=1"
