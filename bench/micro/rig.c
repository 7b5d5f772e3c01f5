#include "bench/micro/rig.h"

#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/latency.h"

// Not powers of two: the beginnings of all tapes would compete for the same sets of the cache.
#define TAPE_IN (12 * 1024 + 192)
#define TAPE_OUT (48 * 1024 + 192)
#define START_MS UINT64_C(1700000000000)
#define SETTLE_BUDGET 256
#define WORD_MAX 128

// --- tapes

static void tape_refill(struct stream *s)
{
    s->in_len = 0;
}

static void tape_push(struct stream *s)
{
    (void)s;
}

static size_t tape_unsent(const struct stream *s)
{
    (void)s;
    return 0;
}

static void tape_closed(struct stream *s)
{
    ((struct tape *)s)->broken = true;
}

static void tape_keepalive(struct stream *s, unsigned idle_s)
{
    (void)s, (void)idle_s;
}

static void tape_info(const struct stream *s, struct stream_info *info)
{
    (void)s;
    *info = (struct stream_info){.local = {.family = 0}};
}

static const struct stream_ops tape_ops = {
    .refill = tape_refill,
    .push = tape_push,
    .unsent = tape_unsent,
    .memory = tape_unsent,
    .close = tape_closed,
    .abort = tape_closed,
    .release = tape_closed,
    .keepalive = tape_keepalive,
    .info = tape_info,
};

// Replies that do not fit are told by rig_check.
static void tape_grow(struct out *o, size_t need)
{
    struct tape *t = (struct tape *)o;
    (void)need;
    t->broken = true;
    o->pos = t->out;
}

static void tape_ref(struct out *o, struct block *b, size_t offset, size_t len)
{
    (void)b, (void)offset, (void)len;
    ((struct tape *)o)->broken = true; // no value here is big enough
}

static const struct out_ops tape_out_ops = {.grow = tape_grow, .ref = tape_ref};

static bool tape_open(struct rig *r, struct tape *t)
{
    t->in = mi_malloc(TAPE_IN);
    t->out = mi_malloc(TAPE_OUT);
    if (!t->in || !t->out)
        return false;
    t->stream.ops = &tape_ops;
    t->stream.out = (struct out){.pos = t->out, .end = t->out + TAPE_OUT, .ops = &tape_out_ops};
    t->stream.events = STREAM_ACCEPTED;
    client_event(r->core, &t->stream);
    return t->stream.owner && !t->broken;
}

// --- the core

// What core_start does, without a transport.
static bool core_begin(struct rig *r)
{
    struct server *s = &r->server;
    s->n_cores = 1;
    s->cycles_per_us = 1000;
    s->start_ms = START_MS;
    struct config *config = config_new();
    char error[256];
    if (!config || config_set(config, "protected-mode", "no", 2, error, sizeof(error)))
        return false;
    atomic_store(&s->config, config);
    pthread_mutex_init(&s->config_lock, NULL);
    commands_init();
    if (access_start(s, config, error, sizeof(error)))
        return false;
    struct keyspace_config k = {
        .cores = 1, .databases = 16, .secret = "pollux-micro", .epoch_ms = START_MS};
    s->keyspace = keyspace_create(&k);
    struct core *c = r->core = core_create(s, 0, -1);
    if (!s->keyspace || !c)
        return false;
    s->cores[0] = c;
    for (unsigned i = 0; i < 4; i++)
        c->random[i] = rig_random(r);
    c->command_figures = mi_calloc(commands_count() + 1, sizeof(*c->command_figures));
    c->store = store_create(s->keyspace, 0, core_random(c));
    if (!c->command_figures || !c->store || !blocked_start(c) || !latency_start(c))
        return false;
    services_init(c);
    execute_quick_init(c);
    settings_adopt(c);
    access_adopt(c);
    rig_time(r, 1000000);
    return true;
}

void rig_time(struct rig *r, uint64_t now_us)
{
    r->core->now_us = now_us;
    r->core->now_ms = START_MS + now_us / 1000;
    store_set_time(r->core->store, r->core->now_ms);
}

