#include "dataplane/commands/blocking.h"

#include <math.h>
#include <mimalloc.h>

static bool timeout_fits(struct request *r, long double milliseconds, uint64_t *timeout_us)
{
    // What does not fit 64 bits turns negative in Redis.
    if (milliseconds < 0 || milliseconds > (long double)INT64_MAX) {
        request_error(r, "ERR timeout is negative");
        return false;
    }
    *timeout_us =
        milliseconds > (long double)(INT64_MAX / 1000) ? INT64_MAX : (uint64_t)milliseconds * 1000;
    return true;
}

bool request_timeout_seconds(struct request *r, int i, uint64_t *timeout_us)
{
    long double seconds;
    if (!request_float_or(r, i, &seconds, "ERR timeout is not a float or out of range"))
        return false;
    return timeout_fits(r, ceill(seconds * 1000), timeout_us);
}

bool request_timeout_milliseconds(struct request *r, int i, uint64_t *timeout_us)
{
    int64_t milliseconds;
    if (!parse_int64(r->argv[i].ptr, r->argv[i].len, &milliseconds)) {
        request_error(r, "ERR timeout is not an integer or out of range");
        return false;
    }
    return timeout_fits(r, milliseconds, timeout_us);
}

void request_block_range(struct request *r, int first, int n_keys, uint64_t timeout_us)
{
    int *keys = mi_mallocn((size_t)n_keys, sizeof(*keys));
    if (!keys) {
        request_error(r, ERR_OOM);
        return;
    }
    for (int i = 0; i < n_keys; i++)
        keys[i] = first + i;
    request_block(r, n_keys, keys, timeout_us, BLOCK_NULL_ARRAY);
    mi_free(keys);
}
