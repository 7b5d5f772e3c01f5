// Expiry: lazily and actively, in bounded steps; the index stays bounded whatever is done to keys.
#include "support.h"

static struct world w;
static struct store *s;

static void begin(void)
{
    w = world_open(1, 2);
    s = w.stores[0];
}

static struct key key_of(const char *name)
{
    return keyspace_key(w.ks, name, strlen(name));
}

static void put_due(const char *name, int64_t expiry_ms)
{
    assert_non_null(put(s, 0, name, "value", 5, expiry_ms, 0));
}

static void test_lazy(void **state)
{
    (void)state;
    begin();
    put_due("a", EPOCH_MS + 100);
    store_set_time(s, EPOCH_MS + 99);
    assert_int_equal(entry_expiry(get(s, 0, "a")), EPOCH_MS + 100);
    store_set_time(s, EPOCH_MS + 100);
    assert_int_equal(keyspace_keys(w.ks, 0), 1);
    assert_null(get(s, 0, "a"));
    assert_int_equal(keyspace_keys(w.ks, 0), 0);
    assert_int_equal(store_statistics(s)->expired, 1);
    assert_int_equal(store_statistics(s)->expired_lazily, 1);
    // DEL of a key that has expired deletes nothing.
    put_due("a", EPOCH_MS + 200);
    store_set_time(s, EPOCH_MS + 200);
    struct key a = key_of("a");
    assert_false(store_delete(s, 0, &a));
    world_check(&w);
    world_close(&w);
}

static void test_active(void **state)
{
    (void)state;
    begin();
    put_due("soon", EPOCH_MS + 1000);
    put_due("later", EPOCH_MS + 5000);
    put_due("never", -1);
    uint64_t due = store_next_due(s);
    assert_in_range(due, EPOCH_MS + 1000, EPOCH_MS + 1000 + COARSE_MS);
    store_set_time(s, EPOCH_MS + 999);
    assert_false(store_maintain(s, 100));
    assert_int_equal(keyspace_keys(w.ks, 0), 3);
    store_set_time(s, due);
    assert_false(store_maintain(s, 100));
    assert_int_equal(keyspace_keys(w.ks, 0), 2);
    assert_int_equal(keyspace_volatile_keys(w.ks, 0), 1);
    assert_int_equal(store_statistics(s)->expired_lazily, 0);
    store_active_expire(s, false);
    assert_true(store_next_due(s) == UINT64_MAX);
    store_set_time(s, EPOCH_MS + 9000);
    store_maintain(s, 100);
    assert_int_equal(keyspace_keys(w.ks, 0), 2);
    store_active_expire(s, true);
    store_maintain(s, 100);
    assert_int_equal(keyspace_keys(w.ks, 0), 1);
    world_check(&w);
    world_close(&w);
}

// EXPIRE nearer, farther, PERSIST, overwritten, renamed: what counts is the entry's time.
static void test_changes(void **state)
{
    (void)state;
    begin();
    static const char *const names[] = {"nearer", "farther", "persist", "over", "keep", "moved"};
    for (unsigned i = 0; i < 6; i++)
        put_due(names[i], EPOCH_MS + 1000);
    struct key k = key_of("nearer");
    assert_non_null(store_set_expiry(s, 0, &k, get(s, 0, "nearer"), EPOCH_MS + 500));
    k = key_of("farther");
    assert_non_null(store_set_expiry(s, 0, &k, get(s, 0, "farther"), EPOCH_MS + 3000));
    k = key_of("persist");
    assert_non_null(store_set_expiry(s, 0, &k, get(s, 0, "persist"), -1));
    put_due("over", -1);
    assert_non_null(put(s, 0, "keep", "other", 5, -1, SET_KEEP_TTL));
    struct key from = key_of("moved"), to = key_of("moved to");
    assert_true(store_rename(s, 0, &from, 1, &to));
    assert_int_equal(keyspace_volatile_keys(w.ks, 0), 3);
    assert_int_equal(keyspace_volatile_keys(w.ks, 1), 1);
    world_check(&w);
    store_set_time(s, EPOCH_MS + 600);
    store_maintain(s, 100);
    assert_int_equal(keyspace_keys(w.ks, 0), 4);
    store_set_time(s, EPOCH_MS + 1100);
    store_maintain(s, 100);
    assert_int_equal(keyspace_keys(w.ks, 0), 3);
    assert_int_equal(keyspace_keys(w.ks, 1), 0);
    assert_null(get(s, 0, "keep"));
    assert_int_equal(entry_expiry(get(s, 0, "farther")), EPOCH_MS + 3000);
    assert_int_equal(entry_expiry(get(s, 0, "over")), -1);
    store_set_time(s, EPOCH_MS + 3100);
    store_maintain(s, 100);
    assert_int_equal(keyspace_keys(w.ks, 0), 2);
    assert_int_equal(store_statistics(s)->expired_lazily, 0);
    world_check(&w);
    world_close(&w);
}

