// Finding places in an area. GEORADIUS and its relatives and GEOSEARCH are one search that is asked
// for in two ways. The map is cut into cells of which each is a range of scores: those that cover
// the area are looked through, and each member's distance decides.
#include <math.h>
#include <mimalloc.h>
#include <string.h>
#include <strings.h>

#include "dataplane/commands/geo_commands.h"
#include "dataplane/commands/zsets_value.h"

enum form { // of asking
    FORM_RADIUS,
    FORM_MEMBER, // GEORADIUSBYMEMBER
    FORM_SEARCH,
    FORM_SEARCH_STORE,
};

struct search {
    enum form form;
    bool may_store; // GEORADIUS, without _RO
    struct zkey key;
    bool from_member, from_point, by_radius, by_box;
    struct geo_point center;
    double radius, width, height, unit; // in units of so many metres
    bool with_distance, with_hash, with_point;
    enum { ORDER_NONE, ORDER_ASC, ORDER_DESC } order;
    int64_t count; // 0: all
    bool any;
    int store; // argument: key for the result, 0: none
    bool store_distance;
};

// --- arguments ----------------------------------------------------------------------------------

static bool parse_radius(struct request *r, int i, struct search *s)
{
    if (!zset_parse_score(r, i, &s->radius, "ERR need numeric radius"))
        return false;
    if (s->radius < 0) {
        request_error(r, "ERR radius cannot be negative");
        return false;
    }
    return geo_parse_unit(r, i + 1, &s->unit);
}

static bool parse_box(struct request *r, int i, struct search *s)
{
    if (!zset_parse_score(r, i, &s->width, "ERR need numeric width") ||
        !zset_parse_score(r, i + 1, &s->height, "ERR need numeric height"))
        return false;
    if (s->width < 0 || s->height < 0) {
        request_error(r, "ERR height or width cannot be negative");
        return false;
    }
    return geo_parse_unit(r, i + 2, &s->unit);
}

// A member's position. Where there is no key, nothing will be found anyway.
static bool parse_member(struct request *r, int i, struct search *s)
{
    double score;
    if (!s->key.entry)
        return true;
    if (!sorted_score(&s->key.set, r->argv[i].ptr, r->argv[i].len, &score)) {
        request_error(r, "ERR could not decode requested zset member");
        return false;
    }
    s->center = geo_decode(score);
    return true;
}

enum parsed { PARSED, PARSED_OTHER, PARSED_ERROR };

// Options of one word, of any form.
static bool parse_flag(const struct request *r, int i, struct search *s)
{
    if (request_is(r, i, "withdist"))
        s->with_distance = true;
    else if (request_is(r, i, "withhash"))
        s->with_hash = true;
    else if (request_is(r, i, "withcoord"))
        s->with_point = true;
    else if (request_is(r, i, "any"))
        s->any = true;
    else if (request_is(r, i, "asc"))
        s->order = ORDER_ASC;
    else if (request_is(r, i, "desc"))
        s->order = ORDER_DESC;
    else
        return false;
    return true;
}

static bool parse_count(struct request *r, int i, struct search *s)
{
    if (!request_integer(r, i, &s->count))
        return false;
    if (s->count > 0)
        return true;
    request_error(r, "ERR COUNT must be > 0");
    return false;
}

// What only GEOSEARCH has: the middle and the shape among the options. *i goes on to the last word
// that was used.
static enum parsed parse_shape(struct request *r, int *i, struct search *s)
{
    int left = r->argc - *i - 1, at = *i + 1;
    bool good;
    if (left >= 1 && !s->from_point && request_is(r, *i, "frommember")) {
        good = parse_member(r, at, s);
        s->from_member = true;
        *i += 1;
    } else if (left >= 2 && !s->from_member && request_is(r, *i, "fromlonlat")) {
        good = geo_parse_point(r, at, &s->center);
        s->from_point = true;
        *i += 2;
    } else if (left >= 2 && !s->by_box && request_is(r, *i, "byradius")) {
        good = parse_radius(r, at, s);
        s->by_radius = true;
        *i += 2;
    } else if (left >= 3 && !s->by_radius && request_is(r, *i, "bybox")) {
        good = parse_box(r, at, s);
        s->by_box = true;
        *i += 3;
    } else if (s->form == FORM_SEARCH_STORE && request_is(r, *i, "storedist")) {
        s->store_distance = good = true;
    } else {
        return PARSED_OTHER;
    }
    return good ? PARSED : PARSED_ERROR;
}

