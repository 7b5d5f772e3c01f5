// Strings: encodings and their names, values in place and in blocks, writing at an offset, memory.
#include "support.h"

static struct world w;
static struct store *s;

static int begin(void **state)
{
    (void)state;
    w = world_open(1, 4);
    s = w.stores[0];
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

static const char *encoding(const char *name)
{
    return encoding_name(entry_encoding(get(s, 0, name)));
}

static struct entry *append(const char *name, const void *data, size_t len)
{
    struct key key = keyspace_key(w.ks, name, strlen(name));
    struct entry *at = store_find(s, 0, &key, LOOKUP_WRITE);
    char scratch[24];
    size_t held = at ? entry_string(at, scratch).len : 0;
    return store_write_range(s, 0, &key, at, held, data, len);
}

static void test_encodings(void **state)
{
    (void)state;
    static const struct {
        const char *text, *encoding;
    } cases[] = {
        {"0", "int"},
        {"-1", "int"},
        {"9223372036854775807", "int"},
        {"-9223372036854775808", "int"},
        {"9223372036854775808", "embstr"},
        {"-9223372036854775809", "embstr"},
        {"99999999999999999999", "embstr"},
        {"01", "embstr"},
        {"-0", "embstr"},
        {"+1", "embstr"},
        {" 1", "embstr"},
        {"1 ", "embstr"},
        {"-", "embstr"},
        {"", "embstr"},
        {"12345678901234567890123456789012345678901234", "embstr"}, // 44
        {"123456789012345678901234567890123456789012345", "raw"},   // 45
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_text(s, "k", cases[i].text);
        expect_text(get(s, 0, "k"), cases[i].text);
        assert_string_equal(encoding("k"), cases[i].encoding);
        int64_t value;
        assert_int_equal(entry_integer(get(s, 0, "k"), &value), !strcmp(encoding("k"), "int"));
    }
    // Bytes that read as a number are one for INCR, however they are stored.
    put(s, 0, "k", "17", 2, -1, SET_RAW);
    assert_string_equal(encoding("k"), "raw");
    int64_t value;
    assert_true(entry_integer(get(s, 0, "k"), &value) && value == 17);
    put(s, 0, "k", "17", 2, -1, 0);
    assert_string_equal(encoding("k"), "embstr");
    put_text(s, "k", "17");
    assert_non_null(append("k", "5", 1));
    assert_string_equal(encoding("k"), "raw");
    expect_text(get(s, 0, "k"), "175");
    assert_string_equal(type_name(entry_type(get(s, 0, "k"))), "string");
}

// A value of the same class replaces the old one where it is; the entry does not move.
static void test_in_place(void **state)
{
    (void)state;
    char value[64] = "first";
    struct entry *e = put(s, 0, "sixteen bytes ok", value, sizeof(value), -1, 0);
    memset(value, 'x', sizeof(value));
    assert_ptr_equal(put(s, 0, "sixteen bytes ok", value, sizeof(value), -1, 0), e);
    assert_ptr_equal(put(s, 0, "sixteen bytes ok", value, 60, -1, 0), e);
    struct key key = keyspace_key(w.ks, "counter", 7);
    e = store_set_integer(s, 0, &key, NULL, 1, EPOCH_MS + 5000, 0);
    for (int i = 2; i < 10; i++)
        assert_ptr_equal(store_set_integer(s, 0, &key, e, i, -1, SET_KEEP_TTL), e);
    expect_text(e, "9");
    assert_int_equal(entry_expiry(e), EPOCH_MS + 5000);
    assert_int_equal(store_statistics(s)->dirty, 3 + 9);
    assert_true(entry_memory(get(s, 0, "sixteen bytes ok")) == 96);
}

static void test_layout(void **state)
{
    (void)state;
    char value[64] = {0};
    struct entry *e = put(s, 0, "0123456789abcdef", value, sizeof(value), -1, 0);
    assert_true(entry_memory(e) <= 96);
    e = put(s, 0, "0123456789abcdef", value, sizeof(value), EPOCH_MS + 1, 0);
    assert_true(entry_memory(e) <= 96);
    size_t len;
    assert_memory_equal(entry_key(e, &len), "0123456789abcdef", 16);
    assert_int_equal(len, 16);
    // Lengths on both sides of what a byte says, for keys and values, with and without an expiry.
    static char name[600];
    static uint8_t bytes[600];
    memset(bytes, 'b', sizeof(bytes));
    for (size_t key_len = 250; key_len < 260; key_len++)
        for (size_t value_len = 250; value_len < 260; value_len++)
            for (int expiry = 0; expiry < 2; expiry++) {
                memset(name, 'n', key_len);
                name[key_len] = 0;
                e = put(s, 0, name, bytes, value_len, expiry ? EPOCH_MS + 77 : -1, 0);
                char scratch[24];
                struct string_view view = entry_string(e, scratch);
                assert_int_equal(view.len, value_len);
                assert_memory_equal(view.ptr, bytes, value_len);
                assert_memory_equal(entry_key(e, &len), name, key_len);
                assert_int_equal(len, key_len);
                assert_int_equal(entry_expiry(e), expiry ? EPOCH_MS + 77 : -1);
            }
}

static void test_blocks(void **state)
{
    (void)state;
    enum { BIG = 100000 };
    struct block *b = block_new(BIG);
    memset(b->data, 'b', BIG);
    b->len = BIG;
    struct key key = keyspace_key(w.ks, "big", 3);
    struct arg arg = {.ptr = b->data, .len = BIG, .block = b};
    struct entry *e = store_set_string(s, 0, &key, NULL, &arg, -1, SET_INTEGER_TRY);
    char scratch[24];
    assert_ptr_equal(entry_string(e, scratch).block, b); // kept, not copied
    assert_true(block_is_shared(b));
    // Written to while an output holds it: the output's bytes do not change.
    e = store_write_range(s, 0, &key, e, 0, "X", 1);
    assert_int_equal(b->data[0], 'b');
    assert_false(block_is_shared(b));
    block_release(b);
    struct string_view view = entry_string(e, scratch);
    assert_true(view.block && view.len == BIG && view.ptr[0] == 'X' && view.ptr[1] == 'b');
    // Alone, it is written in place.
    assert_ptr_equal(store_write_range(s, 0, &key, e, BIG - 1, "Y", 1), e);
    assert_ptr_equal(entry_string(e, scratch).block, view.block);
    // A copy shares it; writing to one does not show in the other.
    struct key other = keyspace_key(w.ks, "other", 5);
    assert_true(store_copy(s, 0, &key, 3, &other));
    struct entry *copied = store_find(s, 3, &other, 0);
    assert_ptr_equal(entry_string(copied, scratch).block, view.block);
    assert_non_null(store_write_range(s, 3, &other, copied, 1, "Z", 1));
    assert_int_equal(entry_string(store_find(s, 0, &key, 0), scratch).ptr[1], 'b');
    assert_int_equal(entry_string(store_find(s, 3, &other, 0), scratch).ptr[1], 'Z');
    // A big value without a block is copied; an argument's block may be longer than what is set.
    uint8_t *plain = malloc(BLOCK_VALUE_MIN);
    memset(plain, 'p', BLOCK_VALUE_MIN);
    e = put(s, 0, "plain", plain, BLOCK_VALUE_MIN, -1, 0);
    assert_true(entry_string(e, scratch).block && entry_string(e, scratch).len == BLOCK_VALUE_MIN);
    e = put(s, 0, "plain", plain, BLOCK_VALUE_MIN - 1, -1, 0);
    assert_true(!entry_string(e, scratch).block);
    assert_int_equal(entry_string(e, scratch).len, BLOCK_VALUE_MIN - 1);
    free(plain);
}

static void test_write_range(void **state)
{
    (void)state;
    struct key key = keyspace_key(w.ks, "k", 1);
    struct entry *e = store_write_range(s, 0, &key, NULL, 5, "end", 3);
    char scratch[24];
    struct string_view view = entry_string(e, scratch);
    assert_int_equal(view.len, 8);
    assert_memory_equal(view.ptr, "\0\0\0\0\0end", 8);
    e = store_write_range(s, 0, &key, e, 20000, "far", 3);
    view = entry_string(e, scratch);
    assert_int_equal(view.len, 20003);
    assert_memory_equal(view.ptr, "\0\0\0\0\0end\0", 9);
    assert_memory_equal(view.ptr + 19999, "\0far", 4);
    assert_null(store_write_range(s, 0, &key, e, SIZE_MAX - 1, "x", 1)); // no such memory
    assert_int_equal(entry_string(get(s, 0, "k"), scratch).len, 20003);
}

// n appends copy O(n) bytes: the entry is allocated anew a few times per doubling only.
static void test_append(void **state)
{
    (void)state;
    enum { TIMES = 300000 };
    unsigned moves = 0;
    const void *before = NULL;
    for (unsigned i = 0; i < TIMES; i++) {
        struct entry *e = append("log", "abcdefgh" + i % 8, 1);
        assert_non_null(e);
        char scratch[24];
        struct string_view view = entry_string(e, scratch);
        moves += view.ptr != before;
        before = view.ptr;
    }
    print_message("%u moves\n", moves);
    assert_true(moves < 100);
    char scratch[24];
    struct string_view view = entry_string(get(s, 0, "log"), scratch);
    assert_int_equal(view.len, TIMES);
    for (unsigned i = 0; i < TIMES; i++)
        assert_int_equal(view.ptr[i], 'a' + i % 8);
    assert_true(keyspace_memory(w.ks) < 2 * TIMES);
}

static void test_rename_copy(void **state)
{
    (void)state;
    put(s, 0, "from", "value", 5, EPOCH_MS + 1000, 0);
    put_text(s, "to", "other");
    struct key from = keyspace_key(w.ks, "from", 4), to = keyspace_key(w.ks, "to", 2);
    assert_true(store_copy(s, 0, &from, 0, &to));
    expect_text(get(s, 0, "to"), "value");
    expect_text(get(s, 0, "from"), "value");
    assert_int_equal(entry_expiry(get(s, 0, "to")), EPOCH_MS + 1000);
    put_text(s, "from", "17");
    assert_true(store_rename(s, 0, &from, 0, &to));
    assert_null(get(s, 0, "from"));
    expect_text(get(s, 0, "to"), "17");
    assert_string_equal(encoding("to"), "int");
    assert_int_equal(entry_expiry(get(s, 0, "to")), -1);
    assert_true(store_rename(s, 0, &to, 0, &to)); // onto itself
    expect_text(get(s, 0, "to"), "17");
    assert_true(store_rename(s, 0, &to, 2, &to)); // to another database
    assert_null(get(s, 0, "to"));
    expect_text(get(s, 2, "to"), "17");
    assert_int_equal(keyspace_keys(w.ks, 0), 0);
    assert_int_equal(keyspace_keys(w.ks, 2), 1);
}

static void test_flush_and_swap(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < 5000; i++) {
        sprintf(name, "%u", i);
        put(s, 0, name, "v", 1, i % 2 ? EPOCH_MS + 1000 : -1, 0);
        put(s, 1, name, "w", 1, -1, 0);
    }
    put(s, 1, "only here", "1", 1, -1, 0);
    store_swap_databases(s, 0, 1);
    assert_int_equal(keyspace_keys(w.ks, 0), 5001);
    assert_int_equal(keyspace_keys(w.ks, 1), 5000);
    assert_int_equal(keyspace_volatile_keys(w.ks, 1), 2500);
    expect_text(get(s, 0, "only here"), "1");
    world_check(&w);
    assert_int_equal(store_flush(s, 1), 5000);
    assert_int_equal(keyspace_keys(w.ks, 1), 0);
    assert_int_equal(keyspace_volatile_keys(w.ks, 1), 0);
    assert_null(get(s, 1, "1"));
    assert_int_equal(store_next_due(s), store_time(s)); // there is something to free
    put(s, 1, "new", "1", 1, -1, 0);
    unsigned turns = 0;
    uint64_t memory = keyspace_memory(w.ks);
    while (store_maintain(s, 100)) {
        assert_true(keyspace_memory(w.ks) + 100 * 200 + 20000 > memory); // a bounded piece
        memory = keyspace_memory(w.ks);
        assert_true(++turns < 10000);
    }
    assert_true(turns > 10);
    assert_int_equal(keyspace_keys(w.ks, 1), 1);
    world_check(&w);
    assert_int_equal(store_flush(s, -1), 5002);
    while (store_maintain(s, 1000))
        ;
    assert_int_equal(keyspace_memory(w.ks), 0);
}

