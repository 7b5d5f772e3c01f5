// Writing replies: every function formats into one contiguous room of the output where the reply is
// short, which is nearly always, so that a reply costs one comparison and one copy.
#include "dataplane/resp/reply.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/block.h"

// A bulk string up to this length is written with its frame in one room: "$500\r\n" and "\r\n" fit
// beside it in OUT_CONTIGUOUS_MAX.
#define REPLY_SHORT_BULK 500
// Longer error texts are cut. They come from format strings of ours with a clipped argument or two.
#define REPLY_ERROR_MAX 1024
#define REPLY_INT64_DIGITS 20 // "-9223372036854775808"

static_assert(1 + 3 + 2 + REPLY_SHORT_BULK + 2 <= OUT_CONTIGUOUS_MAX, "a short bulk fits one room");

// The decimal digits of 0 to 99, two each: one division by 100 makes two digits.
static const char digit_pairs[200] = "00010203040506070809"
                                     "10111213141516171819"
                                     "20212223242526272829"
                                     "30313233343536373839"
                                     "40414243444546474849"
                                     "50515253545556575859"
                                     "60616263646566676869"
                                     "70717273747576777879"
                                     "80818283848586878889"
                                     "90919293949596979899";

static inline unsigned digits_of(uint64_t v)
{
    unsigned n = 1;
    for (;;) {
        if (v < 10)
            return n;
        if (v < 100)
            return n + 1;
        if (v < 1000)
            return n + 2;
        if (v < 10000)
            return n + 3;
        v /= 10000;
        n += 4;
    }
}

static inline unsigned format_uint64(char *text, uint64_t v)
{
    unsigned n = digits_of(v);
    char *p = text + n;
    while (v >= 100) {
        unsigned pair = (unsigned)(v % 100) * 2;
        v /= 100;
        p -= 2;
        memcpy(p, digit_pairs + pair, 2);
    }
    if (v >= 10)
        memcpy(p - 2, digit_pairs + v * 2, 2);
    else
        p[-1] = (char)('0' + v);
    return n;
}

unsigned format_int64(char *text, int64_t value)
{
    if (value >= 0)
        return format_uint64(text, (uint64_t)value);
    *text = '-';
    return 1 + format_uint64(text + 1, 0 - (uint64_t)value);
}