static bool parse_options(struct request *r, int first, struct search *s)
{
    bool searches = s->form >= FORM_SEARCH;
    for (int i = first; i < r->argc; i++) {
        bool more = i + 1 < r->argc;
        if (parse_flag(r, i, s))
            continue;
        if (more && request_is(r, i, "count")) {
            if (!parse_count(r, ++i, s))
                return false;
            continue;
        }
        bool distance = request_is(r, i, "storedist");
        if (more && s->may_store && (distance || request_is(r, i, "store"))) {
            s->store = ++i;
            s->store_distance = distance;
            continue;
        }
        enum parsed parsed = searches ? parse_shape(r, &i, s) : PARSED_OTHER;
        if (parsed == PARSED_OTHER)
            request_error(r, ERR_SYNTAX);
        if (parsed != PARSED)
            return false;
    }
    return true;
}

static bool options_agree(struct request *r, const struct search *s)
{
    const char *name = (const char *)r->argv[0].ptr;
    int len = (int)r->argv[0].len;
    if (s->store && (s->with_distance || s->with_hash || s->with_point)) {
        request_errorf(r, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                       s->form == FORM_SEARCH_STORE ? "GEOSEARCHSTORE"
                                                    : "STORE option in GEORADIUS");
        return false;
    }
    if (s->form >= FORM_SEARCH && !s->from_member && !s->from_point) {
        request_errorf(r, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                       len, name);
        return false;
    }
    if (s->form >= FORM_SEARCH && !s->by_radius && !s->by_box) {
        request_errorf(r, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s", len,
                       name);
        return false;
    }
    if (s->any && !s->count) {
        request_error(r, "ERR the ANY argument requires COUNT argument");
        return false;
    }
    return true;
}

static bool parse_search(struct request *r, struct search *s)
{
    int first;
    switch (s->form) {
    case FORM_RADIUS:
        if (!geo_parse_point(r, 2, &s->center) || !parse_radius(r, 4, s))
            return false;
        first = 6;
        break;
    case FORM_MEMBER:
        if (s->key.entry && (!parse_member(r, 2, s) || !parse_radius(r, 3, s)))
            return false;
        first = 5;
        break;
    case FORM_SEARCH_STORE:
        s->store = 1;
        first = 3;
        break;
    default:
        first = 2;
        break;
    }
    return parse_options(r, first, s) && options_agree(r, s);
}

// --- searching ----------------------------------------------------------------------------------

struct hits {
    struct geo_hit *hits; // mimalloc
    size_t n, room;
};

static bool add_hit(struct hits *h, const struct sorted_at *at, double score, double distance)
{
    if (h->n == h->room) {
        size_t room = h->room ? h->room * 2 : 16;
        struct geo_hit *hits = mi_reallocn(h->hits, room, sizeof(*hits));
        if (!hits)
            return false;
        h->hits = hits;
        h->room = room;
    }
    h->hits[h->n] =
        (struct geo_hit){.distance = distance, .score = score, .at = *at, .number = h->n};
    h->n++;
    return true;
}

// All members in the area, or the first `most` (0: all) that are met. False: memory is short.
static bool find_hits(const struct search *s, const struct geo_area *area, uint64_t most,
                      struct hits *h)
{
    struct geo_scores ranges[GEO_RANGES_MAX];
    unsigned n = geo_cover(area, ranges);
    for (unsigned i = 0; i < n; i++) {
        struct score_range range = {
            .min = ranges[i].min, .max = ranges[i].end, .max_exclusive = true};
        struct sorted_ranks ranks = sorted_by_score(&s->key.set, &range);
        struct sorted_at at = sorted_at_rank(&s->key.set, ranks.first);
        for (uint64_t k = 0; k < ranks.n; k++, sorted_next(&at)) {
            char scratch[24];
            double distance, score = sorted_item(&at, scratch).score;
            if (!geo_contains(area, geo_decode(score), &distance))
                continue;
            if (!add_hit(h, &at, score, distance))
                return false;
            if (most && h->n >= most)
                return true;
        }
    }
    return true;
}

static struct geo_area area_of(const struct search *s)
{
    double radius = s->radius;
    if (s->by_box)
        radius = sqrt((s->width / 2) * (s->width / 2) + (s->height / 2) * (s->height / 2));
    return (struct geo_area){
        .center = s->center,
        .box = s->by_box,
        .radius = radius * s->unit,
        .width = s->width * s->unit,
        .height = s->height * s->unit,
    };
}

// --- answers ------------------------------------------------------------------------------------

