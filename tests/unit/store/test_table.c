// Tables: millions of keys in one slot and in all, growing and shrinking; bounded steps; memory.
#include "support.h"

enum { MANY = 1500000, CHECK_EVERY = 500000 };

static struct world w;

static struct key numbered(char *buffer, const char *prefix, unsigned i)
{
    int n = sprintf(buffer, "%s%u", prefix, i);
    return keyspace_key(w.ks, buffer, (size_t)n);
}

// The most buckets that one call may move.
static uint64_t steps_allowed(void)
{
    return TABLE_STEPS_PER_WRITE > TABLE_AT_ONCE ? TABLE_STEPS_PER_WRITE : TABLE_AT_ONCE;
}

static void fill_and_empty(const char *prefix, unsigned keys)
{
    w = world_open(1, 1);
    struct store *s = w.stores[0];
    const struct store_stats *stats = store_statistics(s);
    char buffer[64];
    for (unsigned i = 0; i < keys; i++) {
        struct key key = numbered(buffer, prefix, i);
        uint64_t steps = stats->resize_steps;
        assert_non_null(store_set_integer(s, 0, &key, NULL, i, -1, 0));
        assert_true(stats->resize_steps - steps <= steps_allowed());
        if (i % CHECK_EVERY == CHECK_EVERY / 2)
            world_check(&w);
    }
    world_check(&w);
    assert_int_equal(keyspace_keys(w.ks, 0), keys);
    for (unsigned i = 0; i < keys; i++) {
        struct key key = numbered(buffer, prefix, i);
        struct entry *e = store_find(s, 0, &key, 0);
        int64_t value;
        assert_true(e && entry_integer(e, &value) && value == i);
    }
    for (unsigned i = 0; i < keys; i++) {
        struct key key = numbered(buffer, prefix, keys - 1 - i);
        uint64_t steps = stats->resize_steps;
        assert_true(store_delete(s, 0, &key));
        assert_true(stats->resize_steps - steps <= steps_allowed());
        if (i % CHECK_EVERY == CHECK_EVERY / 2 || (i + 1000 > keys && i % 100 == 0))
            world_check(&w);
        struct slot_figures f = store_slot_figures(w.ks, 0, key.slot);
        // Shrinking keeps up with deleting: memory follows the keys down.
        if (f.keys)
            assert_true(f.buckets <= 2 + f.keys);
    }
    assert_int_equal(keyspace_keys(w.ks, 0), 0);
    assert_int_equal(keyspace_memory(w.ks), 0);
    assert_int_equal(stats->overflow_nodes, 0);
    world_close(&w);
}

static void test_one_slot(void **state)
{
    (void)state;
    fill_and_empty("{one}", MANY);
}

static void test_all_slots(void **state)
{
    (void)state;
    fill_and_empty("", MANY);
}

// store_maintain finishes a resize that no write moves on, and says so while it is not done.
static void test_maintain_finishes(void **state)
{
    (void)state;
    w = world_open(1, 1);
    struct store *s = w.stores[0];
    char buffer[64];
    struct slot *slot = NULL;
    for (unsigned i = 0; !slot || !(slot->root & ROOT_RESIZING) || i < 20000; i++) {
        struct key key = numbered(buffer, "{one}", i);
        assert_non_null(store_set_integer(s, 0, &key, NULL, i, -1, 0));
        slot = slot_of(w.ks, 0, key.slot);
    }
    assert_int_equal(store_next_due(s), store_time(s));
    unsigned turns = 0;
    uint64_t steps = store_statistics(s)->resize_steps;
    while (store_maintain(s, 100)) {
        assert_true(store_statistics(s)->resize_steps - steps <= 100);
        steps = store_statistics(s)->resize_steps;
        assert_true(++turns < 10000);
    }
    assert_true(turns > 1);
    assert_false(slot->root & ROOT_RESIZING);
    assert_true(store_next_due(s) == UINT64_MAX);
    world_check(&w);
    world_close(&w);
}

// 16-byte keys, 64-byte values: what is counted, which is what the allocator gave.
static void memory_per_key(int64_t expiry_ms, double limit)
{
    enum { KEYS = 1000000 };
    w = world_open(1, 1);
    struct store *s = w.stores[0];
    char buffer[64], value[64] = {0};
    for (unsigned i = 0; i < KEYS; i++) {
        int n = sprintf(buffer, "key:%012u", i);
        assert_int_equal(n, 16);
        struct key key = keyspace_key(w.ks, buffer, (size_t)n);
        struct arg arg = arg_of(value, sizeof(value));
        assert_non_null(store_set_string(s, 0, &key, NULL, &arg, expiry_ms, 0));
    }
    double each = (double)keyspace_memory(w.ks) / KEYS;
    print_message("%.1f bytes a key\n", each);
    assert_true(each <= limit);
    world_check(&w);
    world_close(&w);
}

