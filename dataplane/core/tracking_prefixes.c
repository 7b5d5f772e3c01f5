// Client-side caching: prefixes that are broadcast, and what changed with them. See tracking.h.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/core/tracking_internal.h"

// --- who wants which -----------------------------------------------------------------------------

static void count_prefixes(struct core *c, unsigned core, int n, const struct arg *prefixes,
                           int delta)
{
    for (int i = 0; i < n; i++) // where one is made memory was there; less of it needs none
        prefix_count(&c->tracking->prefixes, prefixes[i].ptr, prefixes[i].len, core, delta);
    core_observe(c);
}

static void news_uncount(struct core *c, struct message *m)
{
    count_prefixes(c, m->from, m->argc, m->argv, -1);
}

// Where memory is short for it, the other cores tell this one more than it needs.
static void uncount(struct core *c, unsigned n, const struct arg *prefixes)
{
    struct session none = {0};
    count_prefixes(c, c->index, (int)n, prefixes, -1);
    if (!c->stopping)
        mailbox_tell_all(c, &none, (int)n, prefixes, news_uncount);
}

bool tracking_count(struct request *r, unsigned n, const struct arg *prefixes)
{
    struct core *c = r->core;
    for (unsigned i = 0; i < n; i++)
        if (!prefix_count(&c->tracking->prefixes, prefixes[i].ptr, prefixes[i].len,
                          r->session->home, 1)) {
            count_prefixes(c, r->session->home, (int)i, prefixes, -1);
            return false;
        }
    core_observe(c);
    return true;
}

void tracking_uncount(struct request *r, unsigned n, const struct arg *prefixes)
{
    uncount(r->core, n, prefixes);
}

static bool has_prefix(const struct tracker *x, const struct prefix *wanted)
{
    for (const struct prefix_client *m = x->prefixes; m; m = m->next_mine)
        if (m->prefix == wanted)
            return true;
    return false;
}

static void add_prefix(struct core *c, struct tracker *x, struct prefix_client *m,
                       struct prefix *prefix)
{
    m->client = x->client;
    prefix_join(prefix, m, c->tracking->mentioned + c->tracking->word[c->index].len);
    struct prefix_client **at = &x->prefixes;
    while (*at &&
           bytes_compare((*at)->prefix->bytes, (*at)->prefix->len, prefix->bytes, prefix->len) < 0)
        at = &(*at)->next_mine;
    m->next_mine = *at;
    *at = m;
}

bool tracker_add_prefixes(struct core *c, struct tracker *x, unsigned n, const struct arg *prefixes)
{
    if (!n)
        return true;
    struct prefix_client **made = mi_calloc(n, sizeof(struct prefix_client *));
    bool ok = made;
    for (unsigned i = 0; ok && i < n; i++)
        ok = (made[i] = mi_zalloc(sizeof(struct prefix_client))) != NULL;
    for (unsigned i = 0; i < n && made; i++) {
        struct prefix *prefix =
            ok ? prefix_find(&c->tracking->prefixes, prefixes[i].ptr, prefixes[i].len) : NULL;
        if (prefix && !has_prefix(x, prefix)) {
            add_prefix(c, x, made[i], prefix);
            continue;
        }
        mi_free(made[i]);
        if (prefix)
            uncount(c, 1, &prefixes[i]);
    }
    mi_free(made);
    return ok;
}

void tracker_drop_prefixes(struct core *c, struct tracker *x)
{
    int n = 0;
    for (const struct prefix_client *m = x->prefixes; m; m = m->next_mine)
        n++;
    if (!n)
        return;
    struct arg *texts = mi_mallocn((size_t)n, sizeof(*texts));
    n = 0;
    for (struct prefix_client *m = x->prefixes, *next; m; m = next) {
        struct prefix *prefix = m->prefix;
        next = m->next_mine;
        prefix_leave(m);
        mi_free(m);
        if (texts) // else it stays counted
            texts[n++] = (struct arg){.ptr = prefix->bytes, .len = prefix->len};
    }
    x->prefixes = NULL;
    if (!texts)
        return;
    // The names lie in prefixes that may be freed: the others are told first.
    struct session none = {0};
    if (!c->stopping)
        mailbox_tell_all(c, &none, n, texts, news_uncount);
    count_prefixes(c, c->index, n, texts, -1);
    mi_free(texts);
}

void tracker_each_prefix(const struct client *client,
                         void (*each)(void *context, const void *text, size_t len), void *context)
{
    const struct tracker *x = client->tracker;
    for (const struct prefix_client *m = x ? x->prefixes : NULL; m; m = m->next_mine)
        each(context, m->prefix->bytes, m->prefix->len);
}

