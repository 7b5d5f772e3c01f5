// What string commands share: the options of SET and GETEX in any order, times, and the limit of
// lengths.
#include <stdlib.h>

#include "dataplane/commands/strings_commands.h"

// proto-max-bulk-len cannot be configured lower: below it nothing needs to be looked up.
#define LENGTH_ALWAYS_ALLOWED (1024 * 1024)
// An entry holds a length in 32 bits, whatever is configured.
#define LENGTH_NEVER_ALLOWED UINT32_MAX

struct option {
    const char *name;
    unsigned flag, excludes;
    bool takes_time;
};

// A time may be given twice in the same unit (the last counts), as Redis has it.
static const struct option options_known[] = {
    {"nx", STRING_NX, STRING_XX, false},
    {"xx", STRING_XX, STRING_NX, false},
    {"get", STRING_GET, 0, false},
    {"keepttl", STRING_KEEPTTL, STRING_PERSIST | STRING_EXPIRES, false},
    {"persist", STRING_PERSIST, STRING_KEEPTTL | STRING_EXPIRES, false},
    {"ex", STRING_EX, STRING_KEEPTTL | STRING_PERSIST | (STRING_EXPIRES & ~STRING_EX), true},
    {"px", STRING_PX, STRING_KEEPTTL | STRING_PERSIST | (STRING_EXPIRES & ~STRING_PX), true},
    {"exat", STRING_EXAT, STRING_KEEPTTL | STRING_PERSIST | (STRING_EXPIRES & ~STRING_EXAT), true},
    {"pxat", STRING_PXAT, STRING_KEEPTTL | STRING_PERSIST | (STRING_EXPIRES & ~STRING_PXAT), true},
    {NULL},
};

bool strings_parse_options(struct request *r, int first, unsigned allowed, unsigned *options,
                           int *time)
{
    *options = 0;
    *time = 0;
    for (int i = first; i < r->argc; i++) {
        const struct option *o = options_known;
        while (o->name && !(o->flag & allowed && request_is(r, i, o->name)))
            o++;
        if (!o->name || (o->excludes & *options) || (o->takes_time && i + 1 == r->argc)) {
            request_error(r, ERR_SYNTAX);
            return false;
        }
        *options |= o->flag;
        if (o->takes_time)
            *time = ++i;
    }
    return true;
}

bool strings_parse_expiry(struct request *r, int i, unsigned options, int64_t *expiry_ms)
{
    int64_t t;
    if (!request_integer(r, i, &t))
        return false;
    bool bad = t <= 0;
    if (options & (STRING_EX | STRING_EXAT))
        bad = bad || __builtin_mul_overflow(t, 1000, &t);
    if (options & (STRING_EX | STRING_PX))
        bad = bad || __builtin_add_overflow(t, (int64_t)r->now_ms, &t);
    if (bad) {
        request_errorf(r, "ERR invalid expire time in '%s' command", r->command->name);
        return false;
    }
    *expiry_ms = t;
    return true;
}

static void take_length(void *context, const char *name, const char *value)
{
    (void)name;
    *(uint64_t *)context = strtoull(value, NULL, 10);
}

uint64_t strings_length_max(struct request *r)
{
    static const char option[] = "proto-max-bulk-len";
    uint64_t max = STRING_MAX;
    r->services->config_get(r->core, option, sizeof(option) - 1, take_length, &max);
    return max < LENGTH_NEVER_ALLOWED ? max : LENGTH_NEVER_ALLOWED;
}

bool strings_check_length(struct request *r, uint64_t size, uint64_t added)
{
    uint64_t total;
    if (!__builtin_add_overflow(size, added, &total) &&
        (total <= LENGTH_ALWAYS_ALLOWED || total <= strings_length_max(r)))
        return true;
    request_error(r, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return false;
}
