// INFO: every core writes its figures, the core of the caller adds them up and writes the text.
#include "dataplane/commands/info.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"
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

void info_part(struct request *r)
{
    struct info_part part = {0};
    struct command_record record;
    struct collector errors = {0};
    r->services->core_figures(r->core, &part.figures);
    r->services->core_rates(r->core, &part.ops, &part.in_kbps, &part.out_kbps);
    r->services->each_error(r->core, collect_error, &errors);
    part.n_errors = errors.n;
    for (unsigned id = 0; id < commands_count(); id++)
        part.n_commands += command_was_used(r, id, &record.figures);
    out_write(r->out, &part, sizeof(part));
    for (unsigned id = 0; id < commands_count(); id++) {
        record.id = id;
        if (command_was_used(r, id, &record.figures))
            out_write(r->out, &record, sizeof(record));
    }
    out_write(r->out, errors.errors, errors.n * sizeof(errors.errors[0]));
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

bool info_part_of(const struct request *r, unsigned i, struct info_part *part)
{
    if (r->parts[i].len < sizeof(*part))
        return false;
    memcpy(part, r->parts[i].ptr, sizeof(*part));
    return r->parts[i].len == sizeof(*part) + part->n_commands * sizeof(struct command_record) +
                                  part->n_errors * sizeof(struct info_error);
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
    return true;
}

void info_clear(struct info *info)
{
    mi_free(info->commands);
    info->commands = NULL;
}

uint64_t info_used_memory(const struct request *r, const struct core_figures *sum)
{
    return keyspace_memory(store_keyspace(r->store)) + sum->query_buffer_bytes + sum->output_bytes;
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
