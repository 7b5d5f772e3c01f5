// The tests that have names, and the user's own.
#include "bench/presets.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bench/template.h"

#define TEN(x) x x x x x x x x x x
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

#define LISTS_OF_100 10000 // a hundred elements of 16 bytes each: 30 MB or so
#define LARGE_KEYS 256     // of LARGE_SIZE
#define LARGE_SIZE (1u << 20)
#define COUNTERS 10000 // of which few are hot

// How to draw keys: as the user says, or as the test is defined.
#define AS_SAID (-1)

struct known {
    const char *name, *line; // what --list says of it
    int distribution;        // enum bench_keys or AS_SAID
    uint64_t keys;           // at most; 0: --keys
    uint32_t size;           // of values; 0: --data-size
    bool churn, unfilled, consumes;
    const char *fill; // NULL: SET
    struct {
        enum preset_kind kind;
        const char *line;
        unsigned weight; // 0: see preset_named
        const char *name;
        bool insert;
    } commands[4];
};

#define ONE(text) .distribution = AS_SAID, .commands = {{COMMAND_ANY, text, 1, NULL, false}}
#define LIST_FILL                                                                             \
    "RPUSH list:{key} {data:16} {data:16} {data:16} {data:16} {data:16} {data:16} {data:16} " \
    "{data:16}"
#define SET_FILL                                                                       \
    "SADD set:{key} member:{random:100} member:{random:100} member:{random:100} "      \
    "member:{random:100} member:{random:100} member:{random:100} member:{random:100} " \
    "member:{random:100}"
#define ZSET_FILL                                                                                \
    "ZADD zset:{key} {random:1000000} member:{random:100} {random:1000000} member:{random:100} " \
    "{random:1000000} member:{random:100} {random:1000000} member:{random:100} "                 \
    "{random:1000000} member:{random:100} {random:1000000} member:{random:100} "                 \
    "{random:1000000} member:{random:100} {random:1000000} member:{random:100}"
#define HASH_FILL                                                                                 \
    "HSET hash:{key} field:0 {data} field:1 {data} field:2 {data} field:3 {data} field:4 {data} " \
    "field:5 {data} field:6 {data} field:7 {data} field:8 {data} field:9 {data}"

// YCSB's core workloads. A record has ten fields of 100 bytes; reads take all of it, updates change
// one field, as readallfields and writeallfields are by default.
#define YCSB_FIELDS                                                                              \
    "field0 {data:100} field1 {data:100} field2 {data:100} field3 {data:100} field4 {data:100} " \
    "field5 {data:100} field6 {data:100} field7 {data:100} field8 {data:100} field9 {data:100}"
#define YCSB_INSERT "HSET user{key} " YCSB_FIELDS
#define YCSB_INDEXED YCSB_INSERT " ; ZADD users {key} user{key}"
#define YCSB_UPDATE "HSET user{key} field{field:10} {data:100}"
#define YCSB_READ "HGETALL user{key}"
#define YCSB_SCAN "ZRANGEBYSCORE users {key} +inf LIMIT 0 {number:1-100}"
#define READ(weight)                                  \
    {                                                 \
        COMMAND_ANY, YCSB_READ, weight, "read", false \
    }
#define UPDATE(weight)                                    \
    {                                                     \
        COMMAND_ANY, YCSB_UPDATE, weight, "update", false \
    }

