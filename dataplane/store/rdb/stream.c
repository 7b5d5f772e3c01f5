// Streams.
#include "dataplane/store/rdb/internal.h"

bool rdb_load_stream(struct rdb_load *l, enum rdb_type type)
{
    (void)type;
    return rdb_bad(l->r);
}

void rdb_write_stream(struct out *o, const struct stream_value *x, bool compress)
{
    (void)o;
    (void)x;
    (void)compress;
}
