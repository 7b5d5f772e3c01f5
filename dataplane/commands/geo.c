// Places in sorted sets: adding them, where they are, how far apart. The score of a member is its
// place (values/geohash.h), so everything else about these keys is done by the commands of sorted
// sets.
#include "dataplane/commands/geo_commands.h"

#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/strings_commands.h"
#include "dataplane/commands/zsets_value.h"

// --- arguments and answers ----------------------------------------------------------------------

bool geo_parse_point(struct request *r, int i, struct geo_point *p)
{
    if (!zset_parse_score(r, i, &p->longitude, ERR_FLOAT) ||
        !zset_parse_score(r, i + 1, &p->latitude, ERR_FLOAT))
        return false;
    if (geo_is_valid(*p))
        return true;
    request_errorf(r, "ERR invalid longitude,latitude pair %f,%f", p->longitude, p->latitude);
    return false;
}

bool geo_parse_unit(struct request *r, int i, double *metres)
{
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (unsigned k = 0; k < sizeof(units) / sizeof(units[0]); k++)
        if (request_is(r, i, units[k].name)) {
            *metres = units[k].metres;
            return true;
        }
    request_error(r, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

#define DISTANCE_TEXT_MAX 400 // any double, with four digits behind the point

void geo_reply_distance(struct request *r, double distance)
{
    char text[DISTANCE_TEXT_MAX];
    int n = snprintf(text, sizeof(text), "%.4f", distance);
    reply_bulk(r->out, text, (size_t)n);
}

static void reply_coordinate(struct request *r, double degrees)
{
    char text[STRING_FLOAT_MAX];
    size_t n = strings_format_float(text, degrees);
    if (r->session->resp < 3) {
        reply_bulk(r->out, text, n);
    } else {
        out_write(r->out, ",", 1);
        out_write(r->out, text, n);
        out_write(r->out, "\r\n", 2);
    }
}

void geo_reply_point(struct request *r, struct geo_point p)
{
    reply_array(r->out, 2);
    reply_coordinate(r, p.longitude);
    reply_coordinate(r, p.latitude);
}

// --- GEOADD -------------------------------------------------------------------------------------

struct addition {
    unsigned flags;
    bool count_changes;
    int first; // argument of the first longitude
    uint64_t *scores;
    int n;
    uint64_t added, updated;
};

static bool parse_addition(struct request *r, struct addition *a)
{
    for (a->first = 2; a->first < r->argc; a->first++) {
        if (request_is(r, a->first, "nx"))
            a->flags |= SORTED_NX;
        else if (request_is(r, a->first, "xx"))
            a->flags |= SORTED_XX;
        else if (request_is(r, a->first, "ch"))
            a->count_changes = true;
        else
            break;
    }
    int words = r->argc - a->first;
    if (words == 0 || words % 3 || (a->flags & SORTED_NX && a->flags & SORTED_XX)) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    a->n = words / 3;
    a->scores = mi_mallocn((size_t)a->n, sizeof(*a->scores));
    if (!a->scores) {
        request_error(r, ERR_OOM);
        return false;
    }
    for (int i = 0; i < a->n; i++) {
        struct geo_point p;
        if (!geo_parse_point(r, a->first + 3 * i, &p))
            return false;
        a->scores[i] = geo_encode(p);
    }
    return true;
}

// False: memory is short; those before were added.
static bool add_places(struct request *r, struct addition *a, struct sorted *z)
{
    for (int i = 0; i < a->n; i++) {
        const struct arg *name = &r->argv[a->first + 3 * i + 2];
        double score = (double)a->scores[i];
        enum sorted_result result =
            sorted_add(z, zset_limits(r), name->ptr, name->len, &score, a->flags);
        if (result == SORTED_SHORT)
            return false;
        a->added += result == SORTED_ADDED;
        a->updated += result == SORTED_UPDATED;
    }
    return true;
}

// False: memory is short, which is answered.
static bool add_to_key(struct zkey *key, struct addition *a)
{
    struct request *r = key->r;
    if (key->entry) {
        zkey_edit(key);
        bool done = add_places(r, a, &key->set);
        zkey_edit_end(key, a->added + a->updated, "zadd");
        if (!done)
            request_error(r, ERR_OOM);
        return done;
    }
    if (a->flags & SORTED_XX)
        return true;
    struct sorted fresh = sorted_new(r->store);
    if (!fresh.object || !add_places(r, a, &fresh)) {
        if (fresh.object)
            sorted_free(&fresh);
        a->added = 0;
        request_error(r, ERR_OOM);
        return false;
    }
    return zkey_store(r, 1, &fresh, "zadd");
}

// What happened is told as the ZADD that it is.
static void tell_addition(struct request *r, const struct addition *a)
{
    if (!effect_begin(r, "ZADD", (unsigned)(a->first + 2 * a->n)))
        return;
    for (int i = 1; i < a->first; i++)
        effect_arg(r, i);
    for (int i = 0; i < a->n; i++) {
        effect_integer(r, (int64_t)a->scores[i]);
        effect_arg(r, a->first + 3 * i + 2);
    }
}

void geoadd_command(struct request *r)
{
    struct addition a = {0};
    struct zkey key;
    if (parse_addition(r, &a) && zkey_open_write(r, 1, &key)) {
        bool done = add_to_key(&key, &a);
        if (a.added || a.updated)
            tell_addition(r, &a);
        if (done)
            reply_integer(r->out, (int64_t)(a.added + (a.count_changes ? a.updated : 0)));
    }
    mi_free(a.scores);
}

// --- where places are ---------------------------------------------------------------------------

static bool find_member(const struct zkey *key, int i, struct geo_point *p)
{
    const struct arg *name = &key->r->argv[i];
    double score;
    if (!key->entry || !sorted_score(&key->set, name->ptr, name->len, &score))
        return false;
    *p = geo_decode(score);
    return true;
}

void geopos_command(struct request *r)
{
    struct zkey key;
    if (!zkey_open_read(r, 1, &key))
        return;
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++) {
        struct geo_point p;
        if (find_member(&key, i, &p))
            geo_reply_point(r, p);
        else
            reply_null_array(r->out, r->session->resp);
    }
}

void geohash_command(struct request *r)
{
    struct zkey key;
    if (!zkey_open_read(r, 1, &key))
        return;
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++) {
        struct geo_point p;
        char text[GEO_TEXT_BYTES];
        if (find_member(&key, i, &p)) {
            geo_text(p, text);
            reply_bulk_string(r->out, text);
        } else {
            reply_null(r->out, r->session->resp);
        }
    }
}

void geodist_command(struct request *r)
{
    double unit = 1;
    if (r->argc > 5) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    if (r->argc == 5 && !geo_parse_unit(r, 4, &unit))
        return;
    struct zkey key;
    struct geo_point a, b;
    if (!zkey_open_read(r, 1, &key))
        return;
    if (find_member(&key, 2, &a) && find_member(&key, 3, &b))
        geo_reply_distance(r, geo_distance(a, b) / unit);
    else
        reply_null(r->out, r->session->resp);
}
