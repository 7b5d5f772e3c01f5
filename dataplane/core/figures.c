// Figures of a core, published for the control plane once per interval.
#include <string.h>

#include "dataplane/core/latency.h"

static void put(_Atomic uint64_t *to, uint64_t value)
{
    atomic_store_explicit(to, value, memory_order_relaxed);
}

// Rates of the last full second.
static void measure_rates(struct core *c)
{
    uint64_t elapsed_us = c->now_us - c->second_start_us;
    if (elapsed_us < 1000000)
        return;
    double seconds = (double)elapsed_us / 1e6;
    struct core_counters *n = &c->counters;
    uint64_t bytes_in, bytes_out;
    transport_bytes(c, &bytes_in, &bytes_out);
    c->ops = (double)(n->commands - c->second_commands) / seconds;
    c->in_kbps = (double)(bytes_in - c->second_in) / 1024 / seconds;
    c->out_kbps = (double)(bytes_out - c->second_out) / 1024 / seconds;
    c->second_start_us = c->now_us;
    c->second_commands = n->commands;
    c->second_in = bytes_in;
    c->second_out = bytes_out;
}

uint64_t figures_memory_peak(struct core *c, uint64_t used)
{
    _Atomic uint64_t *peak = &c->server->memory_peak;
    uint64_t seen = atomic_load_explicit(peak, memory_order_relaxed);
    while (seen < used && !atomic_compare_exchange_weak(peak, &seen, used))
        ;
    return seen > used ? seen : used;
}

static void publish_sums(struct server *server, uint64_t maxmemory)
{
    uint64_t keys = 0;
    for (unsigned db = 0; db < keyspace_databases(server->keyspace); db++)
        keys += keyspace_keys(server->keyspace, db);
    put(&server->segment->keys, keys);
    put(&server->segment->memory_used, keyspace_used(server->keyspace));
    put(&server->segment->maxmemory, maxmemory);
}

void figures_publish(struct core *c)
{
    measure_rates(c);
    struct plane_core *p = &c->server->segment->core[c->index];
    const struct core_counters *n = &c->counters;
    const struct store_stats *s = store_statistics(c->store);
    uint64_t bytes_in, bytes_out;
    transport_bytes(c, &bytes_in, &bytes_out);
    atomic_store_explicit(&p->cpu, c->cpu, memory_order_relaxed);
    put(&p->cycles_per_second, c->server->cycles_per_us * 1000000);
    put(&p->turns, n->turns);
    put(&p->busy_cycles, n->busy_cycles);
    put(&p->idle_cycles, n->idle_cycles);
    for (unsigned i = 0; i < PLANE_STAGES; i++)
        put(&p->stage_cycles[i], n->stage_cycles[i]);
    put(&p->commands, n->commands);
    put(&p->errors, n->errors);
    put(&p->connections_received, n->connections_received);
    put(&p->connections_rejected, n->connections_rejected);
    put(&p->clients, c->n_clients);
    put(&p->bytes_in, bytes_in);
    put(&p->bytes_out, bytes_out);
    put(&p->hits, s->hits);
    put(&p->misses, s->misses);
    put(&p->expired, s->expired);
    put(&p->evicted, s->evicted);
    put(&p->forwarded, n->forwarded);
    put(&p->borrows, n->borrows);
    put(&p->gathers, n->gathers);
    put(&p->mailbox_full, n->starved);
    put(&p->sleeps, n->sleeps);
    put(&p->wakes, n->wakes);
    put(&p->ops_per_second, (uint64_t)c->ops);
    memory_count(c, c->weights.bytes);
    figures_memory_peak(c, keyspace_used(c->server->keyspace));
    struct owned_figures owned = store_owned_figures(c->store);
    put(&p->keys, owned.keys);
    put(&p->memory_used, owned.bytes);
    if (c->index == 0)
        publish_sums(c->server, c->settings.maxmemory);
}

void figures_reset(struct core *c)
{
    uint64_t busy = c->counters.busy_cycles, idle = c->counters.idle_cycles;
    uint64_t turns = c->counters.turns;
    memset(&c->counters, 0, sizeof(c->counters));
    c->exceeded_since_us = 0;
    c->counters.busy_cycles = busy;
    c->counters.idle_cycles = idle;
    c->counters.turns = turns;
    memset(c->command_figures, 0, (commands_count() + 1) * sizeof(*c->command_figures));
    latency_reset_histograms(c);
    c->n_error_counts = 0;
    memset(c->error_counts, 0, sizeof(c->error_counts));
    store_reset_statistics(c->store);
    uint64_t bytes_in, bytes_out;
    transport_bytes(c, &bytes_in, &bytes_out);
    c->second_commands = 0;
    c->second_in = bytes_in;
    c->second_out = bytes_out;
}
