// The time that fields have to live, as Redis 7.4 has it. Each command answers with one number for
// each field. A hash with such a time is a table, whatever its size.
#include "dataplane/commands/hashes_commands.h"
#include "dataplane/commands/hashes_fields.h"

// What a command on a field's time answers.
enum answer {
    ANSWER_NO_FIELD = -2,
    ANSWER_NO_EXPIRY = -1,
    ANSWER_REFUSED = 0, // by the condition
    ANSWER_DONE = 1,
    ANSWER_DELETED = 2, // the time lies in the past
};

#define NOT_POSITIVE "ERR Parameter `numFields` should be greater than 0"

// --- HEXPIRE and its like ------------------------------------------------------------------------

enum condition { ALWAYS, IF_NX, IF_XX, IF_GT, IF_LT };

static enum condition parse_condition(struct request *r, int i)
{
    static const char *const names[] = {
        [IF_NX] = "nx", [IF_XX] = "xx", [IF_GT] = "gt", [IF_LT] = "lt"};
    for (enum condition c = IF_NX; c <= IF_LT; c++)
        if (request_is(r, i, names[c]))
            return c;
    return ALWAYS;
}

// A field without a time counts as one that lives for ever.
static bool condition_holds(enum condition c, int64_t present, int64_t wanted)
{
    switch (c) {
    case IF_NX:
        return present < 0;
    case IF_XX:
        return present >= 0;
    case IF_GT:
        return present >= 0 && wanted > present;
    case IF_LT:
        return present < 0 || wanted < present;
    case ALWAYS:
        break;
    }
    return true;
}

static enum answer expire_field(struct hash *h, int i, enum condition condition, int64_t expiry_ms)
{
    const struct arg *name = &h->r->argv[i];
    struct field f;
    if (!hash_find(h, name->ptr, name->len, &f))
        return ANSWER_NO_FIELD;
    if (!condition_holds(condition, field_expiry(&f), expiry_ms))
        return ANSWER_REFUSED;
    if (expiry_ms <= h->now_ms)
        return hash_remove(h, name->ptr, name->len) ? ANSWER_DELETED : ANSWER_NO_FIELD;
    if (hash_set_expiry(h, name->ptr, name->len, expiry_ms))
        return ANSWER_DONE;
    h->short_of_memory = true;
    return ANSWER_REFUSED;
}

static void reply_all(struct request *r, int n, int64_t answer)
{
    reply_array(r->out, n);
    for (int i = 0; i < n; i++)
        reply_integer(r->out, answer);
}

static void expire_fields(struct request *r, int64_t unit_ms, int64_t base_ms)
{
    struct hash h;
    struct field_args fields;
    int64_t expiry_ms;
    if (!hash_open_write(r, &h) || !hash_parse_time(r, 2, unit_ms, base_ms, &expiry_ms))
        return;
    enum condition condition = parse_condition(r, 3);
    if (!hash_parse_fields(r, condition == ALWAYS ? 3 : 4, NOT_POSITIVE, &fields))
        return;
    if (!h.entry) {
        reply_all(r, fields.n, ANSWER_NO_FIELD);
        return;
    }
    bool past = expiry_ms <= h.now_ms;
    hash_edit(&h);
    struct field_list done;
    bool ok = field_list_make(&done, fields.n);
    if (!ok || !hash_reserve_due(&h)) {
        if (ok)
            field_list_free(&done);
        hash_edit_end(&h);
        request_error(r, ERR_OOM);
        return;
    }
    // The answer comes before the last field may take the key away.
    reply_array(r->out, fields.n);
    for (int i = fields.first; i < fields.first + fields.n; i++) {
        enum answer a = expire_field(&h, i, condition, expiry_ms);
        if (a == ANSWER_DONE || a == ANSWER_DELETED)
            field_list_add(&done, i);
        reply_integer(r->out, a);
    }
    if (h.short_of_memory) // the answer was begun
        r->out->failed = true;
    hash_effect_fields(r, past ? FIELDS_GONE : expiry_ms, &done);
    field_list_free(&done);
    hash_finish(&h, past ? "hdel" : "hexpire");
}

void hexpire_command(struct request *r)
{
    expire_fields(r, 1000, (int64_t)r->now_ms);
}

void hpexpire_command(struct request *r)
{
    expire_fields(r, 1, (int64_t)r->now_ms);
}

void hexpireat_command(struct request *r)
{
    expire_fields(r, 1000, 0);
}

void hpexpireat_command(struct request *r)
{
    expire_fields(r, 1, 0);
}

// --- the time that is left ----------------------------------------------------------------------

// Seconds are rounded up.
static void reply_times(struct request *r, int64_t unit_ms, int64_t base_ms)
{
    struct hash h;
    struct field_args fields;
    if (!hash_open_peek(r, &h) || !hash_parse_fields(r, 2, NOT_POSITIVE, &fields))
        return;
    if (!h.entry) {
        reply_all(r, fields.n, ANSWER_NO_FIELD);
        return;
    }
    reply_array(r->out, fields.n);
    for (int i = fields.first; i < fields.first + fields.n; i++) {
        struct field f;
        int64_t answer = ANSWER_NO_FIELD;
        if (hash_find(&h, r->argv[i].ptr, r->argv[i].len, &f)) {
            int64_t expiry = field_expiry(&f);
            answer = expiry < 0 ? ANSWER_NO_EXPIRY : (expiry - base_ms + unit_ms - 1) / unit_ms;
        }
        reply_integer(r->out, answer);
    }
}

void httl_command(struct request *r)
{
    reply_times(r, 1000, (int64_t)r->now_ms);
}

void hpttl_command(struct request *r)
{
    reply_times(r, 1, (int64_t)r->now_ms);
}

void hexpiretime_command(struct request *r)
{
    reply_times(r, 1000, 0);
}

void hpexpiretime_command(struct request *r)
{
    reply_times(r, 1, 0);
}

void hpersist_command(struct request *r)
{
    struct hash h;
    struct field_args fields;
    if (!hash_open_write(r, &h) || !hash_parse_fields(r, 2, NOT_POSITIVE, &fields))
        return;
    if (!h.entry) {
        reply_all(r, fields.n, ANSWER_NO_FIELD);
        return;
    }
    hash_edit(&h);
    reply_array(r->out, fields.n);
    for (int i = fields.first; i < fields.first + fields.n; i++) {
        const struct arg *name = &r->argv[i];
        struct field f;
        enum answer a = ANSWER_NO_FIELD;
        if (hash_find(&h, name->ptr, name->len, &f)) {
            a = field_expiry(&f) < 0 ? ANSWER_NO_EXPIRY : ANSWER_DONE;
            if (a == ANSWER_DONE && !hash_set_expiry(&h, name->ptr, name->len, -1))
                r->out->failed = true;
        }
        reply_integer(r->out, a);
    }
    hash_finish(&h, "hpersist");
}
