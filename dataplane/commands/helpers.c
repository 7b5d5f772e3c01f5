// What handlers of all families share: keys and numbers among the arguments, and error replies.
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"

// The longest text that reads as a floating point number, as in Redis.
#define FLOAT_TEXT_MAX 255
// Error texts are our own format strings with a clipped argument or two.
#define ERROR_TEXT_MAX 1024

struct key request_key(struct request *r, int i)
{
    const struct arg *a = &r->argv[i];
    if (r->key.ptr == a->ptr && r->key.len == a->len)
        return r->key;
    return keyspace_key(store_keyspace(r->store), a->ptr, a->len);
}

void request_error(struct request *r, const char *text)
{
    r->replied_error = true;
    snprintf(r->error_prefix, sizeof(r->error_prefix), "%.*s", (int)strcspn(text, " \r"), text);
    reply_error(r->out, text);
}

void request_errorf(struct request *r, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    // The text may show bytes of the client, which must not end the line early.
    for (char *p = text; *p; p++)
        if (*p == '\r' || *p == '\n')
            *p = ' ';
    request_error(r, text);
}

bool request_is(const struct request *r, int i, const char *word)
{
    const struct arg *a = &r->argv[i];
    return strlen(word) == a->len && strncasecmp((const char *)a->ptr, word, a->len) == 0;
}

bool request_integer(struct request *r, int i, int64_t *value)
{
    if (parse_int64(r->argv[i].ptr, r->argv[i].len, value))
        return true;
    request_error(r, ERR_NOT_INTEGER);
    return false;
}

bool request_draw_count(struct request *r, int64_t *count)
{
    if (!request_integer(r, 2, count))
        return false;
    if (*count != INT64_MIN)
        return true;
    request_errorf(r, "ERR value is out of range, value must between %" PRId64 " and %" PRId64,
                   -INT64_MAX, INT64_MAX);
    return false;
}

bool request_draw_pairs(struct request *r, const char *word, int64_t *count, bool *paired)
{
    if (!request_draw_count(r, count))
        return false;
    *paired = r->argc > 3;
    if (r->argc > 4 || (r->argc == 4 && !request_is(r, 3, word))) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    if (*paired && (*count < -INT64_MAX / 2 || *count > INT64_MAX / 2)) {
        request_error(r, "ERR value is out of range");
        return false;
    }
    return true;
}

uint64_t request_random_below(struct request *r, uint64_t n)
{
    return (uint64_t)((unsigned __int128)r->services->random(r->core) * n >> 64);
}

static bool parse_float(const struct arg *a, long double *value)
{
    char text[FLOAT_TEXT_MAX + 1];
    if (a->len == 0 || a->len > FLOAT_TEXT_MAX || isspace(a->ptr[0]))
        return false;
    memcpy(text, a->ptr, a->len);
    text[a->len] = '\0';
    char *end;
    errno = 0;
    *value = strtold(text, &end);
    if (end != text + a->len || isnan(*value))
        return false;
    // Out of range is an error where it lost the value: an overflow, or an underflow to zero.
    return errno != ERANGE || (!isinf(*value) && fpclassify(*value) != FP_ZERO);
}

bool request_float_or(struct request *r, int i, long double *value, const char *error)
{
    if (parse_float(&r->argv[i], value))
        return true;
    request_error(r, error);
    return false;
}

void text_add(struct out *o, const char *format, ...)
{
    char text[TEXT_ADD_MAX + 1];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    out_write(o, text, n > TEXT_ADD_MAX ? TEXT_ADD_MAX : (size_t)n);
}

void request_reply_text(struct request *r, struct outbuf *text)
{
    size_t len = outbuf_size(text);
    if (r->session->resp == 3)
        text_add(r->out, "=%zu\r\ntxt:", len + 4);
    else
        text_add(r->out, "$%zu\r\n", len);
    outbuf_move(text, r->out);
    out_write(r->out, "\r\n", 2);
}

void request_help(struct request *r, const char *container, const char *const *lines)
{
    int64_t n = 0;
    while (lines[n])
        n++;
    char text[128];
    snprintf(text, sizeof(text), "%s <subcommand> [<arg> ...]. The subcommands are:", container);
    reply_array(r->out, n + 3);
    reply_status(r->out, text);
    for (int64_t i = 0; i < n; i++)
        reply_status(r->out, lines[i]);
    reply_status(r->out, "HELP");
    reply_status(r->out, "    Shows this list.");
}
