// Objects under keys: they follow their key through changes of expiry and name without a copy, a
// copy is one of its own, and whatever goes is freed once.
#include "dataplane/store/members.h"
#include "dataplane/store/values/intset.h"
#include "support.h"

static struct world w;
static struct store *s;

static int begin(void **state)
{
    (void)state;
    w = world_open(1, 4);
    s = w.stores[0];
    world_time(&w, EPOCH_MS);
    return 0;
}

static int end(void **state)
{
    (void)state;
    while (store_maintain(s, 1000))
        ;
    world_check(&w);
    world_close(&w);
    return 0;
}

static struct key key_of(const char *name)
{
    return keyspace_key(w.ks, name, strlen(name));
}

static struct entry *find(unsigned db, const char *name)
{
    struct key key = key_of(name);
    return store_find(s, db, &key, LOOKUP_WRITE);
}

// A set of the names m0, m1 … under a key.
static struct members *put_set(unsigned db, const char *name, unsigned n, int64_t expiry_ms)
{
    struct members *m = members_new();
    char text[24];
    for (unsigned i = 0; i < n; i++)
        assert_non_null(members_add(s, m, text, (size_t)sprintf(text, "m%u", i), NULL, 0));
    struct key key = key_of(name);
    assert_non_null(
        store_put_object(s, db, &key, find(db, name), OBJ_SET, ENC_HASHTABLE, m, expiry_ms));
    return m;
}

static void expect_set(const struct members *m, unsigned n)
{
    char text[24];
    assert_int_equal(members_count(m), n);
    for (unsigned i = 0; i < n; i++)
        assert_non_null(members_find(s, m, text, (size_t)sprintf(text, "m%u", i)));
}

static void settle(void)
{
    while (store_maintain(s, 10))
        ;
    world_check(&w);
}

static const unsigned sizes[] = {1, 63, 64, 65, 500, 5000};
#define EACH_SIZE(n) \
    for (unsigned at_ = 0, n; at_ < sizeof(sizes) / sizeof(sizes[0]) && (n = sizes[at_]); at_++)

static void test_expiry(void **state)
{
    (void)state;
    EACH_SIZE(n)
    {
        struct members *m = put_set(0, "set", n, -1);
        struct key key = key_of("set");
        const int64_t times[] = {EPOCH_MS + 100000, EPOCH_MS + 50000, EPOCH_MS + 90000, -1, -1,
                                 EPOCH_MS + 70000};
        for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
            struct entry *e = store_set_expiry(s, 0, &key, find(0, "set"), times[i]);
            assert_non_null(e);
            settle();
            assert_ptr_equal(e, find(0, "set"));
            assert_true(entry_expiry(e) == times[i]);
            assert_true(entry_object(e) == m);
            expect_set(m, n);
        }
        assert_true(store_delete(s, 0, &key));
        settle();
    }
    assert_int_equal(keyspace_memory(w.ks), 0);
}

static void test_rename(void **state)
{
    (void)state;
    EACH_SIZE(n)
    {
        struct members *m = put_set(0, "{x}from", n, EPOCH_MS + 50000);
        put_set(0, "other", 200, -1);
        put_set(1, "{x}from", 3, -1);
        put_text(s, "{x}text", "text");
        const struct {
            unsigned from_db, to_db;
            const char *from, *to;
        } moves[] = {
            {0, 0, "{x}from", "{x}to"}, // within one slot
            {0, 0, "{x}to", "{x}text"}, // over a string
            {0, 0, "{x}text", "other"}, // over an object, in another slot
            {0, 0, "other", "other"},     {0, 0, "other", "{x}from"},
            {0, 1, "{x}from", "{x}from"}, // over an object of another database
        };
        for (unsigned i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
            struct key from = key_of(moves[i].from), to = key_of(moves[i].to);
            assert_true(store_rename(s, moves[i].from_db, &from, moves[i].to_db, &to));
            settle();
            struct entry *e = find(moves[i].to_db, moves[i].to);
            assert_true(entry_object(e) == m);
            assert_true(entry_expiry(e) == EPOCH_MS + 50000);
            assert_int_equal(keyspace_volatile_keys(w.ks, moves[i].to_db), 1);
            expect_set(m, n);
        }
        assert_int_equal(keyspace_keys(w.ks, 0), 0);
        assert_int_equal(keyspace_keys(w.ks, 1), 1);
        struct key key = key_of("{x}from");
        assert_true(store_delete(s, 1, &key));
        settle();
    }
    assert_int_equal(keyspace_memory(w.ks), 0);
}

