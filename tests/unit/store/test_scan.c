// Walking: SCAN while tables grow and shrink under it, KEYS, RANDOMKEY.
#include "support.h"

enum { STABLE = 6000, CHURN = 60000 };

static struct world w;
static unsigned seen[STABLE];

static struct key stable_key(char *buffer, unsigned i)
{
    int n = sprintf(buffer, i % 2 ? "{hot}stable:%u" : "stable:%u", i);
    return keyspace_key(w.ks, buffer, (size_t)n);
}

static void note(void *context, struct entry *e)
{
    size_t len;
    const char *key = (const char *)entry_key(e, &len);
    char buffer[64] = {0};
    memcpy(buffer, key, len < 63 ? len : 63);
    const char *number = strstr(buffer, "stable:");
    if (number)
        seen[atoi(number + 7)]++;
    ++*(unsigned *)context;
}

// Grows and shrinks the same slots while a SCAN goes through them.
static void churn(struct rng *rng, bool grow, unsigned steps)
{
    char buffer[64];
    for (unsigned i = 0; i < steps; i++) {
        int n = sprintf(buffer, rng_below(rng, 2) ? "{hot}churn:%u" : "churn:%u",
                        (unsigned)rng_below(rng, CHURN));
        struct key key = keyspace_key(w.ks, buffer, (size_t)n);
        struct store *s = store_for(&w, &key);
        struct entry *at = store_find(s, 0, &key, LOOKUP_WRITE);
        if (grow)
            assert_non_null(store_set_integer(s, 0, &key, at, 1, -1, 0));
        else
            store_delete(s, 0, &key);
        if (i % 50 == 0)
            store_maintain(s, 10);
    }
}

static void scan_under_churn(unsigned cores)
{
    struct rng rng = {seed_of_run(cores)};
    w = world_open(cores, 2);
    char buffer[64];
    for (unsigned i = 0; i < STABLE; i++) {
        struct key key = stable_key(buffer, i);
        assert_non_null(store_set_integer(store_for(&w, &key), 0, &key, NULL, i, -1, 0));
    }
    for (unsigned round = 0; round < 6; round++) {
        memset(seen, 0, sizeof(seen));
        uint64_t cursor = 0;
        unsigned calls = 0;
        bool grow = round % 2 == 0;
        do {
            assert_true(cursor < UINT64_C(1) << 63);
            unsigned core = cursor ? store_cursor_core(w.ks, cursor) : 0;
            unsigned given = 0, count = 1 + (unsigned)rng_below(&rng, 100);
            uint64_t next = store_scan(w.stores[core], 0, cursor, count, note, &given);
            assert_true(next == 0 || next > cursor);
            assert_true(given < count + 300);
            cursor = next;
            churn(&rng, round < 4 ? grow : rng_below(&rng, 2), 40);
            assert_true(++calls < 1000000);
        } while (cursor);
        for (unsigned i = 0; i < STABLE; i++)
            assert_int_equal(seen[i], 1);
        world_check(&w);
    }
    world_close(&w);
}

static void test_scan_one_core(void **state)
{
    (void)state;
    scan_under_churn(1);
}

static void test_scan_four_cores(void **state)
{
    (void)state;
    scan_under_churn(4);
}

static void test_scan_edges(void **state)
{
    (void)state;
    w = world_open(2, 2);
    unsigned given = 0;
    // Nothing there, and cursors that nobody gave out.
    uint64_t next = store_scan(w.stores[0], 0, 0, 10, note, &given);
    assert_int_equal(store_cursor_core(w.ks, next), 1);
    assert_int_equal(store_scan(w.stores[1], 0, next, 10, note, &given), 0);
    assert_int_equal(store_scan(w.stores[1], 0, UINT64_MAX, 10, note, &given), 0);
    assert_true(store_cursor_core(w.ks, UINT64_MAX) < 2);
    assert_int_equal(given, 0);
    // Expired keys are not shown; the other database is not either.
    struct key key = keyspace_key(w.ks, "a", 1);
    struct store *s = store_for(&w, &key);
    put(s, 0, "a", "1", 1, EPOCH_MS + 10, 0);
    put(s, 1, "a", "1", 1, -1, 0);
    store_each(s, 0, note, &given);
    assert_int_equal(given, 1);
    world_time(&w, EPOCH_MS + 10);
    store_each(s, 0, note, &given);
    store_scan(s, 0, 0, 10, note, &given);
    assert_int_equal(given, 1);
    store_each(s, 1, note, &given);
    assert_int_equal(given, 2);
    // A slot that is lent is not read: the cursor stays before it until it is back.
    store_slot_lent(s, key.slot);
    next = store_scan(s, 1, 0, 10, note, &given);
    assert_int_equal(given, 2);
    assert_true(next != 0 && store_cursor_core(w.ks, next) == keyspace_core(w.ks, key.slot));
    assert_int_equal(store_scan(s, 1, next, 10, note, &given), next);
    store_slot_returned(s, key.slot);
    store_scan(s, 1, next, 10, note, &given);
    assert_int_equal(given, 3);
    world_close(&w);
}

static void test_random_key(void **state)
{
    (void)state;
    enum { KEYS = 200, DRAWS = 200000 };
    w = world_open(1, 1);
    struct store *s = w.stores[0];
    struct key key;
    assert_false(store_random_key(s, 0, &key));
    char name[32];
    for (unsigned i = 0; i < KEYS; i++) {
        sprintf(name, i % 2 ? "{t}%u" : "%u", i);
        put_text(s, name, "x");
    }
    unsigned drawn[KEYS] = {0};
    for (unsigned i = 0; i < DRAWS; i++) {
        assert_true(store_random_key(s, 0, &key));
        memcpy(name, key.ptr, key.len);
        name[key.len] = 0;
        assert_int_equal(key.slot, slot_of_key(key.ptr, key.len));
        assert_non_null(store_find(s, 0, &key, 0));
        drawn[atoi(name[0] == '{' ? name + 3 : name)]++;
    }
    for (unsigned i = 0; i < KEYS; i++) // 1000 expected, deviation 32
        assert_in_range(drawn[i], 700, 1300);
    // All but one have expired: that one is found.
    for (unsigned i = 0; i + 1 < KEYS; i++) {
        sprintf(name, i % 2 ? "{t}%u" : "%u", i);
        struct key k = keyspace_key(w.ks, name, strlen(name));
        assert_non_null(store_set_expiry(s, 0, &k, store_find(s, 0, &k, 0), EPOCH_MS + 5));
    }
    world_time(&w, EPOCH_MS + 6);
    for (unsigned i = 0; i < 100; i++) {
        assert_true(store_random_key(s, 0, &key));
        assert_int_equal(key.len, 6);
        assert_memory_equal(key.ptr, "{t}199", 6);
    }
    world_check(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_one_core),
        cmocka_unit_test(test_scan_four_cores),
        cmocka_unit_test(test_scan_edges),
        cmocka_unit_test(test_random_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
