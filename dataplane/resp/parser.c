// See parser.h. The state of an unfinished command is: how many of its bytes were understood
// (`scanned`), how many arguments are still to come, and the length of the bulk string under way.
// The same step function runs over the caller's bytes and over the parser's own buffer.
#include "dataplane/resp/parser.h"

#include <assert.h>
#include <ctype.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "common/block.h"
#include "dataplane/resp/reply.h"

// A buffer that grew beyond this is given back once its command is done.
#define PARSER_BUFFER_KEEP (16 * 1024)

const char parser_error_tls[] = "Protocol error: TLS was spoken to a port without it";

enum step { STEP_COMMAND, STEP_EMPTY, STEP_MORE, STEP_ERROR, STEP_NO_MEMORY };

void parser_init(struct parser *p)
{
    memset(p, 0, sizeof(*p));
    p->bulk_len = -1;
    p->args = p->small;
    p->args_cap = PARSER_SMALL;
}

static void drop_args(struct parser *p)
{
    for (int i = 0; i < p->argc; i++)
        block_release(p->args[i].block);
    p->argc = 0;
}

// Ready for the next command; what is in `buf` stays readable until then.
static void restart(struct parser *p)
{
    p->argc = 0;
    p->block_bytes = 0;
    p->scanned = 0;
    p->args_left = 0;
    p->bulk_len = -1;
    p->started = false;
    p->buffered = false;
    p->buf_len = 0;
    if (p->args_cap > 64) {
        mi_free(p->args);
        p->args = p->small;
        p->args_cap = PARSER_SMALL;
    }
}

void parser_clear(struct parser *p)
{
    drop_args(p);
    block_release(p->filling);
    if (p->args != p->small)
        mi_free(p->args);
    mi_free(p->buf);
    parser_init(p);
}

void parser_shrink(struct parser *p)
{
    if (!p->buffered && !p->argc && (p->buf || p->args != p->small))
        parser_clear(p);
}

size_t parser_memory(const struct parser *p)
{
    size_t n = p->buf_cap + (p->args != p->small ? (size_t)p->args_cap * sizeof(*p->args) : 0);
    if (p->filling)
        n += p->filling->len;
    return n + p->block_bytes;
}

static enum step fail(struct parser *p, const char *text)
{
    p->error = text;
    return STEP_ERROR;
}

static bool add_arg(struct parser *p, size_t offset, size_t len, struct block *block)
{
    if (p->argc == p->args_cap) {
        int cap = p->args_cap * 2;
        struct parser_arg *args = mi_mallocn((size_t)cap, sizeof(*args));
        if (!args)
            return false;
        memcpy(args, p->args, (size_t)p->argc * sizeof(*args));
        if (p->args != p->small)
            mi_free(p->args);
        p->args = args;
        p->args_cap = cap;
    }
    p->args[p->argc++] = (struct parser_arg){offset, len, block};
    if (block)
        p->block_bytes += len;
    return true;
}

// Reads "<number>\r\n" at `at`. Returns the offset behind it, 0 when the line is not complete yet,
// or SIZE_MAX when it is no number. As in Redis, what stands in the place of '\n' is not looked at.
static inline size_t read_number(const uint8_t *base, size_t at, size_t avail, int64_t *value)
{
    uint64_t n = 0;
    size_t i = at;
    // Fast: up to nine digits without sign or leading zero.
    while (i < avail && i - at < 9 && (uint8_t)(base[i] - '0') <= 9)
        n = n * 10 + (uint64_t)(base[i++] - '0');
    if (i > at && i + 1 < avail && base[i] == '\r' && (base[at] != '0' || i == at + 1)) {
        *value = (int64_t)n;
        return i + 2;
    }
    const uint8_t *cr = memchr(base + at, '\r', avail - at);
    if (!cr || (size_t)(cr - base) + 1 >= avail)
        return 0;
    if (!parse_int64(base + at, (size_t)(cr - base) - at, value))
        return SIZE_MAX;
    return (size_t)(cr - base) + 2;
}

