// maxmemory: every policy takes the keys it should, in bounded steps, and says when there are none.
#include "dataplane/store/members.h"
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

static void put_hash(unsigned i, int64_t field_expiry_ms)
{
    char name[32];
    struct key key = keyspace_key(w.ks, name, (size_t)sprintf(name, "hash:%u", i));
    struct members *m = members_new();
    assert_non_null(members_add(s, m, "lasting", 7, "v", 1));
    struct entry *e = members_add(s, m, "field", 5, "v", 1);
    assert_non_null(members_set_expiry(s, m, e, field_expiry_ms));
    struct entry *at = store_find(s, 0, &key, LOOKUP_WRITE);
    assert_non_null(store_put_object(s, 0, &key, at, OBJ_HASH, ENC_HASHTABLE, m, -1));
}

// Keys whose fields expire are not keys that expire. Those that do are found among them.
static void test_fields_are_no_keys(void **state)
{
    (void)state;
    enum { HASHES = 300 };
    for (enum eviction_policy policy = EVICT_VOLATILE_LRU; policy <= EVICT_VOLATILE_TTL; policy++) {
        begin(1);
        for (unsigned i = 0; i < HASHES; i++)
            put_hash(i, EPOCH_MS + 1000 + (int)i);
        for (unsigned i = 0; i < 20; i++)
            put_number(i, EPOCH_MS + 1000000);
        limit(policy, 1000);
        for (unsigned i = 0; i < 200 && keyspace_volatile_keys(w.ks, 0); i++)
            store_make_room(s);
        assert_false(store_make_room(s));
        assert_int_equal(keyspace_volatile_keys(w.ks, 0), 0);
        assert_int_equal(store_statistics(s)->evicted, 20);
        assert_int_equal(keyspace_keys(w.ks, 0), HASHES);
        assert_false(store_maintain(s, 1000));
        world_check(&w);
        store_set_time(s, EPOCH_MS + 5000);
        while (store_maintain(s, 100))
            ;
        assert_int_equal(store_statistics(s)->expired_fields, HASHES);
        assert_int_equal(keyspace_keys(w.ks, 0), HASHES);
        world_check(&w);
        world_close(&w);
    }
}

// A big object that is evicted frees enough, though not at once: no other key goes with it.
static void test_big_object(void **state)
{
    (void)state;
    begin(1);
    struct members *m = members_new();
    char name[32];
    for (unsigned i = 0; i < KEYS; i++)
        assert_non_null(members_add(s, m, name, (size_t)sprintf(name, "%u", i), NULL, 0));
    struct key key = keyspace_key(w.ks, "big", 3);
    assert_non_null(store_put_object(s, 0, &key, NULL, OBJ_SET, ENC_HASHTABLE, m, -1));
    store_set_time(s, EPOCH_MS + 100000);
    for (unsigned i = 0; i < 1000; i++)
        put_number(i, -1);
    limit(EVICT_ALLKEYS_LRU, keyspace_memory(w.ks) - 1000);
    struct store_options exact = s->options;
    exact.samples = 64;
    store_configure(s, &exact);
    for (unsigned i = 0; i < 10 && store_statistics(s)->evicted < 100 && store_memory_over(s); i++)
        assert_true(store_make_room(s));
    while (store_maintain(s, 100))
        ;
    assert_false(store_memory_over(s));
    assert_true(store_statistics(s)->evicted < 40);
    world_check(&w);
    world_close(&w);
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
        cmocka_unit_test(test_policies),           cmocka_unit_test(test_noeviction),
        cmocka_unit_test(test_few_volatile),       cmocka_unit_test(test_writing_at_the_limit),
        cmocka_unit_test(test_two_cores),          cmocka_unit_test(test_access),
        cmocka_unit_test(test_fields_are_no_keys), cmocka_unit_test(test_big_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
