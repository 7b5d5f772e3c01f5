// Members against a plain array that models them: random changes while the table grows and shrinks,
// scans that go on meanwhile, exact memory. SEED=n runs a failure again.
#include "dataplane/store/members.h"

#include <math.h>

#include "tests/unit/store/support.h"

enum { NAMES = 6000, STEPS = 300000, VALUE_MAX = 600 };

struct model {
    bool there;
    unsigned version; // what the value is made of
    int64_t expiry;   // -1: none
    unsigned given;   // by the present scan
    bool stayed;      // through the whole of it
};

static struct world w;
static struct store *s;
static struct rng rng;
static struct members *m;
static struct model model[NAMES];
static unsigned held, highest; // members; names in use are below
static uint64_t now_ms;

static size_t name_of(unsigned i, char out[512])
{
    if (i == 0)
        return 0;
    if (i % 40 == 7)
        return (size_t)snprintf(out, 512, "%0*u", 200 + (int)(i % 200), i);
    return (size_t)snprintf(out, 512, "member:%u", i);
}

static size_t value_of(unsigned i, unsigned version, uint8_t *out)
{
    size_t len =
        version % 16 == 0 ? (i * 7 + version * 131) % 5000 : (i + version * 31) % VALUE_MAX;
    memset(out, (int)(i + version), len);
    return version % 5 ? len : 0;
}

static unsigned number_of(const struct entry *e)
{
    size_t len;
    const uint8_t *name = member_name(e, &len);
    unsigned n = 0;
    for (size_t i = len > 7 && name[0] == 'm' ? 7 : 0; i < len; i++)
        n = n * 10 + (unsigned)(name[i] - '0');
    return n;
}

static void compare(unsigned i, const struct entry *e)
{
    static uint8_t want[5000];
    assert_int_equal(model[i].there, e != NULL);
    if (!e)
        return;
    size_t len;
    const uint8_t *value = member_value(e, &len);
    assert_int_equal(len, value_of(i, model[i].version, want));
    assert_memory_equal(value, want, len);
    assert_true(entry_expiry(e) == model[i].expiry);
}

static struct entry *find(unsigned i)
{
    char name[512];
    size_t len = name_of(i, name);
    return members_find(s, m, name, len);
}

static void gone(unsigned i)
{
    assert_true(model[i].there);
    model[i].there = model[i].stayed = false;
    held--;
}

static void on_expired(void *context, struct entry *e)
{
    unsigned i = number_of(e);
    compare(i, e);
    assert_true(model[i].expiry >= 0 && (uint64_t)model[i].expiry <= now_ms);
    gone(i);
    ++*(unsigned *)context;
}

static void expire(unsigned max)
{
    unsigned given = 0;
    unsigned n = members_expire(s, m, max, on_expired, &given);
    assert_int_equal(n, given);
    assert_true(n <= max);
    if (n < max) // what is left is not due by the coarse clock
        for (unsigned i = 0; i < highest; i++)
            if (model[i].there && model[i].expiry >= 0)
                assert_true((uint64_t)model[i].expiry + COARSE_MS > now_ms);
}

static uint64_t check_table(const struct members *of)
{
    struct hash_secret secret = w.ks->secret;
    secret.word[0] ^= (uint64_t)of->salt << 32 | of->salt;
    return table_check(&w, &secret, &of->table);
}

static void check(void)
{
    struct members_iterator it = members_begin(m);
    unsigned n = 0, expiring = 0;
    if (held) // an empty one may hold on to a bucket
        assert_int_equal(check_table(m), members_inner(m));
    assert_int_equal(members_memory(m), mi_usable_size(m) + members_inner(m));
    int64_t first = INT64_MAX;
    for (struct entry *e; (e = members_next(&it)); n++) {
        unsigned i = number_of(e);
        compare(i, e);
        assert_ptr_equal(find(i), e);
        if (entry_expiry(e) < 0)
            continue;
        expiring++;
        if (entry_expiry(e) < first)
            first = entry_expiry(e);
    }
    assert_int_equal(n, held);
    assert_int_equal(n, members_count(m));
    assert_int_equal(expiring, members_volatile(m));
    if (expiring)
        assert_true(members_next_due(s, m) < first + COARSE_MS);
    if (first <= (int64_t)now_ms)
        assert_true(members_any_over(s, m));
}