static const struct known known[] = {
    {"set", "SET of one key", AS_SAID, .commands = {{COMMAND_SET, NULL, 1, NULL, false}}},
    {"get", "GET of one key", AS_SAID, .commands = {{COMMAND_GET, NULL, 1, NULL, false}}},
    {"mixed", "SET and GET by --ratio", AS_SAID,
     .commands = {{COMMAND_SET, NULL, 0, "set", false}, {COMMAND_GET, NULL, 0, "get", false}}},
    {"ping", "PING", AS_SAID, .unfilled = true, .commands = {{COMMAND_PING, NULL, 1, NULL, false}}},
    {"incr", "INCR", .fill = "SET counter:{key} 0", ONE("INCR counter:{key}")},
    {"mset", "MSET of ten keys (in a cluster: of one slot)",
     ONE("MSET" TEN(" key:{random} {data}"))},
    {"lpush", "LPUSH to a list for each key", .fill = LIST_FILL, ONE("LPUSH list:{key} {data}")},
    {"rpush", "RPUSH to a list for each key", .fill = LIST_FILL, ONE("RPUSH list:{key} {data}")},
    {"lpop", "LPOP of lists of eight", .fill = LIST_FILL, .consumes = true, ONE("LPOP list:{key}")},
    {"rpop", "RPOP of lists of eight", .fill = LIST_FILL, .consumes = true, ONE("RPOP list:{key}")},
    {"sadd", "SADD to a set for each key, of 100 members", .fill = SET_FILL,
     ONE("SADD set:{key} member:{random:100}")},
    {"spop", "SPOP of sets of eight", .fill = SET_FILL, .consumes = true, ONE("SPOP set:{key}")},
    {"hset", "HSET of one of ten fields", .fill = HASH_FILL,
     ONE("HSET hash:{key} field:{field:10} {data}")},
    {"hget", "HGET of one of ten fields", .fill = HASH_FILL,
     ONE("HGET hash:{key} field:{field:10}")},
    {"zadd", "ZADD to a sorted set for each key, of 100 members", .fill = ZSET_FILL,
     ONE("ZADD zset:{key} {random:1000000} member:{random:100}")},
    {"zpopmin", "ZPOPMIN of sorted sets of eight", .fill = ZSET_FILL, .consumes = true,
     ONE("ZPOPMIN zset:{key}")},
    {"zrange", "ZRANGE of the first ten, of sorted sets of eight or more", .fill = ZSET_FILL,
     ONE("ZRANGE zset:{key} 0 9")},
    {"lrange_100", "LRANGE of 100 elements", .keys = LISTS_OF_100,
     .fill = "RPUSH list_100:{key}" TEN(TEN(" {data:16}")), ONE("LRANGE list_100:{key} 0 99")},
    {"xadd", "XADD to streams of about 1000 entries", .fill = "XADD stream:{key} * field {data}",
     ONE("XADD stream:{key} MAXLEN ~ 1000 * field {data}")},
    {"counters", "6 INCR : 2 INCRBY : 2 GET of counters, zipfian", KEYS_ZIPFIAN, .keys = COUNTERS,
     .fill = "SET counter:{key} 0",
     .commands = {{COMMAND_ANY, "INCR counter:{key}", 6, "incr", false},
                  {COMMAND_ANY, "INCRBY counter:{key} {number:1-100}", 2, "incrby", false},
                  {COMMAND_ANY, "GET counter:{key}", 2, "get", false}}},
    {"sessions", "a store of sessions: 80 GET : 8 EXPIRE : 10 SET EX : 2 DEL, zipfian",
     KEYS_ZIPFIAN, .fill = "SET session:{key} {data} EX {expire}",
     .commands = {{COMMAND_ANY, "GET session:{key}", 80, "get", false},
                  {COMMAND_ANY, "EXPIRE session:{key} {expire}", 8, "expire", false},
                  {COMMAND_ANY, "SET session:{key} {data} EX {expire}", 10, "set", false},
                  {COMMAND_ANY, "DEL session:{key}", 2, "del", false}}},
    {"large", "SET and GET by --ratio of values of 1 MiB", AS_SAID, .keys = LARGE_KEYS,
     .size = LARGE_SIZE,
     .commands = {{COMMAND_SET, NULL, 0, "set", false}, {COMMAND_GET, NULL, 0, "get", false}}},
    {"churn", "GET, each batch on a new connection", AS_SAID, .churn = true,
     .commands = {{COMMAND_GET, NULL, 1, NULL, false}}},
    {"ycsb-a", "YCSB A: 50 read : 50 update, zipfian", KEYS_ZIPFIAN, .fill = YCSB_INSERT,
     .commands = {READ(50), UPDATE(50)}},
    {"ycsb-b", "YCSB B: 95 read : 5 update, zipfian", KEYS_ZIPFIAN, .fill = YCSB_INSERT,
     .commands = {READ(95), UPDATE(5)}},
    {"ycsb-c", "YCSB C: read, zipfian", KEYS_ZIPFIAN, .fill = YCSB_INSERT, .commands = {READ(100)}},
    {"ycsb-d", "YCSB D: 95 read of the latest : 5 insert", KEYS_LATEST, .fill = YCSB_INSERT,
     .commands = {READ(95), {COMMAND_ANY, YCSB_INSERT, 5, "insert", true}}},
    {"ycsb-e", "YCSB E: 95 scan of 1 to 100 keys in their order : 5 insert", KEYS_ZIPFIAN,
     .fill = YCSB_INDEXED,
     .commands = {{COMMAND_ANY, YCSB_SCAN, 95, "scan", false},
                  {COMMAND_ANY, YCSB_INDEXED, 5, "insert", true}}},
    {"ycsb-f", "YCSB F: 50 read : 50 read and update (sent together), zipfian", KEYS_ZIPFIAN,
     .fill = YCSB_INSERT,
     .commands = {READ(50),
                  {COMMAND_ANY, YCSB_READ " ; " YCSB_UPDATE, 50, "read-modify-write", false}}},
};

