// A quicklist does what an array of strings does, for every fill and depth of compression; its
// nodes stay within their limits, and its memory is what the allocator gave.
#include "tests/unit/values/words.h"

#include <mimalloc.h>

#include "dataplane/store/entry.h"
#include "dataplane/store/values/quicklist_internal.h"

enum { SEEDS = 4, STEPS = 1500, COUNT_MAX = 700, WORD_MAX = 20000 };

static const int fills[] = {-1, -2, -3, -5, 1, 2, 3, 16, 128, 1000};

// One allocation in so many fails; 0: none.
static unsigned short_of;
static bool was_short;

void *__real_mi_malloc(size_t size);
void *__wrap_mi_malloc(size_t size);
void *__wrap_mi_malloc(size_t size)
{
    return short_of && !below(short_of) ? NULL : __real_mi_malloc(size);
}
void *__real_mi_realloc(void *p, size_t size);
void *__wrap_mi_realloc(void *p, size_t size);
void *__wrap_mi_realloc(void *p, size_t size)
{
    return short_of && !below(short_of) ? NULL : __real_mi_realloc(p, size);
}

// Whether a change was made; where memory is short it may not have been.
static bool done(bool ok)
{
    assert_true(ok || short_of);
    return ok;
}

static void check_same(const struct lp_item *item, const struct word *w)
{
    char scratch[24];
    const void *text = item->ptr;
    size_t len = item->len;
    if (!text) {
        len = integer_print(item->value, scratch);
        text = scratch;
    }
    assert_int_equal(len, w->len);
    assert_memory_equal(text, w->data, len);
}

static void check_nodes(const struct quicklist *ql)
{
    size_t memory = mi_usable_size(ql);
    uint64_t count = 0;
    if (ql->cap > 1)
        memory += mi_usable_size(ql->ring);
    for (uint32_t i = 0; i < quicklist_nodes(ql); i++) {
        const struct node *n = node_at(ql, i);
        memory += mi_usable_size(n->data);
        struct quicklist_node view;
        assert_true(quicklist_node_begin(&view, ql, i));
        assert_int_equal(view.bytes, n->bytes);
        uint32_t held = 1;
        if (view.plain) {
            assert_false(n->flags & NODE_LZF && n->bytes < 48);
        } else {
            assert_true(lp_validate(view.data, view.bytes, &held));
            if (!was_short)
                assert_true(n->count == 1 || n->bytes <= 3 * ql_node_limit(ql));
            if (ql->fill > 0)
                assert_true(n->count <= (uint32_t)ql->fill);
        }
        assert_int_equal(held, view.count);
        assert_true(held > 0);
        count += held;
        quicklist_node_end(&view);
        uint32_t end = ql->len - 1 - i, distance = i < end ? i : end;
        if (!ql->compress || (distance < ql->compress && !was_short))
            assert_false(n->flags & NODE_LZF);
    }
    assert_int_equal(count, quicklist_count(ql));
    assert_int_equal(memory, quicklist_memory(ql));
}

// A walk that is left and resumed at places.
static void check_places(const struct quicklist *ql, const struct words *m)
{
    if (!m->n)
        return;
    struct quicklist_iter it;
    size_t i = below(m->n);
    bool ok = quicklist_iter_begin(&it, ql, (int64_t)i, false);
    while (ok) {
        check_same(&it.item, &m->at[i]);
        if (below(3) == 0) {
            struct quicklist_place place = quicklist_iter_place(&it);
            quicklist_iter_end(&it);
            assert_true(done(quicklist_iter_resume(&it, ql, place)));
            check_same(&it.item, &m->at[i]);
        }
        ok = quicklist_iter_next(&it);
        i++;
    }
    assert_int_equal(i, m->n);
    quicklist_iter_end(&it);
    struct quicklist_place behind = {.node = quicklist_nodes(ql)};
    assert_false(quicklist_iter_resume(&it, ql, behind) || it.failed);
    quicklist_iter_end(&it);
}

static void check(const struct quicklist *ql, const struct words *m)
{
    assert_int_equal(quicklist_count(ql), m->n);
    check_nodes(ql);
    for (int backward = 0; backward < 2; backward++) {
        struct quicklist_iter it;
        size_t seen = 0;
        bool ok = quicklist_iter_begin(&it, ql, backward ? -1 : 0, backward);
        for (; ok; ok = quicklist_iter_next(&it), seen++) {
            size_t i = backward ? m->n - 1 - seen : seen;
            assert_true(seen < m->n);
            assert_int_equal(it.index, i);
            check_same(&it.item, &m->at[i]);
        }
        quicklist_iter_end(&it);
        assert_false(it.failed);
        assert_int_equal(seen, m->n);
    }
    check_places(ql, m);
}

