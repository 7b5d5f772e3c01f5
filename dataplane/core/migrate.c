// MIGRATE's talk with another server: connect, send all commands at once, read their replies. The
// slots of the keys stay borrowed until it ends, so nothing changes in them meanwhile; everything
// else goes on. At each moment of it the target has the command's timeout to do something.
#include <arpa/inet.h>
#include <errno.h>
#include <mimalloc.h>
#include <netdb.h>
#include <string.h>

#include "dataplane/commands/migrate.h"
#include "dataplane/core/message.h"
#include "dataplane/core/service.h"

enum state { LOOKING_UP, CONNECTING, TALKING };

struct lookup;

struct migration {
    struct migration *next;
    struct migrate *job;
    struct loan *loan; // the command and the slots
    struct lookup *lookup;
    struct stream *stream;
    enum state state;
    uint64_t moved_us; // when something happened last
    size_t unsent;     // then
    unsigned line_len;
    char line[MIGRATE_ERROR_MAX];
};

// The address of a name, asked for on the service thread. Outlives its migration.
struct lookup {
    struct core *core;
    struct migration *migration; // NULL: it has given up
    struct endpoint endpoint;
    bool found;
    char host[];
};

static bool numeric(const char *host, struct endpoint *to)
{
    if (inet_pton(AF_INET, host, to->addr) == 1)
        to->family = 4;
    else if (inet_pton(AF_INET6, host, to->addr) == 1)
        to->family = 6;
    return to->family != 0;
}