struct rig *rig_open(void)
{
    struct rig *r = mi_zalloc(sizeof(*r));
    if (!r)
        return NULL;
    r->random = UINT64_C(88172645463325252);
    bool ok = core_begin(r);
    for (unsigned i = 0; ok && i < TAPES_MAX; i++)
        ok = tape_open(r, &r->tapes[i]);
    if (ok)
        return r;
    rig_close(r);
    return NULL;
}

void rig_close(struct rig *r)
{
    struct core *c = r->core;
    if (c) {
        clients_end(c);
        blocked_stop(c);
        latency_stop(c);
        if (c->store)
            store_destroy(c->store);
        core_destroy(c);
    }
    access_end(&r->server);
    if (r->server.keyspace)
        keyspace_destroy(r->server.keyspace);
    config_free(atomic_load(&r->server.config));
    for (unsigned i = 0; i < TAPES_MAX; i++) {
        mi_free(r->tapes[i].in);
        mi_free(r->tapes[i].out);
    }
    mi_free(r);
    mi_collect(true);
}

// --- keys and values

uint64_t rig_random(struct rig *r)
{
    r->random ^= r->random >> 12;
    r->random ^= r->random << 25;
    r->random ^= r->random >> 27;
    return r->random * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t rig_below(struct rig *r, uint64_t n)
{
    return (uint64_t)((unsigned __int128)rig_random(r) * n >> 64);
}

static void digits(uint8_t *to, unsigned n, uint64_t value)
{
    while (n--) {
        to[n] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
}

void rig_key(uint8_t *to, uint64_t number)
{
    memcpy(to, "key:", 4);
    digits(to + 4, RIG_KEY_LEN - 4, number);
}

void rig_data(uint8_t *to, uint64_t number)
{
    memset(to, 'a' + (int)(number % 26), RIG_DATA_LEN);
    digits(to, 12, number);
}

bool rig_fill(struct rig *r, uint64_t keys)
{
    struct store *s = r->core->store;
    for (; r->keys < keys; r->keys++) {
        uint8_t name[RIG_KEY_LEN], data[RIG_DATA_LEN];
        rig_key(name, r->keys);
        rig_data(data, r->keys);
        struct key key = keyspace_key(r->server.keyspace, name, sizeof(name));
        struct arg arg = {.ptr = data, .len = sizeof(data)};
        if (!store_set_string(s, 0, &key, NULL, &arg, -1, SET_INTEGER_TRY))
            return false;
        if (r->keys % 64 == 0)
            store_maintain(s, 32);
    }
    rig_settle(r);
    return true;
}

void rig_settle(struct rig *r)
{
    while (store_maintain(r->core->store, SETTLE_BUDGET))
        ;
}

// --- commands

static size_t put_word(uint8_t *to, const void *word, size_t len)
{
    int head = sprintf((char *)to, "$%zu\r\n", len);
    memcpy(to + head, word, len);
    memcpy(to + (size_t)head + len, "\r\n", 2);
    return (size_t)head + len + 2;
}

static bool is(const char *word, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(word, name, len) == 0;
}

size_t rig_compose(struct rig *r, uint8_t *to, const char *command, uint64_t key)
{
    unsigned words = 1;
    for (const char *p = command; *p; p++)
        words += *p == ' ';
    size_t at = (size_t)sprintf((char *)to, "*%u\r\n", words);
    while (*command) {
        size_t len = strcspn(command, " ");
        uint8_t made[WORD_MAX];
        if (is(command, len, "@key")) {
            rig_key(made, key);
            at += put_word(to + at, made, RIG_KEY_LEN);
        } else if (is(command, len, "@data")) {
            rig_data(made, key);
            at += put_word(to + at, made, RIG_DATA_LEN);
        } else if (is(command, len, "@value") || is(command, len, "@new")) {
            made[0] = (uint8_t)command[1];
            digits(made + 1, 7, command[1] == 'v' ? rig_random(r) : key);
            at += put_word(to + at, made, 8);
        } else if (is(command, len, "@score")) {
            digits(made, 3, rig_below(r, 900) + 100);
            at += put_word(to + at, made, 3);
        } else {
            at += put_word(to + at, command, len);
        }
        command += len + (command[len] == ' ');
    }
    return at;
}

static uint64_t choose(struct rig *r, enum key_choice choice, unsigned n)
{
    switch (choice) {
    case KEY_ANY:
        return rig_below(r, r->keys);
    case KEY_MISSING:
        return r->keys + rig_below(r, r->keys);
    case KEY_NEW:
        return r->keys + r->next_new++;
    case KEY_SAME:
        break;
    }
    return r->chosen[n];
}

static void show(struct rig *r, struct tape *t)
{
    t->stream.out.pos = t->out;
    t->stream.in = t->in;
    t->stream.in_len = (uint32_t)t->in_len;
    t->stream.events = STREAM_READABLE;
    client_event(r->core, &t->stream);
}

void rig_load(struct rig *r, struct shape shape, const char *command, enum key_choice choice)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TAPES_MAX; i++)
        r->tapes[i].commands = 0;
    for (unsigned i = 0; i < shape.clients; i++) {
        struct tape *t = &r->tapes[i];
        t->in_len = 0;
        for (; t->commands < shape.pipeline; t->commands++, n++) {
            r->chosen[n] = choose(r, choice, n);
            t->in_len += rig_compose(r, t->in + t->in_len, command, r->chosen[n]);
        }
    }
    r->loaded = n;
    for (unsigned i = 0; i < shape.clients; i++)
        show(r, &r->tapes[i]);
}

