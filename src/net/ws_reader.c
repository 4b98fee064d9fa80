/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame    FIN 1 bit, RSV 3 bits, opcode 4 bits; MASK 1 bit, length 7 bits (126: u16 follows, 127: u64);
 *          masking key 4 bytes; payload
 *
 * A message in one frame that lies whole in the input is handed out where it lies; anything else is put
 * together in `message`, which grows with what has come, not with what was announced.
 */
#include "net/ws_reader.h"

enum { OP_CONTINUATION, OP_TEXT, OP_BINARY, OP_CLOSE = 8, OP_PING, OP_PONG };
enum { MESSAGE_KEPT = 64 * 1024 /* memory that stays with a quiet connection */ };

void ws_reader_init(struct ws_reader *r, size_t max_message)
{
    *r = (struct ws_reader){.max = max_message, .message = BUF_INIT(max_message)};
}

void ws_reader_deinit(struct ws_reader *r)
{
    buf_deinit(&r->message);
}

static int refuse(struct ws_content *out, int code)
{
    out->code = code;
    return -1;
}

/* A frame that is not masked is refused for that: no need to wait for its key. */
static size_t head_size(const struct ws_reader *r)
{
    unsigned length = r->head_n >= 2 ? r->head[1] & 0x7f : 0;
    if (r->head_n < 2 || !(r->head[1] & 0x80)) {
        return 2;
    }
    return length == 127 ? 14 : length == 126 ? 8 : 6;
}

/* False: more bytes are needed. */
static bool take_head(struct ws_reader *r, char **p, const char *end)
{
    while (*p < end && r->head_n < head_size(r)) {
        r->head[r->head_n++] = (unsigned char)*(*p)++;
    }
    return r->head_n >= 2 && r->head_n == head_size(r);
}

/* The length must be in its shortest form. */
static bool payload_length(const struct ws_reader *r, uint64_t *out)
{
    unsigned short_length = r->head[1] & 0x7f;
    size_t n = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
    uint64_t length = n ? 0 : short_length;
    for (size_t i = 0; i < n; i++) {
        length = length << 8 | r->head[2 + i];
    }
    *out = length;
    return n == 0 || (n == 2 ? length > 125 : length > 0xffff && length >> 63 == 0);
}

static int check_control(const struct ws_reader *r, uint64_t length, struct ws_content *out)
{
    bool known = r->opcode == OP_CLOSE || r->opcode == OP_PING || r->opcode == OP_PONG;
    return known && r->fin && length <= WS_CONTROL_MAX ? 0 : refuse(out, WS_PROTOCOL_ERROR);
}

static int check_data(const struct ws_reader *r, uint64_t length, struct ws_content *out)
{
    if (r->opcode > OP_BINARY || (r->opcode == OP_CONTINUATION) != r->begun) {
        return refuse(out, WS_PROTOCOL_ERROR);
    }
    if (r->opcode == OP_TEXT) {
        return refuse(out, WS_UNSUPPORTED);
    }
    return r->max == WS_PIECES || length <= r->max - r->message.n ? 0 : refuse(out, WS_TOO_BIG);
}

static int begin_frame(struct ws_reader *r, struct ws_content *out)
{
    uint64_t length;
    r->fin = r->head[0] & 0x80;
    r->opcode = r->head[0] & 0x0f;
    if ((r->head[0] & 0x70) || !(r->head[1] & 0x80) || !payload_length(r, &length)) {
        return refuse(out, WS_PROTOCOL_ERROR);
    }
    if ((r->opcode & 8 ? check_control(r, length, out) : check_data(r, length, out)) < 0) {
        return -1;
    }
    r->left = (size_t)length;
    r->payload = true;
    r->mask_at = 0;
    r->control_n = 0;
    return 0;
}

static void unmask(struct ws_reader *r, char *p, size_t n)
{
    const unsigned char *key = r->head + r->head_n - 4;
    unsigned char turned[8];
    uint64_t word, mask;
    size_t i = 0;
    for (size_t k = 0; k < sizeof turned; k++) {
        turned[k] = key[(r->mask_at + k) & 3];
    }
    memcpy(&mask, turned, sizeof mask);
    for (; n - i >= sizeof word; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        word ^= mask;
        memcpy(p + i, &word, sizeof word);
    }
    for (size_t k = 0; i + k < n; k++) {
        p[i + k] = (char)(p[i + k] ^ turned[k]);
    }
    r->mask_at = (unsigned char)((r->mask_at + n) & 3);
}

static bool valid_code(int code)
{
    bool defined =
        code >= 1000 && code <= 1014 && code != 1004 && code != WS_NO_STATUS && code != WS_ABNORMAL;
    return defined || (code >= 3000 && code <= 4999);
}

static int end_control(struct ws_reader *r, struct ws_content *out)
{
    const unsigned char *p = (const unsigned char *)r->control;
    out->bytes = (struct str){r->control, r->control_n};
    if (r->opcode != OP_CLOSE) {
        return r->opcode == OP_PING ? WS_PING : WS_PONG;
    }
    out->code = r->control_n >= 2 ? p[0] << 8 | p[1] : WS_NO_STATUS;
    if (r->control_n == 1 || (r->control_n >= 2 && !valid_code(out->code))) {
        return refuse(out, WS_PROTOCOL_ERROR);
    }
    return WS_CLOSE;
}

/* n bytes of the payload, of which this is the last piece if `left` is 0 now. */
static int take_payload(struct ws_reader *r, char *p, size_t n, bool whole, struct ws_content *out)
{
    if (r->opcode & 8) {
        memcpy(r->control + r->control_n, p, n);
        r->control_n += n;
        return r->left == 0 ? end_control(r, out) : WS_NEED_MORE;
    }
    if (whole && r->fin && !r->begun) {
        out->bytes = (struct str){p, n};
        return WS_MESSAGE;
    }
    r->begun = r->left > 0 ? r->begun : !r->fin;
    if (r->max == WS_PIECES) {
        out->bytes = (struct str){p, n};
        return n > 0 ? WS_MESSAGE : WS_NEED_MORE;
    }
    buf_put(&r->message, p, n);
    if (r->left > 0 || !r->fin) {
        return WS_NEED_MORE;
    }
    r->given = true;
    out->bytes = buf_str(&r->message);
    return WS_MESSAGE;
}

static void forget_given(struct ws_reader *r)
{
    if (r->given && r->message.cap > MESSAGE_KEPT) {
        buf_deinit(&r->message);
    } else if (r->given) {
        buf_reset(&r->message);
    }
    r->given = false;
}

int ws_read(struct ws_reader *r, char **p, char *end, struct ws_content *out)
{
    bool fresh = !r->payload;
    forget_given(r);
    if (fresh) {
        if (!take_head(r, p, end)) {
            return WS_NEED_MORE;
        }
        if (begin_frame(r, out) < 0) {
            return -1;
        }
    }
    char *at = *p;
    size_t there = (size_t)(end - at);
    size_t n = there < r->left ? there : r->left;
    unmask(r, at, n);
    *p += n;
    r->left -= n;
    if (r->left == 0) {
        r->payload = false;
        r->head_n = 0;
    }
    return take_payload(r, at, n, fresh && r->left == 0, out);
}