static void look_up(void *context)
{
    struct lookup *l = context;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (getaddrinfo(l->host, NULL, &hints, &found))
        return;
    // An IPv4 address is preferred: both transports can reach one.
    for (struct addrinfo *a = found; a && l->endpoint.family != 4; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            l->endpoint.family = 4;
            memcpy(l->endpoint.addr, &((struct sockaddr_in *)(void *)a->ai_addr)->sin_addr, 4);
        } else if (a->ai_family == AF_INET6) {
            l->endpoint.family = 6;
            memcpy(l->endpoint.addr, &((struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_addr, 16);
        }
    }
    l->found = l->endpoint.family;
    freeaddrinfo(found);
}

// Leaves the stream to end by itself: whoever looks at streams releases those without an owner.
static void let_go(struct migration *g, bool orderly)
{
    struct stream *s = g->stream;
    if (!s)
        return;
    g->stream = NULL;
    s->owner = NULL;
    while (s->in_len)
        stream_consume(s, s->in_len);
    if (orderly)
        s->ops->close(s);
    else
        s->ops->abort(s);
}

static void migration_free(struct migration *g)
{
    if (g->lookup)
        g->lookup->migration = NULL;
    migrate_free(g->job);
    mi_free(g);
}

static void finish(struct core *c, struct migration *g, enum migrate_failure failure)
{
    struct migration **at = &c->migrations;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    g->job->failure = failure;
    let_go(g, failure == MIGRATE_DONE);
    struct gathered result = {.ptr = (const uint8_t *)g->job, .len = sizeof(*g->job)};
    loan_finish(c, g->loan, &result);
    migration_free(g);
}

// Redis notices a connection that was refused when it writes, and so do we for its clients' sake.
static void fail(struct core *c, struct migration *g)
{
    bool refused = g->state == CONNECTING && g->stream && g->stream->events & STREAM_CLOSED;
    if (g->state != TALKING)
        finish(c, g, refused ? MIGRATE_WRITING : MIGRATE_CONNECTING);
    else
        finish(c, g, g->unsent ? MIGRATE_WRITING : MIGRATE_READING);
}

static bool dial(struct core *c, struct migration *g, const struct endpoint *to)
{
    int error = 0;
    g->state = CONNECTING;
    g->moved_us = c->now_us;
    g->stream = transport_connect(c, to, &error);
    if (g->stream)
        g->stream->owner = g;
    else
        g->job->connect_error = -error;
    return g->stream;
}

static void looked_up(void *context)
{
    struct lookup *l = context;
    struct migration *g = l->migration;
    if (g) {
        g->lookup = NULL;
        l->endpoint.port = g->job->port;
        if (!l->found || !dial(l->core, g, &l->endpoint))
            fail(l->core, g);
    }
    mi_free(l);
}

// Asks for the address of a name. False: it cannot be asked for.
static bool look_up_begin(struct core *c, struct migration *g)
{
    size_t len = strlen(g->job->host);
    struct lookup *l = c->server->service ? mi_zalloc(sizeof(*l) + len + 1) : NULL;
    if (!l)
        return false;
    l->core = c;
    l->migration = g;
    memcpy(l->host, g->job->host, len + 1);
    if (!service_call(c->server->service, c->index, look_up, looked_up, l)) {
        mi_free(l);
        return false;
    }
    g->lookup = l;
    return true;
}

bool migrate_start(struct request *r, struct migrate *job)
{
    struct migration *g = mi_zalloc(sizeof(*g));
    if (!g)
        return false;
    g->job = job;
    r->migration = g;
    return true;
}

void migrate_take(struct core *c, struct migration *g, struct loan *loan)
{
    struct endpoint to = {.port = g->job->port};
    g->loan = loan;
    g->moved_us = c->now_us;
    g->next = c->migrations;
    c->migrations = g;
    if (!to.port) // as if it were refused
        finish(c, g, MIGRATE_WRITING);
    else if (!(numeric(g->job->host, &to) ? dial(c, g, &to) : look_up_begin(c, g)))
        fail(c, g);
}

// Lines of the replies; the first error is what is told.
static void read_replies(struct core *c, struct migration *g)
{
    struct stream *s = g->stream;
    while (s->in_len && !migrate_complete(g->job)) {
        const uint8_t *end = memchr(s->in, '\n', s->in_len);
        uint32_t n = end ? (uint32_t)(end - s->in) : s->in_len;
        uint32_t room = (uint32_t)sizeof(g->line) - 1 - g->line_len, take = n < room ? n : room;
        memcpy(g->line + g->line_len, s->in, take);
        g->line_len += take;
        stream_consume(s, n + (end != NULL));
        g->moved_us = c->now_us;
        if (!end)
            continue;
        if (g->line_len && g->line[g->line_len - 1] == '\r')
            g->line_len--;
        g->line[g->line_len] = '\0';
        g->line_len = 0;
        migrate_reply(g->job, g->line);
    }
}

// Sends everything. False: memory is short, and the migration is over.
static bool talk(struct core *c, struct migration *g)
{
    struct stream *s = g->stream;
    g->state = TALKING;
    g->moved_us = c->now_us;
    outbuf_move(&g->job->out, &s->out);
    if (s->out.failed) {
        g->unsent = 1;
        fail(c, g);
        return false;
    }
    s->ops->push(s);
    g->unsent = s->ops->unsent(s);
    return true;
}

bool migrate_owns(const struct core *c, const void *owner)
{
    for (const struct migration *g = c->migrations; g; g = g->next)
        if (g == owner)
            return true;
    return false;
}

bool migrate_event(struct core *c, struct stream *s)
{
    struct migration *g = c->migrations;
    while (g && g->stream != s)
        g = g->next;
    if (!g)
        return false;
    uint16_t events = s->events;
    s->events &= STREAM_CLOSED;
    if (!(events & STREAM_CONNECTED) || g->state != CONNECTING || talk(c, g)) {
        read_replies(c, g);
        if (migrate_complete(g->job))
            finish(c, g, MIGRATE_DONE);
        else if (events & (STREAM_CLOSED | STREAM_EOF))
            fail(c, g);
    }
    if (events & STREAM_CLOSED) // nobody will be told of it again
        s->ops->release(s);
    return true;
}

static uint64_t due_us(const struct migration *g)
{
    uint64_t timeout_us = g->job->timeout_us;
    return timeout_us > UINT64_MAX - g->moved_us ? UINT64_MAX : g->moved_us + timeout_us;
}

bool migrate_turn(struct core *c)
{
    for (struct migration *g = c->migrations; g; g = g->next) {
        size_t unsent = g->state == TALKING ? g->stream->ops->unsent(g->stream) : 0;
        if (unsent != g->unsent) {
            g->unsent = unsent;
            g->moved_us = c->now_us;
        } else if (c->now_us >= due_us(g)) {
            fail(c, g); // the list has changed: the next turn goes on
            return true;
        }
    }
    return false;
}

uint64_t migrate_due_us(const struct core *c)
{
    uint64_t due = UINT64_MAX;
    for (const struct migration *g = c->migrations; g; g = g->next)
        if (due_us(g) < due)
            due = due_us(g);
    return due;
}

void migrate_end(struct core *c)
{
    while (c->migrations) {
        struct migration *g = c->migrations;
        c->migrations = g->next;
        let_go(g, false);
        loan_drop(g->loan);
        migration_free(g);
    }
}
