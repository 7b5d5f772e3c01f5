#include "dataplane/core/monitor.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/shown.h"
#include "dataplane/core/message.h"

#define MONITORS_FIRST 4

struct monitor_line {
    struct monitor_line *next;
    uint64_t time_us;
    struct block *text;
};

static_assert(PLANE_CORES_MAX <= 64, "cores with monitors are bits of one word");

// --- who watches ---------------------------------------------------------------------------------

void monitors_look(struct core *c)
{
    uint64_t cores = atomic_load_explicit(&c->server->monitors, memory_order_acquire);
    if (__builtin_expect(cores == c->monitor_cores, 1))
        return;
    c->monitor_cores = cores;
    if (cores)
        c->closely |= CLOSELY_MONITORED;
    else
        c->closely &= ~(uint32_t)CLOSELY_MONITORED;
}

bool monitor_begin(struct core *c, struct client *client)
{
    struct monitors *m = &c->monitors;
    if (m->n == m->room) {
        unsigned room = m->room ? 2 * m->room : MONITORS_FIRST;
        struct client **grown = mi_reallocn(m->client, room, sizeof(struct client *));
        if (!grown)
            return false;
        m->client = grown;
        m->room = room;
    }
    m->client[m->n++] = client;
    client->flags |= CLIENT_MONITOR;
    c->attention |= ATTEND_MONITORS;
    atomic_fetch_or_explicit(&c->server->monitors, 1ull << c->index, memory_order_acq_rel);
    monitors_look(c);
    return true;
}

void monitor_end(struct core *c, struct client *client)
{
    struct monitors *m = &c->monitors;
    client->flags &= ~(uint32_t)CLIENT_MONITOR;
    unsigned kept = 0;
    for (unsigned i = 0; i < m->n; i++)
        if (m->client[i] != client)
            m->client[kept++] = m->client[i];
    m->n = kept;
    if (kept)
        return;
    c->attention &= ~(uint32_t)ATTEND_MONITORS;
    atomic_fetch_and_explicit(&c->server->monitors, ~(1ull << c->index), memory_order_acq_rel);
    monitors_look(c);
}

void monitors_free(struct core *c)
{
    monitor_deliver(c);
    mi_free(c->monitors.client);
    c->monitors = (struct monitors){0};
}

// --- lines ---------------------------------------------------------------------------------------

static void deliver(struct core *c, struct block *text)
{
    for (unsigned i = 0; i < c->monitors.n; i++) {
        struct client *client = c->monitors.client[i];
        struct reply_slot *slot;
        struct out *out = client_tell(c, client, &slot);
        if (!out)
            continue;
        if (text->len < BLOCK_VALUE_MIN)
            out_write(out, text->data, text->len);
        else
            out->ops->ref(out, text, 0, text->len);
        client_told(c, client, slot);
    }
}

void monitor_deliver_lines(struct core *c)
{
    struct monitor_line *line = c->monitors.first;
    c->monitors.first = c->monitors.last = NULL;
    for (struct monitor_line *next; line; line = next) {
        next = line->next;
        deliver(c, line->text);
        block_release(line->text);
        mi_free(line);
    }
}

// A line of another core. Its place among those that came with it is that of its time.
static void line_take(struct core *c, struct message *m)
{
    struct monitors *to = &c->monitors;
    struct monitor_line *line = mi_malloc(sizeof(*line));
    if (!line)
        return;
    *line = (struct monitor_line){.text = block_retain(m->argv[0].block)};
    memcpy(&line->time_us, m->argv[1].ptr, sizeof(line->time_us));
    struct monitor_line **at = &to->first;
    if (to->last && to->last->time_us <= line->time_us)
        at = &to->last->next;
    while (*at && (*at)->time_us <= line->time_us)
        at = &(*at)->next;
    line->next = *at;
    *at = line;
    if (!line->next)
        to->last = line;
}

static struct block *line_make(struct core *c, const struct client *client, uint32_t db,
                               uint64_t time_us, const struct command *command, int argc,
                               const struct arg *argv)
{
    char address[CLIENT_ADDRESS_MAX];
    const char *who = address;
    if (!client)
        who = "lua";
    else if (client->flags & CLIENT_INTERNAL)
        who = "control:0";
    else if (client->flags & CLIENT_UNIX)
        snprintf(address, sizeof(address), "unix:%s", config_string(c->config, "unixsocket"));
    else
        endpoint_format(&client->remote, address);
    struct outbuf b;
    outbuf_init(&b);
    text_add(&b.out, "+%lu.%06lu [%u %s]", (unsigned long)(time_us / 1000000),
             (unsigned long)(time_us % 1000000), db, who);
    for (int i = 0; i < argc; i++) {
        out_write(&b.out, " ", 1);
        if (shown_secret(&c->services, c, command, argc, argv, i))
            shown_quoted(&b.out, (const uint8_t *)SHOWN_REDACTED, strlen(SHOWN_REDACTED));
        else
            shown_quoted(&b.out, argv[i].ptr, argv[i].len);
    }
    out_write(&b.out, "\r\n", 2);
    struct block *text = b.out.failed ? NULL : outbuf_block(&b);
    outbuf_clear(&b);
    return text;
}

void monitor_feed(struct core *c, const struct client *client, uint32_t db,
                  const struct command *command, int argc, const struct arg *argv)
{
    if (command->flags & CMD_ADMIN)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t time_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    struct block *text = line_make(c, client, db, time_us, command, argc, argv);
    if (!text)
        return;         // memory is short: a line less
    monitor_deliver(c); // what other cores have run before
    deliver(c, text);
    const struct session session = {0};
    const struct arg line[2] = {{text->data, text->len, text},
                                {(const uint8_t *)&time_us, sizeof(time_us), NULL}};
    for (uint64_t cores = c->monitor_cores & ~(1ull << c->index); cores; cores &= cores - 1)
        mailbox_tell(c, (unsigned)__builtin_ctzll(cores), &session, 2, line, line_take);
    block_release(text);
}
