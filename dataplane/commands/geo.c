// Places in sorted sets: adding them, where they are, how far apart. The score of a member is its
// place (values/geohash.h), so everything else about these keys is done by the commands of sorted
// sets.
#include "dataplane/commands/geo_commands.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"

// --- arguments and answers ----------------------------------------------------------------------

// A number as C's strtod reads all of it, without space before it. Not one that is out of range
// where that loses the value, and no NaN.
static bool parse_double(const struct arg *a, double *value)
{
    char small[256], *text = small;
    if (a->len == 0 || isspace(a->ptr[0]))
        return false;
    if (a->len >= sizeof(small) && !(text = mi_malloc(a->len + 1)))
        return false;
    memcpy(text, a->ptr, a->len);
    text[a->len] = '\0';
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    bool whole = end == text + a->len;
    if (text != small)
        mi_free(text);
    return whole && !isnan(*value) && (errno != ERANGE || (!isinf(*value) && *value != 0));
}

bool geo_parse_double(struct request *r, int i, double *value, const char *error)
{
    if (parse_double(&r->argv[i], value))
        return true;
    request_error(r, error);
    return false;
}

bool geo_parse_point(struct request *r, int i, struct geo_point *p)
{
    static const char error[] = "ERR value is not a valid float";
    if (!geo_parse_double(r, i, &p->longitude, error) ||
        !geo_parse_double(r, i + 1, &p->latitude, error))
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

// Decimal digits: at most four behind the point of a distance, 17 of a coordinate. Long enough for
// any double.
#define NUMBER_TEXT_MAX 400

void geo_reply_distance(struct request *r, double distance)
{
    char text[NUMBER_TEXT_MAX];
    int n = snprintf(text, sizeof(text), "%.4f", distance);
    reply_bulk(r->out, text, (size_t)n);
}

static void reply_coordinate(struct request *r, double degrees)
{
    char text[NUMBER_TEXT_MAX];
    int n = snprintf(text, sizeof(text), "%.17Lf", (long double)degrees);
    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    if (n == 2 && memcmp(text, "-0", 2) == 0) {
        text[0] = '0';
        n = 1;
    }
    if (r->session->resp < 3) {
        reply_bulk(r->out, text, (size_t)n);
    } else {
        out_write(r->out, ",", 1);
        out_write(r->out, text, (size_t)n);
        out_write(r->out, "\r\n", 2);
    }
}

void geo_reply_point(struct request *r, struct geo_point p)
{
    reply_array(r->out, 2);
    reply_coordinate(r, p.longitude);
    reply_coordinate(r, p.latitude);
}

struct sorted_limits geo_limits(const struct request *r)
{
    return (struct sorted_limits){
        .entries = r->limits->zset_max_listpack_entries,
        .value = r->limits->zset_max_listpack_value,
    };
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
            sorted_add(z, geo_limits(r), name->ptr, name->len, &score, a->flags);
        if (result == SORTED_SHORT)
            return false;
        a->added += result == SORTED_ADDED;
        a->updated += result == SORTED_UPDATED;
    }
    return true;
}

static bool add_to_key(struct request *r, const struct key *key, struct entry *e,
                       struct addition *a)
{
    if (e) {
        struct edit edit = edit_begin(r->store, r->session->db, key, e);
        struct sorted z = sorted_of(r->store, e);
        bool done = add_places(r, a, &z);
        edit.object = z.object;
        edit.encoding = z.encoding;
        edit_end(&edit, a->added + a->updated);
        return done;
    }
    if (a->flags & SORTED_XX)
        return true;
    struct sorted z = sorted_new(r->store);
    bool done = z.object && add_places(r, a, &z);
    if (done)
        done = store_put_object(r->store, r->session->db, key, NULL, OBJ_ZSET, z.encoding, z.object,
                                -1);
    if (!done) {
        a->added = a->updated = 0;
        if (z.object)
            sorted_free(&z);
    }
    return done;
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
    if (parse_addition(r, &a)) {
        struct key key = request_key(r, 1);
        struct entry *e = lookup_write(r, &key);
        if (lookup_type_is(r, e, OBJ_ZSET)) {
            bool done = add_to_key(r, &key, e, &a);
            if (a.added || a.updated) {
                tell_addition(r, &a);
                request_changed(r, &key, EVENT_ZSET, "zadd");
            }
            if (done)
                reply_integer(r->out, (int64_t)(a.added + (a.count_changes ? a.updated : 0)));
            else
                request_error(r, ERR_OOM);
        }
    }
    mi_free(a.scores);
}

// --- where places are ---------------------------------------------------------------------------

// The sorted set of argument 1; *there tells whether there is one. Answers when it returns false.
static bool find_places(struct request *r, struct sorted *z, bool *there)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_ZSET))
        return false;
    *there = e;
    if (e)
        *z = sorted_of(r->store, e);
    return true;
}

static bool find_member(const struct request *r, const struct sorted *z, int i, struct geo_point *p)
{
    double score;
    if (!sorted_score(z, r->argv[i].ptr, r->argv[i].len, &score))
        return false;
    *p = geo_decode(score);
    return true;
}

void geopos_command(struct request *r)
{
    struct sorted z;
    bool there;
    if (!find_places(r, &z, &there))
        return;
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++) {
        struct geo_point p;
        if (there && find_member(r, &z, i, &p))
            geo_reply_point(r, p);
        else
            reply_null_array(r->out, r->session->resp);
    }
}

void geohash_command(struct request *r)
{
    struct sorted z;
    bool there;
    if (!find_places(r, &z, &there))
        return;
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++) {
        struct geo_point p;
        char text[GEO_TEXT_BYTES];
        if (there && find_member(r, &z, i, &p)) {
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
    struct sorted z;
    struct geo_point a, b;
    bool there;
    if (!find_places(r, &z, &there))
        return;
    if (there && find_member(r, &z, 2, &a) && find_member(r, &z, 3, &b))
        geo_reply_distance(r, geo_distance(a, b) / unit);
    else
        reply_null(r->out, r->session->resp);
}
