#include "tests/unit/commands/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/command.h"
#include "dataplane/commands/effects.h"
#include "tests/unit/commands/arity.h"

#define WORDS_MAX 64
#define DATABASES 4
#define EVENTS_TEXT_MAX 1024

struct core {
    const char *bulk_max, *policy;
    uint64_t random;
};

struct script {
    struct keyspace *keyspace;
    struct store *stores[SCRIPT_CORES_MAX];
    unsigned cores;
    uint64_t now_ms;
    struct core core;
    struct services services;
    struct session session;
    struct value_limits limits;
    bool limited;
    void (*around)(bool begin); // or NULL
    bool gone_listens;          // script_gone was called
    struct effects gone;
    char *gone_text;
    char events[EVENTS_TEXT_MAX];
    uint8_t *reply;
    size_t reply_len;
    char *text; // the reply for comparing
    char *effects;
};

static void get_config(struct core *core, const char *pattern, size_t len, config_each_fn *each,
                       void *context)
{
    if (len == strlen("proto-max-bulk-len") && !memcmp(pattern, "proto-max-bulk-len", len))
        each(context, "proto-max-bulk-len", core->bulk_max);
    else if (len == strlen("maxmemory-policy") && !memcmp(pattern, "maxmemory-policy", len))
        each(context, "maxmemory-policy", core->policy);
    else
        fail_msg("no handler of these families reads %.*s", (int)len, pattern);
}

static uint64_t next_random(struct core *core)
{
    core->random = core->random * 6364136223846793005u + 1442695040888963407u;
    return core->random ^ core->random >> 33; // 64 bits, as the core's own gives
}

static void note_event(struct request *r, unsigned db, const struct key *key, unsigned class,
                       const char *event)
{
    struct script *s = (struct script *)((char *)r->core - offsetof(struct script, core));
    size_t len = strlen(s->events);
    (void)db;
    class &= ~(unsigned)EVENT_ASIDE;
    assert_false(class & (class - 1)); // one, or EVENT_NONE
    snprintf(s->events + len, sizeof(s->events) - len, "%s%s %.*s", len ? " " : "", event,
             (int)key->len, (const char *)key->ptr);
}

static void on_gone(void *context, enum store_gone why, unsigned db, const struct key *key,
                    const uint8_t *field, size_t field_len)
{
    struct script *s = context;
    if (s->gone_listens)
        effects_gone(&s->gone, why, db, key, field, field_len);
}

static void keys_replaced(struct request *r, int db, int other)
{
    (void)r;
    (void)db;
    (void)other;
}

struct script *script_open(unsigned cores)
{
    commands_init();
    struct script *s = mi_zalloc(sizeof(*s));
    assert_non_null(s);
    struct keyspace_config config = {
        .cores = cores,
        .databases = DATABASES,
        .secret = "a secret of 16 b",
        .epoch_ms = SCRIPT_START_MS,
    };
    s->keyspace = keyspace_create(&config);
    assert_non_null(s->keyspace);
    s->cores = cores;
    s->now_ms = SCRIPT_START_MS;
    for (unsigned i = 0; i < cores; i++) {
        s->stores[i] = store_create(s->keyspace, i, i + 1);
        assert_non_null(s->stores[i]);
        store_set_time(s->stores[i], s->now_ms);
        store_on_gone(s->stores[i], on_gone, s);
    }
    outbuf_init(&s->gone.out);
    s->services = (struct services){.keys_replaced = keys_replaced,
                                    .config_get = get_config,
                                    .random = next_random,
                                    .key_changed = note_event};
    s->session = (struct session){.resp = 2, .authenticated = true};
    s->limits = (struct value_limits){
        .hash_max_listpack_entries = 512,
        .hash_max_listpack_value = 64,
        .set_max_intset_entries = 512,
        .set_max_listpack_value = 64,
        .zset_max_listpack_entries = 128,
        .zset_max_listpack_value = 64,
        .hll_sparse_max_bytes = 3000,
        .stream_node_max_bytes = 4096,
        .stream_node_max_entries = 100,
        .bulk_max = 512 << 20,
        .list_max_listpack_size = -2,
        .rdb_compression = true,
    };
    script_configure(s, "536870912", "noeviction");
    return s;
}

void script_close(struct script *s)
{
    for (unsigned i = 0; i < s->cores; i++)
        store_destroy(s->stores[i]);
    keyspace_destroy(s->keyspace);
    mi_free(s->reply);
    mi_free(s->text);
    mi_free(s->effects);
    outbuf_clear(&s->gone.out);
    mi_free(s->gone_text);
    mi_free(s);
}

