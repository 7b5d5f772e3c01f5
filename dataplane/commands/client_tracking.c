// CLIENT: client-side caching. What is asked for is checked here; who is told of what is core's
// business (dataplane/core/tracking.h).
#include "dataplane/commands/connection.h"

#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/families.h"
#include "dataplane/pubsub/tracking.h"
#include "dataplane/resp/client.h"

// --- TRACKING ------------------------------------------------------------------------------------

// What a core answers: it has the client to redirect to, or no memory for the prefixes.
enum tracking_part { PART_TARGET = 't', PART_NO_MEMORY = 'm' };

struct wanted {
    bool on;
    bool redirects, no_target; // to another client, which does not exist
    struct client_tracking tracking;
    struct arg *prefixes; // mimalloc, or NULL
    unsigned n_prefixes;
};

static bool fail(struct request *r, const char *text)
{
    if (r->out)
        request_error(r, text);
    return false;
}

static bool read_options(struct request *r, struct wanted *w)
{
    for (int i = 3; i < r->argc; i++) {
        bool more = i + 1 < r->argc;
        if (more && request_is(r, i, "redirect")) {
            int64_t id;
            i++;
            if (w->redirects)
                return fail(r, "ERR A client can only redirect to a single other client");
            if (!parse_int64(r->argv[i].ptr, r->argv[i].len, &id))
                return fail(r, ERR_NOT_INTEGER);
            w->redirects = true;
            w->tracking.redirect = (uint64_t)id;
            if (w->no_target || id <= 0)
                return fail(r, "ERR The client ID you want redirect to does not exist");
        } else if (request_is(r, i, "bcast")) {
            w->tracking.flags |= TRACKING_BCAST;
        } else if (request_is(r, i, "optin")) {
            w->tracking.flags |= TRACKING_OPTIN;
        } else if (request_is(r, i, "optout")) {
            w->tracking.flags |= TRACKING_OPTOUT;
        } else if (request_is(r, i, "noloop")) {
            w->tracking.flags |= TRACKING_NOLOOP;
        } else if (more && request_is(r, i, "prefix")) {
            w->prefixes[w->n_prefixes++] = r->argv[++i];
        } else {
            return fail(r, ERR_SYNTAX);
        }
    }
    return true;
}

// The options among each other.
static bool options_agree(struct request *r, const struct wanted *w)
{
    unsigned flags = w->tracking.flags;
    if (flags & TRACKING_BCAST && flags & (TRACKING_OPTIN | TRACKING_OPTOUT))
        return fail(r, "ERR OPTIN and OPTOUT are not compatible with BCAST");
    if (flags & TRACKING_OPTIN && flags & TRACKING_OPTOUT)
        return fail(r, "ERR You can't specify both OPTIN mode and OPTOUT mode");
    return true;
}

struct overlap {
    struct request *r;
    const struct arg *prefix;
    bool any;
};

static bool overlaps(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return memcmp(a, b, a_len < b_len ? a_len : b_len) == 0;
}

static void check_overlap(void *context, const void *text, size_t len)
{
    struct overlap *o = context;
    if (o->any || !overlaps(text, len, o->prefix->ptr, o->prefix->len))
        return;
    o->any = true;
    request_errorf(o->r,
                   "ERR Prefix '%.*s' overlaps with an existing prefix '%.*s'. Prefixes for a "
                   "single client must not overlap.",
                   (int)o->prefix->len, (const char *)o->prefix->ptr, (int)len, (const char *)text);
}

static bool prefixes_agree(struct request *r, const struct wanted *w)
{
    for (unsigned i = 0; i < w->n_prefixes; i++) {
        const struct arg *a = &w->prefixes[i];
        struct overlap o = {.r = r, .prefix = a};
        r->services->each_prefix(r->client, check_overlap, &o);
        if (o.any)
            return false;
        for (unsigned j = i + 1; j < w->n_prefixes; j++) {
            const struct arg *b = &w->prefixes[j];
            if (!overlaps(a->ptr, a->len, b->ptr, b->len))
                continue;
            request_errorf(r,
                           "ERR Prefix '%.*s' overlaps with another provided prefix '%.*s'. "
                           "Prefixes for a single client must not overlap.",
                           (int)a->len, (const char *)a->ptr, (int)b->len, (const char *)b->ptr);
            return false;
        }
    }
    return true;
}