static void test_copy(void **state)
{
    (void)state;
    EACH_SIZE(n)
    {
        struct members *m = put_set(0, "from", n, EPOCH_MS + 50000);
        put_set(2, "to", 100, -1);
        struct key from = key_of("from"), to = key_of("to");
        assert_true(store_copy(s, 0, &from, 2, &to));
        struct entry *e = find(2, "to");
        struct members *copy = entry_object(e);
        assert_true(copy != m);
        assert_true(entry_expiry(e) == EPOCH_MS + 50000);
        expect_set(copy, n);
        struct edit edit = edit_begin(s, 2, &to, e);
        members_remove(s, copy, members_find(s, copy, "m0", 2));
        assert_int_equal(edit_end(&edit, 1), n > 1);
        expect_set(m, n);
        settle();
        assert_true(store_delete(s, 0, &from));
        store_delete(s, 2, &to);
        settle();
    }
    assert_int_equal(keyspace_memory(w.ks), 0);
}

// Blocks go the same ways.
static void test_blocks(void **state)
{
    (void)state;
    static char big[100000];
    put(s, 0, "a", big, sizeof(big), -1, 0);
    struct key a = key_of("a"), b = key_of("b"), c = key_of("c");
    assert_non_null(store_set_expiry(s, 0, &a, find(0, "a"), EPOCH_MS + 60000));
    settle();
    assert_non_null(store_set_expiry(s, 0, &a, find(0, "a"), -1));
    settle();
    assert_true(store_copy(s, 0, &a, 0, &b));
    assert_true(store_rename(s, 0, &a, 0, &c));
    settle();
    char scratch[24];
    assert_int_equal(entry_string(find(0, "b"), scratch).len, sizeof(big));
    assert_ptr_equal(entry_string(find(0, "b"), scratch).ptr,
                     entry_string(find(0, "c"), scratch).ptr);
    assert_true(store_delete(s, 0, &b) && store_delete(s, 0, &c));
    settle();
    assert_int_equal(keyspace_memory(w.ks), 0);
}

// A change of encoding, of size, and the removal of the last element.
static void test_edit(void **state)
{
    (void)state;
    bool done;
    uint8_t *is = intset_new();
    is = intset_add(is, 1, &done);
    struct key key = key_of("set");
    assert_non_null(store_put_object(s, 0, &key, NULL, OBJ_SET, ENC_INTSET, is, -1));
    settle();
    for (int64_t i = 2; i < 1000; i++) {
        struct edit edit = edit_begin(s, 0, &key, find(0, "set"));
        edit.object = intset_add(edit.object, i * i * i, &done);
        assert_true(edit_end(&edit, 1));
    }
    settle();
    struct edit edit = edit_begin(s, 0, &key, find(0, "set"));
    struct members *m = members_new();
    assert_non_null(members_add(s, m, "x", 1, NULL, 0));
    intset_free(edit.object);
    edit.object = m;
    edit.encoding = ENC_HASHTABLE;
    assert_true(edit_end(&edit, 1));
    assert_string_equal(encoding_name(entry_encoding(find(0, "set"))), "hashtable");
    settle();
    edit = edit_begin(s, 0, &key, find(0, "set"));
    members_remove(s, m, members_find(s, m, "x", 1));
    assert_false(edit_end(&edit, 1));
    assert_null(find(0, "set"));
    settle();
    assert_int_equal(keyspace_memory(w.ks), 0);
}

static void test_flush(void **state)
{
    (void)state;
    EACH_SIZE(n)
    {
        put_set(0, "a", n, -1);
        put_set(1, "b", n, EPOCH_MS + 60000);
        assert_int_equal(store_flush(s, -1), 2);
        settle();
        assert_int_equal(keyspace_memory(w.ks), 0);
    }
    put_set(0, "gone", 3000, EPOCH_MS + 10);
    world_time(&w, EPOCH_MS + 1000);
    assert_null(find(0, "gone"));
    settle();
    assert_int_equal(keyspace_memory(w.ks), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_expiry, begin, end),
        cmocka_unit_test_setup_teardown(test_rename, begin, end),
        cmocka_unit_test_setup_teardown(test_copy, begin, end),
        cmocka_unit_test_setup_teardown(test_blocks, begin, end),
        cmocka_unit_test_setup_teardown(test_edit, begin, end),
        cmocka_unit_test_setup_teardown(test_flush, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