void script_advance(struct script *s, uint64_t ms)
{
    s->now_ms += ms;
    for (unsigned i = 0; i < s->cores; i++)
        store_set_time(s->stores[i], s->now_ms);
}

struct value_limits *script_limits(struct script *s)
{
    return &s->limits;
}

void script_resp(struct script *s, int resp)
{
    s->session.resp = (uint8_t)resp;
}

void script_configure(struct script *s, const char *bulk_max, const char *policy)
{
    s->core.bulk_max = bulk_max;
    s->core.policy = policy;
}

// Cuts a line into words, in place.
static int words_of(char *line, struct arg *argv)
{
    int n = 0;
    for (char *p = line; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        char end = ' ';
        if (*p == '"') {
            end = '"';
            p++;
        }
        char *stop = strchrnul(p, end);
        assert_true(n < WORDS_MAX);
        argv[n++] = (struct arg){.ptr = (const uint8_t *)p, .len = (size_t)(stop - p)};
        p = *stop ? stop + 1 : stop;
    }
    return n;
}

// Everything in one piece of memory.
static void collect(struct outbuf *out, uint8_t **bytes, size_t *len)
{
    static const char incomplete[] = "incomplete";
    if (out->out.failed) { // memory was short, as the test wanted
        *len = sizeof(incomplete) - 1;
        *bytes = (uint8_t *)mi_strdup(incomplete);
        outbuf_clear(out);
        return;
    }
    outbuf_finish(out);
    *bytes = mi_malloc(out->bytes + 1);
    *len = 0;
    assert_non_null(*bytes);
    for (struct outbuf_piece *p = out->first; p; p = p->next) {
        memcpy(*bytes + *len, p->block->data + p->offset, p->len);
        *len += p->len;
    }
    (*bytes)[*len] = '\0';
    outbuf_clear(out);
}

// Parts on all cores, then the handler, as the core does it.
static void run_gather(struct script *s, struct request *r)
{
    struct gathered parts[SCRIPT_CORES_MAX];
    uint8_t *bytes[SCRIPT_CORES_MAX];
    struct out *out = r->out;
    r->store = s->stores[0];
    if (r->command->start && !r->command->start(r))
        return;
    for (unsigned i = 0; i < s->cores; i++) {
        struct outbuf part;
        outbuf_init(&part);
        r->out = &part.out;
        r->store = s->stores[i];
        r->core_index = i;
        r->command->part(r);
        collect(&part, &bytes[i], &parts[i].len);
        parts[i].ptr = bytes[i];
    }
    r->out = out;
    r->store = s->stores[0];
    r->core_index = 0;
    r->parts = parts;
    r->n_parts = s->cores;
    r->command->handler(r);
    for (unsigned i = 0; i < s->cores; i++)
        mi_free(bytes[i]);
}

static void show(struct script *s)
{
    mi_free(s->text);
    s->text = mi_malloc(s->reply_len + 1);
    assert_non_null(s->text);
    char *to = s->text;
    for (size_t i = 0; i < s->reply_len; i++) {
        if (s->reply[i] == '\r' && i + 1 < s->reply_len && s->reply[i + 1] == '\n') {
            *to++ = ' ';
            i++;
        } else {
            *to++ = (char)s->reply[i];
        }
    }
    *to = '\0';
    if (to > s->text && to[-1] == ' ')
        to[-1] = '\0';
}

// Bulk strings of arrays as words.
static void show_effects(struct effects *effects, char **text)
{
    uint8_t *bytes;
    size_t len;
    bool complete = !effects->out.out.failed;
    collect(&effects->out, &bytes, &len);
    mi_free(*text);
    *text = mi_zalloc(len + 1);
    assert_non_null(*text);
    char *to = *text;
    for (const uint8_t *p = bytes; complete && p < bytes + len;) {
        size_t n = strtoul((const char *)p + 1, NULL, 10);
        const uint8_t *line_end =
            (const uint8_t *)memchr(p, (int)'\r', (size_t)(bytes + len - p)) + 2;
        if (*p == '*') {
            if (to > *text)
                *to++ = ';';
            p = line_end;
            continue;
        }
        if (to > *text)
            *to++ = ' ';
        memcpy(to, line_end, n);
        to += n;
        p = line_end + n + 2;
    }
    *to = '\0';
    mi_free(bytes);
}

