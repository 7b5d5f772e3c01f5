// The capture file, read back by a reader that follows the specification and nothing of the writer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/cli/pcapng.h"

struct reader {
    uint8_t *data;
    size_t len, at;
    const uint8_t *block; // its body
    uint32_t type, body;
};

static uint32_t word(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static uint16_t half(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

// The next block: both lengths agree, and it ends on a boundary of four bytes.
static bool next(struct reader *r)
{
    if (r->at == r->len)
        return false;
    assert_true(r->len - r->at >= 12);
    r->type = word(r->data + r->at);
    uint32_t total = word(r->data + r->at + 4);
    assert_true(total >= 12 && total % 4 == 0 && total <= r->len - r->at);
    assert_int_equal(word(r->data + r->at + total - 4), total);
    r->block = r->data + r->at + 8;
    r->body = total - 12;
    r->at += total;
    return true;
}

// The option's value in the part of the block from `from` on, NULL if there is none; the list must
// be well formed up to its end.
static const uint8_t *option(const struct reader *r, uint32_t from, uint16_t code, uint16_t *len)
{
    const uint8_t *found = NULL;
    while (from < r->body) {
        uint16_t kind = half(r->block + from), n = half(r->block + from + 2);
        from += 4;
        assert_true(from + n <= r->body);
        if (kind == 0) {
            assert_int_equal(n, 0);
            assert_int_equal(from, r->body);
            return found;
        }
        if (kind == code) {
            found = r->block + from;
            *len = n;
        }
        from += (n + 3u) & ~3u;
    }
    fail_msg("the list of options has no end");
    return NULL;
}

static void expect_text(const struct reader *r, uint32_t from, uint16_t code, const char *text)
{
    uint16_t len = 0;
    const uint8_t *p = option(r, from, code, &len);
    assert_non_null(p);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(p, text, len);
}

static uint64_t option64(const struct reader *r, uint32_t from, uint16_t code)
{
    uint16_t len = 0;
    const uint8_t *p = option(r, from, code, &len);
    uint64_t v;
    assert_non_null(p);
    assert_int_equal(len, 8);
    memcpy(&v, p, 8);
    return v;
}

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
enum { SHB = 0x0a0d0d0a, IDB = 1, ISB = 5, EPB = 6 };

static void a_whole_file(void **state)
{
    (void)state;
    char *data = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&data, &len);
    uint8_t frame[70];
    for (unsigned i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)(i * 7);
    const uint64_t t = 1700000000123456;
    assert_true(pcapng_begin(f, "polluxctl test"));
    assert_true(pcapng_interface(f, &(struct pcapng_interface){.name = "net_fake0 core 0",
                                                               .description = "Pollux",
                                                               .filter = "port 6379",
                                                               .mac = mac,
                                                               .snaplen = 96}));
    assert_true(pcapng_interface(
        f, &(struct pcapng_interface){.name = "net_fake0 core 1", .snaplen = 262144}));
    // Every length of padding, both directions, cut and whole.
    for (uint32_t n = 60; n < 68; n++)
        assert_true(pcapng_frame(f, n % 2, t + n, n % 2, frame, n, n + (n == 66 ? 1000 : 0)));
    assert_true(pcapng_end(f, 1,
                           &(struct pcapng_statistics){.begin_us = t,
                                                       .end_us = t + 5,
                                                       .received = 100,
                                                       .accepted = 9,
                                                       .dropped = 1,
                                                       .delivered = 8}));
    fclose(f);
    struct reader r = {.data = (uint8_t *)data, .len = len};
    assert_true(next(&r));
    assert_int_equal(r.type, SHB);
    assert_int_equal(word(r.block), 0x1a2b3c4d);
    assert_int_equal(half(r.block + 4), 1);
    assert_int_equal(half(r.block + 6), 0);
    expect_text(&r, 16, 4, "polluxctl test");
    assert_true(next(&r));
    assert_int_equal(r.type, IDB);
    assert_int_equal(half(r.block), 1); // Ethernet
    assert_int_equal(word(r.block + 4), 96);
    expect_text(&r, 8, 2, "net_fake0 core 0");
    expect_text(&r, 8, 3, "Pollux");
    uint16_t n = 0;
    const uint8_t *p = option(&r, 8, 6, &n);
    assert_true(n == 6 && memcmp(p, mac, 6) == 0);
    p = option(&r, 8, 9, &n);
    assert_true(n == 1 && *p == 6); // microseconds
    p = option(&r, 8, 11, &n);
    assert_true(n == 10 && *p == 0 && memcmp(p + 1, "port 6379", 9) == 0);
    assert_true(next(&r));
    assert_int_equal(r.type, IDB);
    assert_null(option(&r, 8, 11, &n));
    for (uint32_t i = 60; i < 68; i++) {
        assert_true(next(&r));
        assert_int_equal(r.type, EPB);
        assert_int_equal(word(r.block), i % 2);
        assert_int_equal((uint64_t)word(r.block + 4) << 32 | word(r.block + 8), t + i);
        assert_int_equal(word(r.block + 12), i);
        assert_int_equal(word(r.block + 16), i + (i == 66 ? 1000 : 0));
        assert_memory_equal(r.block + 20, frame, i);
        p = option(&r, 20 + ((i + 3) & ~3u), 2, &n);
        assert_true(n == 4 && (word(p) & 3) == (i % 2 ? 2 : 1)); // outbound, inbound
    }
    assert_true(next(&r));
    assert_int_equal(r.type, ISB);
    assert_int_equal(word(r.block), 1);
    assert_int_equal(option64(&r, 12, 4), 100);
    assert_int_equal(option64(&r, 12, 6), 9);
    assert_int_equal(option64(&r, 12, 7), 1);
    assert_int_equal(option64(&r, 12, 8), 8);
    p = option(&r, 12, 2, &n);
    assert_int_equal((uint64_t)word(p) << 32 | word(p + 4), t);
    assert_false(next(&r));
    free(data);
}

// A filter as long as a person likes does not overflow anything, and is told in part.
static void a_long_filter(void **state)
{
    (void)state;
    char *data = NULL;
    size_t len = 0;
    static char text[20000];
    memset(text, 'x', sizeof(text) - 1);
    FILE *f = open_memstream(&data, &len);
    assert_true(pcapng_interface(
        f, &(struct pcapng_interface){.name = text, .description = text, .filter = text}));
    fclose(f);
    struct reader r = {.data = (uint8_t *)data, .len = len};
    assert_true(next(&r));
    uint16_t n = 0;
    const uint8_t *p = option(&r, 8, 11, &n);
    assert_true(n > 1000 && p[0] == 0 && p[1] == 'x');
    assert_false(next(&r));
    free(data);
}

static void a_full_disk(void **state)
{
    (void)state;
    FILE *f = fopen("/dev/full", "w");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    assert_false(pcapng_begin(f, "x"));
    assert_false(pcapng_frame(f, 0, 0, false, mac, 6, 6));
    assert_false(pcapng_end(f, 0, &(struct pcapng_statistics){0}));
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file),
        cmocka_unit_test(a_long_filter),
        cmocka_unit_test(a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