static void test_memory_per_key(void **state)
{
    (void)state;
    memory_per_key(-1, 110);
    memory_per_key(EPOCH_MS + 1000000, 120);
}

// Both bodies of the tag comparison find the same, with tags of every kind.
static void test_match(void **state)
{
    (void)state;
    struct rng rng = {seed_of_run(5)};
    _Alignas(64) uint64_t bucket[BUCKET_WORDS];
    for (unsigned round = 0; round < 100000; round++) {
        uint64_t tag = rng_below(&rng, 65535) + 1;
        unsigned want = 0;
        for (unsigned i = 0; i < BUCKET_WORDS; i++) {
            bool same = rng_below(&rng, 3) == 0;
            uint64_t other = rng_below(&rng, 2) ? rng_below(&rng, 65536) : tag ^ 0x8000;
            uint64_t t = same ? tag : other;
            bucket[i] = t << 48 | rng_next(&rng) >> 16;
            want |= (unsigned)(t == tag) << i;
        }
        assert_int_equal(bucket_match(bucket, tag), want);
    }
}

// The directory: every slot has its own place, on its core's side, whatever the number of cores.
static void test_directory(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 2, 3, 5, 7, 12, 64, 100, 1000, 16384};
    static uint8_t seen[4 * SLOTS];
    for (unsigned c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct keyspace_config config = {.cores = counts[c], .databases = 1, .epoch_ms = EPOCH_MS};
        struct keyspace *ks = keyspace_create(&config);
        assert_non_null(ks);
        memset(seen, 0, sizeof(seen));
        for (unsigned n = 0; n < SLOTS; n++) {
            assert_int_equal(keyspace_core(ks, (uint16_t)n), n % counts[c]);
            size_t place = (size_t)(slot_of(ks, 0, n) - ks->slots);
            assert_true(place < ks->stride && !seen[place]);
            assert_int_equal(place / ks->per_core, n % counts[c]);
            seen[place] = 1;
        }
        assert_true(ks->per_core * sizeof(struct slot) % CACHE_LINE == 0);
        keyspace_destroy(ks);
    }
}

// The hash depends on every byte, on the length, and on the secret; tags and positions spread
// evenly.
static void test_hash(void **state)
{
    (void)state;
    struct hash_secret secret, other;
    struct rng rng = {seed_of_run(6)};
    for (unsigned i = 0; i < 4; i++) {
        secret.word[i] = rng_next(&rng) | 1;
        other.word[i] = rng_next(&rng) | 1;
    }
    uint8_t key[100];
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i * 37);
    for (size_t len = 0; len < sizeof(key); len++) {
        uint64_t h = hash_key(&secret, key, len);
        assert_true(h != hash_key(&other, key, len));
        assert_true(h != hash_key(&secret, key, len + 1));
        for (size_t i = 0; i < len; i++) {
            key[i] ^= 1;
            assert_true(h != hash_key(&secret, key, len));
            key[i] ^= 1;
        }
    }
    enum { N = 1 << 20, CELLS = 1 << 10 };
    static unsigned positions[CELLS], tags[CELLS];
    for (unsigned i = 0; i < N; i++) {
        char text[24];
        uint64_t h = hash_key(&secret, (uint8_t *)text, (size_t)sprintf(text, "key:%u", i));
        positions[hash_position(h) >> 22]++;
        tags[hash_tag(h) >> 6]++;
    }
    double chi_positions = 0, chi_tags = 0;
    for (unsigned i = 0; i < CELLS; i++) {
        double a = (double)positions[i] - N / CELLS, b = (double)tags[i] - N / CELLS;
        chi_positions += a * a / (N / CELLS);
        chi_tags += b * b / (N / CELLS);
    }
    // 1023 degrees of freedom: mean 1023, deviation 45. Seven deviations is not chance.
    assert_true(chi_positions < 1340 && chi_tags < 1340);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directory),      cmocka_unit_test(test_hash),
        cmocka_unit_test(test_match),          cmocka_unit_test(test_one_slot),
        cmocka_unit_test(test_all_slots),      cmocka_unit_test(test_maintain_finishes),
        cmocka_unit_test(test_memory_per_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
