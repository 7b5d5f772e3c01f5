// Memory shortage: whatever allocation fails, the call says so and nothing has changed. The linker
// puts these functions before the allocator's.
#include "dataplane/store/members.h"
#include "support.h"

void *__real_mi_malloc(size_t size);
void *__real_mi_zalloc(size_t size);
void *__real_mi_realloc(void *p, size_t size);
void *__wrap_mi_malloc(size_t size);
void *__wrap_mi_zalloc(size_t size);
void *__wrap_mi_realloc(void *p, size_t size);

static struct rng rng;
static unsigned fail_one_in; // 0: none
static uint64_t failures;

static bool fails(void)
{
    bool yes = fail_one_in && rng_below(&rng, fail_one_in) == 0;
    failures += yes;
    return yes;
}

void *__wrap_mi_malloc(size_t size)
{
    return fails() ? NULL : __real_mi_malloc(size);
}

void *__wrap_mi_zalloc(size_t size)
{
    return fails() ? NULL : __real_mi_zalloc(size);
}

void *__wrap_mi_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_mi_realloc(p, size);
}

static struct world w;
static struct store *s;

struct snapshot {
    bool there;
    size_t len;
    uint8_t value[40000];
    int64_t expiry;
};

static void look(struct snapshot *snap, const struct key *key)
{
    const struct entry *e = store_find(s, 0, key, LOOKUP_NO_TOUCH | LOOKUP_NO_STATS);
    *snap = (struct snapshot){.there = e};
    if (!e)
        return;
    char scratch[24];
    struct string_view view = entry_string(e, scratch);
    snap->len = view.len;
    memcpy(snap->value, view.ptr, view.len);
    snap->expiry = entry_expiry(e);
}

static bool operate(const struct key *key, const struct key *other)
{
    static uint8_t bytes[20000];
    struct entry *at = store_find(s, 0, key, LOOKUP_WRITE);
    size_t len = rng_below(&rng, 50) == 0 ? rng_below(&rng, sizeof(bytes)) : rng_below(&rng, 300);
    int64_t expiry = rng_below(&rng, 2) ? EPOCH_MS + (int64_t)rng_below(&rng, 1000000) + 1 : -1;
    struct arg arg = arg_of(bytes, len);
    switch (rng_below(&rng, 6)) {
    case 0:
    case 1:
        return store_set_string(s, 0, key, at, &arg, expiry, SET_INTEGER_TRY);
    case 2:
        return store_set_integer(s, 0, key, at, (int64_t)len, expiry, 0);
    case 3:
        return store_write_range(s, 0, key, at, rng_below(&rng, 300), bytes, len);
    case 4:
        return !at || store_set_expiry(s, 0, key, at, expiry);
    default:
        return !at || store_copy(s, 0, key, 0, other);
    }
}

static void test_nothing_changed(void **state)
{
    (void)state;
    enum { KEYS = 4000, STEPS = 200000 };
    rng.state = seed_of_run(1);
    w = world_open(1, 1);
    s = w.stores[0];
    static struct snapshot before[2], after[2];
    unsigned refused = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        char names[2][32];
        struct key keys[2];
        for (unsigned k = 0; k < 2; k++) {
            int n = sprintf(names[k], rng_below(&rng, 2) ? "{one}%u" : "%u",
                            (unsigned)rng_below(&rng, KEYS));
            keys[k] = keyspace_key(w.ks, names[k], (size_t)n);
            look(&before[k], &keys[k]);
        }
        fail_one_in = 4;
        bool done = operate(&keys[0], &keys[1]);
        if (rng_below(&rng, 8) == 0)
            store_delete(s, 0, &keys[0]); // shrinking wants memory, too, and does without
        else if (!done)
            for (unsigned k = 0; k < 2; k++) {
                fail_one_in = 0;
                look(&after[k], &keys[k]);
                assert_memory_equal(&before[k], &after[k], sizeof(after[k]));
            }
        if (rng_below(&rng, 32) == 0)
            store_maintain(s, 50);
        fail_one_in = 0;
        refused += !done;
        if (i % (STEPS / 10) == 0)
            world_check(&w);
    }
    assert_true(failures > STEPS / 20 && refused > STEPS / 40);
    // With no memory at all a flush works.
    fail_one_in = 1;
    store_flush(s, -1);
    fail_one_in = 0;
    assert_int_equal(keyspace_keys(w.ks, 0), 0);
    assert_int_equal(keyspace_memory(w.ks), 0);
    world_check(&w);
    world_close(&w);
}

