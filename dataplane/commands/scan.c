#include "dataplane/commands/scan.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/glob.h"

#define SCAN_COUNT_DEFAULT 10
#define CURSOR_DIGITS_MAX 20

struct scan_pattern scan_pattern_of(const struct arg *arg)
{
    bool all = arg->len == 1 && arg->ptr[0] == '*';
    return (struct scan_pattern){.arg = all ? NULL : arg};
}

// To Redis no star but the lone one matches the empty name.
bool scan_matches(const struct scan_pattern *p, const uint8_t *name, size_t len)
{
    if (p->arg && len == 0)
        return p->arg->len == 0;
    return !p->arg ||
           glob_match((const char *)p->arg->ptr, p->arg->len, (const char *)name, len, false);
}

bool scan_parse_cursor(const struct arg *a, uint64_t *cursor)
{
    size_t i = a->len && (a->ptr[0] == '-' || a->ptr[0] == '+'), first = i;
    uint64_t v = 0;
    for (; i < a->len && a->ptr[i]; i++) {
        unsigned digit = (unsigned)a->ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    if (first && i == first)
        return false;
    *cursor = first && a->ptr[0] == '-' ? 0 - v : v;
    return true;
}

bool scan_parse_options(struct request *r, int first, unsigned allowed,
                        struct scan_options *options)
{
    *options = (struct scan_options){.count = SCAN_COUNT_DEFAULT};
    for (int i = first; i < r->argc; i++) {
        bool has_value = i + 1 < r->argc;
        if (has_value && request_is(r, i, "count")) {
            if (!request_integer(r, ++i, &options->count))
                return false;
            if (options->count < 1) {
                request_error(r, ERR_SYNTAX);
                return false;
            }
        } else if (has_value && request_is(r, i, "match")) {
            options->pattern = scan_pattern_of(&r->argv[++i]);
        } else if (has_value && allowed & SCAN_TYPE && request_is(r, i, "type")) {
            options->type = &r->argv[++i];
        } else if (allowed & SCAN_NOVALUES && request_is(r, i, "novalues")) {
            options->no_values = true;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

void scan_reply_head(struct request *r, uint64_t cursor, int64_t n)
{
    char text[CURSOR_DIGITS_MAX + 1];
    int len = snprintf(text, sizeof(text), "%" PRIu64, cursor);
    reply_array(r->out, 2);
    reply_bulk(r->out, text, (size_t)len);
    reply_array(r->out, n);
}

void scan_reply(struct request *r, uint64_t cursor, int64_t n, struct outbuf *found)
{
    scan_reply_head(r, cursor, n);
    outbuf_move(found, r->out);
}