// Splits an inline command in place: words, "double quoted" with escapes, 'single quoted'. Decoding
// never makes a word longer. `line` is in the parser's buffer. Returns false for unbalanced quotes.
static bool split_inline(struct parser *p, size_t len, bool *memory)
{
    uint8_t *line = p->buf;
    size_t in = 0, out = 0;
    *memory = true;
    for (;;) {
        while (in < len && line[in] && isspace(line[in]))
            in++;
        if (in >= len || !line[in])
            return true;
        size_t start = out;
        uint8_t quote = 0;
        for (;; in++) {
            uint8_t c = in < len ? line[in] : 0;
            if (quote) {
                if (!c)
                    return false;
                if (c == quote) {
                    if (in + 1 < len && line[in + 1] && !isspace(line[in + 1]))
                        return false;
                    in++;
                    break;
                }
                if (c == '\\' && quote == '"' && in + 3 < len && line[in + 1] == 'x' &&
                    isxdigit(line[in + 2]) && isxdigit(line[in + 3])) {
                    char hex[3] = {(char)line[in + 2], (char)line[in + 3], 0};
                    unsigned byte;
                    sscanf(hex, "%2x", &byte);
                    line[out++] = (uint8_t)byte;
                    in += 3;
                } else if (c == '\\' && quote == '"' && in + 1 < len && line[in + 1]) {
                    static const char names[] = "nrtba", values[] = "\n\r\t\b\a";
                    const char *at = strchr(names, line[++in]);
                    line[out++] = at ? (uint8_t)values[at - names] : line[in];
                } else if (c == '\\' && quote == '\'' && in + 1 < len && line[in + 1] == '\'') {
                    line[out++] = line[++in];
                } else {
                    line[out++] = c;
                }
            } else if (!c || c == ' ' || c == '\n' || c == '\r' || c == '\t') {
                break;
            } else if (c == '"' || c == '\'') {
                quote = c;
            } else {
                line[out++] = c;
            }
        }
        if (!add_arg(p, start, out - start, NULL)) {
            *memory = false;
            return true;
        }
    }
}

static bool buffer_append(struct parser *p, const uint8_t *data, size_t n)
{
    if (!n)
        return true;
    if (p->buf_len + n > p->buf_cap) {
        size_t cap = mi_good_size(p->buf_len + n + (p->buf_len > 1024 ? p->buf_len : 0));
        uint8_t *buf = mi_realloc(p->buf, cap);
        if (!buf)
            return false;
        p->buf = buf;
        p->buf_cap = cap;
    }
    memcpy(p->buf + p->buf_len, data, n);
    p->buf_len += n;
    return true;
}

// An inline command: everything up to '\n'.
static enum step step_inline(struct parser *p, const uint8_t *base, size_t avail)
{
    // The header of TLS's first record: its peer would wait for an answer for ever.
    if (base[0] == 0x16 && avail > 1 && base[1] == 0x03)
        return fail(p, parser_error_tls);
    const uint8_t *nl = memchr(base + p->scanned, '\n', avail - p->scanned);
    if (!nl) {
        if (avail > PARSER_INLINE_MAX)
            return fail(p, "Protocol error: too big inline request");
        p->scanned = avail;
        return STEP_MORE;
    }
    size_t len = (size_t)(nl - base);
    p->scanned = len + 1;
    if (!p->buffered) {
        p->buf_len = 0;
        if (!buffer_append(p, base, len))
            return STEP_NO_MEMORY;
        p->buffered = true;
    }
    if (len && p->buf[len - 1] == '\r')
        len--;
    bool memory;
    if (!split_inline(p, len, &memory))
        return fail(p, "Protocol error: unbalanced quotes in request");
    if (!memory)
        return STEP_NO_MEMORY;
    return p->argc ? STEP_COMMAND : STEP_EMPTY;
}

