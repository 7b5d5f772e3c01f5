// The rings of the plane contract: every length, wrapping, long messages in parts, two processes at
// full speed, and whatever bytes a broken process may leave in shared memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/plane.h"

#define STRESS_MESSAGES 200000u
#define STRESS_SECONDS 120 // an alarm for a machine that is stuck; nothing is measured

static struct plane_ring *ring_new(void)
{
    struct plane_ring *r =
        mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(r != MAP_FAILED);
    return r;
}

static void ring_free(struct plane_ring *r)
{
    munmap(r, sizeof(*r));
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Bytes that tell their message and their place.
static void pattern(uint8_t *to, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static void test_every_length(void **state)
{
    (void)state;
    struct plane_ring *r = ring_new();
    uint8_t sent[3000];
    for (size_t len = 0; len < sizeof(sent); len++) {
        pattern(sent, len, len);
        assert_true(plane_send(r, PLANE_EXECUTE, len + 1, 77, sent, len));
        const uint8_t *data;
        size_t got;
        const struct plane_message *m = plane_receive(r, &data, &got);
        assert_non_null(m);
        assert_int_equal(m->kind, PLANE_EXECUTE);
        assert_int_equal(m->request, len + 1);
        assert_int_equal(m->generation, 77);
        assert_int_equal(m->flags, 0);
        assert_int_equal(got, len);
        assert_memory_equal(data, sent, len);
        plane_received(r);
        assert_null(plane_receive(r, &data, &got));
    }
    assert_int_equal(r->resets, 0);
    ring_free(r);
}

static void test_full_is_all_or_nothing(void **state)
{
    (void)state;
    struct plane_ring *r = ring_new();
    uint8_t sent[1000];
    pattern(sent, sizeof(sent), 5);
    uint64_t n = 0, head = 0;
    while (plane_send(r, PLANE_REPLY, n, 1, sent, sizeof(sent))) {
        n++;
        head = r->head;
    }
    assert_int_equal(n, PLANE_RING_BYTES / 1024);
    assert_int_equal(r->head, head);
    assert_int_equal(r->dropped, 1);
    const uint8_t *data;
    size_t len;
    for (uint64_t i = 0; i < n; i++) {
        const struct plane_message *m = plane_receive(r, &data, &len);
        assert_non_null(m);
        assert_int_equal(m->request, i);
        plane_received(r);
    }
    assert_null(plane_receive(r, &data, &len));
    assert_false(plane_send(r, PLANE_REPLY, 0, 1, sent, PLANE_SEND_MAX + 1));
    ring_free(r);
}

// Takes parts until the last; returns the length.
static size_t take_parts(struct plane_ring *r, uint8_t *to, size_t max, bool *last)
{
    const struct plane_message *m;
    const uint8_t *data;
    size_t len, total = 0;
    *last = false;
    while (!*last && (m = plane_receive(r, &data, &len))) {
        assert_true(total + len <= max);
        memcpy(to + total, data, len);
        total += len;
        *last = !(m->flags & PLANE_MORE);
        plane_received(r);
    }
    return total;
}

static void test_long_messages(void **state)
{
    (void)state;
    struct plane_ring *r = ring_new();
    static const size_t lengths[] = {PLANE_MESSAGE_MAX - 24, PLANE_MESSAGE_MAX - 23,
                                     PLANE_MESSAGE_MAX,      PLANE_SEND_MAX,
                                     PLANE_RING_BYTES,       3 * PLANE_RING_BYTES + 11};
    uint8_t *sent = malloc(4 * PLANE_RING_BYTES), *got = malloc(4 * PLANE_RING_BYTES);
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        size_t offset = 0, total = 0;
        bool last = false;
        pattern(sent, lengths[i], i);
        for (unsigned turns = 0; !last; turns++) {
            assert_true(turns < 100);
            if (offset < lengths[i] || turns == 0)
                plane_send_parts(r, PLANE_REPLY, i, 1, sent, lengths[i], &offset);
            total += take_parts(r, got + total, lengths[i] - total, &last);
        }
        assert_int_equal(total, lengths[i]);
        assert_memory_equal(got, sent, total);
    }
    free(sent);
    free(got);
    ring_free(r);
}

// The child sends, the parent checks: order, length, content. Whatever the timing.
static void test_two_processes(void **state)
{
    (void)state;
    struct plane_ring *r = ring_new();
    uint8_t expected[4096];
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint8_t sent[4096];
        uint64_t random = 42;
        alarm(STRESS_SECONDS);
        for (uint64_t i = 0; i < STRESS_MESSAGES;) {
            uint64_t before = random;
            size_t len = random_next(&random) % sizeof(sent);
            if (len > 200 && i % 8)
                len %= 200;
            pattern(sent, len, i);
            if (plane_send(r, PLANE_REPLY, i, 9, sent, len)) {
                i++;
            } else {
                random = before;
                sched_yield();
            }
        }
        _exit(0);
    }
    uint64_t random = 42;
    for (uint64_t i = 0; i < STRESS_MESSAGES;) {
        const uint8_t *data;
        size_t len;
        const struct plane_message *m = plane_receive(r, &data, &len);
        if (!m) {
            int status;
            // A sender that is gone with messages missing is a failure, not a reason to wait.
            if (waitpid(child, &status, WNOHANG) == child) {
                child = 0;
                assert_int_equal(status, 0);
                assert_int_not_equal(r->head, r->tail);
            }
            sched_yield();
            continue;
        }
        size_t want = random_next(&random) % sizeof(expected);
        if (want > 200 && i % 8)
            want %= 200;
        assert_int_equal(m->request, i);
        assert_int_equal(len, want);
        pattern(expected, len, i);
        assert_memory_equal(data, expected, len);
        plane_received(r);
        i++;
    }
    assert_int_equal(r->resets, 0);
    if (child) {
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    ring_free(r);
}

// Whatever stands in the ring, receiving gives messages within it or nothing, ends, and the ring
// works again afterwards.
static void test_garbage(void **state)
{
    (void)state;
    struct plane_ring *r = ring_new();
    uint64_t random = 7;
    for (unsigned round = 0; round < 20000; round++) {
        static const uint8_t text[100] = "text";
        for (unsigned i = 0; i < 3; i++)
            plane_send(r, PLANE_REPLY, i, 1, text, random_next(&random) % sizeof(text));
        switch (random_next(&random) % 5) {
        case 0: // a few bytes of what is there
            for (unsigned i = 0; i < 8; i++)
                r->bytes[(r->tail + random_next(&random) % 300) % PLANE_RING_BYTES] =
                    (uint8_t)random_next(&random);
            break;
        case 1:
            r->head = random_next(&random);
            break;
        case 2:
            r->tail = random_next(&random);
            break;
        case 3:
            r->head += random_next(&random) % 64;
            break;
        default:
            r->shown = (uint32_t)random_next(&random);
        }
        const struct plane_message *m;
        const uint8_t *data;
        size_t len;
        unsigned n = 0;
        while ((m = plane_receive(r, &data, &len))) {
            assert_true(++n <= PLANE_RING_BYTES / 24);
            assert_true(data >= r->bytes && data + len <= r->bytes + PLANE_RING_BYTES);
            plane_received(r);
        }
        // The producer sees a ring that it can use, at the latest after the consumer's next look.
        if (!plane_send(r, PLANE_REPLY, 123, 1, text, sizeof(text)) ||
            !(m = plane_receive(r, &data, &len))) {
            plane_receive(r, &data, &len);
            assert_true(plane_send(r, PLANE_REPLY, 123, 1, text, sizeof(text)));
            m = plane_receive(r, &data, &len);
        }
        assert_non_null(m);
        assert_int_equal(m->request, 123);
        assert_int_equal(len, sizeof(text));
        plane_received(r);
    }
    assert_true(r->resets > 0);
    ring_free(r);
}

static void test_discard(void **state)
{
    (void)state;
    struct plane_ring *r = ring_new();
    const uint8_t *data;
    size_t len;
    assert_true(plane_send(r, PLANE_EXECUTE, 1, 1, "a", 1));
    plane_discard(r);
    assert_null(plane_receive(r, &data, &len));
    assert_true(plane_send(r, PLANE_EXECUTE, 2, 1, "b", 1));
    assert_int_equal(plane_receive(r, &data, &len)->request, 2);
    ring_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length),  cmocka_unit_test(test_full_is_all_or_nothing),
        cmocka_unit_test(test_long_messages), cmocka_unit_test(test_two_processes),
        cmocka_unit_test(test_garbage),       cmocka_unit_test(test_discard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
