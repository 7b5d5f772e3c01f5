// The serialisation of values: its parts against known bytes, and real payloads whole, cut short
// and damaged in each place.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/store/object.h"
#include "dataplane/store/rdb/crc64.h"
#include "dataplane/store/rdb/rdb.h"
#include "tests/fuzz/restore_seeds.h"

#define NOW_MS 1700000000000
enum { SEEDS = sizeof(restore_seeds) / sizeof(restore_seeds[0]) };

struct fixture {
    struct keyspace *ks;
    struct store *s;
    struct key key;
    uint64_t memory; // when it is empty
};

static const struct rdb_limits usual = {
    .hash_max_listpack_entries = 512,
    .hash_max_listpack_value = 64,
    .set_max_intset_entries = 512,
    .set_max_listpack_value = 64,
    .zset_max_listpack_entries = 128,
    .zset_max_listpack_value = 64,
    .list_max_listpack_size = -2,
};
static const struct rdb_limits tight = {.list_max_listpack_size = 1, .list_compress_depth = 1};

static int setup(void **state)
{
    struct fixture *f = mi_zalloc(sizeof(*f));
    struct keyspace_config config = {
        .cores = 1, .databases = 1, .secret = "a secret of 16 b", .epoch_ms = NOW_MS};
    f->ks = keyspace_create(&config);
    f->s = store_create(f->ks, 0, 1);
    store_set_time(f->s, NOW_MS);
    f->key = keyspace_key(f->ks, "key", 3);
    f->memory = keyspace_memory(f->ks);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_destroy(f->s);
    keyspace_destroy(f->ks);
    mi_free(f);
    return 0;
}

static struct entry *load(struct fixture *f, const struct rdb_limits *limits, const uint8_t *bytes,
                          size_t len)
{
    struct rdb_reader r = rdb_reader(bytes + 1, len - 1);
    struct rdb_value value;
    if (!rdb_read_value(&r, f->s, limits, (enum rdb_type)bytes[0], &value)) {
        assert_int_not_equal(r.error, RDB_OK);
        return NULL;
    }
    struct entry *at = store_find(f->s, 0, &f->key, LOOKUP_WRITE);
    struct entry *e = rdb_put_value(f->s, 0, &f->key, at, &value, -1);
    assert_non_null(e);
    return e;
}

static void clear(struct fixture *f)
{
    store_delete(f->s, 0, &f->key);
    while (store_maintain(f->s, 100000))
        ;
    assert_int_equal(keyspace_memory(f->ks), f->memory);
}

static struct block *save(const struct entry *e, bool compress, unsigned *version)
{
    struct outbuf out;
    outbuf_init(&out);
    uint8_t type = (uint8_t)rdb_type_of(e, version);
    out_write(&out.out, &type, 1);
    rdb_write_value(&out.out, e, compress);
    struct block *b = outbuf_block(&out);
    outbuf_clear(&out);
    assert_non_null(b);
    return b;
}

// --- parts --------------------------------------------------------------------------------------

static void test_crc(void **state)
{
    (void)state;
    assert_true(crc64(0, "123456789", 9) == 0xe9c6d914c4b8d9ca);
    // By eight bytes as byte by byte, in whatever parts.
    uint8_t bytes[200];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + (i >> 3));
    uint64_t slow = 0;
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        slow ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            slow = slow >> 1 ^ (slow & 1 ? 0x95ac9329ac4bc9b5 : 0);
        assert_true(crc64(0, bytes, i + 1) == slow);
        assert_true(crc64(crc64(0, bytes, i / 3), bytes + i / 3, i + 1 - i / 3) == slow);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        unsigned bytes;
    } cases[] = {
        {0, 1},     {63, 1},         {64, 2},         {16383, 2},
        {16384, 5}, {UINT32_MAX, 5}, {1ull << 32, 9}, {UINT64_MAX, 9},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outbuf out;
        outbuf_init(&out);
        rdb_write_length(&out.out, cases[i].n);
        struct block *b = outbuf_block(&out);
        assert_int_equal(b->len, cases[i].bytes);
        struct rdb_reader r = rdb_reader(b->data, b->len);
        assert_true(rdb_read_length(&r) == cases[i].n && !r.error && r.at == r.end);
        for (size_t cut = 0; cut < b->len; cut++) {
            r = rdb_reader(b->data, cut);
            assert_int_equal(rdb_read_length(&r), 0);
            assert_int_equal(r.error, RDB_BAD);
        }
        block_release(b);
        outbuf_clear(&out);
    }
}

