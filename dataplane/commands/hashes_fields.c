// Commands that name fields behind FIELDS: what they share, and those that do two things at once,
// as Redis 8.0 has them: HGETEX, HSETEX, HGETDEL.
#include "dataplane/commands/hashes_fields.h"

#include <mimalloc.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/hashes_commands.h"

#define NOT_POSITIVE "ERR Number of fields must be a positive integer"

// --- arguments ----------------------------------------------------------------------------------

bool hash_parse_count(struct request *r, int at, int per_field, const char *not_positive,
                      struct field_args *fields)
{
    int64_t n;
    if (!parse_int64(r->argv[at].ptr, r->argv[at].len, &n) || n < 1) {
        request_error(r, not_positive);
        return false;
    }
    fields->first = at + 1;
    fields->n = (int)n;
    if (n <= INT32_MAX / per_field && n * per_field == r->argc - fields->first)
        return true;
    request_error(r, "ERR The `numfields` parameter must match the number of arguments");
    return false;
}

static bool need_fields(struct request *r, int at)
{
    if (at + 1 < r->argc && request_is(r, at, "fields"))
        return true;
    request_error(r, "ERR Mandatory argument FIELDS is missing or not at the right position");
    return false;
}

bool hash_parse_fields(struct request *r, int at, const char *not_positive,
                       struct field_args *fields)
{
    return need_fields(r, at) && hash_parse_count(r, at + 1, 1, not_positive, fields);
}

bool hash_parse_time(struct request *r, int i, int64_t unit_ms, int64_t base_ms, int64_t *expiry_ms)
{
    int64_t t;
    if (!request_integer(r, i, &t))
        return false;
    if (t < 0) {
        request_error(r, "ERR invalid expire time, must be >= 0");
        return false;
    }
    if (t > FIELD_EXPIRY_MAX / unit_ms || t * unit_ms > FIELD_EXPIRY_MAX - base_ms) {
        request_errorf(r, "ERR invalid expire time in '%s' command", r->command->name);
        return false;
    }
    *expiry_ms = t * unit_ms + base_ms;
    return true;
}

// --- effects ------------------------------------------------------------------------------------

bool field_list_make(struct field_list *l, int room)
{
    l->n = 0;
    l->fields = l->few;
    if ((size_t)room > sizeof(l->few) / sizeof(l->few[0]))
        l->fields = mi_malloc((size_t)room * sizeof(*l->fields));
    return l->fields;
}

void field_list_free(struct field_list *l)
{
    if (l->fields != l->few)
        mi_free(l->fields);
}

void hash_effect_fields(struct request *r, int64_t expiry_ms, const struct field_list *fields)
{
    if (!fields->n) {
        effect_nothing(r);
        return;
    }
    unsigned n = (unsigned)fields->n;
    bool begun = expiry_ms == FIELDS_GONE ? effect_begin(r, "HDEL", 2 + n)
                 : expiry_ms < 0          ? effect_begin(r, "HPERSIST", 4 + n)
                                          : effect_begin(r, "HPEXPIREAT", 5 + n);
    if (!begun)
        return;
    effect_arg(r, 1);
    if (expiry_ms >= 0)
        effect_integer(r, expiry_ms);
    if (expiry_ms != FIELDS_GONE) {
        effect_text(r, "FIELDS");
        effect_integer(r, fields->n);
    }
    for (int i = 0; i < fields->n; i++)
        effect_arg(r, fields->fields[i]);
}

// --- HGETDEL ------------------------------------------------------------------------------------

static bool reply_value(struct request *r, const struct hash *h, int i)
{
    struct field f;
    if (h->entry && hash_find(h, r->argv[i].ptr, r->argv[i].len, &f)) {
        reply_bulk(r->out, f.ptr, f.len);
        return true;
    }
    reply_null(r->out, r->session->resp);
    return false;
}

void hgetdel_command(struct request *r)
{
    struct hash h;
    struct field_args fields;
    struct field_list done;
    if (!hash_open_write(r, &h) || !hash_parse_fields(r, 2, NOT_POSITIVE, &fields))
        return;
    if (!field_list_make(&done, fields.n)) {
        request_error(r, ERR_OOM);
        return;
    }
    if (h.entry)
        hash_edit(&h);
    reply_array(r->out, fields.n);
    for (int i = fields.first; i < fields.first + fields.n; i++) {
        if (!reply_value(r, &h, i))
            continue;
        if (hash_remove(&h, r->argv[i].ptr, r->argv[i].len))
            field_list_add(&done, i);
        else
            r->out->failed = true; // memory is short, and the answer was begun
    }
    hash_effect_fields(r, FIELDS_GONE, &done);
    field_list_free(&done);
    if (h.entry)
        hash_finish(&h, "hdel");
}

