// What connections hold in memory, and who goes when it is too much (maxmemory-clients). Each core
// keeps its own in lists by the power of two of what they hold, and tells in which the heaviest
// stand; a sum of all cores says when someone has to go. Then the core that has the heaviest closes
// some, until the sum is within the limit.
#include "dataplane/core/client_memory.h"

#include "dataplane/core/message.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/transaction.h"
#include "dataplane/core/watch.h"

// What is held with less than this is in the lightest list.
#define LIGHTEST_BITS 15
// Seconds that the greatest buffers of late are looked for in.
#define RECENT_SECONDS 8
// Clients that a core closes in one turn.
#define EVICTED_A_TURN 16

uint64_t client_query_bytes(const struct client *client)
{
    return parser_memory(&client->parser) + (client->stream ? client->stream->in_len : 0);
}

uint64_t client_output_bytes(const struct client *client)
{
    uint64_t n = client_told_bytes(client);
    for (struct reply_slot *slot = client->first_reply; slot; slot = slot->next)
        n += sizeof(*slot) + outbuf_size(&slot->out);
    return client->stream ? n + client->stream->ops->unsent(client->stream) : n;
}

uint64_t client_memory(const struct client *client)
{
    uint64_t n = sizeof(*client) + parser_memory(&client->parser) + client_output_bytes(client) +
                 client->pending_bytes;
    if (client->transaction)
        n += client->transaction->bytes;
    if (client->watching)
        n += client->watching->n * sizeof(struct watch);
    if (client->subscriber)
        n += sizeof(*client->subscriber) + client->subscriber->bytes;
    // Its unsent output is counted above.
    if (client->stream)
        n += client->stream->ops->memory(client->stream);
    return n;
}

// --- the greatest of late ------------------------------------------------------------------------

static uint64_t recent(const uint64_t *slots)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < RECENT_SECONDS; i++)
        if (slots[i] > most)
            most = slots[i];
    return most;
}

// Forgets the seconds that are over.
static void age(struct core *c)
{
    struct client_weights *w = &c->weights;
    uint64_t second = c->now_us / 1000000, past = second - w->second;
    for (uint64_t i = 0; i < past && i < RECENT_SECONDS; i++)
        w->input[(second - i) % RECENT_SECONDS] = w->output[(second - i) % RECENT_SECONDS] = 0;
    w->second = second;
}

void clients_recent(struct core *c, uint64_t *input, uint64_t *output)
{
    age(c);
    *input = recent(c->weights.input);
    *output = recent(c->weights.output);
}

static void note_recent(struct core *c, const struct client *client)
{
    struct client_weights *w = &c->weights;
    age(c);
    unsigned at = w->second % RECENT_SECONDS;
    uint64_t input = client_query_bytes(client), output = client_output_bytes(client);
    if (input > w->input[at])
        w->input[at] = input;
    if (output > w->output[at])
        w->output[at] = output;
}

// --- lists by weight -----------------------------------------------------------------------------

static unsigned list_of(uint64_t bytes)
{
    unsigned bits = bytes ? 64 - (unsigned)__builtin_clzll(bytes) : 0;
    if (bits <= LIGHTEST_BITS)
        return 1;
    bits -= LIGHTEST_BITS - 1;
    return bits < CLIENT_WEIGHTS ? bits : CLIENT_WEIGHTS - 1;
}

static void tell_heaviest(struct core *c)
{
    unsigned heaviest = CLIENT_WEIGHTS - 1;
    while (heaviest && !c->weights.first[heaviest])
        heaviest--;
    if (atomic_load_explicit(&c->heaviest, memory_order_relaxed) != heaviest)
        atomic_store_explicit(&c->heaviest, heaviest, memory_order_relaxed);
}

static void move_to(struct core *c, struct client *client, unsigned list)
{
    struct client_weights *w = &c->weights;
    if (client->weight == list)
        return;
    if (client->weight) {
        if (client->prev_weight)
            client->prev_weight->next_weight = client->next_weight;
        else
            w->first[client->weight] = client->next_weight;
        if (client->next_weight)
            client->next_weight->prev_weight = client->prev_weight;
    }
    client->weight = (uint8_t)list;
    if (list) {
        client->prev_weight = NULL;
        client->next_weight = w->first[list];
        if (client->next_weight)
            client->next_weight->prev_weight = client;
        w->first[list] = client;
    }
    tell_heaviest(c);
}

static void count(struct core *c, struct client *client, uint64_t bytes)
{
    uint64_t more = bytes - client->counted_bytes;
    if (!more)
        return;
    client->counted_bytes = bytes;
    c->weights.bytes += more;
    atomic_fetch_add_explicit(&c->server->clients_bytes, more, memory_order_relaxed);
}

void client_weigh(struct core *c, struct client *client)
{
    if (client->flags & (CLIENT_INTERNAL | CLIENT_GONE | CLIENT_CLOSING))
        return;
    uint64_t bytes = client_memory(client);
    note_recent(c, client);
    count(c, client, bytes);
    move_to(c, client, client->no_evict ? 0 : list_of(bytes));
}

void client_unweigh(struct core *c, struct client *client)
{
    count(c, client, 0);
    move_to(c, client, 0);
}

// --- who goes ------------------------------------------------------------------------------------

static bool too_much(const struct core *c)
{
    return c->settings.clients_max &&
           atomic_load_explicit(&c->server->clients_bytes, memory_order_relaxed) >
               c->settings.clients_max;
}

// The core that has the heaviest; this one, where several do.
static unsigned heaviest_core(const struct core *c, unsigned *list)
{
    unsigned at = c->index;
    *list = atomic_load_explicit(&c->heaviest, memory_order_relaxed);
    for (unsigned i = 0; i < c->server->n_cores; i++) {
        unsigned there = atomic_load_explicit(&c->server->cores[i]->heaviest, memory_order_relaxed);
        if (there > *list) {
            *list = there;
            at = i;
        }
    }
    return at;
}

static void asked_to_look(struct core *c, struct message *m)
{
    (void)m;
    atomic_store_explicit(&c->asked_to_evict, false, memory_order_relaxed);
    clients_evict(c);
}

void clients_evict(struct core *c)
{
    for (unsigned n = 0; n < EVICTED_A_TURN && too_much(c); n++) {
        unsigned list, at = heaviest_core(c, &list);
        if (!list) // those that are left may not be closed
            return;
        if (at != c->index) {
            static const struct session nobody;
            struct core *other = c->server->cores[at];
            if (!atomic_exchange(&other->asked_to_evict, true) &&
                !mailbox_tell(c, at, &nobody, 0, NULL, asked_to_look))
                atomic_store(&other->asked_to_evict, false);
            return;
        }
        struct client *client = c->weights.first[list];
        uint64_t before = client->counted_bytes;
        client_weigh(c, client);
        if (client->weight != list && client->counted_bytes < before)
            continue; // it holds less by now
        c->counters.evicted_clients++;
        client_abort(c, client, "connections hold more memory than maxmemory-clients");
        client_unweigh(c, client);
    }
}
