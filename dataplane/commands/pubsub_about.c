// PUBSUB: who listens to what, over all cores. A name may have subscribers on several of them.
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/pubsub_commands.h"
#include "dataplane/pubsub/channels.h"

// Characters of what was sent that an error shows.
#define NAME_SHOWN 128

// --- names: each part holds them one after the other, each behind its length ---------------------

struct listing {
    struct out *out;
    const struct arg *pattern; // NULL: all
};

static void put_name(void *context, const struct channel *channel)
{
    const struct listing *l = context;
    if (l->pattern && l->pattern->len && !channel->len) // not even "*" meets it, as in Redis
        return;
    if (l->pattern && !glob_match((const char *)l->pattern->ptr, l->pattern->len,
                                  (const char *)channel->name, channel->len, false))
        return;
    uint64_t len = channel->len;
    out_write(l->out, &len, sizeof(len));
    out_write(l->out, channel->name, channel->len);
}

static void put_names(struct request *r, enum channel_kind kind, const struct arg *pattern)
{
    struct listing l = {r->out, pattern};
    channels_each(r->services->channels(r->core), kind, put_name, &l);
}

// Takes the next name of a part. False: there is none.
static bool next_name(const struct gathered *part, size_t *at, struct arg *name)
{
    uint64_t len;
    if (part->len - *at < sizeof(len))
        return false;
    memcpy(&len, part->ptr + *at, sizeof(len));
    *at += sizeof(len);
    if (part->len - *at < len) // of a core that was short of memory
        return false;
    *name = (struct arg){.ptr = part->ptr + *at, .len = len};
    *at += len;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct arg *x = a, *y = b;
    size_t common = x->len < y->len ? x->len : y->len;
    int order = common ? memcmp(x->ptr, y->ptr, common) : 0;
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

// All names of the parts, each once. NULL: memory is short, or there is none.
static struct arg *unique_names(const struct request *r, size_t *n)
{
    struct arg name;
    size_t total = 0;
    for (unsigned i = 0; i < r->n_parts; i++)
        for (size_t at = 0; next_name(&r->parts[i], &at, &name);)
            total++;
    *n = 0;
    struct arg *names = total ? mi_mallocn(total, sizeof(*names)) : NULL;
    if (!names)
        return NULL;
    for (unsigned i = 0; i < r->n_parts; i++)
        for (size_t at = 0; next_name(&r->parts[i], &at, &names[*n]);)
            ++*n;
    if (r->n_parts == 1)
        return names;
    qsort(names, total, sizeof(*names), by_name);
    size_t kept = 0;
    for (size_t i = 0; i < total; i++)
        if (!i || by_name(&names[kept - 1], &names[i]))
            names[kept++] = names[i];
    *n = kept;
    return names;
}

// CHANNELS and SHARDCHANNELS take one pattern at most.
bool pubsub_channels_start(struct request *r)
{
    if (r->argc <= 3)
        return true;
    request_errorf(
        r, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.",
        (int)(r->argv[1].len < NAME_SHOWN ? r->argv[1].len : NAME_SHOWN),
        (const char *)r->argv[1].ptr);
    return false;
}

void pubsub_channels_part(struct request *r)
{
    put_names(r, CHANNEL_NAMED, r->argc > 2 ? &r->argv[2] : NULL);
}

void pubsub_shardchannels_part(struct request *r)
{
    put_names(r, CHANNEL_SHARD, r->argc > 2 ? &r->argv[2] : NULL);
}

void pubsub_channels_command(struct request *r)
{
    size_t n;
    struct arg *names = unique_names(r, &n);
    reply_array(r->out, (int64_t)n);
    for (size_t i = 0; i < n; i++)
        reply_bulk(r->out, names[i].ptr, names[i].len);
    mi_free(names);
}

void pubsub_numpat_part(struct request *r)
{
    put_names(r, CHANNEL_PATTERN, NULL);
}

void pubsub_numpat_command(struct request *r)
{
    size_t n;
    mi_free(unique_names(r, &n));
    reply_integer(r->out, (int64_t)n);
}

// --- numbers: a part has one for each name that was asked for ------------------------------------

static void put_numbers(struct request *r, enum channel_kind kind)
{
    for (int i = 2; i < r->argc; i++) {
        uint32_t n = r->services->channel_subscribers(r->core, kind, &r->argv[i]);
        out_write(r->out, &n, sizeof(n));
    }
}

void pubsub_numsub_part(struct request *r)
{
    put_numbers(r, CHANNEL_NAMED);
}

void pubsub_shardnumsub_part(struct request *r)
{
    put_numbers(r, CHANNEL_SHARD);
}

void pubsub_numsub_command(struct request *r)
{
    size_t asked = (size_t)r->argc - 2;
    reply_array(r->out, 2 * (int64_t)asked);
    for (size_t i = 0; i < asked; i++) {
        int64_t sum = 0;
        for (unsigned core = 0; core < r->n_parts; core++) {
            uint32_t n;
            if (r->parts[core].len != asked * sizeof(n))
                continue;
            memcpy(&n, r->parts[core].ptr + i * sizeof(n), sizeof(n));
            sum += n;
        }
        reply_bulk(r->out, r->argv[2 + i].ptr, r->argv[2 + i].len);
        reply_integer(r->out, sum);
    }
}

void pubsub_help_command(struct request *r)
{
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Names the channels with subscribers, or those of them that match.",
        "NUMPAT",
        "    Counts the patterns with subscribers.",
        "NUMSUB [<channel> ...]",
        "    Counts the subscribers of each channel; those of patterns are left out.",
        "SHARDCHANNELS [<pattern>]",
        "    Names the sharded channels with subscribers, or those of them that match.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Counts the subscribers of each sharded channel.",
        NULL,
    };
    request_help(r, "PUBSUB", lines);
}
