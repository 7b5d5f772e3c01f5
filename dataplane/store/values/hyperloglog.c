#include "dataplane/store/values/hyperloglog.h"

#include <math.h>
#include <mimalloc.h>
#include <string.h>

#define INDEX_BITS 14
#define HASH_BITS (64 - INDEX_BITS) // of which the first that is set is counted
#define HASH_SEED 0xadc83b19u
#define VALUE_MAX 63 // of 6 bits

// Runs: 00llllll zeros, 01llllll llllllll many zeros, 1vvvvvll values; all less one.
#define ZERO_LENGTH_MAX 64
#define VALUE_LENGTH_MAX 4
#define SPARSE_VALUE_MAX 32
#define MANY_ZEROS 0x40
#define VALUES 0x80

static const uint8_t MAGIC[4] = {'H', 'Y', 'L', 'L'};
enum { ENCODING_DENSE, ENCODING_SPARSE };
#define ENCODING_OFFSET 4

bool hll_is(const uint8_t *bytes, size_t len)
{
    return len >= HLL_HEADER_BYTES && memcmp(bytes, MAGIC, sizeof(MAGIC)) == 0 &&
           bytes[ENCODING_OFFSET] <= ENCODING_SPARSE &&
           (bytes[ENCODING_OFFSET] != ENCODING_DENSE || len == HLL_DENSE_BYTES);
}

bool hll_is_dense(const uint8_t *bytes)
{
    return bytes[ENCODING_OFFSET] == ENCODING_DENSE;
}

// --- elements -----------------------------------------------------------------------------------

// MurmurHash64A by Austin Appleby, of little-endian words.
static uint64_t murmur64a(const uint8_t *p, size_t len, uint64_t seed)
{
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = seed ^ (len * m);
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t k;
        memcpy(&k, p, sizeof(k));
        k *= m;
        k ^= k >> 47;
        h = (h ^ k * m) * m;
    }
    if (len) {
        uint64_t k = 0;
        memcpy(&k, p, len);
        h = (h ^ k) * m;
    }
    h = (h ^ h >> 47) * m;
    return h ^ h >> 47;
}

struct hll_mark hll_mark(const void *element, size_t len)
{
    uint64_t hash = murmur64a(element, len, HASH_SEED);
    uint64_t rest = hash >> INDEX_BITS | UINT64_C(1) << HASH_BITS;
    return (struct hll_mark){
        .index = (uint32_t)(hash & (HLL_REGISTERS - 1)),
        .value = (uint8_t)(__builtin_ctzll(rest) + 1),
    };
}

// --- dense --------------------------------------------------------------------------------------

// Eight registers of six bits become eight bytes.
static uint64_t spread(uint64_t packed)
{
    uint64_t x = packed;
    x = (x & UINT64_C(0x0000000000ffffff)) | (x & UINT64_C(0x0000ffffff000000)) << 8;
    x = (x & UINT64_C(0x00000fff00000fff)) | (x & UINT64_C(0x00fff00000fff000)) << 4;
    return (x & UINT64_C(0x003f003f003f003f)) | (x & UINT64_C(0x0fc00fc00fc00fc0)) << 2;
}

// And back.
static uint64_t squeeze(uint64_t bytes)
{
    uint64_t x = bytes;
    x = (x & UINT64_C(0x003f003f003f003f)) | (x & UINT64_C(0x3f003f003f003f00)) >> 2;
    x = (x & UINT64_C(0x00000fff00000fff)) | (x & UINT64_C(0x0fff00000fff0000)) >> 4;
    return (x & UINT64_C(0x0000000000ffffff)) | (x & UINT64_C(0x00ffffff00000000)) >> 8;
}

// All registers of a dense one, a byte each. Six bytes are read with the two before them, which are
// the header's at first.
static void unpack(const uint8_t *bytes, uint8_t registers[HLL_REGISTERS])
{
    const uint8_t *p = bytes + HLL_HEADER_BYTES - 2;
    for (unsigned i = 0; i < HLL_REGISTERS; i += 8, p += 6) {
        uint64_t packed;
        memcpy(&packed, p, sizeof(packed));
        packed = spread(packed >> 16);
        memcpy(registers + i, &packed, sizeof(packed));
    }
}

static void pack(uint8_t *bytes, const uint8_t registers[HLL_REGISTERS])
{
    uint8_t *p = bytes + HLL_HEADER_BYTES;
    for (unsigned i = 0; i < HLL_REGISTERS; i += 8, p += 6) {
        uint64_t packed;
        memcpy(&packed, registers + i, sizeof(packed));
        packed = squeeze(packed);
        memcpy(p, &packed, 6);
    }
}

