// Commands that set and get whole strings. Every handler has one shape: look up, check the type,
// parse what is left in Redis's order, change, answer.
#include "dataplane/commands/strings_commands.h"

#include "common/block.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"

static void reply_string(struct request *r, const struct entry *e)
{
    char scratch[24];
    struct string_view v = entry_string(e, scratch);
    if (v.block)
        reply_bulk_block(r->out, v.block, (size_t)(v.ptr - v.block->data), v.len);
    else
        reply_bulk(r->out, v.ptr, v.len);
}

// The whole answer of a GET; false where it is an error.
static bool reply_value(struct request *r, const struct entry *e)
{
    if (!lookup_type_is(r, e, OBJ_STRING))
        return false;
    if (e)
        reply_string(r, e);
    else
        reply_null(r->out, r->session->resp);
    return true;
}

// Sets key to argument i. False: memory is short, and nothing changed.
static bool set_value(struct request *r, const struct key *key, struct entry *at, int i,
                      int64_t expiry_ms, unsigned flags)
{
    return store_set_string(r->store, r->session->db, key, at, &r->argv[i], expiry_ms,
                            flags | SET_INTEGER_TRY) != NULL;
}

static void tell_set(struct request *r, const struct key *key)
{
    request_changed(r, key, EVENT_STRING, "set");
}

// The effect of setting key to argument i until `expiry_ms`.
static void effect_set(struct request *r, int i, int64_t expiry_ms)
{
    if (!effect_begin(r, "SET", 5))
        return;
    effect_arg(r, 1);
    effect_arg(r, i);
    effect_text(r, "PXAT");
    effect_integer(r, expiry_ms);
}

static void tell_expire(struct request *r, const struct key *key)
{
    request_changed(r, key, EVENT_GENERIC, "expire");
}

// When memory is short after the answer was begun, the answer cannot be taken back: the output is
// marked incomplete, which ends the connection.
static void fail_after_reply(struct request *r)
{
    r->out->failed = true;
}

void set_command(struct request *r)
{
    struct key key = request_key(r, 1);
    unsigned options = 0;
    int64_t expiry_ms = -1;
    if (r->argc > 3) {
        int time;
        if (!strings_parse_options(r, 3, ~STRING_PERSIST, &options, &time))
            return;
        if (time && !strings_parse_expiry(r, time, options, &expiry_ms))
            return;
    }
    struct entry *e = options & STRING_GET ? lookup_read(r, &key) : lookup_write(r, &key);
    if (options & STRING_GET && !reply_value(r, e))
        return;
    if ((options & STRING_NX && e) || (options & STRING_XX && !e)) {
        if (!(options & STRING_GET))
            reply_null(r->out, r->session->resp);
        return;
    }
    bool done = set_value(r, &key, e, 2, expiry_ms, options & STRING_KEEPTTL ? SET_KEEP_TTL : 0);
    if (done) {
        if (expiry_ms >= 0)
            effect_set(r, 2, expiry_ms);
        tell_set(r, &key);
        if (expiry_ms >= 0)
            tell_expire(r, &key);
    }
    if (options & STRING_GET) {
        if (!done)
            fail_after_reply(r);
    } else if (done) {
        reply_status(r->out, "OK");
    } else {
        request_error(r, ERR_OOM);
    }
}

void setnx_command(struct request *r)
{
    struct key key = request_key(r, 1);
    if (lookup_write(r, &key)) {
        reply_integer(r->out, 0);
    } else if (set_value(r, &key, NULL, 2, -1, 0)) {
        tell_set(r, &key);
        reply_integer(r->out, 1);
    } else {
        request_error(r, ERR_OOM);
    }
}

static void set_expiring(struct request *r, unsigned unit)
{
    int64_t expiry_ms;
    if (!strings_parse_expiry(r, 2, unit, &expiry_ms))
        return;
    struct key key = request_key(r, 1);
    if (!set_value(r, &key, lookup_write(r, &key), 3, expiry_ms, 0)) {
        request_error(r, ERR_OOM);
        return;
    }
    effect_set(r, 3, expiry_ms);
    tell_set(r, &key);
    tell_expire(r, &key);
    reply_status(r->out, "OK");
}