// In a cluster ten keys of one command must share a slot.
#define MSET_CLUSTER                                                                    \
    "MSET {{{key}}}:0 {data} {{{key}}}:1 {data} {{{key}}}:2 {data} {{{key}}}:3 {data} " \
    "{{{key}}}:4 {data} {{{key}}}:5 {data} {{{key}}}:6 {data} {{{key}}}:7 {data} "      \
    "{{{key}}}:8 {data} {{{key}}}:9 {data}"

static const struct known *find(const char *name)
{
    for (unsigned i = 0; i < COUNT(known); i++)
        if (strcasecmp(known[i].name, name) == 0)
            return &known[i];
    return NULL;
}

static void make(const struct options *o, const struct known *k, struct preset *p)
{
    *p = (struct preset){
        .name = k->name,
        .distribution =
            k->distribution == AS_SAID ? o->distribution : (enum bench_keys)k->distribution,
        .data = o->data,
        .keys = k->keys && k->keys < o->keys ? k->keys : o->keys,
        .churn = k->churn || o->churn,
        .unfilled = k->unfilled,
        .consumes = k->consumes,
        .fills = {k->fill},
    };
    if (k->size)
        p->data = (struct options_sizes){.kind = SIZES_FIXED, .low = k->size, .high = k->size};
    for (; p->n < COUNT(k->commands) && (k->commands[p->n].weight || k->commands[p->n].name);
         p->n++) {
        unsigned weight = k->commands[p->n].weight;
        if (!weight)
            weight = p->n == 0 ? o->set_weight : o->get_weight;
        p->commands[p->n].kind = k->commands[p->n].kind;
        p->commands[p->n].line = k->commands[p->n].line;
        p->commands[p->n].weight = weight;
        p->commands[p->n].name = k->commands[p->n].name;
        p->commands[p->n].insert = k->commands[p->n].insert;
    }
    if (o->cluster && strcmp(k->name, "mset") == 0)
        p->commands[0].line = MSET_CLUSTER;
}

static void own(const struct options *o, const char *name, struct preset *p)
{
    *p = (struct preset){.name = name,
                         .distribution = o->distribution,
                         .data = o->data,
                         .keys = o->keys,
                         .churn = o->churn};
}

static void add_own(struct preset *p, const char *line, unsigned weight)
{
    p->commands[p->n].kind = COMMAND_ANY;
    p->commands[p->n].line = line;
    p->commands[p->n++].weight = weight;
}

