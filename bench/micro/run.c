// Runs stages: those over no table, then those over each table, as it grows, then other types.
#include <math.h>
#include <mimalloc.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/micro/plan.h"

#define ROUNDS_MIN 5
#define ROUNDS_MAX 8192
#define ROUNDS_COUNTED 8 // of instructions: they hardly differ
#define FEW_KEYS 1000

struct run {
    const struct plan *plan;
    struct results *results;
    void (*each)(const struct result *result);
    struct bench bench;
    double cycles[ROUNDS_MAX];
};

static bool round_of(struct run *run, const struct stage *s, struct measure *m)
{
    m->cycles = m->instructions = m->ops = 0;
    return s->kind->round(&run->bench, s, m);
}

static bool run_rounds(struct run *run, const struct stage *s, struct result *to)
{
    const struct plan *plan = run->plan;
    struct measure m = {.mode = MEASURE_WARM};
    double ticks = clock_rate();
    uint64_t until = clock_ticks() + (uint64_t)(plan->seconds / 5 * ticks);
    do
        if (!round_of(run, s, &m))
            return false;
    while (!plan->counted && clock_ticks() < until);
    if (plan->counted) {
        m.mode = MEASURE_CALLGRIND;
        bool good = round_of(run, s, &m);
        to->ops = m.ops;
        return good;
    }
    m.mode = MEASURE_CYCLES;
    until = clock_ticks() + (uint64_t)(plan->seconds * ticks);
    while (to->rounds < ROUNDS_MIN || (to->rounds < ROUNDS_MAX && clock_ticks() < until)) {
        if (!round_of(run, s, &m))
            return false;
        to->ops += m.ops;
        run->cycles[to->rounds++] = (double)m.cycles / (double)m.ops;
    }
    to->cycles = percentile(run->cycles, (unsigned)to->rounds, 50);
    to->low = percentile(run->cycles, (unsigned)to->rounds, 10);
    to->high = percentile(run->cycles, (unsigned)to->rounds, 90);
    uint64_t instructions = 0, ops = 0;
    m.mode = MEASURE_COUNT;
    for (unsigned i = 0; measure_counts() && i < ROUNDS_COUNTED; i++) {
        if (!round_of(run, s, &m))
            return false;
        instructions += m.instructions;
        ops += m.ops;
    }
    if (instructions)
        to->instructions = (double)instructions / (double)ops;
    return true;
}

static bool run_stage(struct run *run, const struct stage *s, uint64_t keys)
{
    struct results *r = run->results;
    if (r->n == RESULTS_MAX)
        return true;
    struct result *to = &r->at[r->n];
    *to = (struct result){.stage = s, .keys = keys, .instructions = NAN};
    run->bench.state = NULL;
    bool good = !s->kind->open || s->kind->open(&run->bench, s);
    if (!good && !*run->bench.rig->error)
        strcpy(run->bench.rig->error, "out of memory");
    good = good && run_rounds(run, s, to);
    if (s->kind->close)
        s->kind->close(&run->bench);
    if (!good)
        return false;
    if (s->kind->needs == NEEDS_REQUESTS)
        to->figures = *request_figures();
    r->n++;
    if (run->each)
        run->each(to);
    return true;
}

static bool any_needs(const struct plan *p, enum stage_needs needs)
{
    for (unsigned i = 0; i < p->n_stages; i++)
        if (p->chosen[i] && p->stages[i].kind->needs == needs)
            return true;
    return false;
}

static bool run_needing(struct run *run, enum stage_needs needs, uint64_t keys)
{
    const struct plan *p = run->plan;
    for (unsigned i = 0; i < p->n_stages; i++)
        if (p->chosen[i] && p->stages[i].kind->needs == needs &&
            !run_stage(run, &p->stages[i], keys))
            return false;
    return true;
}

static void note_table(struct run *run, uint64_t keys, uint64_t empty)
{
    struct results *r = run->results;
    struct table_memory *t = &r->tables[r->n_tables++];
    t->keys = keys;
    t->bytes = keyspace_memory(run->bench.rig->server.keyspace);
    t->resident_bytes = machine_resident(&t->huge_bytes);
    t->resident_bytes -= t->resident_bytes > empty ? empty : t->resident_bytes;
}

static bool run_tables(struct run *run)
{
    const struct plan *p = run->plan;
    struct rig *rig = run->bench.rig;
    uint64_t huge, empty = machine_resident(&huge);
    if (!rig_fill(rig, FEW_KEYS < p->keys[0] ? FEW_KEYS : p->keys[0]) ||
        !run_needing(run, NEEDS_NOTHING, 0) || !run_needing(run, NEEDS_WIRE, 0))
        return false;
    bool tables = any_needs(p, NEEDS_TABLE) || any_needs(p, NEEDS_REQUESTS);
    for (unsigned i = 0; tables && i < p->n_keys; i++) {
        if (!rig_fill(rig, p->keys[i]))
            return false;
        note_table(run, p->keys[i], empty);
        if (!run_needing(run, NEEDS_TABLE, p->keys[i]) ||
            !run_needing(run, NEEDS_REQUESTS, p->keys[i]))
            return false;
    }
    return true;
}

static void keep_error(struct run *run, char *error, size_t size, const char *what)
{
    struct rig *rig = run->bench.rig;
    snprintf(error, size, "%s%s%s", what ? what : "", what ? ": " : "",
             rig && *rig->error ? rig->error : "out of memory");
}

// Stages over the same values follow each other, and share them.
static bool run_values(struct run *run, char *error, size_t size)
{
    const struct plan *p = run->plan;
    const char *const *filled = NULL;
    bool good = true;
    run->bench.rig = NULL;
    for (unsigned i = 0; good && i < p->n_stages; i++) {
        const struct stage *s = &p->stages[i];
        if (!p->chosen[i] || s->kind->needs != NEEDS_VALUES)
            continue;
        if (s->kind->fill != filled) {
            if (run->bench.rig) {
                run->results->replies += run->bench.rig->replies;
                rig_close(run->bench.rig);
            }
            run->bench.rig = rig_open();
            good = run->bench.rig && rig_fill_with(run->bench.rig, p->values, s->kind->fill);
        }
        filled = s->kind->fill;
        good = good && run_stage(run, s, p->values);
        if (!good)
            keep_error(run, error, size, s->name);
    }
    if (run->bench.rig) {
        run->results->replies += run->bench.rig->replies;
        rig_close(run->bench.rig);
    }
    return good;
}

bool plan_run(const struct plan *p, struct results *r, void (*each)(const struct result *result),
              char *error, size_t size)
{
    struct run *run = mi_zalloc(sizeof(*run));
    if (!run) {
        snprintf(error, size, "out of memory");
        return false;
    }
    *run = (struct run){.plan = p, .results = r, .each = each};
    run->bench.offloads = p->offloads;
    run->bench.rig = rig_open();
    bool good = run->bench.rig && run_tables(run);
    if (!good)
        keep_error(run, error, size, run->bench.rig && r->n ? "after the last stage shown" : NULL);
    if (run->bench.rig) {
        r->replies += run->bench.rig->replies;
        rig_close(run->bench.rig);
    }
    good = good && run_values(run, error, size);
    mi_free(run);
    return good;
}
