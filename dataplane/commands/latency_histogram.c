// LATENCY HISTOGRAM: how long the calls of each command took, summed over cores. Cores count cycles
// in buckets of one per cent; what is shown is how many calls took at most 1, 2, 4 … microseconds.
#include <mimalloc.h>
#include <string.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/observe.h"
#include "dataplane/commands/server.h"
#include "dataplane/resp/client.h"

// The first limit, in nanoseconds; each further one is twice the one before.
#define LIMIT_FIRST_NS 1024
// Redis counts with two digits: what is shown for a limit is the end of the bucket that the limit
// begins, which is this much wider.
#define LIMIT_BUCKETS 128

// --- on the way between cores ------------------------------------------------------------------

struct histogram_head {
    uint32_t id, n; // buckets that follow
    uint64_t sum, max;
};
struct histogram_bucket_count {
    uint32_t bucket, reserved;
    uint64_t count;
};

void latency_write_histogram(struct out *o, unsigned id, const struct histogram *h)
{
    struct histogram_head head = {.id = id, .sum = h->sum, .max = h->max};
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        head.n += h->counts[i] != 0;
    out_write(o, &head, sizeof(head));
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        struct histogram_bucket_count b = {.bucket = i, .count = h->counts[i]};
        if (b.count)
            out_write(o, &b, sizeof(b));
    }
}

bool latency_read_histogram(const uint8_t *bytes, size_t len, unsigned id, struct histogram *h)
{
    struct histogram_head head;
    while (len >= sizeof(head)) {
        memcpy(&head, bytes, sizeof(head));
        size_t size = sizeof(head) + head.n * sizeof(struct histogram_bucket_count);
        if (len < size)
            return false; // that core was short of memory
        if (head.id == id)
            break;
        bytes += size;
        len -= size;
    }
    if (len < sizeof(head))
        return false;
    bytes += sizeof(head);
    for (uint32_t i = 0; i < head.n; i++, bytes += sizeof(struct histogram_bucket_count)) {
        struct histogram_bucket_count b;
        memcpy(&b, bytes, sizeof(b));
        h->counts[b.bucket] += b.count;
        h->total += b.count;
    }
    h->sum += head.sum;
    if (head.max > h->max)
        h->max = head.max;
    return head.n > 0;
}

// --- what is asked for -------------------------------------------------------------------------

// Whether an argument names the command, or what it is a subcommand of.
static bool asked(const struct request *r, const struct command *command)
{
    if (r->argc == 2)
        return true;
    for (int i = 2; i < r->argc; i++) {
        const struct command *named =
            commands_find_name((const char *)r->argv[i].ptr, r->argv[i].len);
        if (named && (named == command || named == command->parent))
            return true;
    }
    return false;
}

void latency_histogram_part(struct request *r)
{
    for (unsigned id = 0; id < commands_count(); id++) {
        const struct histogram *h = r->services->command_histogram(r->core, id);
        if (h && asked(r, commands_by_id(id)))
            latency_write_histogram(r->out, id, h);
    }
}

// --- the reply ---------------------------------------------------------------------------------

struct reply {
    struct request *r;
    struct outbuf text; // of the commands
    int64_t n;          // of them
    uint64_t cycles_per_us;
    struct histogram sum;
};

// The greatest value of the bucket that `limit_ns` begins.
static uint64_t limit_end(uint64_t limit_ns)
{
    return limit_ns + limit_ns / LIMIT_BUCKETS - 1;
}

static void add_counts(struct reply *to, const struct histogram *h)
{
    struct outbuf pairs;
    outbuf_init(&pairs);
    int64_t n = 0;
    uint64_t seen = 0, shown = 0;
    unsigned bucket = 0;
    for (uint64_t limit = LIMIT_FIRST_NS; shown < h->total; limit *= 2) {
        uint64_t end_ns = limit_end(limit);
        while (bucket < HISTOGRAM_BUCKETS &&
               histogram_upper(bucket) * 1000 / to->cycles_per_us <= end_ns)
            seen += h->counts[bucket++];
        if (seen == shown)
            continue;
        reply_integer(&pairs.out, (int64_t)(end_ns / 1000));
        reply_integer(&pairs.out, (int64_t)seen);
        shown = seen;
        n++;
    }
    reply_map(&to->text.out, to->r->session->resp, n);
    outbuf_move(&pairs, &to->text.out);
    outbuf_clear(&pairs);
}

static void add_us(struct reply *to, const char *name, uint64_t cycles)
{
    reply_bulk_string(&to->text.out, name);
    reply_double(&to->text.out, to->r->session->resp, (double)cycles / (double)to->cycles_per_us);
}

static void add_command(struct reply *to, const struct command *command)
{
    struct request *r = to->r;
    bool any = false;
    histogram_reset(&to->sum);
    for (unsigned i = 0; i < r->n_parts; i++)
        any |= latency_read_histogram(r->parts[i].ptr, r->parts[i].len, command->id, &to->sum);
    if (!any)
        return;
    bool internal = r->client && r->client->flags & CLIENT_INTERNAL;
    introspection_reply_name(&to->text.out, command);
    reply_map(&to->text.out, r->session->resp, internal ? 6 : 2);
    reply_bulk_string(&to->text.out, "calls");
    reply_integer(&to->text.out, (int64_t)to->sum.total);
    reply_bulk_string(&to->text.out, "histogram_usec");
    add_counts(to, &to->sum);
    if (internal) { // what people are shown
        add_us(to, "p50_usec", histogram_percentile(&to->sum, 50));
        add_us(to, "p99_usec", histogram_percentile(&to->sum, 99));
        add_us(to, "p99.9_usec", histogram_percentile(&to->sum, 99.9));
        add_us(to, "max_usec", to->sum.max);
    }
    to->n++;
}

void latency_histogram_command(struct request *r)
{
    struct server_figures server;
    struct reply *to = mi_malloc(sizeof(*to));
    if (!to) {
        request_error(r, ERR_OOM);
        return;
    }
    r->services->server_figures(r->core, &server);
    to->r = r;
    to->n = 0;
    to->cycles_per_us = server.cycles_per_us;
    outbuf_init(&to->text);
    for (unsigned id = 0; r->argc == 2 && id < commands_count(); id++)
        add_command(to, commands_by_id(id));
    for (int i = 2; i < r->argc; i++) {
        const struct command *named =
            commands_find_name((const char *)r->argv[i].ptr, r->argv[i].len);
        if (!named)
            continue;
        add_command(to, named);
        for (const struct command *s = named->subcommands; s && s->name; s++)
            add_command(to, s);
    }
    reply_map(r->out, r->session->resp, to->n);
    outbuf_move(&to->text, r->out);
    outbuf_clear(&to->text);
    mi_free(to);
}