uint64_t tracking_prefixes(const struct core *c)
{
    uint64_t n = 0;
    const struct prefixes *p = &c->tracking->prefixes;
    for (unsigned i = 0; i < p->n_buckets; i++)
        for (const struct prefix *x = p->buckets[i]; x; x = x->next)
            n += x->cores && __builtin_ctzll(x->cores) == (int)c->index;
    return n;
}

// --- once a turn ---------------------------------------------------------------------------------

void tracking_mention(struct core *c, const struct key *key, uint64_t by)
{
    struct tracking *t = c->tracking;
    uint64_t cores = prefixes_cores(&t->prefixes, key->ptr, key->len);
    if (!cores)
        return;
    tracking_set_due(c, TRACKING_PREFIXES);
    for (t->cores_to_tell |= cores; cores; cores &= cores - 1) {
        struct tracking_word *w = &t->word[__builtin_ctzll(cores)];
        size_t need = sizeof(by) + sizeof(key->len) + key->len;
        if (w->room - w->len < need) {
            size_t room = 2 * w->room + need;
            uint8_t *bytes = mi_realloc(w->bytes, room);
            if (!bytes) {
                tracking_lose(c, (unsigned)__builtin_ctzll(cores));
                continue;
            }
            w->bytes = bytes;
            w->room = room;
        }
        uint8_t *to = w->bytes + w->len;
        memcpy(to, &by, sizeof(by));
        memcpy(to + sizeof(by), &key->len, sizeof(key->len));
        memcpy(to + sizeof(by) + sizeof(key->len), key->ptr, key->len);
        w->len += need;
    }
}

// What clients of the prefix are told, less what `but` changed last. NULL: nothing.
static struct block *names(const struct prefix *x, uint64_t but, bool *failed)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_mentions; i++)
        n += !but || x->mentions[i].by != but;
    if (!n)
        return NULL;
    struct outbuf text;
    outbuf_init(&text);
    reply_array(&text.out, (int64_t)n);
    for (size_t i = 0; i < x->n_mentions; i++)
        if (!but || x->mentions[i].by != but)
            reply_bulk(&text.out, x->mentions[i].key, x->mentions[i].len);
    struct block *all = text.out.failed ? NULL : outbuf_block(&text);
    *failed |= !all;
    outbuf_clear(&text);
    return all;
}

static void tell_prefix(struct core *c, struct prefix *x)
{
    bool failed = false;
    struct block *all = names(x, 0, &failed);
    for (struct prefix_client *m = x->first, *next; m && !failed; m = next) {
        next = m->next;
        struct client *client = m->client;
        struct tracker *tracker = client->tracker;
        if (!(tracker->flags & TRACKING_NOLOOP)) {
            tracker_tell(c, tracker, all);
            continue;
        }
        struct block *less = names(x, client->id, &failed);
        if (less)
            tracker_tell(c, tracker, less);
        block_release(less);
    }
    block_release(all);
    if (failed)
        tracking_lose(c, c->index);
}

// `before`: of this core's own word, what it had for itself; UINT64_MAX: that of another core, by
// which time all its clients wanted what they want now.
static void tell_prefixes(struct core *c, const uint8_t *word, size_t len, uint64_t before)
{
    struct prefix *first = NULL;
    for (const uint8_t *at = word; at < word + len;) {
        struct mention m = {.at = before == UINT64_MAX ? before : before + (uint64_t)(at - word)};
        memcpy(&m.by, at, sizeof(m.by));
        memcpy(&m.len, at + sizeof(m.by), sizeof(m.len));
        m.key = at + sizeof(m.by) + sizeof(m.len);
        at = m.key + m.len;
        if (!prefixes_mention(&c->tracking->prefixes, &m, &first))
            tracking_lose(c, c->index);
    }
    struct prefix *next;
    for (struct prefix *x = prefixes_sort(first); x; x = next) {
        next = x->next_mentioned;
        tell_prefix(c, x);
        prefix_forget_mentions(x);
    }
}

static void news_mentioned(struct core *c, struct message *m)
{
    tell_prefixes(c, m->argv[0].ptr, m->argv[0].len, UINT64_MAX);
}

void tracking_turn(struct core *c)
{
    struct tracking *t = c->tracking;
    tracking_tell(c);
    for (; t->cores_to_tell; t->cores_to_tell &= t->cores_to_tell - 1) {
        unsigned core = (unsigned)__builtin_ctzll(t->cores_to_tell);
        struct tracking_word w = t->word[core];
        t->word[core] = (struct tracking_word){0};
        struct session none = {0};
        struct arg arg = {.ptr = w.bytes, .len = w.len};
        if (core == c->index) {
            tell_prefixes(c, w.bytes, w.len, t->mentioned);
            t->mentioned += w.len;
        } else if (!mailbox_tell(c, core, &none, 1, &arg, news_mentioned)) {
            tracking_lose(c, core);
        }
        mi_free(w.bytes);
    }
    c->tracking_due &= ~TRACKING_PREFIXES;
    core_observe(c);
}
