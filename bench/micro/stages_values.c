// Commands of other types, over as many small values as --values says, drawn uniformly; and how a
// command is executed for a stage at all: by the batch that the server runs.
#include <stdio.h>
#include <string.h>

#include "bench/micro/stages.h"

#define BATCHES 16
#define COUNTED_ARGS_MAX 8

// Clients with `size` commands in a frame: as many as the core puts into one batch.
static struct shape shape_of(const struct stage *s)
{
    unsigned pipeline = s->size ? s->size : 16;
    unsigned clients = BATCH_COMMANDS / pipeline;
    return (struct shape){.clients = clients < TAPES_MAX ? clients : TAPES_MAX,
                          .pipeline = pipeline};
}

static void undo(struct bench *b, const struct stage *s)
{
    if (!s->kind->undo)
        return;
    rig_load(b->rig, shape_of(s), s->kind->undo, KEY_SAME);
    rig_run(b->rig, NULL);
    rig_settle(b->rig);
}

// GETs of keys that are there give what was put there.
static bool check(struct bench *b, const struct stage *s)
{
    return rig_check(b->rig, s->kind->reply,
                     strcmp(s->kind->command, "GET @key") == 0 && s->kind->choice == KEY_ANY);
}

// --- cycles: the core tells apart parsing and executing

static bool run_batches(struct bench *b, const struct stage *s, struct measure *m,
                        enum plane_stage stage)
{
    for (unsigned i = 0; i < BATCHES; i++) {
        uint64_t cycles[PLANE_STAGES] = {0};
        rig_load(b->rig, shape_of(s), s->kind->command, s->kind->choice);
        rig_run(b->rig, cycles);
        m->cycles += cycles[stage];
        m->ops += b->rig->loaded;
        if (!check(b, s))
            return false;
        undo(b, s);
    }
    return true;
}

// --- instructions: what the batch calls for each command, without it. No caches are counted, so
// what is fetched and when makes no difference.

struct counted {
    struct rig *rig;
    struct work work[TAPES_MAX * TAPE_COMMANDS_MAX];
    struct arg args[TAPES_MAX * TAPE_COMMANDS_MAX][COUNTED_ARGS_MAX];
    unsigned n;
};

static void take_all(struct counted *k, unsigned clients)
{
    struct core *c = k->rig->core;
    const struct parser_limits limits = {.bulk_max = c->settings.bulk_max,
                                         .query_max = c->settings.query_max,
                                         .authenticated = true};
    k->n = 0;
    for (unsigned i = 0; i < clients; i++) {
        struct stream *s = &k->rig->tapes[i].stream;
        struct client *client = s->owner;
        size_t used;
        while (s->in_len &&
               parser_run(&client->parser, &limits, s->in, s->in_len, &used) == PARSER_COMMAND &&
               client->parser.argc <= COUNTED_ARGS_MAX) {
            struct work *w = &k->work[k->n];
            *w =
                (struct work){.client = client, .argv = k->args[k->n], .argc = client->parser.argc};
            parser_take(&client->parser, s->in, w->argv);
            work_find(c, w);
            w->ours = w->has_key;
            k->n++;
            stream_consume(s, (uint32_t)used);
        }
    }
}

static void section_route(void *context)
{
    struct counted *k = context;
    for (unsigned i = 0; i < k->n; i++)
        route_work(k->rig->core, &k->work[i]);
}

static bool count_batches(struct bench *b, const struct stage *s, struct measure *m)
{
    static struct counted k;
    k.rig = b->rig;
    rig_load(b->rig, shape_of(s), s->kind->command, s->kind->choice);
    take_all(&k, shape_of(s).clients);
    measure_section(m, section_route, &k);
    m->ops += k.n;
    rig_run(b->rig, NULL); // nothing is left to parse; the clients are pushed
    if (!check(b, s))
        return false;
    undo(b, s);
    return true;
}

bool execute_round(struct bench *b, const struct stage *s, struct measure *m)
{
    if (m->mode == MEASURE_COUNT || m->mode == MEASURE_CALLGRIND)
        return count_batches(b, s, m);
    return run_batches(b, s, m, STAGE_EXECUTE);
}

bool execute_gather_round(struct bench *b, const struct stage *s, struct measure *m)
{
    return run_batches(b, s, m, STAGE_PARSE);
}

// --- small values: lists, sets, hashes, sorted sets and streams of four elements

static const char *const lists[] = {"RPUSH @key @value @value @value @value", NULL};
static const char *const sets[] = {"SADD @key @value @value @value @value", NULL};
static const char *const hashes[] = {"HSET @key f0 @value f1 @value f2 @value f3 @value", NULL};
static const char *const zsets[] = {"ZADD @key @score m0 @score m1 @score m2 @score m3", NULL};
static const char *const streams[] = {"XADD @key * f @value", "XADD @key * f @value",
                                      "XADD @key * f @value", "XADD @key * f @value", NULL};
static const char *const counters[] = {"SET @key 1000", NULL};

#define VALUES(NAME, HELP, FILL, COMMAND, UNDO, REPLY)                                         \
    {                                                                                          \
        .name = NAME, .unit = "command", .help = HELP, .needs = NEEDS_VALUES,                  \
        .round = execute_round, .fill = FILL, .command = COMMAND, .undo = UNDO, .reply = REPLY \
    }

const struct stage_kind value_kinds[] = {
    VALUES("incr", "counters", counters, "INCR @key", NULL, ':'),
    VALUES("lpush", "lists of four", lists, "LPUSH @key @value", "LPOP @key", ':'),
    VALUES("rpop", "lists of four", lists, "RPOP @key", "RPUSH @key @value", '$'),
    VALUES("sadd", "sets of four", sets, "SADD @key @new", "SREM @key @new", ':'),
    VALUES("hset", "overwrites one of four fields", hashes, "HSET @key f2 @value", NULL, ':'),
    VALUES("hget", "hashes of four fields", hashes, "HGET @key f2", NULL, '$'),
    VALUES("zadd", "moves one of four members", zsets, "ZADD @key @score m2", NULL, ':'),
    VALUES("zrange", "all four members", zsets, "ZRANGE @key 0 -1", NULL, '*'),
    VALUES("xadd", "streams of four entries", streams, "XADD @key * f @value",
           "XTRIM @key MAXLEN 4", '$'),
    {0},
};
