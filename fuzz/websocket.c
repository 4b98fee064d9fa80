/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a WebSocket client. Nothing may crash or leak; no message is longer than allowed; and the same
 * bytes mean the same, in whatever pieces they come. A reader that gives out pieces holds nothing and finds
 * the same bytes.
 */
#include "net/ws_reader.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 300 };

/* Returns false at the end of all. */
static bool read_piece(struct ws_reader *r, char *p, size_t n, struct buf *said)
{
    for (char *end = p + n; p < end;) {
        struct ws_content content = {0};
        int event = ws_read(r, &p, end, &content);
        assert(content.bytes.n <= MESSAGE_MAX);
        if (event != WS_NEED_MORE) {
            buf_printf(said, "%d %d ", event, event < 0 || event == WS_CLOSE ? content.code : 0);
            buf_put_str(said, event > 0 ? content.bytes : (struct str){"", 0});
        }
        if (event < 0) {
            return false;
        }
    }
    return true;
}

static void read_all(const uint8_t *data, size_t size, size_t part, struct buf *said)
{
    struct ws_reader r;
    bool goes_on = true;
    ws_reader_init(&r, MESSAGE_MAX);
    for (size_t at = 0; at < size && goes_on; at += part) {
        size_t n = size - at < part ? size - at : part;
        char *copy = malloc(n); /* of this size exactly: a read past it is seen */
        memcpy(copy, data + at, n);
        goes_on = read_piece(&r, copy, n, said);
        free(copy);
    }
    ws_reader_deinit(&r);
}

/* Until the first fault, which may come later than that of a reader with a longest message. */
static void read_pieces(const uint8_t *data, size_t size, size_t part, struct buf *said)
{
    struct ws_reader r;
    int event = WS_NEED_MORE;
    ws_reader_init(&r, WS_PIECES);
    for (size_t at = 0; at < size && event >= 0; at += part) {
        size_t n = size - at < part ? size - at : part;
        char *copy = malloc(n), *p = copy;
        memcpy(copy, data + at, n);
        while (p < copy + n && event >= 0) {
            struct ws_content content = {0};
            event = ws_read(&r, &p, copy + n, &content);
            buf_put_str(said, event > 0 ? content.bytes : (struct str){"", 0});
        }
        free(copy);
    }
    assert(r.message.cap == 0);
    ws_reader_deinit(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t parts[] = {1, 2, 7, 100};
    CLEANUP(buf_deinit) struct buf whole = BUF_INIT(SIZE_MAX / 2);
    read_all(data, size, size ? size : 1, &whole);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        CLEANUP(buf_deinit) struct buf pieces = BUF_INIT(SIZE_MAX / 2);
        read_all(data, size, parts[i], &pieces);
        assert(str_eq(buf_str(&whole), buf_str(&pieces)));
        CLEANUP(buf_deinit) struct buf streamed = BUF_INIT(SIZE_MAX / 2), again = BUF_INIT(SIZE_MAX / 2);
        read_pieces(data, size, size ? size : 1, &streamed);
        read_pieces(data, size, parts[i], &again);
        assert(str_eq(buf_str(&streamed), buf_str(&again)));
    }
    return 0;
}
