// Streams against an array of entries: random changes, walks both ways, trims, groups; the count of
// bytes against what the allocator gave, the nodes of the radix tree against a plain count of
// prefixes, copies, and memory that is short at random.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arg.h"
#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/stream.h"

enum { MODEL_MAX = 4000, WORDS_MAX = 6, WORD_MAX = 24, NAMES = 4 };

void *__real_mi_malloc(size_t size);
void *__wrap_mi_malloc(size_t size);

static uint64_t rng_state;
static unsigned fail_one_in; // 0: memory is never short

static uint64_t below(uint64_t n)
{
    rng_state += 0x9e3779b97f4a7c15;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % n;
}

void *__wrap_mi_malloc(size_t size)
{
    return fail_one_in && !below(fail_one_in) ? NULL : __real_mi_malloc(size);
}

// --- the model -----------------------------------------------------------------------------------

struct model_entry {
    struct stream_id id;
    unsigned n;
    char words[WORDS_MAX][WORD_MAX];
};

static struct model_entry model[MODEL_MAX];
static size_t model_n;
static struct stream_id max_deleted;

static bool ids_equal(struct stream_id a, struct stream_id b)
{
    return stream_id_compare(a, b) == 0;
}

static void model_remove(size_t at, size_t n)
{
    memmove(&model[at], &model[at + n], (model_n - at - n) * sizeof(model[0]));
    model_n -= n;
}

static void check_words(struct stream_walk *w, const struct model_entry *m)
{
    assert_int_equal(w->n * 2, m->n);
    for (unsigned i = 0; i < m->n; i += 2) {
        const uint8_t *field, *value;
        stream_walk_field(w, &field, &value);
        assert_true(lp_equal(field, m->words[i], strlen(m->words[i])));
        assert_true(lp_equal(value, m->words[i + 1], strlen(m->words[i + 1])));
    }
}

// A range in either direction; sometimes words are not read.
static void check_range(const struct stream_value *x, struct stream_id start, struct stream_id end,
                        bool reverse)
{
    struct stream_walk w;
    stream_walk_begin(&w, x, start, end, reverse);
    for (size_t i = 0; i < model_n; i++) {
        const struct model_entry *m = &model[reverse ? model_n - 1 - i : i];
        if (stream_id_compare(m->id, start) < 0 || stream_id_compare(m->id, end) > 0)
            continue;
        assert_true(stream_walk_next(&w));
        assert_true(ids_equal(w.id, m->id));
        if (below(4))
            check_words(&w, m);
    }
    assert_false(stream_walk_next(&w));
}

// --- what is counted -----------------------------------------------------------------------------

static void id_bytes(struct stream_id id, uint8_t bytes[16])
{
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(id.ms >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(id.seq >> (56 - 8 * i));
    }
}

// Every prefix with its number of branches; a run of prefixes with one branch is one node.
static uint64_t radix_nodes(const struct stream_value *x)
{
    size_t n = x->nodes.count, count = 0;
    uint8_t(*keys)[16] = malloc((n + 1) * 16);
    if (!n) {
        free(keys);
        return 1;
    }
    struct btree_at at = btree_first(&x->nodes);
    for (size_t i = 0; i < n; i++, btree_next(&at))
        id_bytes(stream_node_id(at), keys[i]);
    for (size_t i = 0; i < n; i++) {
        unsigned shared = 0, before = 2; // branches of the prefix before
        while (i && shared < 16 && keys[i][shared] == keys[i - 1][shared])
            shared++;
        for (unsigned len = 0; len <= 16; len++) {
            unsigned branches = 0;
            for (size_t j = 0; j < n && len < 16; j++)
                branches += !memcmp(keys[j], keys[i], len) &&
                            (j == 0 || memcmp(keys[j], keys[j - 1], len + 1) != 0);
            bool is_new = !i || len > shared;
            if (is_new && (branches != 1 || before != 1))
                count++;
            before = branches;
        }
    }
    free(keys);
    return count;
}

static size_t bytes_of(const struct stream_value *x)
{
    size_t bytes = mi_usable_size(x) + x->nodes.bytes + x->groups.bytes;
    for (struct btree_at at = btree_first(&x->nodes); at.leaf; btree_next(&at)) {
        const struct stream_node *node = btree_item(at);
        bytes += mi_usable_size(node) + mi_usable_size(node->lp);
    }
    for (struct btree_at at = btree_first(&x->groups); at.leaf; btree_next(&at)) {
        const struct stream_group *g = btree_item(at);
        uint64_t owned = 0;
        bytes += mi_usable_size(g) + g->pending.bytes + g->consumers.bytes;
        for (struct btree_at in = btree_first(&g->pending); in.leaf; btree_next(&in)) {
            const struct stream_nack *nack = btree_item(in);
            struct stream_id id = {nack->ms, nack->seq};
            bytes += mi_usable_size(nack);
            assert_ptr_equal(stream_nack_find(&nack->consumer->pending, id), nack);
        }
        for (struct btree_at in = btree_first(&g->consumers); in.leaf; btree_next(&in)) {
            const struct stream_consumer *c = btree_item(in);
            bytes += mi_usable_size(c) + c->pending.bytes;
            owned += c->pending.count;
        }
        assert_int_equal(owned, g->pending.count);
    }
    return bytes;
}

