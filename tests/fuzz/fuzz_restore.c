// Values that nobody sane sends. The input is a payload, or names a real one and the places where
// it is damaged. Nothing may crash, hang or leave memory; what is taken must be a whole value,
// which can be written again, read again and deleted.
//
// Built with -Dfuzz=true it is a libFuzzer target; otherwise `fuzz_restore ROUNDS [SEED]` makes its
// own inputs.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/store/object.h"
#include "dataplane/store/rdb/rdb.h"
#include "tests/fuzz/restore_seeds.h"

enum { SEEDS = sizeof(restore_seeds) / sizeof(restore_seeds[0]), PAYLOAD_MAX = 4096 };
#define NOW_MS 1700000000000

static struct keyspace *keyspace;
static struct store *store;

static void setup(void)
{
    struct keyspace_config config = {
        .cores = 1, .databases = 1, .secret = "a secret of 16 b", .epoch_ms = NOW_MS};
    keyspace = keyspace_create(&config);
    store = keyspace ? store_create(keyspace, 0, 1) : NULL;
    assert(store);
    store_set_time(store, NOW_MS);
}

static struct rdb_limits limits_of(unsigned choice)
{
    if (choice % 2)
        return (struct rdb_limits){
            .hash_max_listpack_entries = 3,
            .hash_max_listpack_value = 6,
            .set_max_intset_entries = 2,
            .set_max_listpack_entries = choice & 2 ? 3 : 0,
            .set_max_listpack_value = 6,
            .zset_max_listpack_entries = 2,
            .zset_max_listpack_value = 6,
            .list_max_listpack_size = choice & 2 ? 2 : -1,
            .list_compress_depth = choice & 4 ? 1 : 0,
        };
    return (struct rdb_limits){
        .hash_max_listpack_entries = 512,
        .hash_max_listpack_value = 64,
        .set_max_intset_entries = 512,
        .set_max_listpack_entries = choice & 2 ? 128 : 0,
        .set_max_listpack_value = 64,
        .zset_max_listpack_entries = 128,
        .zset_max_listpack_value = 64,
        .list_max_listpack_size = -2,
    };
}

static uint64_t length_of(const struct entry *e)
{
    char scratch[24];
    if (entry_type(e) == OBJ_STRING)
        return entry_string(e, scratch).len;
    return object_length(entry_type(e), entry_encoding(e), entry_object(e));
}

// Reads a payload into a key. In memory of just its size, so that a step too far shows.
static struct entry *restore(const struct key *key, const struct rdb_limits *limits,
                             const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    struct rdb_value value;
    struct entry *e = NULL;
    assert(copy);
    if (len)
        memcpy(copy, bytes, len);
    struct rdb_reader r = rdb_reader(copy, len);
    const uint8_t *type = rdb_read_bytes(&r, 1);
    if (type && rdb_read_value(&r, store, limits, (enum rdb_type) * type, &value)) {
        struct entry *at = store_find(store, 0, key, LOOKUP_WRITE);
        e = rdb_put_value(store, 0, key, at, &value, -1);
        if (!e)
            rdb_value_clear(&value);
    } else {
        assert(r.error);
    }
    free(copy);
    return e;
}

// A value that was taken is a whole one.
static void examine(const struct key *key, const struct rdb_limits *limits, struct entry *e)
{
    enum object_type type = entry_type(e);
    uint64_t length = length_of(e);
    assert(length || type == OBJ_STRING || type == OBJ_STREAM);
    if (type != OBJ_STRING) {
        void *copy = object_copy(store, type, entry_encoding(e), entry_object(e));
        assert(copy && object_length(type, entry_encoding(e), copy) == length);
        object_free(type, entry_encoding(e), copy);
    }
    unsigned version;
    struct outbuf out;
    outbuf_init(&out);
    *out_room(&out.out, 1) = (uint8_t)rdb_type_of(e, &version);
    out.out.pos++;
    rdb_write_value(&out.out, e, length % 2);
    struct block *written = outbuf_block(&out);
    assert(written && !out.out.failed);
    e = restore(key, limits, written->data, written->len);
    assert(e && entry_type(e) == type && length_of(e) == length);
    block_release(written);
    outbuf_clear(&out);
}

static void play(const struct rdb_limits *limits, const uint8_t *bytes, size_t len)
{
    uint64_t before = keyspace_memory(keyspace);
    struct key key = keyspace_key(keyspace, "key", 3);
    struct entry *e = restore(&key, limits, bytes, len);
    if (e)
        examine(&key, limits, e);
    store_delete(store, 0, &key);
    while (store_maintain(store, 100000))
        ;
    assert(keyspace_memory(keyspace) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!store)
        setup();
    if (size < 2)
        return 0;
    struct rdb_limits limits = limits_of(data[0]);
    if (!(data[0] & 0x80)) {
        play(&limits, data + 1, size - 1);
        return 0;
    }
    const struct restore_seed *seed = &restore_seeds[data[1] % SEEDS];
    uint8_t payload[PAYLOAD_MAX];
    size_t len = seed->len;
    assert(len <= sizeof(payload));
    memcpy(payload, seed->bytes, len);
    for (size_t i = 2; i + 2 < size && len; i += 3) {
        size_t at = data[i] % len;
        uint8_t value = data[i + 2];
        switch (data[i + 1] % 8) {
        case 0:
            len = at;
            break;
        case 1:
            memmove(payload + at, payload + at + 1, len - at - 1);
            len--;
            break;
        case 2:
            if (len < sizeof(payload)) {
                memmove(payload + at + 1, payload + at, len - at);
                payload[at] = value;
                len++;
            }
            break;
        case 3:
            payload[at] ^= (uint8_t)(1u << value % 8);
            break;
        case 4:
            payload[at] = (uint8_t)(payload[at] + value % 16 - 8);
            break;
        default:
            payload[at] = value;
        }
    }
    play(&limits, payload, len);
    return 0;
}

#ifndef FUZZ_LIBFUZZER
// xorshift64* (Vigna 2016).
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (uint64_t i = 0; i < rounds; i++, seed++) {
        uint64_t state = seed * 0x9e3779b97f4a7c15u;
        uint8_t input[64];
        size_t size = 2 + next_random(&state) % 5 * 3;
        for (size_t k = 0; k < size; k++)
            input[k] = (uint8_t)(next_random(&state) >> 40);
        if (i % 16)
            input[0] |= 0x80;
        if (argc > 3) {
            printf("seed %llu\n", (unsigned long long)seed);
            fflush(stdout);
        }
        LLVMFuzzerTestOneInput(input, size);
    }
    store_destroy(store);
    keyspace_destroy(keyspace);
    printf("%llu inputs\n", (unsigned long long)rounds);
    return 0;
}
#endif
