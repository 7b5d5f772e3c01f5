// Tables of client-side caching: keys and their readers, and prefixes, against plain matrices.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/pubsub/tracking.h"

enum { CLIENTS = 200, KEYS = 60, CORES = 3, STEPS = 40000 };

static uint64_t state;

static unsigned draw(unsigned below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % below;
}

static bool reads[KEYS][CLIENTS];

static uint64_t reader(unsigned client)
{
    return reader_of(client + 1, client % CORES);
}

static struct tracked_key *find(const struct tracked_slot *s, unsigned number, uint64_t *hash,
                                char *text, size_t *len)
{
    *len = (size_t)snprintf(text, 32, "key:%u", number);
    *hash = number % 2 ? number % 7 : (number + 1) * 0x9e3779b97f4a7c15u; // some are alike
    return tracked_find(s, text, *len, *hash);
}

static void compare_key(const struct tracked_key *k, unsigned number)
{
    unsigned n = 0, met = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        n += reads[number][i];
    assert_int_equal(k ? k->n : 0, n);
    for (uint32_t i = 0; k && i < k->room; i++) {
        if (!k->readers[i])
            continue;
        unsigned client = (unsigned)reader_client(k->readers[i]) - 1;
        assert_true(reads[number][client]);
        assert_int_equal(reader_core(k->readers[i]), client % CORES);
        met++;
    }
    assert_int_equal(met, n);
}

static void keys_and_readers(void **unused)
{
    (void)unused;
    struct tracked_slot *s = mi_zalloc(sizeof(*s));
    unsigned n = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        char text[32];
        size_t len;
        uint64_t hash;
        unsigned number = draw(KEYS), client = draw(CLIENTS);
        struct tracked_key *k = find(s, number, &hash, text, &len);
        compare_key(k, number);
        if (draw(60) == 0 && k) {
            tracked_take(s, k);
            tracked_key_free(k);
            memset(reads[number], 0, sizeof(reads[number]));
            n--;
            assert_null(find(s, number, &hash, text, &len));
        } else {
            n += !k;
            k = tracked_key(s, text, len, hash);
            assert_int_equal(tracked_add(k, reader(client)),
                             reads[number][client] ? TRACKED_KNOWN : TRACKED_ADDED);
            reads[number][client] = true;
        }
        assert_int_equal(s->n, n);
        if (n)
            assert_non_null(tracked_any(s, draw(1u << 30)));
        else
            assert_null(tracked_any(s, draw(1u << 30)));
    }
    tracked_slot_free(s);
}

// --- prefixes ------------------------------------------------------------------------------------

static const char *const texts[] = {"", "a", "ab", "abc", "b", "ba", "bb", "c", "cc", "abcd", "x:"};
enum { TEXTS = sizeof(texts) / sizeof(*texts) };

static const char *const names[] = {"", "a", "abcde", "b", "bax", "zz", "cc", "x:1", "x"};
enum { NAMES = sizeof(names) / sizeof(*names) };

static void prefixes_of_cores(void **unused)
{
    (void)unused;
    struct prefixes p;
    int counts[TEXTS][CORES] = {{0}};
    prefixes_init(&p, CORES, 42);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned t = draw(TEXTS), core = draw(CORES);
        // A departure may come before the arrival that it ends.
        int delta = counts[t][core] > 2 ? -1 : counts[t][core] < -1 ? 1 : draw(2) ? 1 : -1;
        counts[t][core] += delta;
        assert_true(prefix_count(&p, texts[t], strlen(texts[t]), core, delta));
        unsigned there = 0;
        for (unsigned i = 0; i < TEXTS; i++) {
            bool any = false;
            for (unsigned c = 0; c < CORES; c++)
                any |= counts[i][c] != 0;
            there += any;
            assert_int_equal(prefix_find(&p, texts[i], strlen(texts[i])) != NULL, any);
        }
        assert_int_equal(p.n, there);
        const char *name = names[draw(NAMES)];
        uint64_t cores = 0;
        for (unsigned i = 0; i < TEXTS; i++)
            for (unsigned c = 0; c < CORES; c++)
                if (strncmp(name, texts[i], strlen(texts[i])) == 0 && counts[i][c] > 0)
                    cores |= 1ull << c;
        assert_int_equal(prefixes_cores(&p, name, strlen(name)), cores);
    }
    prefixes_clear(&p);
}