static void check(const struct stream_value *x)
{
    uint64_t live = 0;
    assert_int_equal(stream_memory(x), bytes_of(x));
    assert_int_equal(x->length, model_n);
    assert_int_equal(x->radix_nodes, radix_nodes(x));
    for (struct btree_at at = btree_first(&x->nodes); at.leaf; btree_next(&at)) {
        const uint8_t *lp = ((const struct stream_node *)btree_item(at))->lp;
        uint32_t elements;
        uint64_t here;
        assert_true(lp_validate(lp, lp_bytes(lp), &elements));
        assert_true(stream_node_valid(lp, &here));
        live += here;
    }
    assert_int_equal(live, model_n);
    assert_true(ids_equal(x->first, model_n ? model[0].id : STREAM_ID_MIN));
    assert_true(ids_equal(x->max_deleted, max_deleted));
    check_range(x, STREAM_ID_MIN, STREAM_ID_MAX, false);
    check_range(x, STREAM_ID_MIN, STREAM_ID_MAX, true);
}

// --- changes -------------------------------------------------------------------------------------

static struct stream_id some_id(void)
{
    if (model_n && below(4))
        return model[below(model_n)].id;
    return (struct stream_id){below(2000), below(5)};
}

static void add(struct stream_value *x, uint64_t node_bytes, uint64_t node_entries)
{
    static const uint64_t steps[] = {0, 0, 0, 1, 1, 2, 255, 70000};
    struct model_entry *m = &model[model_n];
    struct arg words[WORDS_MAX];
    if (model_n == MODEL_MAX)
        return;
    m->id = x->last;
    uint64_t step = steps[below(8)];
    m->id = step ? (struct stream_id){m->id.ms + step, below(3)}
                 : (struct stream_id){m->id.ms, m->id.seq + 1 + below(300)};
    m->n = 2 * (1 + (unsigned)below(WORDS_MAX / 2));
    for (unsigned i = 0; i < m->n; i++) {
        if (i % 2 == 0 && below(3))
            snprintf(m->words[i], WORD_MAX, "field%u", i);
        else
            snprintf(m->words[i], WORD_MAX, below(2) ? "%d" : "w%d", (int)below(100000));
        words[i] = (struct arg){.ptr = (uint8_t *)m->words[i], .len = strlen(m->words[i])};
    }
    uint64_t added = x->entries_added;
    enum stream_added result = stream_add(x, m->id, words, m->n, node_bytes, node_entries);
    assert_true(result == STREAM_ADDED || (result == STREAM_NO_MEMORY && fail_one_in));
    assert_int_equal(x->entries_added, added + (result == STREAM_ADDED));
    model_n += result == STREAM_ADDED;
}

static void delete (struct stream_value *x)
{
    struct stream_id id = some_id();
    size_t i = 0;
    while (i < model_n && !ids_equal(model[i].id, id))
        i++;
    assert_int_equal(stream_delete(x, id), i < model_n);
    if (i == model_n)
        return;
    model_remove(i, 1);
    if (stream_id_compare(id, max_deleted) > 0)
        max_deleted = id;
}

static void trim(struct stream_value *x)
{
    struct stream_trim t = {.by = below(2) ? STREAM_TRIM_MAXLEN : STREAM_TRIM_MINID,
                            .approximate = below(2),
                            .maxlen = model_n - below(model_n / 4 + 1),
                            .minid = model_n ? model[below(model_n / 4 + 1)].id : STREAM_ID_MIN,
                            .limit = below(3) ? 0 : 1 + below(20)};
    size_t exact = 0;
    if (t.by == STREAM_TRIM_MAXLEN)
        exact = model_n - t.maxlen;
    else
        while (exact < model_n && stream_id_compare(model[exact].id, t.minid) < 0)
            exact++;
    uint64_t gone = stream_trim(x, &t);
    if (t.approximate || t.limit)
        assert_true(gone <= exact && (!t.limit || gone <= t.limit));
    else
        assert_int_equal(gone, exact);
    model_remove(0, gone);
}

static const char *some_name(void)
{
    static const char *const names[NAMES] = {"a", "", "a longer name", "a longer nami"};
    return names[below(NAMES)];
}

