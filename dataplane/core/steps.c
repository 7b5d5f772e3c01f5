// Replies that are written, and work that is done, over several turns. The command is a message
// that stays on this core until its reply is complete; its slots are held meanwhile, or have been
// borrowed. Each turn the first of the list takes one step and goes to the end.
#include <mimalloc.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/steps.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/message.h"

// Bytes of a reply that one who sends no more may still get: most are just gone.
#define LEAVING_MAX (64u << 20)

struct stepped {
    struct stepped *next;
    struct message *m;
    struct loan *loan; // that `m` is the command of; NULL: the slots are this core's
    request_step_fn *step;
    request_drop_fn *drop; // NULL: the state holds nothing
    unsigned n_slots;
    uint16_t slot, *slots; // `slots` points to the one, or to memory of its own
    struct key key;        // of request_steps; its bytes are copied behind the state
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
    walk->slots = &walk->slot;
    walk->n_slots = 1;
    walk->key = *key;
    walk->key.ptr = walk->state + state_size;
    memcpy(walk->state + state_size, key->ptr, key->len);
    r->stepped = walk;
    return walk->state;
}

static void walk_free(struct stepped *walk)
{
    if (walk->drop)
        walk->drop(walk->state);
    if (walk->slots != &walk->slot)
        mi_free(walk->slots);
    mi_free(walk);
}

static int by_number(const void *a, const void *b)
{
    return *(const uint16_t *)a - *(const uint16_t *)b;
}

// The slots of all keys of a command, each once. False: memory is short.
static bool take_slots(struct stepped *walk, const struct request *r)
{
    int *positions = mi_mallocn((size_t)r->argc, sizeof(int));
    walk->slots = mi_mallocn((size_t)r->argc, sizeof(uint16_t));
    bool ok = positions && walk->slots;
    int n = ok ? commands_keys(r->command, r->argv, r->argc, positions, r->argc) : 0;
    for (int i = 0; i < n; i++)
        walk->slots[i] = slot_of_key(r->argv[positions[i]].ptr, r->argv[positions[i]].len);
    mi_free(positions);
    if (n > 1)
        qsort(walk->slots, (size_t)n, sizeof(uint16_t), by_number);
    for (int i = 0; i < n; i++)
        if (!i || walk->slots[i] != walk->slots[i - 1])
            walk->slots[walk->n_slots++] = walk->slots[i];
    return ok && n > 0;
}

void *steps_begin_work(struct request *r, bool (*step)(struct request *r, void *state),
                       void (*drop)(void *state), size_t state_size)
{
    struct stepped *walk = mi_zalloc(sizeof(*walk) + state_size);
    if (!walk)
        return NULL;
    if (!take_slots(walk, r)) {
        walk_free(walk);
        return NULL;
    }
    walk->step = step;
    walk->drop = drop;
    r->stepped = walk;
    return walk->state;
}

static void append(struct core *c, struct stepped *walk)
{
    walk->next = NULL;
    if (c->steps_last)
        c->steps_last->next = walk;
    else
        c->steps_first = walk;
    c->steps_last = walk;
}

void steps_take(struct core *c, struct stepped *walk, struct message *m)
{
    if (!m) {
        walk_free(walk);
        return;
    }
    walk->m = m;
    for (unsigned i = 0; i < walk->n_slots; i++)
        loan_hold(c, walk->slots[i]);
    append(c, walk);
}

void steps_take_loan(struct core *c, struct stepped *walk, struct loan *loan)
{
    walk->m = loan_command(loan);
    walk->loan = loan;
    append(c, walk);
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

static struct outbuf *out_of(const struct stepped *walk)
{
    return walk->loan ? &walk->m->slot->out : &walk->m->out;
}

static bool writes(const struct stepped *walk)
{
    return walk->m->command->flags & CMD_WRITE;
}

// A reply that grows beyond all bounds (SRANDMEMBER of 2^62 members) ends its connection.
static void give_up(struct core *c, struct outbuf *out)
{
    c->steps_bytes -= outbuf_size(out);
    outbuf_clear(out);
    out->out.failed = true;
    c->counters.output_limit_disconnections++;
}

// Whether no further step is worth its while.
static bool in_vain(struct core *c, const struct stepped *walk)
{
    struct outbuf *out = out_of(walk);
    enum reader reader = atomic_load_explicit(&walk->m->slot->reader, memory_order_relaxed);
    if (writes(walk))
        return false;
    if (reader == READER_GONE || reader == READER_LOST)
        return true;
    uint64_t size = outbuf_size(out), hard = c->settings.output_limit.hard;
    if ((hard && size > hard) || c->steps_bytes > c->settings.collected_max ||
        (reader == READER_LEAVING && size > LEAVING_MAX)) {
        give_up(c, out);
        return true;
    }
    return false;
}

static bool step(struct core *c, struct stepped *walk)
{
    struct message *m = walk->m;
    if (in_vain(c, walk))
        return true;
    struct outbuf *out = out_of(walk);
    uint64_t before = outbuf_size(out);
    struct session session;
    struct request r = piece_begins(c, m, &session, &out->out);
    uint64_t begin = c->command_mark;
    r.key = walk->key;
    r.effects = writes(walk) ? c->effects : NULL;
    r.observed = writes(walk) && (c->observed || (walk->loan && loan_observed(walk->loan)));
    c->running = &r;
    c->executing++;
    if (r.effects)
        effects_start(&r);
    bool done = walk->step(&r, walk->state);
    if (r.effects)
        effects_end(&r);
    c->executing--;
    c->running = NULL;
    c->steps_bytes += outbuf_size(out) - before;
    piece_ends(c, m, &r, begin);
    parked_serve(c);
    return done;
}

bool steps_run(struct core *c)
{
    if (__builtin_expect(!c->steps_first, 1))
        return false;
    struct stepped *walk = take_first(c);
    if (!step(c, walk)) {
        append(c, walk);
        return true;
    }
    struct message *m = walk->m;
    struct loan *loan = walk->loan;
    c->steps_bytes -= outbuf_size(out_of(walk));
    if (!loan)
        loan_release(c, walk->slots, walk->n_slots, writes(walk));
    walk_free(walk);
    if (loan)
        loan_worked(c, loan);
    else
        route_answer(c, m);
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
        if (walk->loan)
            loan_drop(walk->loan);
        else
            message_free(walk->m);
        walk_free(walk);
    }
}