// A command without a weight is a test of its own, all with weights are one mix.
static unsigned own_tests(const struct options *o, struct preset *tests)
{
    unsigned n = 0;
    struct preset *mix = NULL;
    for (unsigned i = 0; i < o->n_commands; i++) {
        const char *line = o->commands[i].line;
        if (!o->commands[i].weight) {
            own(o, line, &tests[n]);
            add_own(&tests[n++], line, 1);
            continue;
        }
        if (!mix) {
            mix = &tests[n++];
            own(o, "mix", mix);
        }
        add_own(mix, line, o->commands[i].weight);
    }
    return n;
}

// Looks at everything that can be wrong with a test before anything is sent.
static bool check(const struct options *o, const struct preset *p, char *error, size_t error_size)
{
    struct template_context context = {
        .data = &p->data, .keys = p->keys, .expire_s = o->expire_s, .verify = o->verify};
    unsigned weights = 0;
    for (unsigned i = 0; i < p->n; i++) {
        struct template t;
        weights += p->commands[i].weight;
        if (p->commands[i].kind != COMMAND_ANY)
            continue;
        if (o->protocol == BENCH_MEMCACHE) {
            snprintf(error, error_size,
                     "--protocol memcache has set, get, mixed, large, churn and ping, not %s",
                     p->name);
            return false;
        }
        if (!template_parse(&t, p->commands[i].line, &context, error, error_size))
            return false;
        template_free(&t);
    }
    if (!weights)
        snprintf(error, error_size, "--ratio: one of the two must be more than 0");
    return weights > 0;
}

unsigned presets_of(const struct options *o, struct preset *tests, char *error, size_t error_size)
{
    unsigned n = o->n_commands ? own_tests(o, tests) : 0;
    for (unsigned i = 0; !o->n_commands && i < o->n_tests; i++) {
        const struct known *k = find(o->tests[i]);
        if (!k) {
            snprintf(error, error_size, "--test %s: no such test; see --list", o->tests[i]);
            return 0;
        }
        make(o, k, &tests[n++]);
    }
    for (unsigned i = 0; i < n; i++)
        if (!check(o, &tests[i], error, error_size))
            return 0;
    return n;
}

static void filling(const struct preset *test, struct preset *fill)
{
    *fill = (struct preset){.name = "fill", .data = test->data, .keys = test->keys, .fill = true};
    for (; fill->n < COUNT(test->fills) && test->fills[fill->n]; fill->n++) {
        fill->commands[fill->n].kind = COMMAND_ANY;
        fill->commands[fill->n].line = test->fills[fill->n];
        fill->commands[fill->n].weight = 1;
    }
    if (!fill->n) {
        fill->commands[fill->n].kind = COMMAND_SET;
        fill->commands[fill->n++].weight = 1;
    }
}

static bool same_filling(const struct preset *a, const struct preset *b)
{
    for (unsigned i = 0; i < COUNT(a->fills); i++) {
        if (!a->fills[i] || !b->fills[i])
            return !a->fills[i] && !b->fills[i] && a->keys == b->keys &&
                   memcmp(&a->data, &b->data, sizeof(a->data)) == 0;
        if (strcmp(a->fills[i], b->fills[i]) != 0)
            return false;
    }
    return true;
}

bool presets_fill(const struct options *o, const struct preset *tests, unsigned done,
                  struct preset *fill)
{
    const struct preset *test = &tests[done];
    (void)o;
    if (test->unfilled)
        return false;
    filling(test, fill);
    // The last test with the same filling decides whether it is still there.
    for (unsigned i = done; i-- > 0;)
        if (!tests[i].unfilled && same_filling(&tests[i], test))
            return tests[i].consumes;
    return true;
}

const char *presets_describe(unsigned index, const char **line)
{
    if (index >= COUNT(known))
        return NULL;
    *line = known[index].line;
    return known[index].name;
}
