#include "dataplane/store/values/intset.h"
#include "dataplane/store/heap.h"

#include <assert.h>
#include <mimalloc.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format's order is the processor's");

struct header {
    uint32_t width, count;
};
static_assert(sizeof(struct header) == 8, "as in files");

static struct header header_of(const uint8_t *is)
{
    struct header h;
    memcpy(&h, is, sizeof(h));
    return h;
}

static void header_set(uint8_t *is, uint32_t width, uint32_t count)
{
    struct header h = {.width = width, .count = count};
    memcpy(is, &h, sizeof(h));
}

static uint32_t width_of(int64_t value)
{
    if (value == (int16_t)value)
        return sizeof(int16_t);
    return value == (int32_t)value ? sizeof(int32_t) : sizeof(int64_t);
}

static size_t bytes_of(uint32_t width, uint32_t count)
{
    return sizeof(struct header) + (size_t)width * count;
}

static int64_t load(const uint8_t *is, uint32_t width, uint32_t index)
{
    const uint8_t *p = is + bytes_of(width, index);
    int16_t v16;
    int32_t v32;
    int64_t v64;
    switch (width) {
    case sizeof(v16):
        memcpy(&v16, p, sizeof(v16));
        return v16;
    case sizeof(v32):
        memcpy(&v32, p, sizeof(v32));
        return v32;
    default:
        memcpy(&v64, p, sizeof(v64));
        return v64;
    }
}

static void save(uint8_t *is, uint32_t width, uint32_t index, int64_t value)
{
    memcpy(is + bytes_of(width, index), &value, width); // the low bytes come first
}

// The first index whose integer is not less.
static uint32_t lower(const uint8_t *is, struct header h, int64_t value)
{
    // Sets are often filled in ascending order.
    if (h.count && load(is, h.width, h.count - 1) < value)
        return h.count;
    uint32_t from = 0, n = h.count;
    while (n) {
        uint32_t half = n / 2;
        if (load(is, h.width, from + half) < value) {
            from += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return from;
}

uint8_t *intset_new(void)
{
    uint8_t *is = heap_hint(mi_malloc(sizeof(struct header)));
    if (is)
        header_set(is, sizeof(int16_t), 0);
    return is;
}

void intset_free(uint8_t *is)
{
    mi_free(is);
}

uint8_t *intset_copy(const uint8_t *is)
{
    size_t bytes = intset_bytes(is);
    uint8_t *copy = heap_hint(mi_malloc(bytes));
    return copy ? memcpy(copy, is, bytes) : NULL;
}

uint32_t intset_count(const uint8_t *is)
{
    return header_of(is).count;
}

size_t intset_bytes(const uint8_t *is)
{
    struct header h = header_of(is);
    return bytes_of(h.width, h.count);
}

size_t intset_memory(const uint8_t *is)
{
    return mi_usable_size(is);
}

bool intset_has(const uint8_t *is, int64_t value)
{
    struct header h = header_of(is);
    if (width_of(value) > h.width)
        return false;
    uint32_t at = lower(is, h, value);
    return at < h.count && load(is, h.width, at) == value;
}

int64_t intset_at(const uint8_t *is, uint32_t index)
{
    struct header h = header_of(is);
    assert(index < h.count);
    return load(is, h.width, index);
}

// A value wider than all that are there lies before or behind all of them.
static uint8_t *widen(uint8_t *is, struct header h, uint32_t width, int64_t value)
{
    is = mi_realloc(is, bytes_of(width, h.count + 1));
    if (!is)
        return NULL;
    uint32_t shift = value < 0;
    for (uint32_t i = h.count; i-- > 0;)
        save(is, width, i + shift, load(is, h.width, i));
    save(is, width, shift ? 0 : h.count, value);
    header_set(is, width, h.count + 1);
    return is;
}

uint8_t *intset_add(uint8_t *is, int64_t value, bool *added)
{
    struct header h = header_of(is);
    uint32_t width = width_of(value);
    *added = false;
    if (width <= h.width) {
        uint32_t at = lower(is, h, value);
        if (at < h.count && load(is, h.width, at) == value)
            return is;
        if (h.count >= INTSET_COUNT_MAX || !(is = mi_realloc(is, bytes_of(h.width, h.count + 1))))
            return NULL;
        memmove(is + bytes_of(h.width, at + 1), is + bytes_of(h.width, at),
                (size_t)h.width * (h.count - at));
        save(is, h.width, at, value);
        header_set(is, h.width, h.count + 1);
    } else if (h.count >= INTSET_COUNT_MAX || !(is = widen(is, h, width, value))) {
        return NULL;
    }
    *added = true;
    return is;
}

uint8_t *intset_remove(uint8_t *is, int64_t value, bool *removed)
{
    struct header h = header_of(is);
    uint32_t at = width_of(value) <= h.width ? lower(is, h, value) : h.count;
    *removed = at < h.count && load(is, h.width, at) == value;
    if (!*removed)
        return is;
    memmove(is + bytes_of(h.width, at), is + bytes_of(h.width, at + 1),
            (size_t)h.width * (h.count - at - 1));
    header_set(is, h.width, h.count - 1);
    // Where even the smaller block cannot be had, the larger one serves as well.
    uint8_t *smaller = mi_realloc(is, bytes_of(h.width, h.count - 1));
    return smaller ? smaller : is;
}

bool intset_validate(const uint8_t *bytes, size_t len)
{
    if (len < sizeof(struct header))
        return false;
    struct header h = header_of(bytes);
    if ((h.width != sizeof(int16_t) && h.width != sizeof(int32_t) && h.width != sizeof(int64_t)) ||
        !h.count || h.count > INTSET_COUNT_MAX || len != bytes_of(h.width, h.count))
        return false;
    for (uint32_t i = 1; i < h.count; i++)
        if (load(bytes, h.width, i - 1) >= load(bytes, h.width, i))
            return false;
    return true;
}