const char *script_run_with(struct script *s, const char *line, const void *data, size_t len)
{
    struct arg argv[WORDS_MAX];
    char *words = mi_strdup(line);
    assert_non_null(words);
    int argc = words_of(words, argv);
    struct block *block = NULL;
    for (int i = 0; i < argc && data; i++) {
        if (argv[i].len != 1 || *argv[i].ptr != '@')
            continue;
        argv[i] = (struct arg){.ptr = data, .len = len};
        if (len < BLOCK_VALUE_MIN)
            continue;
        // As the parser hands over what is big.
        block = block_new(len);
        assert_non_null(block);
        memcpy(block->data, data, len);
        block->len = len;
        argv[i] = (struct arg){.ptr = block->data, .len = len, .block = block};
    }
    struct outbuf out;
    outbuf_init(&out);
    struct request r = {
        .session = &s->session,
        .command = commands_find(argv, argc),
        .argc = argc,
        .argv = argv,
        .out = &out.out,
        .store = s->stores[0],
        .services = &s->services,
        .core = &s->core,
        .now_ms = s->now_ms,
        .limits = &s->limits,
        .observed = true,
    };
    s->events[0] = '\0';
    assert_non_null(r.command);
    bool runs = check_arity(r.out, r.command, argc);
    if (runs) {
        int at = commands_single_key(r.command, argc);
        if (at > 0) {
            r.key = keyspace_key(s->keyspace, argv[at].ptr, argv[at].len);
            r.core_index = keyspace_core(s->keyspace, r.key.slot);
        }
        r.store = s->stores[r.core_index];
        struct effects effects = {0};
        outbuf_init(&effects.out);
        r.effects = r.command->flags & CMD_WRITE ? &effects : NULL;
        if (r.effects)
            effects_start(&r);
        if (s->limited && r.command->flags & CMD_DENYOOM)
            assert_true(store_make_room(r.store));
        if (s->around)
            s->around(true);
        if (r.command->route == ROUTE_GATHER)
            run_gather(s, &r);
        else
            r.command->handler(&r);
        if (s->around)
            s->around(false);
        if (r.effects)
            effects_end(&r);
        show_effects(&effects, &s->effects);
    }
    block_release(block);
    mi_free(s->reply);
    bool complete = !out.out.failed;
    assert_true(complete || s->around);
    collect(&out, &s->reply, &s->reply_len);
    if (runs && complete)
        assert_int_equal(r.replied_error, s->reply[0] == '-');
    mi_free(words);
    show(s);
    return s->text;
}

const char *script_run(struct script *s, const char *line)
{
    return script_run_with(s, line, NULL, 0);
}

const uint8_t *script_reply(const struct script *s)
{
    return s->reply;
}

size_t script_reply_len(const struct script *s)
{
    return s->reply_len;
}

uint64_t script_keys(const struct script *s)
{
    return keyspace_keys(s->keyspace, 0);
}

uint64_t script_memory(const struct script *s)
{
    return keyspace_memory(s->keyspace);
}

const char *script_events(const struct script *s)
{
    return s->events;
}

const char *script_gone(struct script *s)
{
    s->gone_listens = true;
    show_effects(&s->gone, &s->gone_text);
    return s->gone_text;
}

const char *script_effects(const struct script *s)
{
    return s->effects;
}

bool script_maintain_turn(struct script *s, unsigned budget)
{
    bool more = false;
    for (unsigned i = 0; i < s->cores; i++)
        more |= store_maintain(s->stores[i], budget);
    return more;
}

void script_maintain(struct script *s)
{
    while (script_maintain_turn(s, 100))
        ;
}

void script_limit_memory(struct script *s, uint64_t maxmemory)
{
    struct store_options options = {
        .policy = maxmemory ? EVICT_ALLKEYS_LRU : EVICT_NONE, .maxmemory = maxmemory, .samples = 5};
    for (unsigned i = 0; i < s->cores; i++)
        store_configure(s->stores[i], &options);
    s->limited = maxmemory;
}

void script_around(struct script *s, void (*around)(bool begin))
{
    s->around = around;
}

void script_forget(struct script *s)
{
    mi_free(s->reply);
    mi_free(s->text);
    mi_free(s->effects);
    s->reply = NULL;
    s->text = s->effects = NULL;
}

void script_play(struct script *s, const struct step *steps)
{
    for (; steps->line; steps++) {
        const char *reply = script_run(s, steps->line);
        if (strcmp(reply, steps->reply) != 0)
            fail_msg("%s\n  gave   %s\n  wanted %s", steps->line, reply, steps->reply);
    }
}