// --- the time of HGETEX and HSETEX ---------------------------------------------------------------

enum time_option { TIME_NONE, TIME_EX, TIME_PX, TIME_EXAT, TIME_PXAT, TIME_PERSIST, TIME_KEEPTTL };

static enum time_option time_option(const struct request *r, int i)
{
    static const char *const names[] = {
        [TIME_EX] = "ex",     [TIME_PX] = "px",           [TIME_EXAT] = "exat",
        [TIME_PXAT] = "pxat", [TIME_PERSIST] = "persist", [TIME_KEEPTTL] = "keepttl"};
    for (enum time_option o = TIME_EX; o <= TIME_KEEPTTL; o++)
        if (request_is(r, i, names[o]))
            return o;
    return TIME_NONE;
}

struct ex_options {
    enum time_option time;
    int64_t expiry_ms; // of the four that name one
    bool if_none, if_all;
    int fields; // where FIELDS is
};

static bool parse_time_option(struct request *r, int *i, enum time_option o, struct ex_options *x)
{
    x->time = o;
    if (o == TIME_PERSIST || o == TIME_KEEPTTL)
        return true;
    if (++*i == r->argc) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    bool relative = o == TIME_EX || o == TIME_PX;
    return hash_parse_time(r, *i, o == TIME_EX || o == TIME_EXAT ? 1000 : 1,
                           relative ? (int64_t)r->now_ms : 0, &x->expiry_ms);
}

// What stands before FIELDS. `other` is the option that only one of both has.
static bool parse_options(struct request *r, enum time_option other, struct ex_options *x)
{
    *x = (struct ex_options){.fields = 2};
    for (int i = 2; i < r->argc && !request_is(r, i, "fields"); i++, x->fields = i) {
        enum time_option o = time_option(r, i);
        bool none = other == TIME_KEEPTTL && request_is(r, i, "fnx");
        bool all = other == TIME_KEEPTTL && request_is(r, i, "fxx");
        if (o != TIME_NONE && (o <= TIME_PXAT || o == other)) {
            if (x->time != TIME_NONE) {
                request_errorf(r,
                               "ERR Only one of EX, PX, EXAT, PXAT or %s arguments can be "
                               "specified",
                               other == TIME_KEEPTTL ? "KEEPTTL" : "PERSIST");
                return false;
            }
            if (!parse_time_option(r, &i, o, x))
                return false;
        } else if (none || all) {
            if (x->if_none || x->if_all) {
                request_error(r, "ERR Only one of FXX or FNX arguments can be specified");
                return false;
            }
            x->if_none = none;
            x->if_all = all;
        } else {
            return need_fields(r, i);
        }
    }
    return need_fields(r, x->fields);
}

static bool names_time(const struct ex_options *x)
{
    return x->time >= TIME_EX && x->time <= TIME_PXAT;
}

// --- HGETEX -------------------------------------------------------------------------------------

// Gives the field of argument i the time that the options name. Returns whether it changed.
static bool apply_time(struct hash *h, int i, const struct ex_options *x)
{
    const struct arg *name = &h->r->argv[i];
    struct field f;
    hash_find(h, name->ptr, name->len, &f);
    if (x->time == TIME_PERSIST && field_expiry(&f) < 0)
        return false;
    bool ok =
        names_time(x) && x->expiry_ms <= h->now_ms
            ? hash_remove(h, name->ptr, name->len)
            : hash_set_expiry(h, name->ptr, name->len, x->time == TIME_PERSIST ? -1 : x->expiry_ms);
    if (!ok) // the answer was begun
        h->r->out->failed = true;
    return ok;
}

void hgetex_command(struct request *r)
{
    struct hash h;
    struct ex_options x;
    struct field_args fields;
    struct field_list done;
    if (!hash_open_write(r, &h) || !parse_options(r, TIME_PERSIST, &x) ||
        !hash_parse_fields(r, x.fields, NOT_POSITIVE, &fields))
        return;
    bool changes = h.entry && x.time != TIME_NONE;
    if (!field_list_make(&done, fields.n)) {
        request_error(r, ERR_OOM);
        return;
    }
    if (changes) {
        hash_edit(&h);
        if (!hash_reserve_due(&h)) {
            hash_edit_end(&h);
            field_list_free(&done);
            request_error(r, ERR_OOM);
            return;
        }
    }
    reply_array(r->out, fields.n);
    for (int i = fields.first; i < fields.first + fields.n; i++)
        if (reply_value(r, &h, i) && changes && apply_time(&h, i, &x))
            field_list_add(&done, i);
    bool past = names_time(&x) && x.expiry_ms <= h.now_ms;
    hash_effect_fields(r, past ? FIELDS_GONE : names_time(&x) ? x.expiry_ms : -1, &done);
    field_list_free(&done);
    if (changes)
        hash_finish(&h, past ? "hdel" : x.time == TIME_PERSIST ? "hpersist" : "hexpire");
}