void rig_run(struct rig *r, uint64_t *cycles)
{
    struct core *c = r->core;
    uint64_t before[PLANE_STAGES];
    memcpy(before, c->counters.stage_cycles, sizeof(before));
    core_stage(c, STAGE_MAILBOX); // the stage begins now
    before[STAGE_MAILBOX] = c->counters.stage_cycles[STAGE_MAILBOX];
    while (c->queue_first)
        batch_run(c);
    for (unsigned i = 0; cycles && i < PLANE_STAGES; i++)
        cycles[i] += c->counters.stage_cycles[i] - before[i];
    clients_push(c);
}

size_t rig_reply_len(const uint8_t *p, size_t len)
{
    size_t at = 0;
    for (uint64_t left = 1; left; left--) { // replies still to come, elements of arrays among them
        const uint8_t *end = memchr(p + at, '\n', len - at);
        if (!end)
            return 0;
        long n = strtol((const char *)p + at + 1, NULL, 10); // the line ends it
        char kind = (char)p[at];
        at = (size_t)(end - p) + 1;
        if (kind == '$' && n >= 0)
            at += (size_t)n + 2;
        else if (kind == '*' && n > 0)
            left += (uint64_t)n;
        if (at > len)
            return 0;
    }
    return at;
}

bool rig_check(struct rig *r, char kind, bool data)
{
    unsigned n = 0;
    for (unsigned i = 0; i < TAPES_MAX; i++) {
        struct tape *t = &r->tapes[i];
        const uint8_t *p = t->out, *end = t->stream.out.pos;
        for (unsigned k = 0; k < t->commands; k++, n++) {
            size_t len = t->broken ? 0 : rig_reply_len(p, (size_t)(end - p));
            uint8_t value[RIG_DATA_LEN];
            rig_data(value, r->chosen[n]);
            bool good = len && (char)*p == kind;
            if (good && data)
                good = len == RIG_VALUE_LEN && memcmp(p + 5, value, sizeof(value)) == 0;
            if (!good) {
                snprintf(r->error, sizeof(r->error), "the reply to a command is wrong: '%.*s'",
                         (int)strnlen((const char *)p, len ? len : 1), (const char *)p);
                return false;
            }
            p += len;
        }
        if (t->commands && p != end) {
            snprintf(r->error, sizeof(r->error), "there are more replies than commands");
            return false;
        }
    }
    r->replies += n;
    return true;
}

bool rig_fill_with(struct rig *r, uint64_t keys, const char *const *commands)
{
    const struct shape shape = {.clients = 16, .pipeline = 16};
    uint64_t first = r->keys;
    for (; *commands; commands++) {
        r->keys = first;
        r->next_new = 0;
        while (r->next_new < keys) {
            rig_load(r, shape, *commands, KEY_NEW);
            rig_run(r, NULL);
            store_maintain(r->core->store, SETTLE_BUDGET);
            for (unsigned i = 0; i < shape.clients; i++)
                if (r->tapes[i].broken || *r->tapes[i].out == '-')
                    return false;
        }
    }
    r->keys += r->next_new;
    r->next_new = 0;
    rig_settle(r);
    return true;
}
