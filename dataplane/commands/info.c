// INFO: every core writes its figures, the core of the caller adds them up and writes the text.
#include "dataplane/commands/info.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/observe.h"
#include "dataplane/commands/server.h"

// How a part carries a command that was called.
struct command_record {
    uint64_t id;
    struct command_figures figures;
};

static_assert(sizeof(struct core_figures) % sizeof(uint64_t) == 0, "summed word by word");

// --- the part of one core ----------------------------------------------------------------------

struct collector {
    struct info_error errors[INFO_ERRORS_MAX];
    uint64_t n;
};

static void collect_error(void *context, const char *prefix, uint64_t count)
{
    struct collector *c = context;
    if (c->n == INFO_ERRORS_MAX)
        return;
    struct info_error *e = &c->errors[c->n++];
    *e = (struct info_error){.count = count};
    snprintf(e->prefix, sizeof(e->prefix), "%s", prefix);
}

static bool command_was_used(const struct request *r, unsigned id, struct command_figures *f)
{
    r->services->command_figures(r->core, id, f);
    return f->calls || f->rejected || f->failed;
}

static void write_hash(void *out, const struct channel *channel)
{
    out_write(out, &channel->node.hash, sizeof(channel->node.hash));
}

void info_part(struct request *r)
{
    struct info_part part = {0};
    struct command_record record;
    struct collector errors = {0};
    r->services->core_figures(r->core, &part.figures);
    r->services->core_rates(r->core, &part.ops, &part.in_kbps, &part.out_kbps);
    r->services->each_error(r->core, collect_error, &errors);
    part.n_errors = errors.n;
    const struct channel_table *channels =
        info_asks(r, "stats") ? r->services->channels(r->core) : NULL;
    for (unsigned kind = 0; channels && kind < CHANNEL_KINDS; kind++)
        part.n_channels[kind] = channels->by_name[kind].n;
    for (unsigned id = 0; id < commands_count(); id++)
        part.n_commands += command_was_used(r, id, &record.figures);
    out_write(r->out, &part, sizeof(part));
    for (unsigned id = 0; id < commands_count(); id++) {
        record.id = id;
        if (command_was_used(r, id, &record.figures))
            out_write(r->out, &record, sizeof(record));
    }
    out_write(r->out, errors.errors, errors.n * sizeof(errors.errors[0]));
    for (unsigned kind = 0; channels && kind < CHANNEL_KINDS; kind++)
        channels_each(channels, kind, write_hash, r->out);
    if (!info_asks(r, "latencystats"))
        return;
    for (unsigned id = 0; id < commands_count(); id++) {
        const struct histogram *h = r->services->command_histogram(r->core, id);
        if (h)
            latency_write_histogram(r->out, id, h);
    }
}

// --- the sum -----------------------------------------------------------------------------------

static void add_figures(struct core_figures *sum, const struct core_figures *one)
{
    uint64_t input = one->max_input_buffer, output = one->max_output_buffer;
    if (sum->max_input_buffer > input)
        input = sum->max_input_buffer;
    if (sum->max_output_buffer > output)
        output = sum->max_output_buffer;
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
        to[i] += from[i];
    sum->max_input_buffer = input;
    sum->max_output_buffer = output;
}

static void add_error(struct info *info, const struct info_error *e)
{
    unsigned i = 0;
    while (i < info->n_errors && strcmp(info->errors[i].prefix, e->prefix) != 0)
        i++;
    if (i == INFO_ERRORS_MAX)
        return;
    if (i == info->n_errors)
        info->errors[info->n_errors++] = *e;
    else
        info->errors[i].count += e->count;
}

static size_t part_bytes(const struct info_part *part)
{
    uint64_t channels = 0;
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++)
        channels += part->n_channels[kind];
    return sizeof(*part) + part->n_commands * sizeof(struct command_record) +
           part->n_errors * sizeof(struct info_error) + channels * sizeof(uint64_t);
}

bool info_part_of(const struct request *r, unsigned i, struct info_part *part)
{
    if (r->parts[i].len < sizeof(*part))
        return false;
    memcpy(part, r->parts[i].ptr, sizeof(*part));
    return r->parts[i].len >= part_bytes(part);
}

const uint8_t *info_histograms(const struct request *r, unsigned i, size_t *len)
{
    struct info_part part;
    *len = 0;
    if (!info_part_of(r, i, &part))
        return NULL;
    *len = r->parts[i].len - part_bytes(&part);
    return r->parts[i].ptr + part_bytes(&part);
}

