/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libFuzzer in ordinary builds: replay TARGET's corpus folders and files as a plain test.
 *
 * Each file goes in whole, then cut short (every length while that is cheap, else a spread of lengths) and
 * with its beginning cut off. Each input lies alone in its own allocation, so that the sanitizer sees one
 * byte too far.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FILE_MAX = 1024 * 1024, /* a corpus is small files */
    CUTS = 64,              /* inputs made from one file in each direction */
};

static void fail(const char *path, const char *why)
{
    fprintf(stderr, "replay: %s: %s\n", path, why);
    exit(1);
}

static void feed(const uint8_t *data, size_t size)
{
    uint8_t *alone = malloc(size ? size : 1);
    if (!alone) {
        fail("input", "out of memory");
    }
    if (size) {
        memcpy(alone, data, size);
    }
    LLVMFuzzerTestOneInput(alone, size);
    free(alone);
}

static void feed_all_forms(const uint8_t *data, size_t size)
{
    size_t step = size / CUTS + 1;
    feed(data, size);
    for (size_t n = 0; n < size; n += step) {
        feed(data, n);
        feed(data + n, size - n);
    }
}

static void replay_file(const char *path)
{
    static uint8_t data[FILE_MAX + 1];
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail(path, strerror(errno));
    }
    size_t n = fread(data, 1, sizeof data, file);
    int bad = ferror(file);
    fclose(file);
    if (bad) {
        fail(path, "cannot be read");
    }
    if (n > FILE_MAX) {
        fail(path, "is too large for a corpus");
    }
    feed_all_forms(data, n);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In alphabetical order, so that a failure is the same everywhere. */
static size_t replay_folder(const char *folder)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, visible, alphasort);
    if (n < 0) {
        fail(folder, strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        char path[4096];
        int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (length < 0 || (size_t)length >= sizeof path) {
            fail(folder, "name too long");
        }
        replay_file(path);
        free(entries[i]);
    }
    free(entries);
    return (size_t)n;
}

int main(int argc, char **argv)
{
    size_t files = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) < 0) {
            fail(argv[i], strerror(errno));
        }
        if (S_ISDIR(st.st_mode)) {
            files += replay_folder(argv[i]);
        } else {
            replay_file(argv[i]);
            files++;
        }
    }
    if (files == 0) {
        fail(argc > 1 ? argv[1] : "corpus", "nothing to replay");
    }
    printf("replayed %zu files\n", files);
    return 0;
}