uint8_t hll_dense_get(const uint8_t *bytes, uint32_t index)
{
    uint32_t bit = index * 6;
    const uint8_t *p = bytes + HLL_HEADER_BYTES + (bit >> 3);
    unsigned pair = p[0];
    if ((bit & 7) > 2) // else there may be no second byte
        pair |= (unsigned)p[1] << 8;
    return pair >> (bit & 7) & VALUE_MAX;
}

size_t hll_dense_patch(const uint8_t *bytes, struct hll_mark mark, uint8_t patch[2], unsigned *n)
{
    uint32_t bit = mark.index * 6, shift = bit & 7;
    size_t offset = HLL_HEADER_BYTES + (bit >> 3);
    *n = shift > 2 ? 2 : 1;
    unsigned pair = bytes[offset];
    if (*n == 2)
        pair |= (unsigned)bytes[offset + 1] << 8;
    pair = (pair & ~((unsigned)VALUE_MAX << shift)) | (unsigned)mark.value << shift;
    patch[0] = (uint8_t)pair;
    patch[1] = (uint8_t)(pair >> 8);
    return offset;
}

static void dense_set(uint8_t *bytes, struct hll_mark mark)
{
    uint8_t patch[2];
    unsigned n;
    size_t offset = hll_dense_patch(bytes, mark, patch, &n);
    memcpy(bytes + offset, patch, n);
}

// --- runs ---------------------------------------------------------------------------------------

struct hll_run hll_run(const uint8_t *bytes, size_t len, size_t offset)
{
    uint8_t b = bytes[offset];
    if (b & VALUES)
        return (struct hll_run){.value = (b >> 2 & 0x1f) + 1, .length = (b & 3) + 1u, .bytes = 1};
    if (!(b & MANY_ZEROS))
        return (struct hll_run){.length = b + 1u, .bytes = 1};
    uint32_t low = offset + 1 < len ? bytes[offset + 1] : 0;
    return (struct hll_run){.length = ((b & 0x3fu) << 8 | low) + 1, .bytes = 2};
}

// Writes a run of zeros or of values; returns the byte behind.
static uint8_t *put_run(uint8_t *p, uint8_t value, uint32_t length)
{
    if (value) {
        *p++ = (uint8_t)(VALUES | (value - 1) << 2 | (length - 1));
    } else if (length <= ZERO_LENGTH_MAX) {
        *p++ = (uint8_t)(length - 1);
    } else {
        *p++ = (uint8_t)(MANY_ZEROS | (length - 1) >> 8);
        *p++ = (uint8_t)(length - 1);
    }
    return p;
}

// --- all registers ------------------------------------------------------------------------------

bool hll_merge(uint8_t registers[HLL_REGISTERS], const uint8_t *bytes, size_t len)
{
    if (hll_is_dense(bytes)) {
        uint8_t own[HLL_REGISTERS];
        unpack(bytes, own);
        for (unsigned i = 0; i < HLL_REGISTERS; i++)
            registers[i] = own[i] > registers[i] ? own[i] : registers[i];
        return true;
    }
    uint32_t index = 0;
    for (size_t at = HLL_HEADER_BYTES; at < len;) {
        struct hll_run run = hll_run(bytes, len, at);
        if (run.length > HLL_REGISTERS - index)
            return false;
        if (run.value)
            for (uint32_t i = index; i < index + run.length; i++)
                if (registers[i] < run.value)
                    registers[i] = run.value;
        index += run.length;
        at += run.bytes;
    }
    return index == HLL_REGISTERS;
}

// --- the estimate -------------------------------------------------------------------------------

// Sums of the paper, each taken until it no longer changes.
static double sigma(double x)
{
    if (x == 1)
        return INFINITY;
    double y = 1, z = x, before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    if (x == 0 || x == 1)
        return 0;
    double y = 1, z = 1 - x, before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (z != before);
    return z / 3;
}

// From the number of registers that have each value.
static uint64_t estimate_of(const uint32_t histogram[VALUE_MAX + 1])
{
    const double alpha = 0.721347520444481703680; // 1 / (2 ln 2)
    const double m = HLL_REGISTERS;
    double z = m * tau((m - histogram[HASH_BITS + 1]) / m);
    for (unsigned value = HASH_BITS; value >= 1; value--)
        z = (z + histogram[value]) * 0.5;
    z += m * sigma(histogram[0] / m);
    return (uint64_t)llroundl(alpha * m * m / z);
}

uint64_t hll_estimate_registers(const uint8_t registers[HLL_REGISTERS])
{
    // Neighbours are counted apart, so that equal ones need not wait for each other.
    uint32_t counts[4][VALUE_MAX + 1] = {0};
    for (unsigned i = 0; i < HLL_REGISTERS; i += 4)
        for (unsigned k = 0; k < 4; k++)
            counts[k][registers[i + k] & VALUE_MAX]++;
    for (unsigned value = 0; value <= VALUE_MAX; value++)
        counts[0][value] += counts[1][value] + counts[2][value] + counts[3][value];
    return estimate_of(counts[0]);
}

