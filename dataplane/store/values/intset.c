#include "dataplane/store/values/intset.h"
#pragma GCC diagnostic ignored "-Wunused-parameter"

#include <stdlib.h>

uint8_t *intset_new(void)
{
    abort();
}

void intset_free(uint8_t *is)
{
    abort();
}

uint8_t *intset_copy(const uint8_t *is)
{
    abort();
}

uint32_t intset_count(const uint8_t *is)
{
    abort();
}

size_t intset_bytes(const uint8_t *is)
{
    abort();
}

size_t intset_memory(const uint8_t *is)
{
    abort();
}

bool intset_has(const uint8_t *is, int64_t value)
{
    abort();
}

int64_t intset_at(const uint8_t *is, uint32_t index)
{
    abort();
}

uint8_t *intset_add(uint8_t *is, int64_t value, bool *added)
{
    abort();
}

uint8_t *intset_remove(uint8_t *is, int64_t value, bool *removed)
{
    abort();
}

bool intset_validate(const uint8_t *bytes, size_t len)
{
    abort();
}
