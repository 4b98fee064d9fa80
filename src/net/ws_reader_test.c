/* SPDX-License-Identifier: Apache-2.0 */
#include "net/ws_reader.h"

#include "net/ws_fixture.h"

enum { MAX = 100000 };

/* What was read, in words: "message(5) ping(0) close(1000)". */
static void read_all(struct ws_reader *r, char *p, size_t n, struct buf *out)
{
    static const char *const names[] = {"", "message", "ping", "pong"};
    struct ws_content content;
    for (char *end = p + n; p < end;) {
        int event = ws_read(r, &p, end, &content);
        if (event < 0) {
            buf_printf(out, "fault(%d) ", content.code);
            return;
        }
        if (event == WS_CLOSE) {
            buf_printf(out, "close(%d) ", content.code);
        } else if (event != WS_NEED_MORE) {
            size_t shown = content.bytes.n < 20 ? content.bytes.n : 20;
            buf_printf(out, "%s(%zu %.*s) ", names[event], content.bytes.n, (int)shown, content.bytes.p);
        }
    }
}

/* Pieces of any message: nothing is lost, nothing is held, however it arrives. */
static void pieces_come_as_they_arrive(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * MAX);
    put_client_frame(&b, WS_OP_BINARY, "in ", 3);
    put_client_frame(&b, WS_FIN | WS_OP_PING, "between", 7);
    put_client_frame(&b, WS_OP_CONTINUATION, "", 0);
    put_client_frame(&b, WS_FIN | WS_OP_CONTINUATION, "three pieces, ", 14);
    put_client_frame(&b, WS_FIN | WS_OP_BINARY, "and whole", 9);
    for (size_t part = 1; part <= b.n; part++) {
        struct ws_reader r;
        struct ws_content content;
        CLEANUP(buf_deinit) struct buf got = BUF_INIT(1000), copy = BUF_INIT(1000);
        ws_reader_init(&r, WS_PIECES);
        buf_put(&copy, b.p, b.n);
        for (size_t at = 0; at < b.n; at += part) {
            char *p = copy.p + at, *end = copy.p + (b.n - at < part ? b.n : at + part);
            while (p < end) {
                int event = ws_read(&r, &p, end, &content);
                assert_true(event >= 0);
                buf_put(&got, content.bytes.p, event == WS_MESSAGE ? content.bytes.n : 0);
            }
        }
        assert_string_equal(buf_cstr(&got), "in three pieces, and whole");
        assert_int_equal(r.message.cap, 0);
        ws_reader_deinit(&r);
    }
}

/* The rules hold for them as well; only no length is too long. */
static void pieces_keep_the_rules(void **state)
{
    static const unsigned char text[] = {0x81, 0x80, 0, 0, 0, 0}, lost[] = {0x80, 0x80, 0, 0, 0, 0},
                               inside[] = {0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0},
                               huge[] = {0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff,
                                         0xff, 0xff, 0xff, 0,    0,    0,    0};
    static const struct {
        const unsigned char *p;
        size_t n;
        int code; /* 0: nothing wrong */
    } cases[] = {{text, sizeof text, WS_UNSUPPORTED},
                 {lost, sizeof lost, WS_PROTOCOL_ERROR},
                 {inside, sizeof inside, WS_PROTOCOL_ERROR},
                 {huge, sizeof huge, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ws_reader r;
        struct ws_content content = {0};
        char copy[32], *p = copy;
        int event = 0;
        memcpy(copy, cases[i].p, cases[i].n);
        ws_reader_init(&r, WS_PIECES);
        while (p < copy + cases[i].n && event >= 0) {
            event = ws_read(&r, &p, copy + cases[i].n, &content);
        }
        assert_int_equal(event < 0 ? content.code : 0, cases[i].code);
        ws_reader_deinit(&r);
    }
}

/* In pieces of every size. */
static void expect(const struct buf *frames, const char *words)
{
    for (size_t part = 1; part <= frames->n; part = part < 40 ? part + 1 : part * 2 + 1) {
        struct ws_reader r;
        CLEANUP(buf_deinit) struct buf said = BUF_INIT(10000);
        ws_reader_init(&r, MAX);
        for (size_t at = 0; at < frames->n; at += part) {
            size_t n = frames->n - at < part ? frames->n - at : part;
            char *copy = malloc(n);
            memcpy(copy, frames->p + at, n);
            read_all(&r, copy, n, &said);
            free(copy);
            if (said.n >= 6 && strstr(buf_cstr(&said), "fault")) {
                break;
            }
        }
        assert_string_equal(buf_cstr(&said), words);
        ws_reader_deinit(&r);
    }
    struct buf *whole = &(struct buf)BUF_INIT(2 * MAX);
    struct ws_reader r;
    CLEANUP(buf_deinit) struct buf said = BUF_INIT(10000);
    ws_reader_init(&r, MAX);
    buf_put(whole, frames->p, frames->n);
    read_all(&r, whole->p, whole->n, &said);
    assert_string_equal(buf_cstr(&said), words);
    ws_reader_deinit(&r);
    buf_deinit(whole);
}

static void messages_come_whole(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * MAX);
    put_client_frame(&b, WS_FIN | WS_OP_BINARY, "hello", 5);
    put_client_frame(&b, WS_FIN | WS_OP_BINARY, "", 0);
    put_client_frame(&b, WS_OP_BINARY, "in ", 3);
    put_client_frame(&b, WS_FIN | WS_OP_PING, "between", 7);
    put_client_frame(&b, WS_OP_CONTINUATION, "", 0);
    put_client_frame(&b, WS_OP_CONTINUATION, "three ", 6);
    put_client_frame(&b, WS_FIN | WS_OP_PONG, "", 0);
    put_client_frame(&b, WS_FIN | WS_OP_CONTINUATION, "pieces", 6);
    put_client_frame(&b, WS_FIN | WS_OP_BINARY, "next", 4);
    put_client_frame(&b, WS_FIN | WS_OP_CLOSE, "\x03\xe8", 2);
    expect(
        &b,
        "message(5 hello) message(0 ) ping(7 between) pong(0 ) message(15 in three pieces) message(4 next) "
        "close(1000) ");
}

