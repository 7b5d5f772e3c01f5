// maxmemory: every policy takes the keys it should, in bounded steps, and says when there are none.
#include "support.h"

enum { KEYS = 20000, VALUE = 100 };

static struct world w;
static struct store *s;

static void begin(unsigned cores)
{
    w = world_open(cores, 2);
    s = w.stores[0];
}

static void limit(enum eviction_policy policy, uint64_t maxmemory)
{
    struct store_options options = {.policy = policy,
                                    .maxmemory = maxmemory,
                                    .samples = 5,
                                    .lfu_log_factor = 10,
                                    .lfu_decay_time = 1};
    for (unsigned i = 0; i < w.cores; i++)
        store_configure(w.stores[i], &options);
}

static void put_number(unsigned i, int64_t expiry_ms)
{
    char name[32], value[VALUE] = {0};
    sprintf(name, "%u", i);
    struct key key = keyspace_key(w.ks, name, strlen(name));
    struct arg arg = arg_of(value, sizeof(value));
    struct store *owner = store_for(&w, &key);
    struct entry *at = store_find(owner, 0, &key, LOOKUP_WRITE);
    assert_non_null(store_set_string(owner, 0, &key, at, &arg, expiry_ms, 0));
}

static bool is_there(unsigned i)
{
    char name[32];
    sprintf(name, "%u", i);
    struct key key = keyspace_key(w.ks, name, strlen(name));
    return store_find(store_for(&w, &key), 0, &key, LOOKUP_NO_TOUCH | LOOKUP_NO_STATS);
}

static void touch(unsigned i, unsigned times)
{
    char name[32];
    sprintf(name, "%u", i);
    while (times--)
        assert_non_null(get(s, 0, name));
}

// Fills with every second key good to keep, then halves the memory. Returns how many of the good
// and the others are still there.
static void run_policy(enum eviction_policy policy, unsigned *good, unsigned *others)
{
    begin(1);
    limit(policy, 0);
    bool is_volatile = policy >= EVICT_VOLATILE_LRU;
    for (unsigned i = 0; i < KEYS; i++) {
        int64_t expiry = -1;
        if (policy == EVICT_VOLATILE_TTL)
            expiry = EPOCH_MS + (i % 2 ? 100000000 : 1000000) + (int)i;
        else if (is_volatile)
            expiry = EPOCH_MS + 1000000 + (int)i;
        put_number(i, expiry);
    }
    store_set_time(s, EPOCH_MS + 100000);
    for (unsigned i = 1; i < KEYS; i += 2)
        touch(i, 20);
    uint64_t half = keyspace_memory(w.ks) / 2;
    limit(policy, half);
    store_set_time(s, EPOCH_MS + 100000);
    unsigned turns = 0;
    while (store_maintain(s, 200)) {
        assert_true(++turns < 10000);
    }
    assert_true(keyspace_memory(w.ks) <= half);
    assert_true(keyspace_memory(w.ks) > half - half / 20);
    *good = *others = 0;
    for (unsigned i = 0; i < KEYS; i++)
        *(i % 2 ? good : others) += is_there(i);
    assert_int_equal(store_statistics(s)->evicted + *good + *others, KEYS);
    world_check(&w);
    world_close(&w);
}

static void test_policies(void **state)
{
    (void)state;
    static const enum eviction_policy choosing[] = {EVICT_ALLKEYS_LRU, EVICT_ALLKEYS_LFU,
                                                    EVICT_VOLATILE_LRU, EVICT_VOLATILE_LFU,
                                                    EVICT_VOLATILE_TTL};
    unsigned good, others;
    for (unsigned i = 0; i < sizeof(choosing) / sizeof(choosing[0]); i++) {
        run_policy(choosing[i], &good, &others);
        print_message("policy %d: %u good ones kept, %u others\n", choosing[i], good, others);
        assert_true(good > KEYS / 2 * 8 / 10);
        assert_true(others < KEYS / 2 * 3 / 10);
    }
    static const enum eviction_policy chance[] = {EVICT_ALLKEYS_RANDOM, EVICT_VOLATILE_RANDOM};
    for (unsigned i = 0; i < 2; i++) {
        run_policy(chance[i], &good, &others);
        assert_true(good > KEYS / 2 * 4 / 10 && good < KEYS / 2 * 6 / 10);
    }
}

