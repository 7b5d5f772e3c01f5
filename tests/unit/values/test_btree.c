// The tree against a sorted array: random changes and searches, with keys that are often equal, in
// random, growing and falling order. The inside is looked at too, so the file is included whole.
#include "dataplane/store/values/btree.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void *__real_mi_malloc(size_t size);
void *__wrap_mi_malloc(size_t size);

static uint64_t rng_state;
static unsigned fail_one_in; // 0: memory is never short

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

void *__wrap_mi_malloc(size_t size)
{
    return fail_one_in && !below(fail_one_in) ? NULL : __real_mi_malloc(size);
}

// --- the model ----------------------------------------------------------------------------------

struct thing {
    uint64_t key, tie;
};

static struct thing **model;
static size_t model_n, model_max;
static struct btree tree;
static bool unique;

static int compare_ties(const void *probe, const void *item)
{
    const struct thing *a = probe, *b = item;
    return a->tie < b->tie ? -1 : a->tie > b->tie;
}

static int order(const struct thing *a, const struct thing *b)
{
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return unique ? 0 : compare_ties(a, b);
}

// The first of the model not before `t`; with `after`, behind it.
static size_t place(const struct thing *t, bool after)
{
    size_t low = 0, high = model_n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int o = order(t, model[middle]);
        if (o > 0 || (o == 0 && after))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void model_insert(size_t at, struct thing *t)
{
    if (model_n == model_max) {
        model_max = model_max ? 2 * model_max : 64;
        struct thing **more = realloc(model, model_max * sizeof(struct thing *));
        assert_non_null(more);
        model = more;
    }
    memmove(&model[at + 1], &model[at], (model_n++ - at) * sizeof(struct thing *));
    model[at] = t;
}

static void model_remove(size_t at, size_t n)
{
    model_n -= n;
    memmove(&model[at], &model[at + n], (model_n - at) * sizeof(struct thing *));
}

// --- the inside ---------------------------------------------------------------------------------

struct walk {
    size_t seen, bytes;
    const struct btree_leaf *last;
};

static void check_leaf(struct walk *w, const struct btree_leaf *leaf, unsigned height)
{
    assert_true(leaf->node.n >= 1 && leaf->node.n <= leaf->node.limit);
    assert_true(!height || leaf->node.limit == LEAF_MAX);
    assert_ptr_equal(leaf->prev, w->last);
    assert_ptr_equal(w->last ? w->last->next : tree.first, leaf);
    for (unsigned i = 0; i < leaf->node.n; i++) {
        assert_ptr_equal(leaf->elements[i].item, model[w->seen]);
        assert_true(leaf->elements[i].key == model[w->seen]->key);
        w->seen++;
    }
    w->last = leaf;
}

// A test may be recursive: the height is a handful.
static void check_node(struct walk *w, const struct node *node, unsigned height) // NOLINT
{
    w->bytes += mi_usable_size(node);
    if (!height) {
        check_leaf(w, (const struct btree_leaf *)node, tree.height);
        return;
    }
    const struct inner *inner = (const struct inner *)node;
    assert_true(node->n >= 1 && node->n <= INNER_MAX);
    for (unsigned i = 0; i < node->n; i++) {
        size_t before = w->seen;
        assert_ptr_equal(inner->children[i]->parent, inner);
        assert_ptr_equal(inner->least[i].item, model[before]);
        assert_true(inner->least[i].key == model[before]->key);
        check_node(w, inner->children[i], height - 1);
        assert_int_equal(inner->counts[i], w->seen - before);
    }
}

static void check_inside(void)
{
    struct walk w = {0};
    if (tree.root) {
        assert_null(((struct node *)tree.root)->parent);
        assert_true(!tree.height || ((struct node *)tree.root)->n > 1);
        check_node(&w, tree.root, tree.height);
    }
    assert_ptr_equal(tree.last, w.last);
    assert_int_equal(w.seen, model_n);
    assert_int_equal(tree.count, model_n);
    assert_int_equal(tree.bytes, w.bytes);
}

// --- random programs ----------------------------------------------------------------------------

static uint64_t keys_span; // few keys: many are equal

static struct thing draw(void)
{
    uint64_t key = below(keys_span);
    if (key == keys_span - 1)
        key = UINT64_MAX;
    return (struct thing){.key = key, .tie = unique ? 0 : below(1000)};
}

static void check_at(struct btree_at at, size_t rank)
{
    assert_int_equal(btree_rank(&tree, at), rank < model_n ? rank : model_n);
    if (rank >= model_n) {
        assert_null(at.leaf);
        return;
    }
    assert_ptr_equal(btree_item(at), model[rank]);
    assert_true(btree_key(at) == model[rank]->key);
    struct btree_at other = at;
    assert_int_equal(btree_next(&other), rank + 1 < model_n);
    if (other.leaf)
        assert_ptr_equal(btree_item(other), model[rank + 1]);
    assert_int_equal(btree_prev(&at), rank > 0);
    if (at.leaf)
        assert_ptr_equal(btree_item(at), model[rank - 1]);
}

static void insert(struct thing t)
{
    size_t at = place(&t, false);
    if (at < model_n && !order(&t, model[at]))
        return;
    struct thing *item = malloc(sizeof(*item));
    *item = t;
    if (btree_insert(&tree, t.key, &t, item)) {
        model_insert(at, item);
    } else {
        assert_true(fail_one_in);
        free(item);
    }
}

static void take(struct thing t)
{
    size_t at = place(&t, false);
    struct thing *item = btree_remove(&tree, t.key, &t);
    if (at == model_n || order(&t, model[at])) {
        assert_null(item);
        return;
    }
    assert_ptr_equal(item, model[at]);
    model_remove(at, 1);
    free(item);
}

static void look(struct thing t)
{
    size_t low = place(&t, false), high = place(&t, true);
    assert_ptr_equal(btree_find(&tree, t.key, &t), low < high ? model[low] : NULL);
    check_at(btree_lower(&tree, t.key, &t), low);
    check_at(btree_upper(&tree, t.key, &t), high);
    assert_int_equal(btree_count_before(&tree, t.key, &t, false), low);
    assert_int_equal(btree_count_before(&tree, t.key, &t, true), high);
    bool was = unique;
    unique = true; // the keys alone
    low = place(&t, false);
    high = place(&t, true);
    unique = was;
    check_at(btree_lower(&tree, t.key, NULL), low);
    check_at(btree_upper(&tree, t.key, NULL), high);
    assert_int_equal(btree_count_before(&tree, t.key, NULL, false), low);
    assert_int_equal(btree_count_before(&tree, t.key, NULL, true), high);
    size_t rank = below(model_n + 2);
    check_at(btree_at_rank(&tree, rank), rank);
}

static size_t gone_next;

static void gone(void *context, uint64_t key, void *item)
{
    assert_ptr_equal(context, &tree);
    assert_ptr_equal(item, model[gone_next]);
    assert_true(key == model[gone_next]->key);
    free(model[gone_next++]);
}

static void take_range(void)
{
    size_t rank = below(model_n + 2), n = below(below(10) ? 20 : 400);
    size_t expected = rank >= model_n ? 0 : n < model_n - rank ? n : model_n - rank;
    gone_next = rank;
    assert_int_equal(btree_remove_range(&tree, rank, n, gone, &tree), expected);
    if (expected)
        model_remove(rank, expected);
}

static void gone_item(void *context, void *item)
{
    (void)context;
    assert_ptr_equal(item, model[gone_next]);
    free(model[gone_next++]);
}

static void finish(void)
{
    fail_one_in = 0;
    gone_next = 0;
    for (;;) {
        unsigned before = 1 + (unsigned)below(100), budget = before;
        size_t start = gone_next;
        bool done = btree_free_step(&tree, &budget, gone_item, NULL);
        assert_true(gone_next - start < before + LEAF_MAX);
        assert_true(before - budget <= gone_next - start);
        if (done)
            break;
    }
    assert_int_equal(gone_next, model_n);
    assert_int_equal(tree.bytes, 0);
    assert_null(tree.root);
    free(model);
    model = NULL;
    model_n = model_max = 0;
}

static void start(uint64_t seed, uint64_t span, bool keys_unique)
{
    rng_state = seed;
    keys_span = span;
    unique = keys_unique;
    btree_init(&tree, unique ? NULL : compare_ties);
}

static void program(uint64_t seed, uint64_t span, bool keys_unique, unsigned short_one_in)
{
    start(seed, span, keys_unique);
    fail_one_in = short_one_in;
    for (unsigned phase = 0; phase < 6; phase++) {
        unsigned inserts = phase % 2 ? 30 : 70;
        for (unsigned i = 0; i < 3000; i++) {
            unsigned what = (unsigned)below(100);
            if (what < 60)
                what < inserts * 60 / 100 ? insert(draw()) : take(draw());
            else if (what < 80)
                model_n &&what < 70 ? take(*model[below(model_n)]) : insert(draw());
            else if (what < 97)
                look(draw());
            else if (!below(6))
                take_range();
            if (i % 64 == 0)
                check_inside();
        }
        check_inside();
    }
    finish();
}

static void random_programs(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        program(seed, 100000, true, 0);
        program(seed, 100000, false, 0);
        program(seed, 10, false, 0);
        program(seed, 2, false, 0); // one key, and the largest there is
    }
}

