// Commands that count in a field. They leave its expiry alone.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/hashes_commands.h"
#include "dataplane/commands/hashes_value.h"
#include "dataplane/commands/strings_commands.h"

// Answers and returns false where memory is short.
static bool set_result(struct hash *h, const char *text, size_t len, const char *event)
{
    struct request *r = h->r;
    bool created, ok = hash_edit(h);
    if (ok) {
        ok = hash_set(h, &r->argv[2], text, len, true, &created);
        if (!hash_finish(h, event))
            return false;
    }
    if (!ok)
        request_error(r, ERR_OOM);
    return ok;
}

void hincrby_command(struct request *r)
{
    struct hash h;
    struct field f;
    int64_t increment, value = 0;
    if (!request_integer(r, 3, &increment) || !hash_open_write(r, &h))
        return;
    if (h.entry && hash_find(&h, r->argv[2].ptr, r->argv[2].len, &f) &&
        !parse_int64(f.ptr, f.len, &value)) {
        request_error(r, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(value, increment, &value)) {
        request_error(r, "ERR increment or decrement would overflow");
        return;
    }
    char text[24];
    if (set_result(&h, text, format_int64(text, value), "hincrby"))
        reply_integer(r->out, value);
}

void hincrbyfloat_command(struct request *r)
{
    struct hash h;
    struct field f;
    long double increment, value = 0;
    if (!strings_parse_float(r->argv[3].ptr, r->argv[3].len, &increment)) {
        request_error(r, "ERR value is not a valid float");
        return;
    }
    if (isinf(increment)) {
        request_error(r, "ERR value is NaN or Infinity");
        return;
    }
    if (!hash_open_write(r, &h))
        return;
    if (h.entry && hash_find(&h, r->argv[2].ptr, r->argv[2].len, &f) &&
        !strings_parse_float(f.ptr, f.len, &value)) {
        request_error(r, "ERR hash value is not a float");
        return;
    }
    value += increment;
    if (isnan(value) || isinf(value)) {
        request_error(r, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[STRING_FLOAT_MAX];
    size_t len = strings_format_float(text, value);
    if (!set_result(&h, text, len, "hincrbyfloat"))
        return;
    // Other machines may print another last digit.
    if (effect_begin(r, "HSET", 4)) {
        effect_arg(r, 1);
        effect_arg(r, 2);
        effect_bytes(r, text, len);
    }
    reply_bulk(r->out, text, len);
}
