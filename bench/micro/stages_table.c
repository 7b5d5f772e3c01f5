// Stages over a table of strings: the look-up, with and without what the batch fetches beforehand;
// GET and SET as the core executes them.
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "bench/micro/stages.h"

// Look-ups of a round; a multiple of every batch.
#define LOOKUPS 4096
// As dataplane/core/batch.c.
#define GROUP 32
#define FETCHED_MAX 256

struct lookup_state {
    struct rig *rig;
    unsigned batch;
    uint64_t found;
    uint8_t name[LOOKUPS][RIG_KEY_LEN];
    struct key key[LOOKUPS];
};

static bool lookup_open(struct bench *b, const struct stage *s)
{
    struct lookup_state *l = b->state = mi_zalloc(sizeof(*l));
    if (!l)
        return false;
    l->rig = b->rig;
    l->batch = s->size;
    return true;
}

static void lookup_close(struct bench *b)
{
    mi_free(b->state);
}

static void section_plain(void *context)
{
    struct lookup_state *l = context;
    struct store *store = l->rig->core->store;
    for (unsigned i = 0; i < LOOKUPS; i++)
        l->found += store_find(store, 0, &l->key[i], 0) != NULL;
}

// What the first half of a batch fetches while it is parsed: slots, buckets, entries.
static inline void fetch(const struct store *store, const struct key *key, unsigned batch)
{
    static struct fetch fetched[FETCHED_MAX];
    for (unsigned first = 0; first < batch; first += GROUP) {
        unsigned end = first + GROUP < batch ? first + GROUP : batch;
        for (unsigned i = first; i < end; i++)
            store_prefetch_slot(store, 0, &key[i]);
        for (unsigned i = first; i < end; i++)
            store_prefetch_bucket(store, 0, &key[i], &fetched[i]);
        for (unsigned i = first < GROUP ? first : first - GROUP; first && i < first; i++)
            store_prefetch_entry(&key[i], &fetched[i]);
    }
    for (unsigned i = batch <= GROUP ? 0 : (batch - 1) / GROUP * GROUP; i < batch; i++)
        store_prefetch_entry(&key[i], &fetched[i]);
    for (unsigned i = 0; i < batch; i++)
        if (fetched[i].overflow)
            store_prefetch_overflow(&key[i], &fetched[i]);
}

static void section_fetch(void *context)
{
    struct lookup_state *l = context;
    for (const struct key *key = l->key; key < l->key + LOOKUPS; key += l->batch)
        fetch(l->rig->core->store, key, l->batch);
}

static void section_fetched(void *context)
{
    struct lookup_state *l = context;
    struct store *store = l->rig->core->store;
    for (const struct key *key = l->key; key < l->key + LOOKUPS; key += l->batch) {
        fetch(store, key, l->batch);
        for (unsigned i = 0; i < l->batch; i++)
            l->found += store_find(store, 0, &key[i], 0) != NULL;
    }
}

static void draw(struct lookup_state *l, bool hit)
{
    struct rig *r = l->rig;
    for (unsigned i = 0; i < LOOKUPS; i++) {
        rig_key(l->name[i], rig_below(r, r->keys) + (hit ? 0 : r->keys));
        l->key[i] = keyspace_key(r->server.keyspace, l->name[i], RIG_KEY_LEN);
    }
}

static bool lookup(struct bench *b, struct measure *m, section_fn *section, bool hit)
{
    struct lookup_state *l = b->state;
    draw(l, hit);
    l->found = 0;
    measure_section(m, section, l);
    m->ops += LOOKUPS;
    if (l->found == (hit ? LOOKUPS : 0))
        return true;
    snprintf(b->rig->error, sizeof(b->rig->error), "%d look-ups found %lu keys", LOOKUPS,
             (unsigned long)l->found);
    return false;
}

static bool fetch_alone(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    struct lookup_state *l = b->state;
    draw(l, true);
    measure_section(m, section_fetch, l);
    m->ops += LOOKUPS;
    return true; // hints leave nothing to look at
}

static bool hit_plain(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    return lookup(b, m, section_plain, true);
}

static bool hit_fetched(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    return lookup(b, m, section_fetched, true);
}

static bool miss_plain(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    return lookup(b, m, section_plain, false);
}

static bool miss_fetched(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    return lookup(b, m, section_fetched, false);
}

#define LOOKUP(NAME, HELP, ROUND)                                                             \
    .name = NAME, .unit = "look-up", .help = HELP, .needs = NEEDS_TABLE, .open = lookup_open, \
    .close = lookup_close, .round = ROUND

#define EXECUTE(NAME, HELP, ROUND, COMMAND, UNDO, REPLY)                                       \
    .name = NAME, .unit = "command", .help = HELP, .needs = NEEDS_TABLE, .sizes = {1, 16, 64}, \
    .round = ROUND, .command = COMMAND, .undo = UNDO, .reply = REPLY

const struct stage_kind table_kinds[] = {
    {LOOKUP("lookup-hit-plain", "a key that is there, one after the other", hit_plain)},
    {LOOKUP("lookup-hit", "the same, fetched in batches of N as the core does", hit_fetched),
     .sizes = {1, 16, 64, 256}},
    {LOOKUP("lookup-miss-plain", "a key that is not there", miss_plain)},
    {LOOKUP("lookup-miss", "the same, fetched in batches of N", miss_fetched),
     .sizes = {1, 16, 64, 256}},
    {LOOKUP("fetch", "slots, buckets and entries of a batch of N, fetched and not looked at",
            fetch_alone),
     .sizes = {1, 16, 64, 256}},
    {EXECUTE("gather-get", "parse, hash, fetch: the first half of a batch of N-GET frames",
             execute_gather_round, "GET @key", NULL, '$')},
    {EXECUTE("gather-set", "the same for SETs of 64 bytes", execute_gather_round, "SET @key @data",
             NULL, '+')},
    {EXECUTE("execute-get", "the second half: look up, execute, answer", execute_round, "GET @key",
             NULL, '$')},
    {EXECUTE("execute-get-miss", "the same for keys that are not there", execute_round, "GET @key",
             NULL, '$'),
     .choice = KEY_MISSING},
    {EXECUTE("execute-set", "SET that overwrites 64 bytes", execute_round, "SET @key @data", NULL,
             '+')},
    {EXECUTE("execute-set-new", "SET of a new key", execute_round, "SET @key @data", "DEL @key",
             '+'),
     .choice = KEY_NEW},
    {0},
};