static void memory_short(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        program(seed, 100000, false, 2);
        program(seed, 100, false, 3);
    }
}

// --- how full the leaves are --------------------------------------------------------------------

static void check_fill(const char *what, double most)
{
    double each = (double)tree.bytes / (double)tree.count;
    print_message("%s: %.1f bytes an element, height %u\n", what, each, tree.height);
    assert_true(each <= most);
}

static void fill(void **state)
{
    enum { N = 100000 };
    static struct thing things[N];
    (void)state;
    start(1, 1, true);
    for (uint64_t i = 0; i < N; i++)
        assert_true(btree_insert(&tree, i, NULL, &things[i]));
    check_fill("growing keys", 17.5);
    for (uint64_t i = 0; i < N - 5; i++) // from the front, as a stream is trimmed
        assert_ptr_equal(btree_remove(&tree, i, NULL), &things[i]);
    assert_int_equal(tree.height, 0);
    assert_true(tree.bytes <= 512);
    for (uint64_t i = N - 5; i-- > 0;)
        assert_true(btree_insert(&tree, i, NULL, &things[i]));
    check_fill("falling keys", 18.5);
    assert_int_equal(btree_remove_range(&tree, 0, UINT64_MAX, NULL, NULL), N);
    assert_int_equal(tree.bytes, 0);
    for (uint64_t i = 0; i < N; i++)
        assert_true(btree_insert(&tree, rng(), NULL, &things[i]));
    check_fill("random keys", 21.5);
    for (uint64_t i = 0; i < N; i++) { // one out, one in, as scores change
        struct btree_at at = btree_at_rank(&tree, below(N));
        void *item = btree_item(at);
        assert_ptr_equal(btree_remove(&tree, btree_key(at), NULL), item);
        assert_true(btree_insert(&tree, rng(), NULL, item));
    }
    check_fill("after changes", 24);
    for (uint64_t i = 0; i < N - N / 100; i++)
        btree_remove(&tree, btree_key(btree_at_rank(&tree, below(tree.count))), NULL);
    check_fill("one in a hundred left", 48);
    unsigned budget = UINT32_MAX;
    assert_true(btree_free_step(&tree, &budget, NULL, NULL));
    assert_int_equal(tree.bytes, 0);
}

static void doubles(void **state)
{
    (void)state;
    const double values[] = {-__builtin_inf(), -1e300, -1, -1e-300, -5e-324,        0,
                             5e-324,           1e-300, 1,  1e300,   __builtin_inf()};
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint64_t key = btree_key_of_double(values[i]);
        if (i)
            assert_true(btree_key_of_double(values[i - 1]) < key);
    }
    assert_true(btree_key_of_double(-0.0) == btree_key_of_double(0.0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_programs),
        cmocka_unit_test(memory_short),
        cmocka_unit_test(fill),
        cmocka_unit_test(doubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
