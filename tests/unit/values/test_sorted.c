// Sorted sets of both encodings against a sorted array: every change and every search, with few
// scores, so that names decide, and with memory that is short now and then.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/store/values/sorted.h"

enum { NAMES = 400, NAME_MAX = 80 };

void *__real_mi_malloc(size_t size);
void *__real_mi_zalloc(size_t size);
void *__real_mi_realloc(void *p, size_t size);
void *__wrap_mi_malloc(size_t size);
void *__wrap_mi_zalloc(size_t size);
void *__wrap_mi_realloc(void *p, size_t size);

static uint64_t rng_state;
static unsigned fail_one_in;

static uint64_t rng(void)
{
    rng_state += 0x9e3779b97f4a7c15;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
    return rng() % n;
}

static bool fails(void)
{
    return fail_one_in && !below(fail_one_in);
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

// --- the model ----------------------------------------------------------------------------------

struct name {
    uint8_t ptr[NAME_MAX];
    size_t len;
};
static struct name names[NAMES];

struct pair {
    const struct name *name;
    double score;
};
static struct pair model[NAMES];
static size_t model_n;

static struct keyspace *keyspace;
static struct store *store;
static struct sorted set;
static struct sorted_limits limits;
static bool flat; // all scores are the same

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return zset_compare_names(x->name->ptr, x->name->len, y->name->ptr, y->name->len);
}

static void model_sort(void)
{
    qsort(model, model_n, sizeof(model[0]), compare_pairs);
}

static size_t model_find(const struct name *name)
{
    size_t i = 0;
    while (i < model_n && model[i].name != name)
        i++;
    return i;
}

static void model_remove(size_t at, size_t n)
{
    model_n -= n;
    memmove(&model[at], &model[at + n], (model_n - at) * sizeof(model[0]));
}

static const struct name *draw_name(void)
{
    return &names[below(below(2) ? 40 : NAMES)];
}

static double draw_score(void)
{
    static const double special[] = {INFINITY, -INFINITY, 1e17,  5e18, -5e18, 4611686018427387904.0,
                                     0.1,      1e-300,    1e300, 2.5,  1e15,  -1e15};
    if (flat)
        return 0;
    if (below(4))
        return (double)below(10);
    return special[below(sizeof(special) / sizeof(special[0]))];
}

static void make_names(void)
{
    for (unsigned i = 0; i < NAMES; i++) {
        struct name *n = &names[i];
        if (i % 3 == 0)
            n->len = (size_t)snprintf((char *)n->ptr, NAME_MAX, "%d", (int)i * 37 - 2000);
        else
            n->len = (size_t)snprintf((char *)n->ptr, NAME_MAX, "%c%u", "ab\xff"[i % 7 % 3], i);
        if (i == 1)
            n->len = 0;
        if (i % 50 == 49) // too long for the listpack of some tests
            n->len = (size_t)snprintf((char *)n->ptr, NAME_MAX, "%064u", i);
    }
}

// --- checks -------------------------------------------------------------------------------------

static void check_item(const struct sorted_at *at, size_t rank)
{
    char scratch[24];
    struct sorted_item item = sorted_item(at, scratch);
    assert_true(item.score == model[rank].score);
    assert_int_equal(item.len, model[rank].name->len);
    assert_memory_equal(item.ptr, model[rank].name->ptr, item.len);
}

static void check_all(void)
{
    assert_int_equal(sorted_count(&set), model_n);
    struct sorted_at at = sorted_at_rank(&set, 0);
    assert_int_equal(at.there, model_n > 0);
    for (size_t i = 0; i < model_n; i++) {
        check_item(&at, i);
        assert_int_equal(sorted_next(&at), i + 1 < model_n);
    }
    at = sorted_at_rank(&set, model_n - 1);
    for (size_t i = model_n; i-- > 0;) {
        check_item(&at, i);
        assert_int_equal(sorted_prev(&at), i > 0);
    }
}