static void push(struct quicklist *ql, struct words *m, char *word)
{
    bool head = below(2);
    for (size_t n = 1 + below(20); n > 0; n--) {
        if (below(5) == 0)
            head = !head;
        size_t len = draw_word(word, WORD_MAX);
        if (done(quicklist_push(ql, head ? QUICKLIST_HEAD : QUICKLIST_TAIL, word, len)))
            words_insert(m, head ? 0 : m->n, word, len);
    }
}

static void drop(struct quicklist *ql, struct words *m)
{
    bool head = below(2);
    for (size_t n = 1 + below(20); n > 0 && m->n; n--) {
        if (below(5) == 0)
            head = !head;
        if (done(quicklist_drop(ql, head ? QUICKLIST_HEAD : QUICKLIST_TAIL)))
            words_delete(m, head ? 0 : m->n - 1, 1);
    }
}

// Deletes about every third element of a walk.
static void thin_out(struct quicklist *ql, struct words *m, size_t i)
{
    bool backward = below(2), ok;
    struct quicklist_iter it;
    ok = quicklist_iter_begin(&it, ql, (int64_t)i, backward);
    for (size_t n = below(80); ok && n > 0; n--) {
        check_same(&it.item, &m->at[i]);
        assert_int_equal(it.index, i);
        if (below(3)) {
            ok = quicklist_iter_next(&it);
            i += backward ? (size_t)-1 : 1;
            continue;
        }
        ok = quicklist_delete(&it);
        words_delete(m, i, 1);
        i -= backward;
        assert_int_equal(ok || it.failed, backward ? i != (size_t)-1 : i < m->n);
    }
    quicklist_iter_end(&it);
}

static void change_one(struct quicklist *ql, struct words *m, size_t i, char *word)
{
    size_t len = draw_word(word, WORD_MAX);
    struct quicklist_iter it;
    if (!done(quicklist_iter_begin(&it, ql, below(2) ? (int64_t)i : (int64_t)i - (int64_t)m->n,
                                   below(2)))) {
        assert_true(it.failed);
        return;
    }
    check_same(&it.item, &m->at[i]);
    struct quicklist_probe probe = quicklist_probe(m->at[i].data, m->at[i].len);
    assert_true(quicklist_equal(&it, &probe));
    probe = quicklist_probe(word, len);
    assert_int_equal(quicklist_equal(&it, &probe),
                     len == m->at[i].len && memcmp(word, m->at[i].data, len) == 0);
    size_t what = below(3);
    if (what < 2) {
        if (done(quicklist_insert(&it, what, word, len)))
            words_insert(m, i + what, word, len);
    } else if (done(quicklist_replace(&it, word, len))) {
        words_delete(m, i, 1);
        words_insert(m, i, word, len);
    }
    quicklist_iter_end(&it);
}

static void append_node(struct quicklist *ql, struct words *m, char *word)
{
    size_t len = draw_word(word, WORD_MAX);
    if (below(2)) {
        if (!done(quicklist_append_plain(ql, word, len)))
            return;
    } else {
        uint8_t *empty = lp_new(0), *lp = empty ? lp_append(empty, word, len) : NULL;
        if (!done(lp && quicklist_append_listpack(ql, lp))) {
            lp_free(lp ? lp : empty);
            return;
        }
    }
    words_insert(m, m->n, word, len);
}

static void copy(const struct quicklist *ql, const struct words *m)
{
    struct quicklist *other = NULL;
    uint32_t node = 0;
    unsigned few = 0;
    while (!quicklist_copy_step(ql, &other, &node, &few))
        few = (unsigned)below(50);
    if (!done(other))
        return;
    unsigned often = short_of;
    short_of = 0;
    check(other, m);
    short_of = often;
    unsigned budget = 0;
    while (!quicklist_free_step(other, &budget))
        budget = (unsigned)below(20);
}