bool hll_estimate(const uint8_t *bytes, size_t len, uint64_t *estimate)
{
    if (hll_is_dense(bytes)) {
        uint8_t registers[HLL_REGISTERS];
        unpack(bytes, registers);
        *estimate = hll_estimate_registers(registers);
        return true;
    }
    uint32_t histogram[VALUE_MAX + 1] = {0}, index = 0;
    for (size_t at = HLL_HEADER_BYTES; at < len;) {
        struct hll_run run = hll_run(bytes, len, at);
        if (run.length > HLL_REGISTERS - index)
            return false;
        histogram[run.value] += run.length;
        index += run.length;
        at += run.bytes;
    }
    if (index != HLL_REGISTERS)
        return false;
    *estimate = estimate_of(histogram);
    return true;
}

bool hll_kept(const uint8_t *bytes, uint64_t *estimate)
{
    memcpy(estimate, bytes + HLL_ESTIMATE_OFFSET, sizeof(*estimate));
    return !(bytes[HLL_OUTDATED_OFFSET] & HLL_OUTDATED);
}

void hll_keep(uint8_t kept[8], uint64_t estimate)
{
    memcpy(kept, &estimate, sizeof(estimate));
}

// --- changing -----------------------------------------------------------------------------------

// Bytes of the runs that one register may be split into.
#define SPLIT_MAX 5

static bool make_room(struct hll *h, size_t room)
{
    if (room <= h->room)
        return true;
    room += room / 2;
    uint8_t *bytes = mi_realloc(h->bytes, room);
    if (!bytes)
        return false;
    h->bytes = bytes;
    h->room = room;
    return true;
}

bool hll_open(struct hll *h, const uint8_t *bytes, size_t len)
{
    *h = (struct hll){.len = len};
    if (!make_room(h, len + SPLIT_MAX))
        return false;
    memcpy(h->bytes, bytes, len);
    return true;
}

bool hll_open_empty(struct hll *h)
{
    uint8_t bytes[HLL_HEADER_BYTES + 2] = {0};
    memcpy(bytes, MAGIC, sizeof(MAGIC));
    bytes[ENCODING_OFFSET] = ENCODING_SPARSE;
    put_run(bytes + HLL_HEADER_BYTES, 0, HLL_REGISTERS);
    return hll_open(h, bytes, sizeof(bytes));
}

void hll_close(struct hll *h)
{
    mi_free(h->bytes);
    h->bytes = NULL;
}

void hll_outdate(struct hll *h)
{
    h->bytes[HLL_OUTDATED_OFFSET] |= HLL_OUTDATED;
}

enum hll_result hll_make_dense(struct hll *h)
{
    if (hll_is_dense(h->bytes))
        return HLL_SAME;
    uint8_t *dense = mi_zalloc(HLL_DENSE_BYTES);
    if (!dense)
        return HLL_NO_MEMORY;
    memcpy(dense, h->bytes, HLL_HEADER_BYTES);
    dense[ENCODING_OFFSET] = ENCODING_DENSE;
    uint32_t index = 0;
    bool fits = true;
    for (size_t at = HLL_HEADER_BYTES; at < h->len && fits;) {
        struct hll_run run = hll_run(h->bytes, h->len, at);
        fits = run.length <= HLL_REGISTERS - index;
        for (uint32_t i = 0; fits && run.value && i < run.length; i++)
            dense_set(dense, (struct hll_mark){.index = index + i, .value = run.value});
        index += run.length;
        at += run.bytes;
    }
    if (!fits || index != HLL_REGISTERS) {
        mi_free(dense);
        return HLL_CORRUPT;
    }
    mi_free(h->bytes);
    *h = (struct hll){.bytes = dense, .len = HLL_DENSE_BYTES, .room = HLL_DENSE_BYTES};
    return HLL_CHANGED;
}

// Where a register is: its run, and the two runs before it (offset 0: there is none).
struct found {
    struct hll_place before_previous;
    size_t previous;
    struct hll_place at;
    struct hll_run run;
};

