// Random operations on a store and on a plain array that models it, compared all the time. SEED=n
// runs a failure again, STEPS=n runs longer.
#include "support.h"

enum { KEYS = 3000, DATABASES = 3, VALUE_MAX = 700, STEPS = 400000 };

struct model_key {
    bool there;
    uint8_t *value;
    size_t len;
    int64_t expiry;
    bool raw;
};

static struct model_key model[DATABASES][KEYS];
static struct world w;
static struct rng rng;
static uint64_t now_ms;
static struct store *holder; // who executes on all slots, which all have lent; NULL: nobody

// Some names share a slot, some are long, one is empty.
static struct key name_of(unsigned i, char *buffer, size_t size)
{
    int n = i == 0        ? 0
            : i % 3 == 0  ? snprintf(buffer, size, "{tag}:%u", i)
            : i % 50 == 1 ? snprintf(buffer, size, "%0*u", 200 + (int)(i % 200), i)
                          : snprintf(buffer, size, "key:%u", i);
    return keyspace_key(w.ks, buffer, (size_t)n);
}

static void model_set(struct model_key *m, const void *value, size_t len, int64_t expiry, bool raw)
{
    uint8_t *copy = malloc(len + 1);
    memcpy(copy, value, len);
    free(m->value);
    *m = (struct model_key){.there = true, .value = copy, .len = len, .expiry = expiry, .raw = raw};
}

static void model_delete(struct model_key *m)
{
    free(m->value);
    *m = (struct model_key){.expiry = -1};
}

static void model_lapse(struct model_key *m)
{
    if (m->there && m->expiry >= 0 && (uint64_t)m->expiry <= now_ms)
        model_delete(m);
}

static void compare(const struct model_key *m, const struct entry *e)
{
    assert_int_equal(m->there, e != NULL);
    if (!e)
        return;
    char scratch[24];
    struct string_view view = entry_string(e, scratch);
    assert_int_equal(view.len, m->len);
    assert_memory_equal(view.ptr, m->value, m->len);
    assert_int_equal(entry_expiry(e), m->expiry);
    assert_int_equal(view.block != NULL, m->len >= BLOCK_VALUE_MIN || (view.block && m->raw));
    int64_t integer;
    bool is_integer = integer_parse(m->value, m->len, &integer);
    enum object_encoding want = m->raw || m->len > STRING_EMBSTR_MAX ? ENC_RAW
                                : is_integer                         ? ENC_INT
                                                                     : ENC_EMBSTR;
    assert_int_equal(entry_encoding(e), want);
}

static size_t random_value(uint8_t *out)
{
    if (rng_below(&rng, 4) == 0)
        return (size_t)sprintf((char *)out, "%lld",
                               (long long)rng_next(&rng) >> rng_below(&rng, 64));
    size_t len = rng_below(&rng, 200) == 0  ? BLOCK_VALUE_MIN - 100 + rng_below(&rng, 5000)
                 : rng_below(&rng, 20) == 0 ? rng_below(&rng, 5000)
                                            : rng_below(&rng, VALUE_MAX) * rng_below(&rng, 3) / 2;
    memset(out, (int)('a' + rng_below(&rng, 26)), len);
    return len;
}

static int64_t random_expiry(void)
{
    if (rng_below(&rng, 3))
        return -1;
    return (int64_t)(now_ms + 1 + rng_below(&rng, rng_below(&rng, 2) ? 3000 : 300000));
}

static void step_maintain(void)
{
    now_ms += rng_below(&rng, 40);
    world_time(&w, now_ms);
    store_maintain(w.stores[rng_below(&rng, w.cores)], (unsigned)rng_below(&rng, 200));
}

