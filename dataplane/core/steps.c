// Replies that are written over several turns. The command is a message that stays on this core
// until its reply is complete; its slot is held meanwhile. Each turn the first of the list takes
// one step and goes to the end.
#include <mimalloc.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/commands/steps.h"
#include "dataplane/core/message.h"

// Bytes of a reply that one who sends no more may still get: most are just gone.
#define LEAVING_MAX (64u << 20)

struct stepped {
    struct stepped *next;
    struct message *m;
    request_step_fn *step;
    uint16_t slot;
    size_t key_len; // of the key, copied behind the state
    struct key key;
    _Alignas(16) uint8_t state[];
};

void *steps_begin(struct request *r, const struct key *key,
                  bool (*step)(struct request *r, void *state), size_t state_size)
{
    struct stepped *walk = mi_zalloc(sizeof(*walk) + state_size + key->len);
    if (!walk)
        return NULL;
    walk->step = step;
    walk->slot = key->slot;
    walk->key = *key;
    walk->key.ptr = walk->state + state_size;
    memcpy(walk->state + state_size, key->ptr, key->len);
    r->stepped = walk;
    return walk->state;
}

void steps_take(struct core *c, struct stepped *walk, struct message *m)
{
    if (!m) {
        mi_free(walk);
        return;
    }
    walk->m = m;
    walk->next = NULL;
    loan_hold(c, walk->slot);
    if (c->steps_last)
        c->steps_last->next = walk;
    else
        c->steps_first = walk;
    c->steps_last = walk;
}

static struct stepped *take_first(struct core *c)
{
    struct stepped *walk = c->steps_first;
    c->steps_first = walk->next;
    if (!walk->next)
        c->steps_last = NULL;
    walk->next = NULL;
    return walk;
}

// A reply that grows beyond all bounds (SRANDMEMBER of 2^62 members) ends its connection.
static void give_up(struct core *c, struct message *m)
{
    c->steps_bytes -= outbuf_size(&m->out);
    outbuf_clear(&m->out);
    m->out.out.failed = true;
    c->counters.output_limit_disconnections++;
}

static bool step(struct core *c, struct stepped *walk)
{
    struct message *m = walk->m;
    enum reader reader = atomic_load_explicit(&m->slot->reader, memory_order_relaxed);
    if (reader == READER_GONE)
        return true;
    uint64_t before = outbuf_size(&m->out), hard = c->settings.output_limit.hard;
    if ((hard && before > hard) || c->steps_bytes > c->settings.collected_max ||
        (reader == READER_LEAVING && before > LEAVING_MAX)) {
        give_up(c, m);
        return true;
    }
    struct session session = m->session;
    struct request r = {
        .session = &session,
        .command = m->command,
        .argc = m->argc,
        .argv = m->argv,
        .key = walk->key,
        .out = &m->out.out,
        .store = c->store,
        .services = &c->services,
        .core = c,
        .now_ms = c->now_ms,
        .now_us = c->now_us,
        .core_index = c->index,
        .limits = &c->settings.limits,
    };
    if (c->timed)
        execute_timed(c);
    uint64_t begin = __rdtsc();
    bool done = walk->step(&r, walk->state);
    c->steps_bytes += outbuf_size(&m->out) - before;
    c->command_mark = __rdtsc();
    c->command_figures[m->command->id].usec += c->command_mark - begin;
    return done;
}

bool steps_run(struct core *c)
{
    if (__builtin_expect(!c->steps_first, 1))
        return false;
    struct stepped *walk = take_first(c);
    if (step(c, walk)) {
        struct message *m = walk->m;
        c->steps_bytes -= outbuf_size(&m->out);
        loan_release(c, walk->slot);
        mi_free(walk);
        route_answer(c, m);
        return true;
    }
    if (c->steps_last)
        c->steps_last->next = walk;
    else
        c->steps_first = walk;
    c->steps_last = walk;
    return true;
}

void steps_end(struct core *c)
{
    while (c->steps_first) {
        struct stepped *walk = take_first(c);
        struct reply_slot *slot = walk->m->from == c->index ? walk->m->slot : NULL;
        if (slot && !slot->client) {
            outbuf_clear(&slot->out);
            mi_free(slot);
        }
        message_free(walk->m);
        mi_free(walk);
    }
}
