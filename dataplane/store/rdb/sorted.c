// Sorted sets.
#include "dataplane/store/rdb/internal.h"

bool rdb_load_zset(struct rdb_load *l, bool text)
{
    (void)text;
    return rdb_bad(l->r);
}

bool rdb_zset_of(struct rdb_load *l, uint8_t *lp)
{
    if (lp)
        lp_free(lp);
    return rdb_bad(l->r);
}

void rdb_write_zset(struct out *o, const struct zset *z, bool compress)
{
    (void)o;
    (void)z;
    (void)compress;
}