static void step(void)
{
    static uint8_t value[64 * 1024];
    char buffer[512], other_buffer[512];
    unsigned i = (unsigned)rng_below(&rng, KEYS), db = (unsigned)rng_below(&rng, DATABASES);
    struct key key = name_of(i, buffer, sizeof(buffer));
    struct model_key *m = &model[db][i];
    struct store *s = holder ? holder : w.stores[rng_below(&rng, w.cores)];
    bool borrowed = !holder && s->core != keyspace_core(w.ks, key.slot);
    struct store *owner = store_for(&w, &key);
    model_lapse(m);
    if (borrowed)
        store_slot_lent(owner, key.slot);
    struct entry *at = store_find(s, db, &key, LOOKUP_WRITE);
    compare(m, at);
    struct entry *after = at;
    bool done = true;
    switch (rng_below(&rng, 10)) {
    case 0:
    case 1:
    case 2: {
        size_t len = random_value(value);
        struct arg arg = arg_of(value, len);
        if (len >= BLOCK_VALUE_MIN && rng_below(&rng, 2)) {
            arg.block = block_new(len);
            memcpy(arg.block->data, value, len);
            arg.block->len = len;
            arg.ptr = arg.block->data;
        }
        bool keep = rng_below(&rng, 4) == 0, raw = rng_below(&rng, 8) == 0;
        int64_t expiry = random_expiry();
        after = store_set_string(s, db, &key, at, &arg, expiry,
                                 (keep ? SET_KEEP_TTL : 0) | (raw ? SET_RAW : SET_INTEGER_TRY));
        block_release(arg.block);
        model_set(m, value, len, keep ? m->there ? m->expiry : -1 : expiry, raw);
        break;
    }
    case 3: {
        int64_t integer = (int64_t)rng_next(&rng) >> rng_below(&rng, 64);
        after = store_set_integer(s, db, &key, at, integer, -1, SET_KEEP_TTL);
        char text[24];
        size_t len = (size_t)sprintf(text, "%lld", (long long)integer);
        model_set(m, text, len, m->there ? m->expiry : -1, false);
        break;
    }
    case 4: {
        size_t len = random_value(value) % 300;
        size_t held = m->there ? m->len : 0;
        size_t offset = rng_below(&rng, 2) ? held : rng_below(&rng, held + 50);
        if (held > 30000)
            break;
        after = store_write_range(s, db, &key, at, offset, value, len);
        size_t total = offset + len > held ? offset + len : held;
        uint8_t *grown = calloc(1, total + 1);
        if (held)
            memcpy(grown, m->value, held);
        memcpy(grown + offset, value, len);
        model_set(m, grown, total, m->there ? m->expiry : -1, true);
        free(grown);
        break;
    }
    case 5:
    case 6:
        assert_int_equal(store_delete(s, db, &key), m->there);
        model_delete(m);
        after = NULL;
        break;
    case 7:
        if (!at)
            break;
        m->expiry = random_expiry();
        after = store_set_expiry(s, db, &key, at, m->expiry);
        break;
    default: { // to another key, of any slot and database
        unsigned j = (unsigned)rng_below(&rng, KEYS), to_db = (unsigned)rng_below(&rng, DATABASES);
        struct key to = name_of(j, other_buffer, sizeof(other_buffer));
        if (!at || (i == j && db == to_db))
            break;
        bool rename = rng_below(&rng, 2);
        bool borrow_to = !holder && to.slot != key.slot && keyspace_core(w.ks, to.slot) != s->core;
        if (borrow_to)
            store_slot_lent(store_for(&w, &to), to.slot);
        done = (rename ? store_rename : store_copy)(s, db, &key, to_db, &to);
        model_set(&model[to_db][j], m->value, m->len, m->expiry, m->raw);
        compare(&model[to_db][j], store_find(s, to_db, &to, LOOKUP_NO_TOUCH));
        if (rename)
            model_delete(m);
        if (borrow_to)
            store_slot_returned(store_for(&w, &to), to.slot);
        break;
    }
    }
    assert_true(done);
    if (m->there)
        assert_non_null(after);
    compare(m, store_find(s, db, &key, LOOKUP_NO_STATS));
    if (borrowed)
        store_slot_returned(owner, key.slot);
}

static void count_each(void *context, struct entry *e)
{
    assert_true(!entry_is_expired(w.stores[0], e));
    ++*(uint64_t *)context;
}

