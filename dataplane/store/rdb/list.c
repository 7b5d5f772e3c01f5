// Lists.
#include "dataplane/store/rdb/internal.h"

bool rdb_load_list(struct rdb_load *l)
{
    return rdb_bad(l->r);
}

bool rdb_load_quicklist(struct rdb_load *l, enum rdb_type type)
{
    (void)type;
    return rdb_bad(l->r);
}

bool rdb_list_of(struct rdb_load *l, uint8_t *lp)
{
    if (lp)
        lp_free(lp);
    return rdb_bad(l->r);
}

void rdb_write_list(struct out *o, const struct quicklist *ql, bool compress)
{
    (void)o;
    (void)ql;
    (void)compress;
}
