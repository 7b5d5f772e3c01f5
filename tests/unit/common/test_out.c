// Blocks, outputs in heap memory, slots and the text of endpoints.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "common/slot.h"
#include "common/stream.h"

static void test_block(void **state)
{
    (void)state;
    struct block *b = block_new(100);
    assert_non_null(b);
    assert_int_equal(b->len, 0);
    assert_int_equal(b->cap, 100);
    assert_false(block_is_shared(b));
    memset(b->data, 'x', 100);
    b->len = 100;
    b = block_grow(b, 100000);
    assert_non_null(b);
    assert_true(b->cap >= 100000);
    assert_int_equal(b->data[99], 'x');
    assert_true(block_memory(b) >= 100000);
    block_retain(b);
    assert_true(block_is_shared(b));
    block_release(b);
    assert_false(block_is_shared(b));
    block_release(b);
    block_release(NULL);
    assert_null(block_new(SIZE_MAX));
}

// All that was written, in order.
static uint8_t *flatten(struct outbuf *b, size_t *len)
{
    outbuf_finish(b);
    uint8_t *all = malloc(outbuf_size(b) + 1);
    *len = 0;
    for (struct outbuf_piece *p = b->first; p; p = p->next) {
        memcpy(all + *len, p->block->data + p->offset, p->len);
        *len += p->len;
    }
    assert_int_equal(*len, outbuf_size(b));
    return all;
}

static void test_outbuf_random(void **state)
{
    (void)state;
    unsigned seed = 5;
    for (unsigned round = 0; round < 50; round++) {
        struct outbuf b;
        outbuf_init(&b);
        uint8_t *model = malloc(2 << 20);
        size_t len = 0;
        for (unsigned i = 0; i < 40; i++) {
            uint8_t bytes[20000];
            size_t n = (size_t)rand_r(&seed) % sizeof(bytes);
            memset(bytes, (int)i, n);
            switch (rand_r(&seed) % 3) {
            case 0:
                out_write(&b.out, bytes, n);
                break;
            case 1:
                n = n % OUT_CONTIGUOUS_MAX + 1;
                memset(bytes, (int)i, n);
                memcpy(out_room(&b.out, n), bytes, n);
                b.out.pos += n;
                break;
            default: {
                struct block *big = block_new(n + 3);
                memcpy(big->data + 3, bytes, n);
                big->len = n + 3;
                b.out.ops->ref(&b.out, big, 3, n);
                assert_true(block_is_shared(big));
                block_release(big);
            }
            }
            memcpy(model + len, bytes, n);
            len += n;
            assert_int_equal(outbuf_size(&b), len);
        }
        size_t got;
        uint8_t *all = flatten(&b, &got);
        assert_int_equal(got, len);
        assert_memory_equal(all, model, len);
        free(all);
        // Handed to another output: the same bytes, and nothing stays.
        struct outbuf to;
        outbuf_init(&to);
        out_write(&to.out, "before", 6);
        outbuf_move(&b, &to.out);
        assert_int_equal(outbuf_size(&b), 0);
        assert_null(b.first);
        out_write(&to.out, "after", 5);
        all = flatten(&to, &got);
        assert_int_equal(got, len + 11);
        assert_memory_equal(all, "before", 6);
        assert_memory_equal(all + 6, model, len);
        assert_memory_equal(all + 6 + len, "after", 5);
        free(all);
        outbuf_clear(&to);
        outbuf_clear(&b);
        free(model);
    }
}

static void test_outbuf_shares_big_blocks(void **state)
{
    (void)state;
    struct outbuf a, b;
    outbuf_init(&a);
    outbuf_init(&b);
    struct block *big = block_new(BLOCK_VALUE_MIN);
    big->len = BLOCK_VALUE_MIN;
    memset(big->data, 'v', big->len);
    a.out.ops->ref(&a.out, big, 0, big->len);
    outbuf_move(&a, &b.out);
    outbuf_finish(&b);
    assert_ptr_equal(b.first->block, big);
    outbuf_clear(&b);
    assert_false(block_is_shared(big));
    block_release(big);
}

static uint16_t slow_crc(const uint8_t *p, size_t len)
{
    uint16_t crc = 0;
    while (len--) {
        crc ^= (uint16_t)(*p++ << 8);
        for (int i = 0; i < 8; i++)
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

static uint16_t slot(const char *key)
{
    return slot_of_key((const uint8_t *)key, strlen(key));
}

static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(crc16((const uint8_t *)"123456789", 9), 0x31c3); // the check value of XMODEM
    uint8_t bytes[300];
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rand_r(&seed);
    for (size_t from = 0; from < 9; from++)
        for (size_t len = 0; len + from <= sizeof(bytes); len++)
            assert_int_equal(crc16(bytes + from, len), slow_crc(bytes + from, len));
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("{user1000}.following"), slot("{user1000}.followers"));
    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("foo{}{bar}"), slow_crc((const uint8_t *)"foo{}{bar}", 10) % SLOTS);
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    assert_int_equal(slot("}a{b"), slow_crc((const uint8_t *)"}a{b", 4) % SLOTS);
    assert_int_equal(slot(""), 0);
}

static void test_endpoints(void **state)
{
    (void)state;
    char text[ENDPOINT_TEXT_MAX];
    struct endpoint four = {.family = 4, .port = 6379, .addr = {192, 0, 2, 1}};
    struct endpoint six = {.family = 6, .port = 6379, .addr = {0x20, 1, 0xd, 0xb8, [15] = 1}};
    struct endpoint local = {.family = 0};
    assert_string_equal(endpoint_format(&four, text), "192.0.2.1:6379");
    assert_string_equal(endpoint_format(&six, text), "[2001:db8::1]:6379");
    assert_string_equal(endpoint_format(&local, text), "unix:0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_outbuf_random),
        cmocka_unit_test(test_outbuf_shares_big_blocks),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