static void mentions_are_sorted(void **unused)
{
    (void)unused;
    struct prefixes p;
    struct prefix_client clients[3];
    static const char *const wanted[] = {"b", "", "a"};
    // As records lie in memory: one behind the other.
    static const char keys[][4] = {"b2", "a1", "b1", "c", "b2", "a1", "c", "a1"};
    static const uint64_t by[] = {0, 1, 2, 3, 4, 5, 3, 5};
    struct prefix *first = NULL;
    prefixes_init(&p, 1, 7);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(prefix_count(&p, wanted[i], strlen(wanted[i]), 0, 1));
        prefix_join(prefix_find(&p, wanted[i], strlen(wanted[i])), &clients[i], 0);
    }
    assert_true(prefix_count(&p, "c", 1, 0, 1)); // nobody here wants it
    for (unsigned i = 0; i < 8; i++) {
        struct mention m = {(const uint8_t *)keys[i], (uint32_t)strlen(keys[i]), by[i], i};
        assert_true(prefixes_mention(&p, &m, &first));
    }
    static const struct {
        const char *text;
        unsigned n;
        const char *keys[4];
        uint64_t by[4];
    } told[] = {{"", 4, {"a1", "b1", "b2", "c"}, {MENTION_BY_SEVERAL, 2, 4, 3}},
                {"a", 1, {"a1"}, {MENTION_BY_SEVERAL}},
                {"b", 2, {"b1", "b2"}, {2, 4}}};
    struct prefix *x = prefixes_sort(first), *next;
    for (unsigned i = 0; i < 3; i++, x = next) {
        assert_non_null(x);
        next = x->next_mentioned;
        assert_int_equal(bytes_compare(x->bytes, x->len, told[i].text, strlen(told[i].text)), 0);
        assert_int_equal(x->n_mentions, told[i].n);
        for (unsigned j = 0; j < told[i].n; j++) {
            assert_memory_equal(x->mentions[j].key, told[i].keys[j], x->mentions[j].len);
            assert_int_equal(x->mentions[j].len, strlen(told[i].keys[j]));
            assert_int_equal(x->mentions[j].by, told[i].by[j]);
        }
        prefix_forget_mentions(x);
    }
    assert_null(x);
    for (unsigned i = 0; i < 3; i++)
        prefix_leave(&clients[i]);
    prefixes_clear(&p);
}

static void mentions_from_when_it_is_wanted(void **unused)
{
    (void)unused;
    static const char keys[][2] = {"x", "y", "z"};
    struct prefixes p;
    struct prefix_client clients[2];
    prefixes_init(&p, 1, 7);
    for (unsigned round = 0; round < 2; round++) {
        struct prefix *first = NULL, *x;
        assert_true(prefix_count(&p, "", 0, 0, 2));
        x = prefix_find(&p, "", 0);
        prefix_join(x, &clients[0], 1);
        prefix_join(x, &clients[1], 2);
        if (round) { // as long as one is there it stays wanted
            prefix_leave(&clients[0]);
            prefix_join(x, &clients[0], 2);
        }
        for (unsigned i = 0; i < 3; i++) {
            struct mention m = {(const uint8_t *)keys[i], 1, 0, i};
            assert_true(prefixes_mention(&p, &m, &first));
        }
        assert_ptr_equal(prefixes_sort(first), x);
        assert_int_equal(x->n_mentions, 2);
        assert_memory_equal(x->mentions[0].key, "y", 1);
        prefix_forget_mentions(x);
        prefix_leave(&clients[0]);
        prefix_leave(&clients[1]);
        assert_true(prefix_count(&p, "", 0, 0, -2));
    }
    prefixes_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_readers),
        cmocka_unit_test(prefixes_of_cores),
        cmocka_unit_test(mentions_are_sorted),
        cmocka_unit_test(mentions_from_when_it_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