// What the arguments say on their own. Answers where they are wrong, if there is somewhere to.
static bool understand(struct request *r, struct wanted *w)
{
    w->prefixes = mi_mallocn((size_t)r->argc, sizeof(*w->prefixes));
    if (!w->prefixes)
        return fail(r, ERR_OOM);
    if (!read_options(r, w))
        return false;
    w->on = request_is(r, 2, "on");
    if (!w->on)
        return request_is(r, 2, "off") || fail(r, ERR_SYNTAX);
    w->tracking.flags |= TRACKING_ON;
    return true;
}

// The rest, against what the client has now.
static bool fits_client(struct request *r, const struct wanted *w)
{
    struct client_tracking now;
    r->services->client_tracking(r->client, &now);
    unsigned flags = w->tracking.flags;
    if (!(flags & TRACKING_BCAST) && w->n_prefixes)
        return fail(r, "ERR PREFIX option requires BCAST mode to be enabled");
    if (now.flags & TRACKING_ON && (now.flags ^ flags) & TRACKING_BCAST)
        return fail(r, "ERR You can't switch BCAST mode on/off before disabling tracking for this "
                       "client, and then re-enabling it with a different mode.");
    if (!options_agree(r, w))
        return false;
    if ((flags & TRACKING_OPTIN && now.flags & TRACKING_OPTOUT) ||
        (flags & TRACKING_OPTOUT && now.flags & TRACKING_OPTIN))
        return fail(r, "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this "
                       "client, and then re-enabling it with a different mode.");
    return !(flags & TRACKING_BCAST) || prefixes_agree(r, w);
}

// Whether the arguments, if the client to redirect to is there, ask for prefixes, which all cores
// count then. Without any it is the empty one. Nothing is answered.
static bool wants_prefixes(struct request *r, struct wanted *w)
{
    struct out *out = r->out;
    *w = (struct wanted){0};
    r->out = NULL;
    bool wants = understand(r, w) && w->on && w->tracking.flags & TRACKING_BCAST;
    r->out = out;
    if (wants && !w->n_prefixes)
        w->prefixes[w->n_prefixes++] = (struct arg){.ptr = (uint8_t *)"", .len = 0};
    return wants;
}

// All cores have to know of prefixes, and one of them the client to redirect to. What concerns
// nobody else is done here.
bool client_tracking_start(struct request *r)
{
    struct wanted w;
    if (!r->client)
        return false;
    // An error that comes behind an unknown client is not the first one.
    bool far = wants_prefixes(r, &w) || w.redirects;
    mi_free(w.prefixes);
    if (far)
        return true;
    w = (struct wanted){0};
    if (understand(r, &w) && (!w.on || fits_client(r, &w))) {
        if (w.on && !r->services->tracking_begin(r, &w.tracking, 0, 0, NULL)) {
            request_error(r, ERR_OOM);
        } else {
            if (!w.on)
                r->services->tracking_end(r);
            reply_status(r->out, "OK");
        }
    }
    mi_free(w.prefixes);
    return false;
}

struct search {
    struct request *r;
    uint64_t id;
    bool found;
};

static void find_target(void *context, struct client *c)
{
    struct search *s = context;
    if (c->id == s->id)
        s->found = s->r->services->tracking_target(s->r, c);
}

void client_tracking_part(struct request *r)
{
    struct wanted w;
    bool wants = wants_prefixes(r, &w);
    struct search s = {.r = r, .id = w.tracking.redirect};
    if (w.redirects)
        r->services->each_client(r->core, find_target, &s);
    if (s.found)
        out_write(r->out, &(char){PART_TARGET}, 1);
    if (wants && !r->services->tracking_count(r, w.n_prefixes, w.prefixes))
        out_write(r->out, &(char){PART_NO_MEMORY}, 1);
    mi_free(w.prefixes);
}