void setex_command(struct request *r)
{
    set_expiring(r, STRING_EX);
}

void psetex_command(struct request *r)
{
    set_expiring(r, STRING_PX);
}

void get_command(struct request *r)
{
    struct key key = request_key(r, 1);
    reply_value(r, lookup_read(r, &key));
}

static void delete_key(struct request *r, const struct key *key)
{
    store_delete(r->store, r->session->db, key);
    if (effect_begin(r, "DEL", 2))
        effect_arg(r, 1);
    request_changed(r, key, EVENT_GENERIC, "del");
}

// After the answer. -1: no expiry any more.
static void change_expiry(struct request *r, const struct key *key, struct entry *e,
                          int64_t expiry_ms)
{
    if (!store_set_expiry(r->store, r->session->db, key, e, expiry_ms)) {
        fail_after_reply(r);
    } else if (expiry_ms >= 0) {
        if (effect_begin(r, "PEXPIREAT", 3)) {
            effect_arg(r, 1);
            effect_integer(r, expiry_ms);
        }
        tell_expire(r, key);
    } else {
        if (effect_begin(r, "PERSIST", 2))
            effect_arg(r, 1);
        request_changed(r, key, EVENT_GENERIC, "persist");
    }
}

void getex_command(struct request *r)
{
    unsigned options;
    int time;
    int64_t expiry_ms = -1;
    if (!strings_parse_options(r, 2, STRING_PERSIST | STRING_EXPIRES, &options, &time))
        return;
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (e && entry_type(e) == OBJ_STRING && time &&
        !strings_parse_expiry(r, time, options, &expiry_ms))
        return;
    if (!reply_value(r, e) || !e)
        return;
    if (time && expiry_ms <= (int64_t)r->now_ms) // only an absolute time can lie in the past
        delete_key(r, &key);
    else if (time || (options & STRING_PERSIST && entry_expiry(e) >= 0))
        change_expiry(r, &key, e, expiry_ms);
}

void getdel_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (reply_value(r, e) && e)
        delete_key(r, &key);
}

void getset_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!reply_value(r, e))
        return;
    if (set_value(r, &key, e, 2, -1, 0))
        tell_set(r, &key);
    else
        fail_after_reply(r);
}

void mget_command(struct request *r)
{
    reply_array(r->out, r->argc - 1);
    for (int i = 1; i < r->argc; i++) {
        struct key key = request_key(r, i);
        struct entry *e = lookup_read(r, &key);
        if (e && entry_type(e) == OBJ_STRING)
            reply_string(r, e);
        else
            reply_null(r->out, r->session->resp);
    }
}

// MSET and MSETNX share everything but the look before and the answer.
static bool pairs_are_whole(struct request *r)
{
    if (r->argc % 2 == 1)
        return true;
    request_errorf(r, "ERR wrong number of arguments for '%s' command", r->command->name);
    return false;
}

static bool set_pairs(struct request *r)
{
    for (int i = 1; i < r->argc; i += 2) {
        struct key key = request_key(r, i);
        if (!set_value(r, &key, lookup_write(r, &key), i + 1, -1, 0)) {
            request_error(r, ERR_OOM);
            return false;
        }
        tell_set(r, &key);
    }
    return true;
}

void mset_command(struct request *r)
{
    if (pairs_are_whole(r) && set_pairs(r))
        reply_status(r->out, "OK");
}

void msetnx_command(struct request *r)
{
    if (!pairs_are_whole(r))
        return;
    for (int i = 1; i < r->argc; i += 2) {
        struct key key = request_key(r, i);
        if (lookup_write(r, &key)) {
            reply_integer(r->out, 0);
            return;
        }
    }
    if (set_pairs(r))
        reply_integer(r->out, 1);
}