// Understands as much of base[scanned, avail) as is there.
static inline enum step step_run(struct parser *p, const struct parser_limits *limits,
                                 const uint8_t *base, size_t avail)
{
    if (!p->started) {
        if (avail == 0)
            return STEP_MORE;
        if (base[0] != '*')
            return step_inline(p, base, avail);
        int64_t n;
        size_t next = read_number(base, 1, avail, &n);
        if (next == 0) {
            if (avail > PARSER_INLINE_MAX)
                return fail(p, "Protocol error: too big mbulk count string");
            return STEP_MORE;
        }
        p->scanned = next == SIZE_MAX ? 0 : next;
        if (next == SIZE_MAX || n > PARSER_ARGS_MAX)
            return fail(p, "Protocol error: invalid multibulk length");
        if (n > PARSER_ARGS_UNAUTHENTICATED && !limits->authenticated)
            return fail(p, "Protocol error: unauthenticated multibulk length");
        if (n <= 0)
            return STEP_EMPTY;
        p->started = true;
        p->args_left = n;
    }
    while (p->args_left) {
        if (p->bulk_len < 0) {
            if (p->scanned >= avail)
                return STEP_MORE;
            if (base[p->scanned] != '$') {
                // Redis looks at the type only once the line is complete.
                if (!memchr(base + p->scanned, '\r', avail - p->scanned)) {
                    if (avail - p->scanned > PARSER_INLINE_MAX)
                        return fail(p, "Protocol error: too big bulk count string");
                    return STEP_MORE;
                }
                snprintf(p->error_text, sizeof(p->error_text),
                         "Protocol error: expected '$', got '%c'", base[p->scanned]);
                return fail(p, p->error_text);
            }
            int64_t n;
            size_t next = read_number(base, p->scanned + 1, avail, &n);
            if (next == 0) {
                if (avail - p->scanned > PARSER_INLINE_MAX)
                    return fail(p, "Protocol error: too big bulk count string");
                return STEP_MORE;
            }
            if (next == SIZE_MAX || n < 0 || (uint64_t)n > limits->bulk_max)
                return fail(p, "Protocol error: invalid bulk length");
            if (n > PARSER_BULK_UNAUTHENTICATED && !limits->authenticated)
                return fail(p, "Protocol error: unauthenticated bulk length");
            p->scanned = next;
            p->bulk_len = n;
        }
        size_t need = (size_t)p->bulk_len + 2;
        if (avail - p->scanned < need)
            return STEP_MORE;
        if (!add_arg(p, p->scanned, (size_t)p->bulk_len, NULL))
            return STEP_NO_MEMORY;
        p->scanned += need;
        p->bulk_len = -1;
        p->args_left--;
    }
    return STEP_COMMAND;
}

static enum parser_status status_of(enum step step)
{
    switch (step) {
    case STEP_COMMAND:
        return PARSER_COMMAND;
    case STEP_EMPTY:
        return PARSER_EMPTY;
    case STEP_MORE:
        return PARSER_INCOMPLETE;
    case STEP_ERROR:
        return PARSER_ERROR;
    case STEP_NO_MEMORY:
        return PARSER_NO_MEMORY;
    }
    return PARSER_ERROR;
}

// Takes bytes of the big argument under way. The two bytes behind it are taken and dropped.
static bool fill(struct parser *p, const uint8_t *data, size_t len, size_t *taken)
{
    struct block *b = p->filling;
    size_t want = (size_t)p->bulk_len - b->len;
    size_t n = want < len ? want : len;
    memcpy(b->data + b->len, data, n);
    b->len += n;
    size_t tail = 0;
    if (b->len == (size_t)p->bulk_len) {
        tail = 2u - b->reserved;
        if (tail > len - n)
            tail = len - n;
        b->reserved += (uint32_t)tail;
    }
    *taken = n + tail;
    if (b->len < (size_t)p->bulk_len || b->reserved < 2)
        return true;
    b->reserved = 0;
    p->filling = NULL;
    p->bulk_len = -1;
    p->args_left--;
    if (add_arg(p, 0, b->len, b))
        return true;
    block_release(b);
    return false;
}

// True when the bulk string under way is to be received into a block of its own.
static bool wants_block(const struct parser *p)
{
    return p->started && !p->filling && p->bulk_len >= PARSER_BIG_ARG;
}

