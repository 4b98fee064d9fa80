/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nearest.h"

#include "cli/command.h"

enum { NAME_LIMIT = 63 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

/* Three rows of the usual table are enough: a swap looks two rows back. */
unsigned edit_distance(struct str a, struct str b)
{
    unsigned rows[3][NAME_LIMIT + 1];
    if (a.n > NAME_LIMIT || b.n > NAME_LIMIT) {
        return NAME_LIMIT + 1;
    }
    for (unsigned k = 0; k <= b.n; k++) {
        rows[0][k] = k;
    }
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3];
        row[0] = i;
        for (unsigned k = 1; k <= b.n; k++) {
            unsigned cost = a.p[i - 1] != b.p[k - 1];
            row[k] = min3(above[k] + 1, row[k - 1] + 1, above[k - 1] + cost);
            if (i > 1 && k > 1 && a.p[i - 1] == b.p[k - 2] && a.p[i - 2] == b.p[k - 1]) {
                unsigned swapped = rows[(i - 2) % 3][k - 2] + 1;
                row[k] = swapped < row[k] ? swapped : row[k];
            }
        }
    }
    return rows[a.n % 3][b.n];
}

struct nearest {
    struct str wanted;
    const char *name;
    unsigned distance;
};

static struct nearest begin(struct str wanted, size_t prefix)
{
    size_t letters = wanted.n > prefix ? wanted.n - prefix : 0;
    return (struct nearest){.wanted = wanted, .distance = letters < 6 ? 3 : (unsigned)letters / 3 + 2};
}

static void consider(struct nearest *best, const char *name)
{
    unsigned distance = edit_distance(best->wanted, str_c(name));
    if (distance < best->distance) {
        best->distance = distance;
        best->name = name;
    }
}

const char *nearest_flag(struct str flag, unsigned commands)
{
    struct nearest best = begin(flag, strlen("--"));
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (options[id].flag && (options[id].commands & commands)) {
            consider(&best, options[id].flag);
        }
    }
    return best.name;
}

const char *nearest_command(struct str name, const struct command *parent)
{
    struct nearest best = begin(name, 0);
    for (const struct command *c = parent->children; c && c->name; c++) {
        consider(&best, c->name);
    }
    return best.name;
}