// --- hashes -------------------------------------------------------------------------------------

// What a hash says: a sum over its fields in any order.
static uint64_t sum_of(const struct entry *e)
{
    if (!e)
        return 0;
    const struct hash_secret *secret = &w.ks->secret;
    uint64_t sum = (uint64_t)entry_expiry(e);
    struct members_iterator it = members_begin(entry_object(e));
    for (struct entry *m; (m = members_next(&it));) {
        struct entry_parts parts = entry_parts(m);
        sum += hash_key(secret, parts.key, parts.key_len) *
                   hash_key(secret, parts.value, parts.value_len) +
               (uint64_t)entry_expiry(m) * 31;
    }
    return sum;
}

static bool change_field(const struct key *key, struct entry *at)
{
    static uint8_t value[3000];
    char name[24];
    size_t len = (size_t)sprintf(name, "f%u", (unsigned)rng_below(&rng, 200));
    size_t value_len = rng_below(&rng, rng_below(&rng, 8) ? 60 : sizeof(value));
    struct edit edit = edit_begin(s, 0, key, at);
    struct members *m = edit.object;
    struct entry *e = members_find(s, m, name, len);
    bool done = true;
    switch (rng_below(&rng, 4)) {
    case 0:
        if (e && rng_below(&rng, 4) == 0)
            members_remove(s, m, e);
        break;
    case 1:
        done = edit_reserve_due(&edit) &&
               (!e || members_set_expiry(s, m, e, rng_below(&rng, 3) ? EPOCH_MS + 1000000 : -1));
        break;
    default:
        done = e ? members_set_value(s, m, e, value, value_len)
                 : members_add(s, m, name, len, value, value_len);
    }
    edit_end(&edit, 1);
    return done;
}

static bool operate_hash(const struct key *key, const struct key *other)
{
    struct entry *at = store_find(s, 0, key, LOOKUP_WRITE);
    if (!at) {
        struct members *m = members_new();
        if (m && members_add(s, m, "f0", 2, "first", 5) &&
            store_put_object(s, 0, key, NULL, OBJ_HASH, ENC_HASHTABLE, m, -1))
            return true;
        if (m)
            members_free(m);
        return false;
    }
    switch (rng_below(&rng, 40)) {
    case 0:
        return store_copy(s, 0, key, 0, other);
    case 1:
        return store_rename(s, 0, key, 0, other);
    case 2:
        return store_set_expiry(s, 0, key, at, EPOCH_MS + (int64_t)rng_below(&rng, 9000000) + 1);
    case 3:
        return store_set_expiry(s, 0, key, at, -1);
    default:
        return change_field(key, at);
    }
}

static void test_hashes(void **state)
{
    (void)state;
    enum { KEYS = 30, STEPS = 200000 };
    rng.state = seed_of_run(2);
    w = world_open(1, 1);
    s = w.stores[0];
    unsigned refused = 0;
    failures = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        char names[2][32];
        struct key keys[2];
        uint64_t before[2];
        for (unsigned k = 0; k < 2; k++) {
            int n = sprintf(names[k], rng_below(&rng, 2) ? "{one}%u" : "%u",
                            (unsigned)rng_below(&rng, KEYS));
            keys[k] = keyspace_key(w.ks, names[k], (size_t)n);
            before[k] = sum_of(store_find(s, 0, &keys[k], LOOKUP_NO_TOUCH));
        }
        fail_one_in = 4;
        bool done = operate_hash(&keys[0], &keys[1]);
        fail_one_in = 0;
        refused += !done;
        for (unsigned k = 0; k < 2 && !done; k++)
            assert_true(before[k] == sum_of(store_find(s, 0, &keys[k], LOOKUP_NO_TOUCH)));
        fail_one_in = 2;
        if (rng_below(&rng, 64) == 0)
            store_delete(s, 0, &keys[0]);
        if (rng_below(&rng, 32) == 0)
            store_maintain(s, 50);
        fail_one_in = 0;
        if (i % (STEPS / 10) == 0) {
            while (store_maintain(s, 1000))
                ;
            world_check(&w);
        }
    }
    assert_true(failures > STEPS / 20 && refused > STEPS / 40);
    fail_one_in = 1;
    store_flush(s, -1);
    fail_one_in = 0;
    while (store_maintain(s, 1000))
        ;
    assert_int_equal(keyspace_memory(w.ks), 0);
    world_check(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_changed),
                                       cmocka_unit_test(test_hashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