static void lengths_have_three_forms(void **state)
{
    static const size_t sizes[] = {125, 126, 127, 65535, 65536, MAX};
    char *content = malloc(MAX);
    memset(content, 'x', MAX);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * MAX), words = BUF_INIT(200);
        put_client_frame(&b, WS_FIN | WS_OP_BINARY, content, sizes[i]);
        put_client_frame(&b, WS_FIN | WS_OP_CLOSE, "\x0f\xa0why", 5);
        buf_printf(&words, "message(%zu xxxxxxxxxxxxxxxxxxxx) close(4000) ", sizes[i]);
        expect(&b, buf_cstr(&words));
    }
    free(content);
}

static void what_breaks_the_protocol_is_refused(void **state)
{
    static const struct {
        struct str bytes;
        const char *words;
    } rows[] = {
        {STR("\x82\x01z"), "fault(1002) "},        /* not masked */
        {STR("\xc2\x80\1\2\3\4"), "fault(1002) "}, /* a reserved bit: compression */
        {STR("\x83\x80\1\2\3\4"), "fault(1002) "}, /* unknown opcodes */
        {STR("\x8b\x80\1\2\3\4"), "fault(1002) "},
        {STR("\x80\x80\1\2\3\4"), "fault(1002) "},                 /* continues nothing */
        {STR("\x02\x80\1\2\3\4\x82\x80\1\2\3\4"), "fault(1002) "}, /* begins inside a message */
        {STR("\x09\x80\1\2\3\4"), "fault(1002) "},                 /* a control frame in pieces */
        {STR("\x89\xfe\x00\x7e\1\2\3\4"), "fault(1002) "},         /* … too long */
        {STR("\x82\xfe\x00\x7d\1\2\3\4"), "fault(1002) "},         /* length not in its shortest form */
        {STR("\x82\xff\0\0\0\0\0\0\xff\xff\1\2\3\4"), "fault(1002) "},
        {STR("\x82\xff\x80\0\0\0\0\1\0\0\1\2\3\4"), "fault(1002) "},
        {STR("\x82\xff\0\0\0\0\0\1\x86\xa1\1\2\3\4"), "fault(1009) "}, /* 100001 bytes */
        {STR("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\1\2\3\4"), "fault(1009) "},
        {STR("\x81\x85\1\2\3\4"), "fault(1003) "}, /* text */
        {STR("\x88\x80\1\2\3\4"), "close(1005) "},
        {STR("\x88\x81\0\0\0\0\x03"), "fault(1002) "},
        {STR("\x88\x82\0\0\0\0\x03\xed"), "fault(1002) "}, /* 1005 */
        {STR("\x88\x82\0\0\0\0\x03\xe7"), "fault(1002) "}, /* 999 */
        {STR("\x88\x82\0\0\0\0\x0b\xb8"), "close(3000) "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(100);
        buf_put_str(&b, rows[i].bytes);
        expect(&b, rows[i].words);
    }
}

static void fragments_count_together(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * MAX);
    char *content = malloc(MAX);
    memset(content, 'x', MAX);
    put_client_frame(&b, WS_OP_BINARY, content, MAX);
    put_client_frame(&b, WS_OP_CONTINUATION, content, 0);
    size_t fits = b.n;
    put_client_frame(&b, WS_FIN | WS_OP_CONTINUATION, content, 1);
    expect(&b, "fault(1009) ");
    b.n = fits;
    put_client_frame(&b, WS_FIN | WS_OP_CONTINUATION, content, 0);
    expect(&b, "message(100000 xxxxxxxxxxxxxxxxxxxx) ");
    free(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_whole),
        cmocka_unit_test(pieces_come_as_they_arrive),
        cmocka_unit_test(pieces_keep_the_rules),
        cmocka_unit_test(lengths_have_three_forms),
        cmocka_unit_test(what_breaks_the_protocol_is_refused),
        cmocka_unit_test(fragments_count_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