static void test_statistics(void **state)
{
    (void)state;
    put_text(s, "k", "v");
    struct key key = keyspace_key(w.ks, "k", 1), none = keyspace_key(w.ks, "none", 4);
    store_find(s, 0, &key, 0);
    store_find(s, 0, &key, LOOKUP_NO_STATS);
    store_find(s, 0, &key, LOOKUP_WRITE);
    store_find(s, 0, &none, 0);
    assert_int_equal(store_statistics(s)->hits, 1);
    assert_int_equal(store_statistics(s)->misses, 1);
    assert_int_equal(store_slot_figures(w.ks, 0, key.slot).keys, 1);
    store_reset_statistics(s);
    assert_int_equal(store_statistics(s)->hits, 0);
    assert_int_equal(store_statistics(s)->dirty, 1);
    // Prefetching is a hint: of keys, slots and databases that are not there as well.
    struct fetch fetch;
    store_prefetch_slot(s, 3, &none);
    store_prefetch_bucket(s, 3, &none, &fetch);
    assert_null(fetch.bucket);
    store_prefetch_entry(&none, &fetch);
    assert_null(fetch.entry);
    assert_false(fetch.overflow);
    store_look_entry(s, 0, &key, &fetch);
    assert_ptr_equal(fetch.entry, store_find(s, 0, &key, LOOKUP_NO_STATS));
    store_look_entry(s, 0, &none, &fetch);
    assert_null(fetch.entry);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_encodings),   TEST(test_in_place),       TEST(test_layout),
        TEST(test_blocks),      TEST(test_append),         TEST(test_write_range),
        TEST(test_rename_copy), TEST(test_flush_and_swap), TEST(test_statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