static void step(struct quicklist *ql, struct words *m, char *word)
{
    size_t i = m->n ? below(m->n) : 0, what = below(12);
    if (what < 3 && m->n < COUNT_MAX) {
        push(ql, m, word);
    } else if (what < 5) {
        drop(ql, m);
    } else if (what == 5 && m->n < COUNT_MAX) {
        append_node(ql, m, word);
    } else if (what == 6 && below(8) == 0) {
        copy(ql, m);
    } else if (!m->n) {
        return;
    } else if (what < 10) {
        change_one(ql, m, i, word);
    } else if (what == 10) {
        thin_out(ql, m, i);
    } else if (what == 11) {
        size_t n = below(below(3) ? 10 : 200);
        int64_t at = below(2) ? (int64_t)i : (int64_t)i - (int64_t)m->n;
        if (!done(quicklist_prepare_delete(ql, at, n)))
            return;
        assert_true(quicklist_delete_range(ql, at, n));
        words_delete(m, i, n);
    }
}

static void test_model(void **state)
{
    unsigned depth = *(const unsigned *)*state;
    char *word = malloc(WORD_MAX);
    for (size_t f = 0; f < sizeof(fills) / sizeof(fills[0]); f++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            words_state = seed * 1000 + f * 10 + depth;
            struct words m = {0};
            struct quicklist *ql = quicklist_new(fills[f], depth);
            for (int i = 0; i < STEPS; i++) {
                step(ql, &m, word);
                if (i % 8 == 0)
                    check(ql, &m);
            }
            check(ql, &m);
            quicklist_free(ql);
            words_free(&m);
        }
    free(word);
}

// Whatever allocation fails, a change is made or not made.
static void test_short(void **state)
{
    (void)state;
    char *word = malloc(WORD_MAX);
    was_short = true; // nodes may not have been joined or packed since
    for (uint64_t seed = 1; seed <= 30; seed++) {
        words_state = seed * 7919;
        struct words m = {0};
        struct quicklist *ql =
            quicklist_new(fills[below(sizeof(fills) / sizeof(fills[0]))], (unsigned)below(3));
        for (int i = 0; i < STEPS; i++) {
            short_of = 1 + (unsigned)below(20);
            step(ql, &m, word);
            short_of = 0;
            if (i % 8 == 0)
                check(ql, &m);
        }
        quicklist_free(ql);
        words_free(&m);
    }
    was_short = false;
    free(word);
}

// Queues, stacks and long lists, at both ends.
static void test_ends(void **state)
{
    (void)state;
    char word[24];
    for (int from = 0; from < 2; from++)
        for (int to = 0; to < 2; to++) {
            struct quicklist *ql = quicklist_new(-2, 0);
            for (int i = 0; i < 50000; i++) {
                size_t len = (size_t)snprintf(word, sizeof(word), "element:%d", i);
                assert_true(quicklist_push(ql, (enum quicklist_end)from, word, len));
                if (i % 3 == 0)
                    assert_true(quicklist_drop(ql, (enum quicklist_end)to));
            }
            check_nodes(ql);
            while (quicklist_count(ql) > 5)
                assert_true(quicklist_drop(ql, (enum quicklist_end)to));
            check_nodes(ql);
            assert_true(quicklist_memory(ql) < 300);
            quicklist_free(ql);
        }
}

// A walk over a million nodes that takes every other one out: it would not end in time if each
// moved those behind it.
static void test_many_nodes(void **state)
{
    (void)state;
    enum { NODES = 1000000 };
    for (int backward = 0; backward < 2; backward++) {
        struct quicklist *ql = quicklist_new(1, 0);
        assert_non_null(ql);
        for (int i = 0; i < NODES; i++)
            assert_true(quicklist_push(ql, QUICKLIST_TAIL, i % 2 ? "odd" : "even", i % 2 ? 3 : 4));
        struct quicklist_probe odd = quicklist_probe("odd", 3);
        struct quicklist_iter it;
        bool here = quicklist_iter_begin(&it, ql, backward ? -1 : 0, backward);
        while (here)
            here = quicklist_equal(&it, &odd) ? quicklist_delete(&it) : quicklist_iter_next(&it);
        quicklist_iter_end(&it);
        assert_int_equal(quicklist_count(ql), NODES / 2);
        check_nodes(ql);
        assert_true(quicklist_iter_begin(&it, ql, NODES / 4, false));
        assert_false(quicklist_equal(&it, &odd));
        quicklist_iter_end(&it);
        quicklist_free(ql);
    }
}

int main(void)
{
    static unsigned depths[] = {0, 1, 2};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_model, &depths[0]),
        cmocka_unit_test_prestate(test_model, &depths[1]),
        cmocka_unit_test_prestate(test_model, &depths[2]),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_many_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
