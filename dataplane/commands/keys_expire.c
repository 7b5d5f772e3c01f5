// Commands on the time a key has left. Four ways to say a time (relative or absolute, seconds or
// milliseconds) come down to one Unix time in milliseconds.
#include "dataplane/commands/effects.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/store/entry.h"

enum condition { IF_NX = 1u << 0, IF_XX = 1u << 1, IF_GT = 1u << 2, IF_LT = 1u << 3 };

static bool parse_conditions(struct request *r, unsigned *conditions)
{
    *conditions = 0;
    for (int i = 3; i < r->argc; i++) {
        if (request_is(r, i, "nx")) {
            *conditions |= IF_NX;
        } else if (request_is(r, i, "xx")) {
            *conditions |= IF_XX;
        } else if (request_is(r, i, "gt")) {
            *conditions |= IF_GT;
        } else if (request_is(r, i, "lt")) {
            *conditions |= IF_LT;
        } else {
            r->replied_error = true;
            reply_errorf(r->out, "ERR Unsupported option %.*s", (int)r->argv[i].len,
                         (const char *)r->argv[i].ptr);
            return false;
        }
    }
    if (*conditions & IF_NX && *conditions & ~IF_NX) {
        request_error(r, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if (*conditions & IF_GT && *conditions & IF_LT) {
        request_error(r, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

// Whether the conditions hold. A key without an expiry counts as one that lives for ever.
static bool conditions_hold(unsigned conditions, int64_t present, int64_t wanted)
{
    if (conditions & IF_NX && present >= 0)
        return false;
    if (conditions & IF_XX && present < 0)
        return false;
    if (conditions & IF_GT && (present < 0 || wanted <= present))
        return false;
    if (conditions & IF_LT && present >= 0 && wanted >= present)
        return false;
    return true;
}

static void set_expiry(struct request *r, int64_t base_ms, int64_t unit_ms)
{
    unsigned conditions;
    int64_t t;
    if (!parse_conditions(r, &conditions) || !request_integer(r, 2, &t))
        return;
    // A time in the past is allowed, one that overflows is not.
    if (__builtin_mul_overflow(t, unit_ms, &t) || __builtin_add_overflow(t, base_ms, &t)) {
        request_errorf(r, "ERR invalid expire time in '%s' command", r->command->name);
        return;
    }
    if (t > ENTRY_EXPIRY_MAX) // as it is kept, and compared with what is kept
        t = ENTRY_EXPIRY_MAX;
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!e || !conditions_hold(conditions, entry_expiry(e), t)) {
        reply_integer(r->out, 0);
        return;
    }
    if (t <= (int64_t)r->now_ms) {
        store_delete(r->store, r->session->db, &key);
        if (effect_begin(r, "DEL", 2))
            effect_arg(r, 1);
        request_changed(r, &key, EVENT_GENERIC, "del");
    } else if (!store_set_expiry(r->store, r->session->db, &key, e, t)) {
        request_error(r, ERR_OOM);
        return;
    } else {
        if (effect_begin(r, "PEXPIREAT", 3)) {
            effect_arg(r, 1);
            effect_integer(r, t);
        }
        request_changed(r, &key, EVENT_GENERIC, "expire");
    }
    reply_integer(r->out, 1);
}

void expire_command(struct request *r)
{
    set_expiry(r, (int64_t)r->now_ms, 1000);
}

void pexpire_command(struct request *r)
{
    set_expiry(r, (int64_t)r->now_ms, 1);
}

void expireat_command(struct request *r)
{
    set_expiry(r, 0, 1000);
}

void pexpireat_command(struct request *r)
{
    set_expiry(r, 0, 1);
}

// -2: no such key, -1: no expiry; otherwise the time since `base_ms`, seconds rounded to the
// nearest.
static void reply_expiry(struct request *r, int64_t base_ms, bool seconds)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_peek(r, &key);
    int64_t t = e ? entry_expiry(e) : -2;
    if (t >= 0) {
        t = t > base_ms ? t - base_ms : 0;
        if (seconds)
            t = t / 1000 + (t % 1000 >= 500);
    }
    reply_integer(r->out, t);
}

void ttl_command(struct request *r)
{
    reply_expiry(r, (int64_t)r->now_ms, true);
}

void pttl_command(struct request *r)
{
    reply_expiry(r, (int64_t)r->now_ms, false);
}

void expiretime_command(struct request *r)
{
    reply_expiry(r, 0, true);
}

void pexpiretime_command(struct request *r)
{
    reply_expiry(r, 0, false);
}

void persist_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!e || entry_expiry(e) < 0) {
        reply_integer(r->out, 0);
    } else if (store_set_expiry(r->store, r->session->db, &key, e, -1)) {
        request_changed(r, &key, EVENT_GENERIC, "persist");
        reply_integer(r->out, 1);
    } else {
        request_error(r, ERR_OOM);
    }
}
