/* SPDX-License-Identifier: Apache-2.0 */
/* libzip with a growing buffer of its own as the archive. Entries are read only when it is closed. */
#include "http/archive.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <zip.h>

enum { DOS_DATE_1980_01_01 = 0 << 9 | 1 << 5 | 1, DOS_MIDNIGHT = 0, FILE_MODE = 0100644 };

struct archive {
    zip_source_t *bytes; /* the archive; a reference of our own */
    zip_t *zip;          /* NULL once finished */
};

static int fail(struct err *err, const char *what, const char *why)
{
    return err_set(err, ERR_INTERNAL, "%s: %s", what, why);
}

int archive_new(struct archive **out_archive, struct err *err)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *bytes = zip_source_buffer_create(NULL, 0, 0, &error);
    zip_t *zip = bytes ? zip_open_from_source(bytes, ZIP_TRUNCATE, &error) : NULL;
    if (!zip) {
        fail(err, "cannot make a zip archive", zip_error_strerror(&error));
        zip_source_free(bytes);
        zip_error_fini(&error);
        return -1;
    }
    zip_error_fini(&error);
    zip_source_keep(bytes); /* zip_open_from_source() has taken the first reference */
    *out_archive = mem_zalloc(sizeof **out_archive);
    **out_archive = (struct archive){.bytes = bytes, .zip = zip};
    return 0;
}

void archive_free(struct archive *a)
{
    if (a) {
        if (a->zip) {
            zip_discard(a->zip);
        }
        zip_source_free(a->bytes);
        free(a);
    }
}

int archive_add(struct archive *a, const char *name, struct str content, struct err *err)
{
    char *copy = content.n ? mem_strndup(content.p, content.n) : NULL; /* libzip frees none of length zero */
    zip_source_t *source = zip_source_buffer(a->zip, copy, content.n, 1);
    if (!source) {
        free(copy);
        return fail(err, name, zip_strerror(a->zip));
    }
    zip_int64_t index = zip_file_add(a->zip, name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source); /* and with it the copy */
        return fail(err, name, zip_strerror(a->zip));
    }
    if (zip_file_set_dostime(a->zip, (zip_uint64_t)index, DOS_MIDNIGHT, DOS_DATE_1980_01_01, 0) < 0 ||
        zip_file_set_external_attributes(a->zip, (zip_uint64_t)index, 0, ZIP_OPSYS_UNIX,
                                         (zip_uint32_t)FILE_MODE << 16) < 0) {
        return fail(err, name, zip_strerror(a->zip));
    }
    return 0;
}

static int read_all(zip_source_t *bytes, struct buf *out, struct err *err)
{
    char chunk[16384];
    zip_int64_t n;
    if (zip_source_open(bytes) < 0) {
        return fail(err, "cannot read the zip archive", zip_error_strerror(zip_source_error(bytes)));
    }
    while ((n = zip_source_read(bytes, chunk, sizeof chunk)) > 0) {
        buf_put(out, chunk, (size_t)n);
    }
    zip_source_close(bytes);
    if (n < 0) {
        return fail(err, "cannot read the zip archive", zip_error_strerror(zip_source_error(bytes)));
    }
    return out->overflow ? err_set(err, ERR_LIMIT, "the zip archive is too big") : 0;
}

/* libzip writes nothing at all for an archive without entries: that one is 22 fixed bytes. */
static const char empty_archive[22] = "PK\5\6";

int archive_finish(struct archive *a, struct buf *out, struct err *err)
{
    bool empty = zip_get_num_entries(a->zip, 0) == 0;
    if (zip_close(a->zip) < 0) {
        return fail(err, "cannot write the zip archive", zip_strerror(a->zip));
    }
    a->zip = NULL;
    if (empty) {
        buf_put(out, empty_archive, sizeof empty_archive);
        return out->overflow ? err_set(err, ERR_LIMIT, "the zip archive is too big") : 0;
    }
    return read_all(a->bytes, out, err);
}
