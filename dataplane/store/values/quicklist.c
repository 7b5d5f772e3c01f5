#include "dataplane/store/values/quicklist.h"
#pragma GCC diagnostic ignored "-Wunused-parameter"

#include <stdlib.h>

size_t quicklist_memory(const struct quicklist *ql)
{
    abort();
}

uint64_t quicklist_count(const struct quicklist *ql)
{
    abort();
}

struct quicklist *quicklist_copy(const struct quicklist *ql)
{
    abort();
}

void quicklist_free(struct quicklist *ql)
{
    abort();
}

bool quicklist_free_step(struct quicklist *ql, unsigned *budget)
{
    abort();
}