static void test_noeviction(void **state)
{
    (void)state;
    begin(1);
    limit(EVICT_NONE, 100000);
    unsigned i = 0;
    while (store_make_room(s))
        put_number(i++, -1);
    assert_true(store_memory_over(s));
    assert_int_equal(keyspace_keys(w.ks, 0), i);
    assert_false(store_maintain(s, 100));
    limit(EVICT_NONE, 0);
    assert_true(store_make_room(s));
    world_close(&w);
}

// Volatile policies leave keys without an expiry alone, find the few that have one, then refuse.
static void test_few_volatile(void **state)
{
    (void)state;
    for (enum eviction_policy policy = EVICT_VOLATILE_LRU; policy <= EVICT_VOLATILE_TTL; policy++) {
        begin(1);
        for (unsigned i = 0; i < KEYS; i++)
            put_number(i, -1);
        for (unsigned i = 0; i < 10; i++)
            put_number(KEYS + i, EPOCH_MS + 1000000);
        put_number(0, EPOCH_MS + 1000000); // an element of the index that will be stale
        put_number(0, -1);
        limit(policy, 1000);
        assert_false(store_make_room(s));
        assert_int_equal(keyspace_keys(w.ks, 0), KEYS);
        assert_int_equal(keyspace_volatile_keys(w.ks, 0), 0);
        assert_int_equal(store_statistics(s)->evicted, 10);
        assert_false(store_maintain(s, 1000));
        world_check(&w);
        world_close(&w);
    }
}

// A writer stays at the limit, whatever it writes.
static void test_writing_at_the_limit(void **state)
{
    (void)state;
    begin(1);
    uint64_t max = 2000000;
    limit(EVICT_ALLKEYS_LRU, max);
    for (unsigned i = 0; i < 5 * KEYS; i++) {
        assert_true(store_make_room(s));
        put_number(i, i % 3 ? -1 : EPOCH_MS + 10000000);
        assert_true(keyspace_memory(w.ks) < max + 100000);
    }
    assert_true(keyspace_memory(w.ks) > max - 100000);
    world_check(&w);
    world_close(&w);
}

// A core whose slots are empty may write a little while another has keys to evict.
static void test_two_cores(void **state)
{
    (void)state;
    begin(2);
    for (unsigned i = 0; i < KEYS; i++) {
        char name[32];
        sprintf(name, "%u", i);
        struct key key = keyspace_key(w.ks, name, strlen(name));
        if (keyspace_core(w.ks, key.slot) == 1)
            put_number(i, -1);
    }
    uint64_t memory = keyspace_memory(w.ks);
    limit(EVICT_ALLKEYS_LRU, memory - 10000);
    world_time(&w, EPOCH_MS);
    assert_true(store_make_room(w.stores[0]));
    assert_int_equal(keyspace_memory(w.ks), memory); // nothing of another core's was touched
    while (store_maintain(w.stores[1], 100))
        ;
    world_time(&w, EPOCH_MS);
    assert_false(store_memory_over(w.stores[0]));
    world_check(&w);
    world_close(&w);
}

static void test_access(void **state)
{
    (void)state;
    begin(1);
    put_number(1, -1);
    store_set_time(s, EPOCH_MS + 90000);
    struct key key = keyspace_key(w.ks, "1", 1);
    struct entry *e = store_find(s, 0, &key, LOOKUP_NO_TOUCH);
    assert_int_equal(entry_idle_ms(s, e), 90000);
    entry_set_access(s, e, 500000, -1);
    assert_int_equal(entry_idle_ms(s, e), 500000);
    store_find(s, 0, &key, 0);
    assert_int_equal(entry_idle_ms(s, e), 0);
    limit(EVICT_ALLKEYS_LFU, 0);
    entry_set_access(s, e, -1, 0);
    assert_int_equal(entry_frequency(s, e), 0);
    for (unsigned i = 0; i < 100000; i++)
        store_find(s, 0, &key, 0);
    unsigned hot = entry_frequency(s, e);
    assert_in_range(hot, 100, 200); // about 143 by the logarithm's law at 10: factor*f*f/2 accesses
    store_set_time(s, EPOCH_MS + 90000 + 10 * 60000);
    assert_in_range(entry_frequency(s, e), hot - 10, hot - 9);
    entry_set_access(s, e, -1, 255);
    assert_int_equal(entry_frequency(s, e), 255);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),     cmocka_unit_test(test_noeviction),
        cmocka_unit_test(test_few_volatile), cmocka_unit_test(test_writing_at_the_limit),
        cmocka_unit_test(test_two_cores),    cmocka_unit_test(test_access),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