// Times that no index can hold are kept exactly and do not expire.
static void test_far(void **state)
{
    (void)state;
    begin();
    put_due("far", INT64_MAX);
    assert_true(entry_expiry(get(s, 0, "far")) == ENTRY_EXPIRY_MAX);
    put_due("years", EPOCH_MS + INT64_C(100) * 365 * 86400000);
    put_due("past", -5);
    store_set_time(s, EPOCH_MS + INT64_C(10) * 365 * 86400000); // past the index's horizon
    for (unsigned i = 0; i < 10; i++)
        store_maintain(s, 10);
    assert_non_null(get(s, 0, "far"));
    assert_non_null(get(s, 0, "years"));
    assert_null(get(s, 0, "past"));
    world_check(&w);
    world_close(&w);
}

static void test_many_bounded(void **state)
{
    (void)state;
    enum { KEYS = 200000, BUDGET = 100 };
    begin();
    char name[32];
    for (unsigned i = 0; i < KEYS; i++) {
        sprintf(name, i % 4 ? "k%u" : "{one}%u", i);
        put_due(name, EPOCH_MS + 1 + (int)(i % 1000));
    }
    store_set_time(s, EPOCH_MS + 2000);
    unsigned turns = 0;
    uint64_t before = 0;
    bool more;
    do {
        more = store_maintain(s, BUDGET);
        uint64_t expired = store_statistics(s)->expired;
        assert_true(expired - before <= BUDGET);
        assert_true(!more || expired - before >= BUDGET / 2 ||
                    store_statistics(s)->expired == KEYS);
        before = expired;
        assert_true(++turns <= 3 * KEYS / BUDGET);
    } while (more);
    assert_int_equal(keyspace_keys(w.ks, 0), 0);
    assert_int_equal(keyspace_memory(w.ks), 0);
    world_check(&w);
    world_close(&w);
}

// Whatever is repeated, the index does not grow beyond a multiple of the keys.
static void test_index_bounded(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < 50; i++) {
        char name[32];
        sprintf(name, "{one}%u", i);
        put_due(name, EPOCH_MS + 1000000);
    }
    struct key k = key_of("{one}0");
    const struct slot *slot = slot_of(w.ks, 0, k.slot);
    for (unsigned i = 0; i < 20000; i++) {
        struct entry *e = store_find(s, 0, &k, 0);
        switch (i % 4) {
        case 0:
            e = store_set_expiry(s, 0, &k, e, EPOCH_MS + 500000);
            break;
        case 1:
            e = store_set_expiry(s, 0, &k, e, EPOCH_MS + 900000);
            break;
        case 2:
            e = store_set_expiry(s, 0, &k, e, -1);
            break;
        default:
            store_delete(s, 0, &k);
            put_due("{one}0", EPOCH_MS + 700000);
            e = store_find(s, 0, &k, 0);
        }
        assert_non_null(e);
        assert_true(slot->ext->due_count <= 50 * 3 + 80);
    }
    world_check(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lazy),         cmocka_unit_test(test_active),
        cmocka_unit_test(test_changes),      cmocka_unit_test(test_far),
        cmocka_unit_test(test_many_bounded), cmocka_unit_test(test_index_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
