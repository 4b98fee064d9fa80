/* SPDX-License-Identifier: Apache-2.0 */
/* How clients are told of tables: the number of each, and its SatRelation in a schema. */
#pragma once

#include "sync/oplog.h"

/* Numbers of tables by name, the same as long as the service runs. */
struct table_ids {
    struct arena arena;
    struct str *names; /* schema, NUL, name; the number is the index + 1 */
    size_t n, cap;
};

void table_ids_deinit(struct table_ids *ids);

struct table_frame {
    const struct table *table;
    struct oplog_table oplog;
    struct packet *packet; /* SatRelation */
};

/* Of the tables of one schema, made when first asked for. */
struct table_frames {
    struct arena arena;
    struct table_frame *items;
    size_t n, cap;
};

void table_frames_deinit(struct table_frames *fs);
/* Borrowed until the next call. */
const struct table_frame *table_frame(struct table_frames *fs, struct table_ids *ids,
                                      const struct table *table);
