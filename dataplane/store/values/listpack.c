#include "dataplane/store/values/listpack.h"
#pragma GCC diagnostic ignored "-Wunused-parameter"

#include <stdlib.h>

uint8_t *lp_new(size_t room)
{
    abort();
}

void lp_free(uint8_t *lp)
{
    abort();
}

uint8_t *lp_copy(const uint8_t *lp)
{
    abort();
}

uint8_t *lp_shrink(uint8_t *lp)
{
    abort();
}

size_t lp_bytes(const uint8_t *lp)
{
    abort();
}

size_t lp_memory(const uint8_t *lp)
{
    abort();
}

uint32_t lp_count(const uint8_t *lp)
{
    abort();
}

uint8_t *lp_first(const uint8_t *lp)
{
    abort();
}

uint8_t *lp_last(const uint8_t *lp)
{
    abort();
}

uint8_t *lp_next(const uint8_t *lp, const uint8_t *p)
{
    abort();
}

uint8_t *lp_prev(const uint8_t *lp, const uint8_t *p)
{
    abort();
}

uint8_t *lp_seek(const uint8_t *lp, int64_t index)
{
    abort();
}

struct lp_item lp_get(const uint8_t *p)
{
    abort();
}

const uint8_t *lp_text(const uint8_t *p, char scratch[24], size_t *len)
{
    abort();
}

bool lp_integer(const uint8_t *p, int64_t *value)
{
    abort();
}

bool lp_equal(const uint8_t *p, const void *data, size_t len)
{
    abort();
}

uint8_t *lp_insert(uint8_t *lp, uint8_t *p, enum lp_where where, const void *data, size_t len,
                   uint8_t **at)
{
    abort();
}

uint8_t *lp_insert_integer(uint8_t *lp, uint8_t *p, enum lp_where where, int64_t value,
                           uint8_t **at)
{
    abort();
}

uint8_t *lp_append(uint8_t *lp, const void *data, size_t len)
{
    abort();
}

uint8_t *lp_append_integer(uint8_t *lp, int64_t value)
{
    abort();
}

uint8_t *lp_prepend(uint8_t *lp, const void *data, size_t len)
{
    abort();
}

uint8_t *lp_delete(uint8_t *lp, uint8_t *p, uint8_t **next)
{
    abort();
}

uint8_t *lp_delete_from(uint8_t *lp, uint8_t *p, uint32_t count, uint8_t **next)
{
    abort();
}

uint8_t *lp_delete_range(uint8_t *lp, int64_t index, uint32_t count)
{
    abort();
}

uint8_t *lp_append_all(uint8_t *lp, const uint8_t *from)
{
    abort();
}

uint8_t *lp_find(const uint8_t *lp, uint8_t *p, const void *data, size_t len, unsigned skip)
{
    abort();
}

bool lp_takes(const uint8_t *lp, size_t more)
{
    abort();
}

size_t lp_element_bytes(const void *data, size_t len)
{
    abort();
}

bool lp_validate(const uint8_t *bytes, size_t len, uint32_t *count)
{
    abort();
}