static void check_everything(void)
{
    for (unsigned core = 0; core < w.cores; core++)
        while (store_maintain(w.stores[core], 1000))
            ;
    world_check(&w);
    for (unsigned db = 0; db < DATABASES; db++) {
        uint64_t live = 0, seen = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            model_lapse(&model[db][i]);
            live += model[db][i].there;
        }
        for (unsigned core = 0; core < w.cores; core++)
            store_each(w.stores[core], db, count_each, &seen);
        assert_int_equal(seen, live);
    }
}

// All cores lend all they have, to one of them. As often as not its own slots are lent, too.
static void all_lent(bool own)
{
    for (unsigned core = 0; core < w.cores; core++)
        if (own || w.stores[core] != holder)
            store_all_lent(w.stores[core]);
}

static void all_returned(bool own)
{
    for (unsigned core = 0; core < w.cores; core++)
        if (own || w.stores[core] != holder)
            store_all_returned(w.stores[core]);
}

// One core executes on the slots of all: few changes, or more than are noted one by one.
static void hold_all(void)
{
    bool own = rng_below(&rng, 2);
    unsigned n = (unsigned)rng_below(&rng, rng_below(&rng, 4) ? 20 : 2 * NOTES_MAX);
    holder = w.stores[rng_below(&rng, w.cores)];
    all_lent(own);
    for (unsigned i = 0; i < n; i++) {
        step();
        if (rng_below(&rng, 16) == 0) // owners find nothing to do meanwhile
            step_maintain();
    }
    all_returned(own);
    holder = NULL;
    check_everything();
}

static void flush_or_swap(void)
{
    struct store *s = w.stores[rng_below(&rng, w.cores)];
    bool whole = rng_below(&rng, 2), own = rng_below(&rng, 2);
    if (whole) {
        holder = s;
        all_lent(own);
    }
    for (unsigned n = 0; n < SLOTS && !whole; n++)
        if (keyspace_core(w.ks, (uint16_t)n) != s->core)
            store_slot_lent(w.stores[keyspace_core(w.ks, (uint16_t)n)], (uint16_t)n);
    unsigned a = (unsigned)rng_below(&rng, DATABASES), b = (unsigned)rng_below(&rng, DATABASES);
    if (rng_below(&rng, 4)) {
        store_swap_databases(s, a, b);
        for (unsigned i = 0; i < KEYS && a != b; i++) {
            struct model_key m = model[a][i];
            model[a][i] = model[b][i];
            model[b][i] = m;
        }
    } else {
        uint64_t keys = keyspace_keys(w.ks, a);
        assert_int_equal(store_flush(s, (int)a), keys);
        assert_int_equal(keyspace_keys(w.ks, a), 0);
        for (unsigned i = 0; i < KEYS; i++)
            model_delete(&model[a][i]);
    }
    for (unsigned n = 0; n < SLOTS && !whole; n++)
        if (keyspace_core(w.ks, (uint16_t)n) != s->core)
            store_slot_returned(w.stores[keyspace_core(w.ks, (uint16_t)n)], (uint16_t)n);
    if (whole)
        all_returned(own);
    holder = NULL;
}

static void run(unsigned cores)
{
    rng.state = seed_of_run(cores);
    const char *text = getenv("STEPS");
    unsigned long steps = text ? strtoul(text, NULL, 0) : STEPS;
    w = world_open(cores, DATABASES);
    now_ms = EPOCH_MS;
    for (unsigned long i = 0; i < steps; i++) {
        step();
        if (rng_below(&rng, 16) == 0)
            step_maintain();
        if (i % (steps / 10) == 0)
            check_everything();
        if (i % (steps / 40) == 1)
            flush_or_swap();
        if (i % (steps / 100) == 2)
            hold_all();
    }
    check_everything();
    for (unsigned db = 0; db < DATABASES; db++)
        for (unsigned i = 0; i < KEYS; i++)
            model_delete(&model[db][i]);
    world_close(&w);
}

static void test_one_core(void **state)
{
    (void)state;
    run(1);
}

static void test_three_cores(void **state)
{
    (void)state;
    run(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_core),
        cmocka_unit_test(test_three_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