static void answer_hits(struct request *r, const struct search *s, const struct geo_hit *hits,
                        size_t n)
{
    int64_t extras = s->with_distance + s->with_hash + s->with_point;
    reply_array(r->out, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        char scratch[24];
        struct sorted_item item = sorted_item(&hits[i].at, scratch);
        if (extras)
            reply_array(r->out, extras + 1);
        reply_bulk(r->out, item.ptr, item.len);
        if (s->with_distance)
            geo_reply_distance(r, hits[i].distance / s->unit);
        if (s->with_hash)
            reply_integer(r->out, (int64_t)hits[i].score);
        if (s->with_point)
            geo_reply_point(r, geo_decode(hits[i].score));
    }
}

// Keeps what was found, or deletes the key for it where that is nothing.
static void store_hits(struct request *r, const struct search *s, const struct geo_hit *hits,
                       size_t n)
{
    struct sorted found = sorted_new(r->store);
    bool done = found.object;
    for (size_t i = 0; done && i < n; i++) {
        char scratch[24];
        struct sorted_item item = sorted_item(&hits[i].at, scratch);
        double score = s->store_distance ? hits[i].distance / s->unit : hits[i].score;
        done = sorted_add(&found, zset_limits(r), item.ptr, item.len, &score, 0) != SORTED_SHORT;
    }
    if (!done) {
        if (found.object)
            sorted_free(&found);
        request_error(r, ERR_OOM);
        return;
    }
    const char *event = s->form == FORM_SEARCH_STORE ? "geosearchstore" : "georadiusstore";
    if (zkey_store(r, s->store, &found, event))
        reply_integer(r->out, (int64_t)n);
}

static void run_search(struct request *r, struct search *s)
{
    if (!s->key.entry) {
        if (s->store)
            store_hits(r, s, NULL, 0);
        else
            reply_array(r->out, 0);
        return;
    }
    if (s->count && s->order == ORDER_NONE && !s->any)
        s->order = ORDER_ASC; // the nearest, not just some
    struct geo_area area = area_of(s);
    struct hits h = {0};
    if (!find_hits(s, &area, s->any ? (uint64_t)s->count : 0, &h)) {
        request_error(r, ERR_OOM);
        mi_free(h.hits);
        return;
    }
    size_t n = s->count && (uint64_t)s->count < h.n ? (size_t)s->count : h.n;
    if (n && s->order != ORDER_NONE)
        geo_sort(h.hits, h.n, n, s->order == ORDER_DESC);
    if (s->store)
        store_hits(r, s, h.hits, n);
    else
        answer_hits(r, s, h.hits, n);
    mi_free(h.hits);
}

static void search(struct request *r, enum form form, bool may_store)
{
    struct search s = {.form = form, .may_store = may_store};
    if (!zkey_open_read(r, form == FORM_SEARCH_STORE ? 2 : 1, &s.key))
        return;
    if (parse_search(r, &s))
        run_search(r, &s);
}

void georadius_command(struct request *r)
{
    search(r, FORM_RADIUS, true);
}

void georadius_ro_command(struct request *r)
{
    search(r, FORM_RADIUS, false);
}

void georadiusbymember_command(struct request *r)
{
    search(r, FORM_MEMBER, true);
}

void georadiusbymember_ro_command(struct request *r)
{
    search(r, FORM_MEMBER, false);
}

void geosearch_command(struct request *r)
{
    search(r, FORM_SEARCH, false);
}

void geosearchstore_command(struct request *r)
{
    search(r, FORM_SEARCH_STORE, false);
}

// --- keys ---------------------------------------------------------------------------------------

// The table finds the key behind the first STORE and the first STOREDIST; the last of both counts.
// So with more than one of them, or with one at the end, the keys are not those of the table.
static bool stores_oddly(const struct arg *argv, int argc, int first)
{
    static const char *const words[] = {"store", "storedist"};
    int n = 0;
    for (int i = first; i < argc; i++)
        for (unsigned k = 0; k < 2; k++)
            if (argv[i].len == strlen(words[k]) &&
                strncasecmp((const char *)argv[i].ptr, words[k], argv[i].len) == 0)
                n += i == argc - 1 ? 2 : 1;
    return n > 1;
}

bool georadius_needs_all(const struct arg *argv, int argc)
{
    return stores_oddly(argv, argc, 6);
}

bool georadiusbymember_needs_all(const struct arg *argv, int argc)
{
    return stores_oddly(argv, argc, 5);
}