static void string_is(const char *bytes, size_t len, const char *text, size_t text_len)
{
    struct rdb_reader r = rdb_reader(bytes, len);
    struct rdb_string string;
    if (!text) {
        assert_false(rdb_read_string(&r, &string));
        return;
    }
    assert_true(rdb_read_string(&r, &string));
    assert_int_equal(string.len, text_len);
    assert_memory_equal(string.ptr, text, text_len);
    rdb_string_clear(&string);
}
#define STRING_IS(bytes, text) string_is(bytes, sizeof(bytes) - 1, text, sizeof(text) - 1)
#define STRING_BAD(bytes) string_is(bytes, sizeof(bytes) - 1, NULL, 0)

static void test_strings(void **state)
{
    (void)state;
    STRING_IS("\0", "");
    STRING_IS("\3abc", "abc");
    STRING_IS("\xc0\xff", "-1");
    STRING_IS("\xc1\x00\x80", "-32768");
    STRING_IS("\xc2\xff\xff\xff\x7f", "2147483647");
    STRING_IS("\xc3\x05\x0a\x00\x61\xe0\x00\x00", "aaaaaaaaaa");
    STRING_BAD("\xc3\x05\x0b\x00\x61\xe0\x00\x00"); // says one more than there is
    STRING_BAD("\xc3\x05\x09\x00\x61\xe0\x00\x00");
    STRING_BAD("\xc3\x05\x80\xff\xff\xff\xff\x00\x61\xe0\x00\x00"); // more than it can be
    STRING_BAD("\xc3\x00\x00");
    STRING_BAD("\xc4\x00");
    STRING_BAD("\x03\x61\x62");
    STRING_BAD("\x81\xff\xff\xff\xff\xff\xff\xff\xff\x61");
    STRING_BAD("");
}

// --- values -------------------------------------------------------------------------------------

static uint64_t length_of(const struct entry *e)
{
    char scratch[24];
    if (entry_type(e) == OBJ_STRING)
        return entry_string(e, scratch).len;
    return object_length(entry_type(e), entry_encoding(e), entry_object(e));
}

// What is loaded, written and loaded again is the same; where the encoding has an order, to the
// byte.
static void round_trip(struct fixture *f, const struct rdb_limits *limits, unsigned seed)
{
    struct entry *e = load(f, limits, restore_seeds[seed].bytes, restore_seeds[seed].len);
    if (!e && strchr("\x01\x0a\x0e\x12\x0f\x13\x15", restore_seeds[seed].bytes[0]))
        return;
    if (!e)
        fail_msg("seed %u is not taken", seed);
    enum object_type type = entry_type(e);
    uint64_t length = length_of(e);
    for (unsigned compress = 0; compress < 2; compress++) {
        unsigned version;
        struct block *b = save(e, compress, &version);
        e = load(f, limits, b->data, b->len);
        assert_non_null(e);
        assert_int_equal(entry_type(e), type);
        assert_int_equal(length_of(e), length);
        struct block *again = save(e, compress, &version);
        assert_int_equal(again->len, b->len);
        if (type == OBJ_LIST || type == OBJ_ZSET || type == OBJ_STREAM || type == OBJ_STRING ||
            entry_encoding(e) == ENC_LISTPACK || entry_encoding(e) == ENC_INTSET)
            assert_memory_equal(again->data, b->data, b->len);
        block_release(b);
        block_release(again);
    }
    clear(f);
}