// --- scans --------------------------------------------------------------------------------------

static uint64_t cursor;
static bool scanning;

static void on_scanned(void *context, struct entry *e)
{
    unsigned i = number_of(e);
    (void)context;
    compare(i, e);
    assert_true(model[i].expiry < 0 || (uint64_t)model[i].expiry > now_ms);
    model[i].given++;
}

static void scan_some(void)
{
    if (!scanning) {
        scanning = true;
        cursor = 0;
        for (unsigned i = 0; i < NAMES; i++) {
            model[i].given = 0;
            model[i].stayed = model[i].there;
        }
    }
    cursor = members_scan(s, m, cursor, 1 + rng_below(&rng, 200), on_scanned, NULL);
    if (cursor)
        return;
    scanning = false;
    for (unsigned i = 0; i < NAMES; i++) {
        bool over = model[i].expiry >= 0 && (uint64_t)model[i].expiry <= now_ms;
        if (model[i].stayed && !over)
            assert_int_equal(model[i].given, 1);
    }
}

// --- changes ------------------------------------------------------------------------------------

static void add(unsigned i)
{
    static uint8_t value[5000];
    char name[512];
    size_t len = name_of(i, name);
    model[i] =
        (struct model){.there = true, .version = (unsigned)rng_below(&rng, 1000), .expiry = -1};
    size_t value_len = value_of(i, model[i].version, value);
    assert_non_null(members_add(s, m, name, len, value_len ? value : NULL, value_len));
    held++;
}

static void set_value(unsigned i, struct entry *e)
{
    static uint8_t value[5000];
    model[i].version = (unsigned)rng_below(&rng, 1000);
    size_t len = value_of(i, model[i].version, value);
    compare(i, members_set_value(s, m, e, value, len));
}

static void set_expiry(unsigned i, struct entry *e)
{
    // One that was over for a scan and comes back is not one that stayed.
    if (model[i].expiry >= 0 && (uint64_t)model[i].expiry <= now_ms)
        model[i].stayed = false;
    model[i].expiry = rng_below(&rng, 4) ? (int64_t)(now_ms + 1 + rng_below(&rng, 20000)) : -1;
    compare(i, members_set_expiry(s, m, e, model[i].expiry));
}

static void step(void)
{
    // The number of names goes up and down, and with it the table.
    unsigned i = (unsigned)rng_below(&rng, highest);
    struct entry *e = find(i);
    compare(i, e);
    switch (rng_below(&rng, 8)) {
    case 0:
    case 1:
    case 2:
        if (!e)
            add(i);
        else
            set_value(i, e);
        break;
    case 3:
    case 4:
        if (e) {
            gone(i);
            members_remove(s, m, e);
        }
        break;
    case 5:
        if (e)
            set_expiry(i, e);
        break;
    case 6:
        if (rng_below(&rng, 8) == 0) {
            now_ms += rng_below(&rng, 60);
            store_set_time(s, now_ms);
        }
        if (rng_below(&rng, 4) == 0)
            expire((unsigned)rng_below(&rng, 20));
        break;
    default:
        if (rng_below(&rng, 4) == 0)
            scan_some();
        e = members_random(s, m);
        assert_int_equal(e != NULL, held != 0);
        if (e)
            compare(number_of(e), e);
    }
}

static void shrink(unsigned to)
{
    for (unsigned i = to; i < highest; i++) {
        struct entry *e = find(i);
        if (e) {
            gone(i);
            members_remove(s, m, e);
        }
    }
    highest = to;
}