static enum parser_status run_buffered(struct parser *p, const struct parser_limits *limits,
                                       const uint8_t *data, size_t len, size_t *used)
{
    size_t at = 0;
    for (;;) {
        if (wants_block(p) && p->scanned == p->buf_len) {
            p->filling = block_new((size_t)p->bulk_len);
            if (!p->filling)
                return PARSER_NO_MEMORY;
        }
        if (p->filling) {
            size_t taken;
            bool ok = fill(p, data + at, len - at, &taken);
            at += taken;
            *used = at;
            if (!ok)
                return PARSER_NO_MEMORY;
            if (p->filling)
                return parser_memory(p) > limits->query_max ? PARSER_TOO_BIG : PARSER_INCOMPLETE;
        }
        // The next token: the rest of a bulk string, or a line.
        size_t n = len - at;
        if (p->started && p->args_left == 0) {
            n = 0;
        } else if (p->bulk_len >= 0) {
            size_t rest = (size_t)p->bulk_len + 2 - (p->buf_len - p->scanned);
            n = rest < n ? rest : n;
        } else if (n) {
            const uint8_t *nl = memchr(data + at, '\n', n);
            n = nl ? (size_t)(nl - (data + at)) + 1 : n;
        }
        if (n && !buffer_append(p, data + at, n))
            return PARSER_NO_MEMORY;
        at += n;
        *used = at;
        enum step step = step_run(p, limits, p->buf, p->buf_len);
        if (step == STEP_COMMAND ||
            step == STEP_EMPTY) { // a line that ended without '\n' may have taken too much
            at -= p->buf_len - p->scanned;
            *used = at;
        }
        if (step == STEP_EMPTY)
            restart(p);
        if (step != STEP_MORE)
            return status_of(step);
        if (parser_memory(p) > limits->query_max)
            return PARSER_TOO_BIG;
        if (at == len && !(wants_block(p) && p->scanned == p->buf_len))
            return PARSER_INCOMPLETE;
        if (at == len)
            continue; // opens the block, so that nothing of it goes through the buffer
    }
}

enum parser_status parser_run(struct parser *p, const struct parser_limits *limits,
                              const uint8_t *data, size_t len, size_t *used)
{
    if (p->buffered)
        return run_buffered(p, limits, data, len, used);
    enum step step = step_run(p, limits, data, len);
    if (__builtin_expect(step == STEP_COMMAND, 1)) {
        *used = p->scanned;
        return PARSER_COMMAND;
    }
    if (step == STEP_EMPTY) {
        *used = p->scanned;
        restart(p);
        return PARSER_EMPTY;
    }
    *used = len;
    if (step != STEP_MORE)
        return status_of(step);
    if (p->buf_cap > PARSER_BUFFER_KEEP) {
        mi_free(p->buf);
        p->buf = NULL;
        p->buf_cap = 0;
    }
    p->buf_len = 0;
    p->buffered = true;
    size_t keep = wants_block(p) ? p->scanned : len;
    if (!buffer_append(p, data, keep))
        return PARSER_NO_MEMORY;
    if (keep == len && !wants_block(p))
        return parser_memory(p) > limits->query_max ? PARSER_TOO_BIG : PARSER_INCOMPLETE;
    size_t taken;
    enum parser_status status = run_buffered(p, limits, data + keep, len - keep, &taken);
    return status;
}

bool parser_take(struct parser *p, const uint8_t *data, struct arg *argv)
{
    const uint8_t *base = p->buffered ? p->buf : data;
    for (int i = 0; i < p->argc; i++) {
        const struct parser_arg *a = &p->args[i];
        argv[i] = (struct arg){a->block ? a->block->data : base + a->offset, a->len, a->block};
    }
    bool buffered = p->buffered;
    restart(p);
    return buffered;
}

// Reads the one to four digits of a length and its line's end. NULL: anything else is there.
static inline const uint8_t *quick_number(const uint8_t *p, const uint8_t *end, size_t *value)
{
    // Longest: four digits and CR LF. Shorter lines are followed by more in any whole command.
    if (__builtin_expect(end - p < 6, 0))
        return NULL;
    size_t n = (size_t)p[0] - '0';
    if (n > 9 || (n == 0 && p[1] != '\r'))
        return NULL;
    p++;
    for (int i = 0; *p != '\r'; i++, p++) {
        size_t digit = (size_t)*p - '0';
        if (digit > 9 || i == 3)
            return NULL;
        n = n * 10 + digit;
    }
    *value = n;
    return p + 2;
}

size_t parser_quick(const struct parser *p, const struct parser_limits *limits, const uint8_t *data,
                    size_t len, struct arg *argv, int max, int *argc)
{
    const uint8_t *at = data, *end = data + len;
    size_t n;
    if (p->buffered || !limits->authenticated || len < 6 || *at != '*' ||
        !(at = quick_number(at + 1, end, &n)) || n == 0 || n > (size_t)max)
        return 0;
    for (size_t i = 0; i < n; i++) {
        size_t size;
        if (at >= end || *at != '$' || !(at = quick_number(at + 1, end, &size)) ||
            size > (size_t)(end - at) || (size_t)(end - at) - size < 2)
            return 0;
        argv[i] = (struct arg){at, size, NULL};
        at += size + 2;
    }
    *argc = (int)n;
    return (size_t)(at - data);
}
