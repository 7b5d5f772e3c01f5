// Subscriptions: the table against a plain matrix of who is subscribed to what, and the hash table
// under it while it grows and shrinks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/pubsub/channels.h"

enum { CLIENTS = 40, NAMES = 150, STEPS = 60000 };

static uint64_t state;

static unsigned draw(unsigned below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % below;
}

static struct channel_name name_of(char *text, unsigned number, bool collide)
{
    int len = snprintf(text, 32, "channel:%u", number);
    // Few different hashes: chains, and names that differ though their hashes do not.
    uint64_t hash = collide ? number % 7 : (number + 1) * 0x9e3779b97f4a7c15u;
    return (struct channel_name){(const uint8_t *)text, (size_t)len, hash};
}

static struct subscriber who[CLIENTS];
static bool model[CHANNEL_KINDS][CLIENTS][NAMES];

static unsigned in_model(enum channel_kind kind, unsigned name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        n += model[kind][i][name];
    return n;
}

static void count_one(void *context, const struct channel *channel)
{
    assert_true(channel->n > 0);
    ++*(unsigned *)context;
}

static void compare(const struct channel_table *t, bool collide)
{
    char text[32];
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
        unsigned channels = 0, met = 0;
        for (unsigned name = 0; name < NAMES; name++) {
            struct channel_name n = name_of(text, name, collide);
            const struct channel *c = channels_find(t, kind, &n);
            assert_int_equal(c ? c->n : 0, in_model(kind, name));
            channels += c != NULL;
            for (unsigned i = 0; c && i < c->n; i++) {
                assert_int_equal(c->all[i]->at, i);
                assert_true(model[kind][c->all[i]->who - who][name]);
            }
        }
        channels_each(t, kind, count_one, &met);
        assert_int_equal(met, channels);
        assert_int_equal(t->by_name[kind].n, channels);
    }
    for (unsigned i = 0; i < t->by_name[CHANNEL_PATTERN].n; i++)
        assert_int_equal(t->patterns[i]->at, i);
    for (unsigned i = 0; i < CLIENTS; i++)
        for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++) {
            unsigned n = 0;
            for (unsigned name = 0; name < NAMES; name++)
                n += model[kind][i][name];
            assert_int_equal(who[i].n[kind], n);
            for (struct subscription *s = who[i].first[kind]; s; s = s->next)
                n--;
            assert_int_equal(n, 0);
        }
}

static void leave_all(struct channel_table *t, struct subscriber *s)
{
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++)
        while (s->first[kind])
            channels_unsubscribe(t, s->first[kind]);
    assert_int_equal(s->bytes, 0);
}

static void run(bool collide, unsigned seed)
{
    struct channel_table *t = channels_new();
    assert_non_null(t);
    state = seed;
    memset(who, 0, sizeof(who));
    memset(model, 0, sizeof(model));
    for (unsigned step = 0; step < STEPS; step++) {
        char text[32];
        unsigned client = draw(CLIENTS), name = draw(NAMES);
        enum channel_kind kind = draw(CHANNEL_KINDS);
        struct channel_name n = name_of(text, name, collide);
        // Fuller and emptier in turn, so that the tables grow and shrink.
        if (draw(100) < (step / 5000 % 2 ? 20 : 80)) {
            enum subscribed done = channels_subscribe(t, &who[client], kind, &n);
            assert_int_equal(done, model[kind][client][name] ? SUBSCRIBED_BEFORE : SUBSCRIBED_NEW);
            model[kind][client][name] = true;
        } else {
            struct subscription *s = channels_subscription(t, &who[client], kind, &n);
            assert_int_equal(s != NULL, model[kind][client][name]);
            if (s) {
                assert_ptr_equal(s->who, &who[client]);
                channels_unsubscribe(t, s);
            }
            model[kind][client][name] = false;
        }
        if (step % 2500 == 0)
            compare(t, collide);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        leave_all(t, &who[i]);
    memset(model, 0, sizeof(model));
    compare(t, collide);
    channels_free(t);
}

static void random_subscriptions(void **unused)
{
    (void)unused;
    run(false, 1);
}

static void names_of_one_hash(void **unused)
{
    (void)unused;
    run(true, 2);
}

static void names_hold_any_bytes(void **unused)
{
    (void)unused;
    struct channel_table *t = channels_new();
    struct subscriber s = {0};
    struct channel_name empty = {(const uint8_t *)"", 0, 5}, zero = {(const uint8_t *)"\0", 1, 5},
                        zeros = {(const uint8_t *)"\0\0", 2, 5};
    assert_int_equal(channels_subscribe(t, &s, CHANNEL_NAMED, &empty), SUBSCRIBED_NEW);
    assert_int_equal(channels_subscribe(t, &s, CHANNEL_NAMED, &zero), SUBSCRIBED_NEW);
    assert_null(channels_find(t, CHANNEL_NAMED, &zeros));
    assert_null(channels_find(t, CHANNEL_SHARD, &zero)); // kinds are apart
    assert_int_equal(channels_find(t, CHANNEL_NAMED, &empty)->len, 0);
    assert_int_equal(channels_find(t, CHANNEL_NAMED, &zero)->len, 1);
    assert_int_equal(channels_subscribe(t, &s, CHANNEL_NAMED, &empty), SUBSCRIBED_BEFORE);
    leave_all(t, &s);
    channels_free(t);
}

static void index_grows_and_shrinks(void **unused)
{
    (void)unused;
    enum { N = 100000 };
    struct index x = {0};
    struct index_node *nodes = mi_calloc(N, sizeof(*nodes));
    assert_non_null(nodes);
    assert_null(index_bucket(&x, 1));
    for (unsigned i = 0; i < N; i++) {
        assert_true(index_add(&x, &nodes[i], i * 0x9e3779b97f4a7c15u >> 7));
        assert_true(x.n_buckets >= x.n || x.n <= INDEX_FIRST);
    }
    unsigned met = 0, longest = 0;
    for (unsigned i = 0; i < x.n_buckets; i++) {
        unsigned chain = 0;
        for (struct index_node *n = index_bucket_at(&x, i); n; n = n->next)
            chain++;
        met += chain;
        longest = chain > longest ? chain : longest;
    }
    assert_int_equal(met, N);
    assert_in_range(longest, 1, 16);
    for (unsigned i = 0; i < N; i++) {
        struct index_node *n = index_bucket(&x, nodes[i].hash);
        while (n && n != &nodes[i])
            n = n->next;
        assert_non_null(n);
        index_remove(&x, &nodes[i]);
    }
    assert_int_equal(x.n, 0);
    assert_int_equal(x.n_buckets, INDEX_FIRST);
    index_clear(&x);
    mi_free(nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_subscriptions),
        cmocka_unit_test(names_of_one_hash),
        cmocka_unit_test(names_hold_any_bytes),
        cmocka_unit_test(index_grows_and_shrinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