bool parse_int64(const uint8_t *text, size_t len, int64_t *value)
{
    if (len == 0 || len > REPLY_INT64_DIGITS)
        return false;
    if (len == 1 && text[0] == '0') {
        *value = 0;
        return true;
    }
    bool negative = text[0] == '-';
    size_t i = negative;
    if (i == len || text[i] < '1' || text[i] > '9')
        return false;
    uint64_t v = 0;
    for (; i < len; i++) {
        unsigned digit = (unsigned)text[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    if (v > (uint64_t)INT64_MAX + negative)
        return false;
    *value = (int64_t)(negative ? 0 - v : v);
    return true;
}

static inline char *end_line(char *p)
{
    memcpy(p, "\r\n", 2);
    return p + 2;
}

// "Xn\r\n": the head of every counted reply, and the integer itself.
static inline void write_head(struct out *o, char kind, int64_t n)
{
    char *p = (char *)out_room(o, 1 + REPLY_INT64_DIGITS + 2);
    *p++ = kind;
    if (__builtin_expect(n >= 0 && n < 10, 1))
        *p++ = (char)('0' + n);
    else
        p += format_int64(p, n);
    o->pos = (uint8_t *)end_line(p);
}

// A few bytes that are known beforehand.
static inline void write_short(struct out *o, const char *text, size_t len)
{
    memcpy(out_room(o, len), text, len);
    o->pos += len;
}

static void write_line(struct out *o, char kind, const char *text, size_t len)
{
    if (len + 3 <= OUT_CONTIGUOUS_MAX) {
        char *p = (char *)out_room(o, len + 3);
        *p = kind;
        memcpy(p + 1, text, len);
        o->pos = (uint8_t *)end_line(p + 1 + len);
        return;
    }
    write_short(o, &kind, 1);
    out_write(o, text, len);
    write_short(o, "\r\n", 2);
}

void reply_status(struct out *o, const char *text)
{
    write_line(o, '+', text, strlen(text));
}

void reply_error(struct out *o, const char *text)
{
    write_line(o, '-', text, strlen(text));
}

void reply_errorf(struct out *o, const char *format, ...)
{
    char text[REPLY_ERROR_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    // A line break in an argument that is quoted back would break the protocol.
    while (len && (text[len - 1] == '\r' || text[len - 1] == '\n'))
        len--;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    }
    write_line(o, '-', text, len);
}

void reply_integer(struct out *o, int64_t value)
{
    write_head(o, ':', value);
}

void reply_bulk(struct out *o, const void *data, size_t len)
{
    if (__builtin_expect(len <= REPLY_SHORT_BULK, 1)) {
        char *p = (char *)out_room(o, 1 + 3 + 2 + len + 2);
        *p++ = '$';
        p += format_uint64(p, len);
        p = end_line(p);
        memcpy(p, data, len);
        o->pos = (uint8_t *)end_line(p + len);
        return;
    }
    write_head(o, '$', (int64_t)len);
    out_write(o, data, len);
    write_short(o, "\r\n", 2);
}

void reply_bulk_string(struct out *o, const char *text)
{
    reply_bulk(o, text, strlen(text));
}

void reply_bulk_integer(struct out *o, int64_t value)
{
    char *p = (char *)out_room(o, 1 + 2 + 2 + REPLY_INT64_DIGITS + 2);
    char digits[REPLY_INT64_DIGITS];
    unsigned n = format_int64(digits, value);
    *p++ = '$';
    p = end_line(p + format_uint64(p, n));
    memcpy(p, digits, n);
    o->pos = (uint8_t *)end_line(p + n);
}

void reply_bulk_block(struct out *o, struct block *block, size_t offset, size_t len)
{
    if (len < BLOCK_VALUE_MIN) {
        reply_bulk(o, block->data + offset, len);
        return;
    }
    write_head(o, '$', (int64_t)len);
    o->ops->ref(o, block, offset, len);
    write_short(o, "\r\n", 2);
}

void reply_null(struct out *o, int resp)
{
    if (resp >= 3)
        write_short(o, "_\r\n", 3);
    else
        write_short(o, "$-1\r\n", 5);
}

void reply_null_array(struct out *o, int resp)
{
    if (resp >= 3)
        write_short(o, "_\r\n", 3);
    else
        write_short(o, "*-1\r\n", 5);
}

void reply_array(struct out *o, int64_t n)
{
    write_head(o, '*', n);
}

void reply_map(struct out *o, int resp, int64_t n)
{
    if (resp >= 3)
        write_head(o, '%', n);
    else
        write_head(o, '*', n * 2);
}

void reply_set(struct out *o, int resp, int64_t n)
{
    write_head(o, resp >= 3 ? '~' : '*', n);
}

void reply_push(struct out *o, int resp, int64_t n)
{
    write_head(o, resp >= 3 ? '>' : '*', n);
}

void reply_bool(struct out *o, int resp, bool value)
{
    if (resp >= 3)
        write_short(o, value ? "#t\r\n" : "#f\r\n", 4);
    else
        write_head(o, ':', value);
}

// Redis 7.0 prints with 17 significant digits: more than the shortest form, but it reads back
// exactly.
void reply_double(struct out *o, int resp, double value)
{
    char text[40];
    int n;
    if (isinf(value))
        n = snprintf(text, sizeof(text), "%s", value > 0 ? "inf" : "-inf");
    else
        n = snprintf(text, sizeof(text), "%.17g", value);
    if (resp >= 3)
        write_line(o, ',', text, (size_t)n);
    else
        reply_bulk(o, text, (size_t)n);
}

void reply_verbatim(struct out *o, int resp, const char *kind, const void *data, size_t len)
{
    if (resp < 3) {
        reply_bulk(o, data, len);
        return;
    }
    assert(strlen(kind) == 3);
    write_head(o, '=', (int64_t)len + 4);
    write_short(o, kind, 3);
    write_short(o, ":", 1);
    out_write(o, data, len);
    write_short(o, "\r\n", 2);
}