static void check_name(const struct name *name)
{
    double score;
    size_t i = model_find(name);
    assert_int_equal(sorted_score(&set, name->ptr, name->len, &score), i < model_n);
    assert_int_equal(sorted_rank(&set, name->ptr, name->len), i < model_n ? (int64_t)i : -1);
    if (i < model_n)
        assert_true(score == model[i].score);
}

static void check_scores(void)
{
    struct score_range r = {draw_score(), draw_score(), below(2), below(2)};
    size_t first = 0, n = 0;
    for (size_t i = 0; i < model_n; i++) {
        double s = model[i].score;
        bool in = (r.min_exclusive ? s > r.min : s >= r.min) &&
                  (r.max_exclusive ? s < r.max : s <= r.max);
        first = in && !n ? i : first;
        n += in;
    }
    struct sorted_ranks ranks = sorted_by_score(&set, &r);
    assert_int_equal(ranks.n, n);
    assert_true(!n || ranks.first == first);
}

static struct lex_bound draw_bound(void)
{
    const struct name *name = draw_name();
    return (struct lex_bound){.kind = below(4), .ptr = name->ptr, .len = name->len};
}

static int against(const struct name *name, const struct lex_bound *b)
{
    if (b->kind == LEX_LOWEST || b->kind == LEX_HIGHEST)
        return b->kind == LEX_LOWEST ? 1 : -1;
    return zset_compare_names(name->ptr, name->len, b->ptr, b->len);
}

static void check_lex(void)
{
    struct lex_range r = {draw_bound(), draw_bound()};
    size_t first = 0, n = 0;
    for (size_t i = 0; i < model_n; i++) {
        int low = against(model[i].name, &r.min), high = against(model[i].name, &r.max);
        bool in = (low > 0 || (low == 0 && r.min.kind == LEX_INCLUSIVE)) &&
                  (high < 0 || (high == 0 && r.max.kind == LEX_INCLUSIVE));
        first = in && !n ? i : first;
        n += in;
    }
    struct sorted_ranks ranks = sorted_by_lex(&set, &r, below(2));
    assert_int_equal(ranks.n, n);
    assert_true(!n || ranks.first == first);
}

// --- changes ------------------------------------------------------------------------------------

static enum sorted_result expected(size_t i, double *score, unsigned flags)
{
    if (i == model_n)
        return flags & SORTED_XX ? SORTED_REFUSED : SORTED_ADDED;
    if (flags & SORTED_NX)
        return SORTED_REFUSED;
    double before = model[i].score;
    if (flags & SORTED_INCR)
        *score += before;
    if (isnan(*score))
        return SORTED_NAN;
    if ((flags & SORTED_GT && *score <= before) || (flags & SORTED_LT && *score >= before))
        return SORTED_REFUSED;
    return *score == before ? SORTED_SAME : SORTED_UPDATED;
}

static void add(void)
{
    const struct name *name = draw_name();
    unsigned flags = below(3) ? 0 : (unsigned)below(32);
    double score = draw_score(), given = score;
    size_t i = model_find(name);
    enum sorted_result should = expected(i, &score, flags);
    enum sorted_result got = sorted_add(&set, limits, name->ptr, name->len, &given, flags);
    if (got == SORTED_SHORT) {
        assert_true(fail_one_in);
        return;
    }
    assert_int_equal(got, should);
    if (got != SORTED_ADDED && got != SORTED_UPDATED)
        return;
    assert_true(given == score);
    if (got == SORTED_ADDED)
        model[model_n++].name = name;
    model[i].score = score;
    model_sort();
}

static void take(void)
{
    const struct name *name = draw_name();
    size_t i = model_find(name);
    bool removed = sorted_remove(&set, name->ptr, name->len);
    assert_true(removed == (i < model_n) || (!removed && fail_one_in));
    if (removed)
        model_remove(i, 1);
}

