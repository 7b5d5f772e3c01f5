#include "dataplane/store/values/stream.h"
#pragma GCC diagnostic ignored "-Wunused-parameter"

#include <stdlib.h>

size_t stream_memory(const struct stream_value *x)
{
    abort();
}

uint64_t stream_count(const struct stream_value *x)
{
    abort();
}

struct stream_value *stream_copy(const struct stream_value *x)
{
    abort();
}

bool stream_free_step(struct stream_value *x, unsigned *budget)
{
    abort();
}