static void check_copy(void)
{
    struct members *copy = NULL, *before = m;
    struct members_iterator at;
    unsigned few = 0;
    while (!members_copy_step(s, m, &copy, &at, &few))
        few = 7;
    assert_non_null(copy);
    m = copy;
    check();
    unsigned budget, steps = 0, n = held;
    do {
        budget = 50;
        steps++;
        if (steps % 32 == 1 && n)
            check_table(before); // nothing is shared
    } while (!members_free_step(copy, &budget));
    assert_true(steps > n / 100);
    assert_int_equal(members_inner(copy), 0);
    mi_free(copy);
    m = before;
}

static void test_random_changes(void **state)
{
    (void)state;
    rng.state = seed_of_run(3);
    w = world_open(1, 1);
    s = w.stores[0];
    now_ms = EPOCH_MS;
    m = members_new();
    assert_non_null(m);
    highest = NAMES;
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        if (i % (STEPS / 12) == 0) {
            unsigned to = (unsigned)rng_below(&rng, rng_below(&rng, 2) ? NAMES : 30) + 1;
            if (to < highest)
                shrink(to);
            highest = to;
            check();
            check_copy();
        }
    }
    check();
    members_clear(m);
    assert_int_equal(members_count(m), 0);
    assert_int_equal(members_inner(m), 0);
    members_free(m);
    world_close(&w);
}

// --- drawing ------------------------------------------------------------------------------------

// Whatever the table is like, also in the middle of a resize, no member is much more probable.
static void test_random_is_even(void **state)
{
    (void)state;
    enum { MOST = 3000, DRAWS_EACH = 60 };
    static unsigned drawn[MOST];
    rng.state = seed_of_run(5);
    w = world_open(1, 1);
    s = w.stores[0];
    m = members_new();
    static const unsigned sizes[] = {1, 2, 7, 8, 9, 50, 100, 113, 120, 127, 700, 760, 3000};
    unsigned n = 0, resizing = 0;
    for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        for (; n < sizes[k]; n++) {
            char name[16];
            size_t len = (size_t)sprintf(name, "%u", n);
            assert_non_null(members_add(s, m, name, len, NULL, 0));
        }
        resizing += (m->table.root & ROOT_RESIZING) != 0;
        memset(drawn, 0, sizeof(drawn));
        for (unsigned i = 0; i < n * DRAWS_EACH; i++)
            drawn[number_of(members_random(s, m))]++;
        double chi = 0;
        for (unsigned i = 0; i < n; i++)
            chi += ((double)drawn[i] - DRAWS_EACH) * ((double)drawn[i] - DRAWS_EACH) / DRAWS_EACH;
        // The sum has n - 1 degrees of freedom: its mean, and five deviations more.
        double limit = n + 5 * sqrt(2.0 * n) + 5;
        if (chi > limit)
            fail_msg("%u members: %.0f, at most %.0f", n, chi, limit);
    }
    print_message("%u of the sizes in the middle of a resize\n", resizing);
    members_free(m);
    world_close(&w);
}

// --- freeing ------------------------------------------------------------------------------------

// Every step of freeing a big table with expiries is of bounded size.
static void test_free_in_steps(void **state)
{
    (void)state;
    enum { MANY = 200000, BUDGET = 100 };
    w = world_open(1, 1);
    s = w.stores[0];
    m = members_new();
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        size_t len = (size_t)sprintf(name, "%u", i);
        struct entry *e = members_add(s, m, name, len, "value", 5);
        assert_non_null(members_set_expiry(s, m, e, EPOCH_MS + 1000 + (int)i));
    }
    unsigned steps = 0, budget;
    uint64_t before = members_inner(m), largest = 0, all = before;
    bool done;
    do {
        budget = BUDGET;
        done = members_free_step(m, &budget);
        uint64_t freed = before - members_inner(m);
        if (freed > largest && !done)
            largest = freed;
        before = members_inner(m);
        steps++;
    } while (!done);
    print_message("%u steps, at most %llu bytes of %llu at once\n", steps,
                  (unsigned long long)largest, (unsigned long long)all);
    assert_int_equal(before, 0);
    assert_true(steps > MANY / BUDGET / 2);
    assert_true(largest < 200000);
    mi_free(m);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_random_is_even),
        cmocka_unit_test(test_free_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