static void take_range(void)
{
    size_t rank = below(model_n + 2), n = below(12), should = 0;
    if (rank < model_n)
        should = n < model_n - rank ? n : model_n - rank;
    uint64_t removed = sorted_remove_range(&set, rank, n);
    assert_true(removed == should || (!removed && fail_one_in));
    if (removed)
        model_remove(rank, removed);
}

static void copy(void)
{
    struct sorted other = set;
    other.object = object_copy(store, OBJ_ZSET, set.encoding, set.object);
    if (!other.object) {
        assert_true(fail_one_in);
        return;
    }
    sorted_free(&set);
    set = other;
}

static void convert(void)
{
    if (below(2)) {
        enum object_encoding before = set.encoding;
        bool done = sorted_convert(&set, before == ENC_LISTPACK ? ENC_SKIPLIST : ENC_LISTPACK);
        assert_true(done || (fail_one_in && set.encoding == before));
    } else {
        assert_true(sorted_compact(&set, limits) || fail_one_in);
    }
}

static void program(uint64_t seed, struct sorted_limits most, bool same_scores, unsigned short_in)
{
    rng_state = seed;
    limits = most;
    flat = same_scores;
    set = below(2) ? sorted_new(store) : sorted_new_big(store);
    fail_one_in = short_in;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned what = (unsigned)below(100);
        if (what < 50)
            add();
        else if (what < (i / 500 % 2 ? 85 : 60))
            take();
        else if (what < 88)
            check_name(draw_name());
        else if (what < 97)
            flat ? check_lex() : check_scores();
        else if (what < 98)
            take_range();
        else if (!below(5))
            below(2) ? copy() : convert();
        if (i % 16 == 0)
            check_all();
    }
    check_all();
    fail_one_in = 0;
    while (model_n)
        take();
    assert_int_equal(sorted_count(&set), 0);
    if (set.encoding == ENC_SKIPLIST) { // nothing is left but the table of names and the struct
        const struct zset *z = set.object;
        assert_int_equal(zset_memory(z), mi_usable_size(z) + members_inner(&z->members));
    }
    sorted_free(&set);
}

static void random_programs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        for (unsigned same = 0; same < 2; same++) {
            program(seed, (struct sorted_limits){128, 63}, same, 0);
            program(seed, (struct sorted_limits){8, 64}, same, 0);
            program(seed, (struct sorted_limits){1000, 64}, same, 0);
            program(seed, (struct sorted_limits){0, 0}, same, 0);
        }
    }
}

static void memory_short(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        program(seed, (struct sorted_limits){128, 64}, false, 3);
        program(seed, (struct sorted_limits){1000, 64}, false, 2);
        program(seed, (struct sorted_limits){0, 0}, false, 3);
    }
}

static void freed_in_steps(void **state)
{
    (void)state;
    set = sorted_new_big(store);
    limits = (struct sorted_limits){0, 0};
    char name[20];
    for (int i = 0; i < 20000; i++) {
        double score = i % 100;
        size_t len = (size_t)snprintf(name, sizeof(name), "member:%08d", i);
        assert_int_equal(sorted_add(&set, limits, name, len, &score, 0), SORTED_ADDED);
    }
    print_message("%.1f bytes a member with a name of 15 bytes\n",
                  (double)zset_memory(set.object) / 20000);
    unsigned budget, steps = 0;
    do {
        budget = 100;
        steps++;
    } while (!zset_free_step(set.object, &budget));
    assert_true(steps > 100 && steps < 1000);
}

int main(void)
{
    keyspace = keyspace_create(&(struct keyspace_config){
        .cores = 1, .databases = 1, .secret = "sorted", .epoch_ms = 1700000000000});
    store = store_create(keyspace, 0, 1);
    make_names();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs),
        cmocka_unit_test(memory_short),
        cmocka_unit_test(freed_in_steps),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    store_destroy(store);
    keyspace_destroy(keyspace);
    return failed;
}
