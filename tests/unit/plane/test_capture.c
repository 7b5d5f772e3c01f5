// The ring of captured frames.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/capture.h"

// Frames of all lengths go through many rounds of the ring, in order and whole; none is seen before
// it is published, and a full ring takes none.
static void rounds(void **state)
{
    (void)state;
    struct capture_ring *r = aligned_alloc(64, sizeof(*r));
    memset(r, 0, sizeof(*r));
    uint64_t head = 0, tail = 0, put = 0, got = 0, full = 0;
    bool bad = false;
    srandom(3);
    while (got < 200000) {
        uint32_t len = (uint32_t)random() % 2000;
        struct capture_frame h = {.captured = len, .len = len + 1, .time_us = put};
        for (unsigned n = (unsigned)random() % 400; n; n--) {
            uint8_t *to = capture_put(r, &head, &h);
            if (!to) {
                full++;
                break;
            }
            memset(to, (int)(put & 0xff), len);
            h.time_us = ++put;
        }
        uint64_t seen = atomic_load(&r->head), at = tail;
        if (seen == tail)
            assert_null(capture_get(r, &at, &h, &bad));
        atomic_store(&r->head, head);
        for (unsigned n = (unsigned)random() % 395; n; n--) {
            const uint8_t *p = capture_get(r, &tail, &h, &bad);
            assert_false(bad);
            if (!p)
                break;
            assert_int_equal(h.time_us, got);
            assert_int_equal(h.len, h.captured + 1);
            for (uint32_t i = 0; i < h.captured; i++)
                assert_int_equal(p[i], got & 0xff);
            tail += h.size;
            got++;
            atomic_store(&r->tail, tail);
        }
    }
    assert_true(full > 0 && put >= got);
    free(r);
}

// What a writer gone mad leaves there is refused, whatever it is, and no byte outside is read.
static void garbage(void **state)
{
    (void)state;
    struct capture_ring *r = aligned_alloc(64, sizeof(*r));
    unsigned refused = 0;
    srandom(5);
    memset(r, 0, sizeof(*r));
    for (unsigned round = 0; round < 100000; round++) {
        struct capture_frame h, *p = (struct capture_frame *)r->bytes;
        uint64_t tail = 0;
        bool bad = false;
        *p = (struct capture_frame){.size = 64, .captured = 30, .len = 30};
        atomic_store(&r->head, 64);
        ((uint8_t *)p)[(size_t)random() % 16] = (uint8_t)random();
        if (round % 3 == 0)
            atomic_store(&r->head, (uint64_t)random() << (unsigned)random() % 32);
        const uint8_t *bytes = capture_get(r, &tail, &h, &bad);
        assert_false(bytes && bad);
        refused += bad;
        if (bytes)
            assert_true(bytes + h.captured <= r->bytes + sizeof(r->bytes) &&
                        h.captured + sizeof(h) <= h.size);
    }
    assert_true(refused > 10000);
    // A reader's tail that makes no sense is a full ring.
    uint64_t head = 1000 * 32;
    atomic_store(&r->tail, head + 32);
    assert_null(capture_put(r, &head, &(struct capture_frame){.captured = 10}));
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds),
        cmocka_unit_test(garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