// What a detached group takes is what the stream no longer does, and goes piece by piece.
static void detach(struct stream_value *x, struct stream_group *g)
{
    uint64_t pending = x->pending, consumers = x->consumers;
    struct stream_value *rest = stream_group_detach(x, g);
    assert_true(rest || fail_one_in);
    if (!rest)
        return;
    assert_int_equal(x->pending + rest->pending, pending);
    assert_int_equal(x->consumers + rest->consumers, consumers);
    assert_int_equal(stream_memory(x), bytes_of(x));
    assert_int_equal(stream_memory(rest), bytes_of(rest));
    uint64_t left = stream_count(rest);
    for (unsigned budget = 3; !stream_free_step(rest, &budget); budget = 3) {
        assert_true(stream_count(rest) <= left);
        left = stream_count(rest);
    }
}

static void change_groups(struct stream_value *x)
{
    const char *name = some_name(), *of = some_name();
    struct stream_group *g = stream_group_find(x, name, strlen(name));
    if (!g) {
        g = stream_group_add(x, name, strlen(name), STREAM_ID_MIN, 0);
        assert_true(g || fail_one_in);
        return;
    }
    struct stream_consumer *c = stream_consumer_find(g, of, strlen(of));
    if (!c) {
        c = stream_consumer_add(x, g, of, strlen(of), 1);
        assert_true(c || fail_one_in);
        return;
    }
    if (!below(400))
        stream_group_remove(x, g);
    else if (!below(400))
        detach(x, g);
    else if (!below(60))
        stream_consumer_remove(x, g, c);
    else {
        struct stream_id id = some_id();
        struct stream_nack *nack = stream_nack_find(&g->pending, id);
        if (!nack)
            nack = stream_nack_add(x, g, c, id, 5);
        else if (below(2))
            stream_nack_give(x, nack, c);
        else
            stream_nack_remove(x, g, nack);
    }
}

static void copy_and_free(const struct stream_value *x)
{
    struct stream_copying c = {0};
    unsigned few = 0;
    while (!stream_copy_step(x, &c, &few))
        few = (unsigned)below(50);
    struct stream_value *copy = c.copy;
    assert_true(copy || fail_one_in);
    if (!copy)
        return;
    check(copy);
    assert_int_equal(copy->pending, x->pending);
    assert_int_equal(copy->consumers, x->consumers);
    assert_int_equal(copy->groups.count, x->groups.count);
    bool gone = false;
    do {
        assert_int_equal(stream_memory(copy), bytes_of(copy));
        unsigned budget = 1 + (unsigned)below(5); // the groups stay whole until the nodes are gone
        gone = copy->nodes.count && stream_free_step(copy, &budget);
    } while (!gone && copy->nodes.count > 1);
    if (!gone)
        stream_free(copy);
}

static void play(uint64_t seed, unsigned steps, unsigned shortage)
{
    static const uint64_t entries[] = {0, 1, 2, 7, 100};
    rng_state = seed;
    model_n = 0;
    max_deleted = STREAM_ID_MIN;
    uint64_t node_entries = entries[below(5)], node_bytes = below(2) ? 0 : 100 + below(1000);
    struct stream_value *x = stream_new();
    assert_non_null(x);
    fail_one_in = shortage;
    for (unsigned i = 0; i < steps; i++) {
        unsigned what = (unsigned)below(100);
        if (what < 45)
            add(x, node_bytes, node_entries);
        else if (what < 60)
            delete (x);
        else if (what < 62)
            trim(x);
        else
            change_groups(x);
        if (!below(40))
            check_range(x, some_id(), some_id(), below(2));
        if (!below(100))
            check(x);
        if (!below(400))
            copy_and_free(x);
    }
    fail_one_in = 0;
    check(x);
    stream_free(x);
}

static void test_changes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++)
        play(seed, 1500, 0);
}

static void test_shortage(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed <= 115; seed++)
        play(seed, 1500, 10);
}

// Damaged listpacks are refused, or are nodes.
static void test_damage(void **state)
{
    (void)state;
    rng_state = 9;
    model_n = 0;
    struct stream_value *x = stream_new();
    for (int i = 0; i < 30; i++)
        add(x, 0, 0);
    const uint8_t *lp = ((struct stream_node *)btree_item(btree_first(&x->nodes)))->lp;
    size_t len = lp_bytes(lp);
    for (int i = 0; i < 20000; i++) {
        uint8_t *bad = lp_copy(lp);
        uint32_t count;
        uint64_t live;
        for (uint64_t n = 1 + below(3); n > 0; n--)
            bad[below(len)] = (uint8_t)below(256);
        if (lp_validate(bad, len, &count) && stream_node_valid(bad, &live)) {
            struct stream_value *y = stream_new();
            assert_true(stream_node_add(y, (struct stream_id){1, 1}, bad));
            struct stream_walk w;
            stream_walk_begin(&w, y, STREAM_ID_MIN, STREAM_ID_MAX, below(2));
            while (stream_walk_next(&w))
                for (uint64_t n = w.n; n > 0; n--) {
                    const uint8_t *field, *value;
                    stream_walk_field(&w, &field, &value);
                    assert_true(field && value);
                }
            stream_free(y);
        } else {
            lp_free(bad);
        }
    }
    stream_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_shortage),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