// `records` follow the part: what it says of commands, then of errors.
static void add_part(struct info *info, const struct info_part *part, const uint8_t *records)
{
    add_figures(&info->sum.figures, &part->figures);
    info->sum.ops += part->ops;
    info->sum.in_kbps += part->in_kbps;
    info->sum.out_kbps += part->out_kbps;
    for (uint64_t i = 0; i < part->n_commands; i++) {
        struct command_record command;
        memcpy(&command, records, sizeof(command));
        records += sizeof(command);
        struct command_figures *to = &info->commands[command.id];
        to->calls += command.figures.calls;
        to->usec += command.figures.usec;
        to->rejected += command.figures.rejected;
        to->failed += command.figures.failed;
    }
    for (uint64_t i = 0; i < part->n_errors; i++) {
        struct info_error error;
        memcpy(&error, records, sizeof(error));
        records += sizeof(error);
        add_error(info, &error);
    }
}

static int by_hash(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Channels of one kind that somebody on any core is subscribed to: names that differ have hashes
// that do.
static uint64_t count_channels(const struct request *r, unsigned kind)
{
    struct info_part part;
    uint64_t total = 0, n = 0, kept = 0;
    for (unsigned i = 0; i < r->n_parts; i++)
        total += info_part_of(r, i, &part) ? part.n_channels[kind] : 0;
    uint64_t *hashes = total && r->n_parts > 1 ? mi_mallocn(total, sizeof(*hashes)) : NULL;
    if (!hashes)
        return total;
    for (unsigned i = 0; i < r->n_parts; i++) {
        if (!info_part_of(r, i, &part))
            continue;
        const uint8_t *at = r->parts[i].ptr + part_bytes(&part);
        for (unsigned k = kind; k < CHANNEL_KINDS; k++)
            at -= part.n_channels[k] * sizeof(uint64_t);
        memcpy(hashes + n, at, part.n_channels[kind] * sizeof(uint64_t));
        n += part.n_channels[kind];
    }
    qsort(hashes, n, sizeof(*hashes), by_hash);
    for (uint64_t i = 0; i < n; i++)
        kept += !i || hashes[i] != hashes[i - 1];
    mi_free(hashes);
    return kept;
}

// In alphabetical order, as Redis shows them.
static int by_prefix(const void *a, const void *b)
{
    return strcmp(((const struct info_error *)a)->prefix, ((const struct info_error *)b)->prefix);
}

bool info_gather(struct request *r, struct info *info)
{
    *info = (struct info){.r = r};
    info->commands = mi_calloc(commands_count(), sizeof(*info->commands));
    if (!info->commands)
        return false;
    r->services->server_figures(r->core, &info->server);
    for (unsigned i = 0; i < r->n_parts; i++) {
        struct info_part part;
        if (info_part_of(r, i, &part))
            add_part(info, &part, r->parts[i].ptr + sizeof(part));
    }
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++)
        info->channels[kind] = count_channels(r, kind);
    qsort(info->errors, info->n_errors, sizeof(info->errors[0]), by_prefix);
    return true;
}

void info_clear(struct info *info)
{
    mi_free(info->commands);
    info->commands = NULL;
}

struct info_memory info_memory_of(const struct request *r, const struct core_figures *sum)
{
    const struct keyspace *ks = store_keyspace(r->store);
    struct info_memory m = {.dataset = keyspace_memory(ks), .startup = sum->startup_bytes};
    m.used = m.dataset + sum->beside_bytes;
    for (unsigned db = 0; db < keyspace_databases(ks); db++) {
        m.keys += keyspace_keys(ks, db);
        m.dataset -= keyspace_index(ks, db).bytes;
    }
    m.overhead = m.used - m.dataset;
    return m;
}

uint64_t info_allocator_active(uint64_t resident)
{
    size_t elapsed, user, system, rss, peak_rss, committed, peak_committed, faults;
    mi_process_info(&elapsed, &user, &system, &rss, &peak_rss, &committed, &peak_committed,
                    &faults);
    return committed < resident ? committed : resident;
}

static void take_option(void *context, const char *name, const char *value)
{
    (void)name;
    snprintf(context, INFO_OPTION_MAX, "%s", value);
}

const char *info_option(const struct request *r, const char *name, char text[INFO_OPTION_MAX])
{
    text[0] = '\0';
    r->services->config_get(r->core, name, strlen(name), take_option, text);
    return text;
}

void info_command(struct request *r)
{
    struct info info;
    struct outbuf text;
    if (!info_gather(r, &info)) {
        request_error(r, ERR_OOM);
        return;
    }
    outbuf_init(&text);
    info_write(&info, &text.out);
    request_reply_text(r, &text);
    info_clear(&info);
}