static void test_real_payloads(void **state)
{
    for (unsigned i = 0; i < SEEDS; i++) {
        round_trip(*state, &usual, i);
        round_trip(*state, &tight, i);
    }
}

// Redis's own payloads come out as they went in.
static void test_same_bytes(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SEEDS; i++) {
        const struct restore_seed *seed = &restore_seeds[i];
        unsigned type = seed->bytes[0], version;
        if (type != RDB_STRING && type != RDB_SET_INTSET && type != RDB_HASH_LISTPACK)
            continue;
        struct entry *e = load(f, &usual, seed->bytes, seed->len);
        struct block *plain = save(e, false, &version), *packed = save(e, true, &version);
        assert_true((plain->len == seed->len && !memcmp(plain->data, seed->bytes, seed->len)) ||
                    (packed->len == seed->len && !memcmp(packed->data, seed->bytes, seed->len)));
        assert_int_equal(version, RDB_VERSION);
        block_release(plain);
        block_release(packed);
        clear(f);
    }
}

static void test_cut_short(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SEEDS; i++)
        for (size_t len = 1; len < restore_seeds[i].len; len++) {
            uint8_t *copy = mi_malloc(len); // of just the size
            memcpy(copy, restore_seeds[i].bytes, len);
            assert_null(load(f, len % 2 ? &usual : &tight, copy, len));
            mi_free(copy);
        }
    clear(f);
}

static void test_damaged(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < SEEDS; i++) {
        size_t len = restore_seeds[i].len;
        uint8_t *copy = mi_malloc(len);
        for (size_t at = 0; at < len; at++)
            for (unsigned bit = 0; bit < 10; bit++) {
                memcpy(copy, restore_seeds[i].bytes, len);
                copy[at] = bit < 8 ? copy[at] ^ (uint8_t)(1u << bit) : bit == 8 ? 0 : 0xff;
                struct entry *e = load(f, bit % 2 ? &usual : &tight, copy, len);
                assert_true(!e || length_of(e) || entry_type(e) == OBJ_STRING ||
                            entry_type(e) == OBJ_STREAM);
            }
        mi_free(copy);
        clear(f);
    }
}

// A count that no payload of this size can hold costs nothing.
static void test_promises(void **state)
{
    static const uint8_t types[] = {1, 2, 3, 4, 5, 14, 15, 18, 19, 21, 22, 24};
    uint8_t bytes[30] = {0};
    for (unsigned i = 0; i < sizeof(types); i++) {
        bytes[0] = types[i];
        memcpy(bytes + 1, "\x81\x00\x00\x00\x7f\xff\xff\xff\xff", 9);
        assert_null(load(*state, &usual, bytes, sizeof(bytes)));
        memcpy(bytes + 10, bytes + 1, 9);
        assert_null(load(*state, &usual, bytes, sizeof(bytes)));
    }
    clear(*state);
}

// Fields that expire: the time is told from the earliest one on, by the version that knows them.
static void test_fields_expire(void **state)
{
    struct fixture *f = *state;
    static const uint8_t bytes[] =
        "\x16\x02\x81\0\0\x01\x8b\xcf\xe5\x68\x01\x01\x61\x01x\x00\x01\x62"
        "\x01y";
    struct entry *e = load(f, &usual, bytes, sizeof(bytes) - 1);
    assert_non_null(e);
    assert_int_equal(entry_encoding(e), ENC_HASHTABLE);
    unsigned version;
    struct block *b = save(e, false, &version);
    assert_int_equal(version, RDB_VERSION_FIELDS);
    assert_int_equal(b->data[0], RDB_HASH_METADATA);
    uint64_t first;
    memcpy(&first, b->data + 1, sizeof(first));
    assert_true(first == 0x18bcfe56801);
    block_release(b);
    clear(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_strings),
        cmocka_unit_test_setup_teardown(test_real_payloads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promises, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fields_expire, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
