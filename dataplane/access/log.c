// The log of what was denied, newest first.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/access/internal.h"

// Entries that a new one is compared with, and how old the last of its kind may be.
#define MERGE_ENTRIES 10
#define MERGE_MS 60000

const char *access_reason_name(enum access_denial reason)
{
    static const char *const names[] = {[ACCESS_GRANTED] = "unknown",
                                        [ACCESS_DENIED_COMMAND] = "command",
                                        [ACCESS_DENIED_KEY] = "key",
                                        [ACCESS_DENIED_AUTH] = "auth",
                                        [ACCESS_DENIED_CHANNEL] = "channel"};
    return names[reason];
}

const char *access_context_name(enum access_context context)
{
    static const char *const names[] = {
        [ACCESS_TOPLEVEL] = "toplevel", [ACCESS_MULTI] = "multi", [ACCESS_LUA] = "lua"};
    return names[context];
}

static bool same_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && memcmp(a, b, a_len) == 0;
}

static bool alike(const struct access_entry *a, const struct access_entry *b)
{
    return a->reason == b->reason && a->context == b->context &&
           b->last_ms <= a->last_ms + MERGE_MS && a->last_ms <= b->last_ms + MERGE_MS &&
           same_text(a->object, a->object_len, b->object, b->object_len) &&
           same_text(a->user, a->user_len, b->user, b->user_len);
}

static char *copy(const char *text, size_t len)
{
    char *to = mi_malloc(len + 1);
    if (!to)
        return NULL;
    memcpy(to, text, len);
    to[len] = '\0';
    return to;
}

static void entry_free(struct access_entry *e)
{
    mi_free(e->object);
    mi_free(e->user);
    mi_free(e->client);
    mi_free(e);
}

static size_t entry_bytes(const struct access_entry *e)
{
    return sizeof(*e) + e->object_len + e->user_len + e->client_len;
}

// Memory that is short costs an entry, no more.
static struct access_entry *entry_new(const struct access_entry *from)
{
    struct access_entry *e = mi_malloc(sizeof(*e));
    if (!e)
        return NULL;
    *e = *from;
    e->count = 1;
    e->object = copy(from->object, from->object_len);
    e->user = copy(from->user, from->user_len);
    e->client = copy(from->client, from->client_len);
    if (e->object && e->user && e->client)
        return e;
    entry_free(e);
    return NULL;
}

void access_log_add(struct access_log *log, const struct access_entry *from, uint64_t max)
{
    struct access_entry **at = &log->first;
    for (unsigned i = 0; i < MERGE_ENTRIES && *at; i++, at = &(*at)->next) {
        struct access_entry *e = *at;
        if (!alike(e, from))
            continue;
        char *client = copy(from->client, from->client_len);
        if (client) {
            mi_free(e->client);
            log->bytes += from->client_len - e->client_len;
            e->client = client;
            e->client_len = from->client_len;
        }
        e->count++;
        e->last_ms = from->last_ms;
        *at = e->next;
        e->next = log->first;
        log->first = e;
        return;
    }
    struct access_entry *e = entry_new(from);
    if (!e)
        return;
    e->next = log->first;
    log->first = e;
    log->n++;
    log->bytes += entry_bytes(e);
    access_log_trim(log, max);
}

void access_log_trim(struct access_log *log, uint64_t max)
{
    if (log->n <= max)
        return;
    struct access_entry **at = &log->first;
    for (uint64_t i = 0; i < max; i++)
        at = &(*at)->next;
    struct access_entry *e = *at;
    *at = NULL;
    log->n = (unsigned)max;
    for (struct access_entry *next; e; e = next) {
        next = e->next;
        log->bytes -= entry_bytes(e);
        entry_free(e);
    }
}