// False: the runs end before the register, or the last of them in its middle. Most of the time of a
// sparse one goes by here.
static bool find_run(const struct hll *h, uint32_t index, const struct hll_place *from,
                     struct found *f)
{
    const uint8_t *bytes = h->bytes;
    size_t len = h->len, at = HLL_HEADER_BYTES, previous = 0, before = 0;
    uint32_t first = 0, length = 0, previous_first = 0, before_first = 0;
    if (from && from->offset) {
        at = from->offset;
        first = from->first;
    }
    while (at < len) {
        uint8_t b = bytes[at];
        unsigned size = 1;
        if (b & VALUES) {
            length = (b & 3) + 1u;
        } else if (b & MANY_ZEROS) {
            if (at + 1 == len)
                return false;
            length = ((b & 0x3fu) << 8 | bytes[at + 1]) + 1;
            size = 2;
        } else {
            length = b + 1u;
        }
        if (index < first + length)
            break;
        before = previous;
        before_first = previous_first;
        previous = at;
        previous_first = first;
        first += length;
        at += size;
    }
    if (at >= len)
        return false;
    *f = (struct found){
        .before_previous = {before, before_first},
        .previous = previous,
        .at = {at, first},
        .run = hll_run(bytes, len, at),
    };
    return true;
}

// Joins runs of one value that follow each other, looking at five from `at` on, as Redis does: how
// far it looks decides about the bytes.
static void join_runs(struct hll *h, size_t at)
{
    for (unsigned looks = 5; at < h->len && looks; looks--) {
        struct hll_run a = hll_run(h->bytes, h->len, at);
        if (a.value && at + 1 < h->len) {
            struct hll_run b = hll_run(h->bytes, h->len, at + 1);
            if (a.value == b.value && a.length + b.length <= VALUE_LENGTH_MAX) {
                memmove(h->bytes + at, h->bytes + at + 1, h->len - at - 1);
                h->len--;
                put_run(h->bytes + at, a.value, a.length + b.length);
                continue;
            }
        }
        at += a.bytes;
    }
}

// The run with one register of another value, as up to three runs. Returns their bytes.
static unsigned split_run(const struct found *f, struct hll_mark mark, uint8_t runs[SPLIT_MAX])
{
    uint32_t before = mark.index - f->at.first, behind = f->run.length - before - 1;
    uint8_t *p = runs;
    if (before)
        p = put_run(p, f->run.value, before);
    p = put_run(p, mark.value, 1);
    if (behind)
        p = put_run(p, f->run.value, behind);
    return (unsigned)(p - runs);
}

static enum hll_result raise_dense(struct hll *h, struct hll_mark mark)
{
    if (hll_dense_get(h->bytes, mark.index) >= mark.value)
        return HLL_SAME;
    dense_set(h->bytes, mark);
    hll_outdate(h);
    return HLL_CHANGED;
}

static enum hll_result raise_as_dense(struct hll *h, struct hll_mark mark)
{
    enum hll_result result = hll_make_dense(h);
    return result == HLL_CHANGED ? raise_dense(h, mark) : result;
}

enum hll_result hll_raise(struct hll *h, struct hll_mark mark, uint64_t sparse_max,
                          struct hll_place *from)
{
    if (hll_is_dense(h->bytes))
        return raise_dense(h, mark);
    if (mark.value > SPARSE_VALUE_MAX)
        return raise_as_dense(h, mark);
    struct found f;
    if (!find_run(h, mark.index, from, &f))
        return HLL_CORRUPT;
    if (f.run.value >= mark.value)
        return HLL_SAME;

    uint8_t runs[SPLIT_MAX];
    unsigned n = split_run(&f, mark, runs);
    if (n > f.run.bytes && h->len + n - f.run.bytes > sparse_max)
        return raise_as_dense(h, mark);
    if (!make_room(h, h->len + SPLIT_MAX))
        return HLL_NO_MEMORY;
    uint8_t *p = h->bytes + f.at.offset;
    size_t behind = f.at.offset + f.run.bytes;
    memmove(p + n, h->bytes + behind, h->len - behind);
    memcpy(p, runs, n);
    h->len = h->len + n - f.run.bytes;
    join_runs(h, f.previous ? f.previous : HLL_HEADER_BYTES);
    if (from)
        *from = f.before_previous;
    hll_outdate(h);
    return HLL_CHANGED;
}

enum hll_result hll_raise_all(struct hll *h, const uint8_t registers[HLL_REGISTERS],
                              uint64_t sparse_max)
{
    struct hll_place place = {0};
    enum hll_result result = HLL_SAME, one;
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        if (hll_is_dense(h->bytes)) {
            uint8_t own[HLL_REGISTERS];
            unpack(h->bytes, own);
            for (unsigned k = 0; k < HLL_REGISTERS; k++)
                own[k] = own[k] > registers[k] ? own[k] : registers[k];
            pack(h->bytes, own);
            result = HLL_CHANGED;
            break;
        }
        if (!registers[i])
            continue;
        one = hll_raise(h, (struct hll_mark){i, registers[i]}, sparse_max, &place);
        if (one == HLL_CORRUPT || one == HLL_NO_MEMORY)
            return one;
        if (one == HLL_CHANGED)
            result = one;
    }
    hll_outdate(h);
    return result;
}
