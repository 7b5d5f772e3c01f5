// Keys that come and go in the order of another table: nothing is refused, no write does more than
// its share, and what is left is found, drawn and evicted.
#include "dataplane/store/members.h"
#include "support.h"

enum { KEYS = 200000, FEW = 2000, STEP_COUNT = 10 };

static struct world w;
static struct store *s;
static char (*order)[16]; // names of all keys, as SCAN gives them
static unsigned ordered;

static struct key named(const char *name)
{
    return keyspace_key(w.ks, name, strlen(name));
}

static void note(void *context, struct entry *e)
{
    (void)context;
    size_t len;
    const uint8_t *key = entry_key(e, &len);
    assert_true(ordered < KEYS && len < sizeof(order[0]));
    memcpy(order[ordered], key, len);
    order[ordered++][len] = 0;
}

// Database 0 has all keys in one slot; `order` is theirs.
static void begin(void)
{
    w = world_open(1, 3);
    s = w.stores[0];
    order = calloc(KEYS, sizeof(order[0]));
    assert_non_null(order);
    char name[16];
    for (unsigned i = 0; i < KEYS; i++) {
        sprintf(name, "{o}%u", i);
        struct key key = named(name);
        assert_non_null(store_set_integer(s, 0, &key, NULL, i, -1, 0));
    }
    ordered = 0;
    uint64_t cursor = 0;
    do
        cursor = store_scan(s, 0, cursor, STEP_COUNT, note, NULL);
    while (cursor);
    assert_int_equal(ordered, KEYS);
}

static void end(void)
{
    world_check(&w);
    world_close(&w);
    free(order);
}

static void expect_all(unsigned db, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct key key = named(order[i]);
        struct entry *e = store_find(s, db, &key, 0);
        int64_t value;
        assert_true(e && entry_integer(e, &value) && value == atoi(order[i] + 3));
    }
}

static void count(void *context, struct entry *e)
{
    (void)e;
    ++*(unsigned *)context;
}

static unsigned scan_count(unsigned db)
{
    unsigned given = 0;
    uint64_t cursor = 0;
    do
        cursor = store_scan(s, db, cursor, STEP_COUNT, count, &given);
    while (cursor);
    return given;
}

// COPY each key that SCAN gives into another database, then DEL each in the same order there. The
// databases are swapped on the way.
static void test_copy_and_delete(void **state)
{
    (void)state;
    begin();
    unsigned db = 1, from = 0;
    const struct store_stats *stats = store_statistics(s);
    for (unsigned i = 0; i < KEYS; i++) {
        struct key key = named(order[i]);
        uint64_t steps = stats->resize_steps;
        assert_true(store_copy(s, from, &key, db, &key));
        assert_true(stats->resize_steps - steps <= TABLE_AT_ONCE);
        assert_non_null(store_find(s, db, &key, 0));
        if (i == 300 || i == FEW || i == KEYS / 3) {
            expect_all(db, 0, i + 1);
            assert_int_equal(scan_count(db), i + 1);
            world_check(&w);
            store_swap_databases(s, from, db);
            from = 1 - from;
            db = 1 - db;
            world_check(&w);
        }
    }
    assert_int_equal(keyspace_keys(w.ks, db), KEYS);
    expect_all(db, 0, KEYS);
    world_check(&w);
    for (unsigned i = 0; i < KEYS; i++) {
        struct key key = named(order[i]);
        assert_true(store_delete(s, db, &key));
        if (i == KEYS / 2 || i == KEYS - FEW || i == KEYS - 300) {
            while (store_maintain(s, 1000))
                ;
            struct slot_figures f = store_slot_figures(w.ks, db, key.slot);
            assert_true(f.buckets <= 2 + f.keys); // shrinking is not stopped by full buckets
            expect_all(db, i + 1, KEYS);
            assert_int_equal(scan_count(db), KEYS - i - 1);
            world_check(&w);
        }
    }
    assert_int_equal(keyspace_keys(w.ks, db), 0);
    end();
}

// The same with MOVE, and back again: the order of the first table fills it a second time.
static void test_move(void **state)
{
    (void)state;
    begin();
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            struct key key = named(order[i]);
            assert_true(store_rename(s, round, &key, 1 - round, &key));
        }
        assert_int_equal(keyspace_keys(w.ks, 1 - round), KEYS);
        expect_all(1 - round, 0, KEYS);
        world_check(&w);
    }
    end();
}

// Few keys, all in the same corner of a table whose other buckets are empty: each may be drawn, and
// all can be evicted.
static void test_corner(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < FEW; i++) {
        struct key key = named(order[i]);
        assert_true(store_rename(s, 0, &key, 2, &key));
    }
    store_flush(s, 0);
    while (store_maintain(s, 1000))
        ;
    enum { DRAWS = 20000, WANTED = FEW / 2 };
    static unsigned drawn[KEYS];
    unsigned different = 0;
    for (unsigned i = 0; i < DRAWS; i++) {
        struct key key;
        assert_true(store_random_key(s, 2, &key));
        char name[16] = {0};
        memcpy(name, key.ptr, key.len);
        different += !drawn[atoi(name + 3)]++;
    }
    assert_true(different > WANTED);
    struct store_options options = {
        .policy = EVICT_ALLKEYS_RANDOM, .maxmemory = 1, .samples = 1, .lfu_log_factor = 10};
    store_configure(s, &options);
    store_set_time(s, EPOCH_MS + 1000);
    unsigned calls = 0;
    while (keyspace_keys(w.ks, 2)) {
        uint64_t keys = keyspace_keys(w.ks, 2);
        store_make_room(s);
        assert_true(keyspace_keys(w.ks, 2) < keys);
        assert_true(++calls <= FEW);
    }
    end();
}

// The members of a value that go in their own order.
static void test_members(void **state)
{
    (void)state;
    w = world_open(1, 1);
    s = w.stores[0];
    order = calloc(KEYS, sizeof(order[0]));
    assert_non_null(order);
    struct members *m = members_new();
    assert_non_null(m);
    char name[16];
    for (unsigned i = 0; i < KEYS; i++) {
        int n = sprintf(name, "%u", i);
        assert_non_null(members_add(s, m, name, (size_t)n, NULL, 0));
    }
    ordered = 0;
    uint64_t cursor = 0;
    do
        cursor = members_scan(s, m, cursor, STEP_COUNT, note, NULL);
    while (cursor);
    assert_int_equal(ordered, KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        struct entry *e = members_find(s, m, order[i], strlen(order[i]));
        assert_non_null(e);
        members_remove(s, m, e);
        if (i == KEYS - FEW) { // all come again, in the order in which they went
            uint32_t buckets = m->table.buckets;
            assert_true(buckets < FEW);
            for (unsigned j = 0; j < i; j++)
                assert_non_null(members_add(s, m, order[j], strlen(order[j]), NULL, 0));
            for (unsigned j = 0; j < i; j++)
                members_remove(s, m, members_find(s, m, order[j], strlen(order[j])));
        }
    }
    assert_int_equal(members_count(m), 0);
    members_free(m);
    world_close(&w);
    free(order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_and_delete),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_corner),
        cmocka_unit_test(test_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