void client_tracking_command(struct request *r)
{
    unsigned core = r->n_parts;
    bool memory = true;
    for (unsigned p = 0; p < r->n_parts; p++) {
        if (memchr(r->parts[p].ptr ? (const char *)r->parts[p].ptr : "", PART_TARGET,
                   r->parts[p].len))
            core = p;
        memory &= !memchr(r->parts[p].ptr ? (const char *)r->parts[p].ptr : "", PART_NO_MEMORY,
                          r->parts[p].len);
    }
    struct wanted w = {.no_target = core == r->n_parts}, asked;
    bool counted = wants_prefixes(r, &asked), done = false;
    bool fits = r->client && understand(r, &w) && (!w.on || fits_client(r, &w));
    if (fits && !w.on) {
        r->services->tracking_end(r);
        done = true;
    } else if (fits && memory) {
        done = r->services->tracking_begin(r, &w.tracking, core, asked.n_prefixes, asked.prefixes);
    }
    if (done)
        reply_status(r->out, "OK");
    else if (fits)
        request_error(r, ERR_OOM);
    if (!done && counted && memory)
        r->services->tracking_uncount(r, asked.n_prefixes, asked.prefixes);
    mi_free(w.prefixes);
    mi_free(asked.prefixes);
}

// --- the rest ------------------------------------------------------------------------------------

void client_caching_command(struct request *r)
{
    struct client_tracking now;
    r->services->client_tracking(r->client, &now);
    bool yes = request_is(r, 2, "yes"), no = request_is(r, 2, "no");
    if (!(now.flags & TRACKING_ON)) {
        request_error(r, "ERR CLIENT CACHING can be called only when the client is in tracking "
                         "mode with OPTIN or OPTOUT mode enabled");
    } else if (yes && !(now.flags & TRACKING_OPTIN)) {
        request_error(
            r, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
    } else if (no && !(now.flags & TRACKING_OPTOUT)) {
        request_error(
            r, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
    } else if (!yes && !no) {
        request_error(r, ERR_SYNTAX);
    } else {
        r->services->tracking_caching(r);
        reply_status(r->out, "OK");
    }
}

static void count_prefix(void *context, const void *text, size_t len)
{
    (void)text;
    (void)len;
    ++*(unsigned *)context;
}

static void reply_prefix(void *context, const void *text, size_t len)
{
    struct request *r = context;
    reply_bulk(r->out, text, len);
}

void client_trackinginfo_command(struct request *r)
{
    static const struct {
        unsigned all; // of these flags
        const char *name;
    } names[] = {
        {TRACKING_BCAST, "bcast"},
        {TRACKING_OPTIN, "optin"},
        {TRACKING_OPTIN | TRACKING_CACHING, "caching-yes"},
        {TRACKING_OPTOUT, "optout"},
        {TRACKING_OPTOUT | TRACKING_CACHING, "caching-no"},
        {TRACKING_NOLOOP, "noloop"},
        {TRACKING_BROKEN, "broken_redirect"},
    };
    const unsigned n_names = sizeof(names) / sizeof(*names);
    struct client_tracking now;
    r->services->client_tracking(r->client, &now);
    bool on = now.flags & TRACKING_ON;
    unsigned n = 1, n_prefixes = 0;
    for (unsigned i = 0; i < n_names; i++)
        n += (now.flags & names[i].all) == names[i].all;
    reply_map(r->out, r->session->resp, 3);
    reply_bulk_string(r->out, "flags");
    reply_set(r->out, r->session->resp, n);
    reply_bulk_string(r->out, on ? "on" : "off");
    for (unsigned i = 0; i < n_names; i++)
        if ((now.flags & names[i].all) == names[i].all)
            reply_bulk_string(r->out, names[i].name);
    reply_bulk_string(r->out, "redirect");
    reply_integer(r->out, on ? (int64_t)now.redirect : -1);
    reply_bulk_string(r->out, "prefixes");
    r->services->each_prefix(r->client, count_prefix, &n_prefixes);
    reply_array(r->out, n_prefixes);
    r->services->each_prefix(r->client, reply_prefix, r);
}

void client_getredir_command(struct request *r)
{
    struct client_tracking now;
    r->services->client_tracking(r->client, &now);
    reply_integer(r->out, now.flags & TRACKING_ON ? (int64_t)now.redirect : -1);
}
