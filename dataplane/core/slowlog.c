#include "dataplane/core/slowlog.h"

#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/commands/shown.h"

// What is said of an argument that is cut, or stands for others.
#define WORDS_MAX 64

struct slow {
    struct slow *newer, *older;
    struct slow_entry entry;
    uint8_t bytes[];
};

static uint64_t to_cycles(const struct core *c, uint64_t us)
{
    uint64_t cycles;
    return __builtin_mul_overflow(us, c->server->cycles_per_us, &cycles) ? UINT64_MAX : cycles;
}

void slowlog_configure(struct core *c)
{
    struct slowlog *s = &c->slowlog;
    int64_t slow_us = config_integer(c->config, "slowlog-log-slower-than");
    s->threshold_cycles = slow_us < 0 ? UINT64_MAX : to_cycles(c, (uint64_t)slow_us);
    c->slow_cycles = s->threshold_cycles < c->event_cycles ? s->threshold_cycles : c->event_cycles;
    if (slow_us >= 0 && slow_us < SLOW_ALONE_US)
        c->closely |= CLOSELY_TIMED;
    else
        c->closely &= ~(uint32_t)CLOSELY_TIMED;
}

// --- entries -------------------------------------------------------------------------------------

// Builds an entry in two rounds: the first, without memory, counts.
struct writer {
    uint8_t *at; // NULL: counts
    size_t size;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    if (w->at) {
        memcpy(w->at, bytes, len);
        w->at += len;
    }
    w->size += len;
}

static void put_text(struct writer *w, const void *text, size_t len)
{
    uint32_t n = (uint32_t)len;
    put(w, &n, sizeof(n));
    put(w, text, len);
}

static void put_arg(struct writer *w, const struct arg *a)
{
    if (a->len <= SLOW_ARG_BYTES) {
        put_text(w, a->ptr, a->len);
        return;
    }
    char text[SLOW_ARG_BYTES + WORDS_MAX];
    memcpy(text, a->ptr, SLOW_ARG_BYTES);
    int n =
        snprintf(text + SLOW_ARG_BYTES, WORDS_MAX, "... (%zu more bytes)", a->len - SLOW_ARG_BYTES);
    put_text(w, text, SLOW_ARG_BYTES + (size_t)n);
}

static void put_words(struct writer *w, const char *format, unsigned n)
{
    char text[WORDS_MAX];
    snprintf(text, sizeof(text), format, n);
    put_text(w, text, strlen(text));
}

// Returns how many arguments it has.
static uint32_t write_entry(struct core *c, struct writer *w, const struct client *client,
                            const struct command *command, int argc, const struct arg *argv,
                            unsigned group)
{
    char address[CLIENT_ADDRESS_MAX];
    int whole = argc > SLOW_ARGS ? SLOW_ARGS - 1 : argc;
    for (int i = 0; i < whole; i++) {
        if (shown_secret(&c->services, c, command, argc, argv, i))
            put_text(w, SHOWN_REDACTED, strlen(SHOWN_REDACTED));
        else
            put_arg(w, &argv[i]);
    }
    if (whole < argc)
        put_words(w, "... (%u more arguments)", (unsigned)(argc - whole));
    if (group > 1)
        put_words(w, "... (the last of %u that were timed together)", group);
    const char *who = client && client->flags & CLIENT_INTERNAL ? "control:0"
                      : client ? client_address(c, &client->remote, address)
                               : "?:0";
    const char *name = client ? client_name(client) : "";
    put_text(w, who, strlen(who));
    put_text(w, name, strlen(name));
    return (uint32_t)whole + (whole < argc) + (group > 1);
}

static void drop_oldest(struct slowlog *s)
{
    struct slow *e = s->oldest;
    s->oldest = e->newer;
    if (e->newer)
        e->newer->older = NULL;
    else
        s->newest = NULL;
    s->n--;
    s->bytes -= mi_usable_size(e);
    mi_free(e);
}

static void add(struct core *c, const struct client *client, const struct command *command,
                int argc, const struct arg *argv, uint64_t cycles, unsigned group)
{
    struct slowlog *s = &c->slowlog;
    struct writer w = {0};
    uint32_t n_args = write_entry(c, &w, client, command, argc, argv, group);
    struct slow *e = mi_malloc(sizeof(*e) + w.size);
    if (!e)
        return;
    *e = (struct slow){.older = s->newest};
    e->entry = (struct slow_entry){
        .id = atomic_fetch_add_explicit(&c->server->next_slow_id, 1, memory_order_relaxed),
        .time_s = core_wall_ms() / 1000,
        .us = cycles / c->server->cycles_per_us,
        .n_args = n_args,
        .size = (uint32_t)w.size,
    };
    w = (struct writer){.at = e->bytes};
    write_entry(c, &w, client, command, argc, argv, group);
    if (s->newest)
        s->newest->newer = e;
    else
        s->oldest = e;
    s->newest = e;
    s->n++;
    s->bytes += mi_usable_size(e);
}

void slowlog_take(struct core *c, const struct client *client, const struct command *command,
                  int argc, const struct arg *argv, uint64_t cycles, unsigned group)
{
    latency_event(c, command->flags & CMD_FAST ? LATENCY_FAST_COMMAND : LATENCY_COMMAND, cycles);
    slowlog_keep(c, client, command, argc, argv, cycles, group);
}

void slowlog_keep(struct core *c, const struct client *client, const struct command *command,
                  int argc, const struct arg *argv, uint64_t cycles, unsigned group)
{
    struct slowlog *s = &c->slowlog;
    if (cycles < s->threshold_cycles || command->flags & CMD_SKIP_SLOWLOG)
        return;
    add(c, client, command, argc, argv, cycles, group);
    uint64_t most = (uint64_t)config_integer(c->config, "slowlog-max-len");
    while (s->n > most)
        drop_oldest(s);
    c->command_mark = __rdtsc(); // the next command is not to blame
}

void slowlog_reset(struct core *c)
{
    while (c->slowlog.oldest)
        drop_oldest(&c->slowlog);
}

// --- what SLOWLOG asks ---------------------------------------------------------------------------

static void summary(struct core *c, struct slow_summary *to)
{
    *to = (struct slow_summary){
        .length = c->slowlog.n,
        .most = (uint64_t)config_integer(c->config, "slowlog-max-len"),
    };
}

static void each(struct core *c, uint64_t n, slow_each_fn *fn, void *context)
{
    for (const struct slow *e = c->slowlog.newest; e && n; e = e->older, n--)
        fn(context, &e->entry, e->bytes);
}

void slowlog_services(struct services *services)
{
    services->slowlog_summary = summary;
    services->slowlog_each = each;
    services->slowlog_reset = slowlog_reset;
}