// --- HSETEX -------------------------------------------------------------------------------------

static bool fields_allow(const struct hash *h, const struct ex_options *x,
                         const struct field_args *fields)
{
    if (!x->if_none && !x->if_all)
        return true;
    for (int i = 0; i < fields->n; i++) {
        const struct arg *name = &h->r->argv[fields->first + 2 * i];
        struct field f;
        bool there = h->entry && hash_find(h, name->ptr, name->len, &f);
        if (there ? x->if_none : x->if_all)
            return false;
    }
    return true;
}

// In the words of commands that do one thing each, with an absolute time.
static void effect_of_hsetex(struct request *r, const struct ex_options *x,
                             const struct field_args *fields, const struct field_list *names)
{
    if (x->time == TIME_KEEPTTL) // says the same whenever it runs
        return;
    if (effect_begin(r, "HSET", 2 + 2 * (unsigned)fields->n)) {
        effect_arg(r, 1);
        for (int i = 0; i < 2 * fields->n; i++)
            effect_arg(r, fields->first + i);
    }
    if (names_time(x))
        hash_effect_fields(r, x->expiry_ms, names);
}

static bool set_fields(struct hash *h, const struct ex_options *x, const struct field_args *fields)
{
    struct request *r = h->r;
    bool timed = names_time(x), keep = x->time == TIME_KEEPTTL, created;
    if ((timed && !hash_reserve_due(h)) ||
        !hash_prepare(h, fields->first, fields->first + 2 * fields->n - 1))
        return false;
    for (int i = fields->first; i < fields->first + 2 * fields->n; i += 2) {
        const struct arg *name = &r->argv[i], *value = &r->argv[i + 1];
        if (!hash_set(h, name, value->ptr, value->len, keep, &created) ||
            (timed && !hash_set_expiry(h, name->ptr, name->len, x->expiry_ms)))
            return false;
    }
    return true;
}

// With a time that is over, setting a field takes it away.
static void remove_fields(struct hash *h, const struct field_args *fields)
{
    struct field_list done = {.n = 0};
    if (h->entry && field_list_make(&done, fields->n)) {
        hash_edit(h);
        for (int i = fields->first; i < fields->first + 2 * fields->n; i += 2)
            if (hash_remove(h, h->r->argv[i].ptr, h->r->argv[i].len))
                field_list_add(&done, i);
        hash_effect_fields(h->r, FIELDS_GONE, &done);
        field_list_free(&done);
        hash_finish(h, "hdel");
    }
    reply_integer(h->r->out, 1);
}

void hsetex_command(struct request *r)
{
    struct hash h;
    struct ex_options x;
    struct field_args fields;
    if (!parse_options(r, TIME_KEEPTTL, &x) ||
        !hash_parse_count(r, x.fields + 1, 2, NOT_POSITIVE, &fields) || !hash_open_write(r, &h))
        return;
    if (!fields_allow(&h, &x, &fields)) {
        reply_integer(r->out, 0);
        return;
    }
    if (names_time(&x) && x.expiry_ms <= h.now_ms) {
        remove_fields(&h, &fields);
        return;
    }
    struct field_list names;
    if (!field_list_make(&names, fields.n)) {
        request_error(r, ERR_OOM);
        return;
    }
    for (int i = 0; i < fields.n; i++)
        field_list_add(&names, fields.first + 2 * i);
    bool ok = hash_edit(&h);
    if (ok) {
        ok = set_fields(&h, &x, &fields);
        if (hash_finish(&h, "hset") && ok) {
            effect_of_hsetex(r, &x, &fields, &names);
            if (names_time(&x))
                request_changed(r, &h.key, EVENT_HASH, "hexpire");
            reply_integer(r->out, 1);
        } else if (!r->replied_error) {
            request_error(r, ERR_OOM);
        }
    } else {
        request_error(r, ERR_OOM);
    }
    field_list_free(&names);
}
