// Commands that set, get and delete fields by name.
#include "dataplane/commands/hashes_commands.h"
#include "dataplane/commands/hashes_value.h"
#include "dataplane/commands/steps.h"

static void reply_field(struct request *r, const struct hash *h, int i)
{
    struct field f;
    if (h->entry && hash_find(h, r->argv[i].ptr, r->argv[i].len, &f))
        reply_bulk(r->out, f.ptr, f.len);
    else
        reply_null(r->out, r->session->resp);
}

void hget_command(struct request *r)
{
    struct hash h;
    if (hash_open_read(r, &h))
        reply_field(r, &h, 2);
}

void hmget_command(struct request *r)
{
    struct hash h;
    if (!hash_open_read(r, &h))
        return;
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++)
        reply_field(r, &h, i);
}

void hexists_command(struct request *r)
{
    struct hash h;
    struct field f;
    if (hash_open_read(r, &h))
        reply_integer(r->out, h.entry && hash_find(&h, r->argv[2].ptr, r->argv[2].len, &f));
}

void hstrlen_command(struct request *r)
{
    struct hash h;
    struct field f;
    if (!hash_open_read(r, &h))
        return;
    bool found = h.entry && hash_find(&h, r->argv[2].ptr, r->argv[2].len, &f);
    reply_integer(r->out, found ? (int64_t)f.len : 0);
}

// Looking the hash up takes out some of the fields that are over; so does every step, until what is
// left can be counted.
static bool hlen_step(struct request *r, void *state)
{
    (void)state;
    struct hash h;
    uint64_t live = 0;
    if (!hash_open_peek(r, &h) || (h.entry && !hash_count(&h, &live)))
        return false;
    reply_integer(r->out, (int64_t)live);
    return true;
}

void hlen_command(struct request *r)
{
    struct hash h;
    uint64_t live = 0;
    if (!hash_open_read(r, &h))
        return;
    if (h.entry && !hash_count(&h, &live)) {
        if (request_steps(r, &h.key, hlen_step, 1))
            return;
        live = hash_live(&h);
    }
    reply_integer(r->out, (int64_t)live);
}

// Sets the fields and values that are arguments from 2 on. Answers when it returns false.
static bool set_pairs(struct request *r, int64_t *created)
{
    struct hash h;
    *created = 0;
    if (r->argc % 2) {
        request_errorf(r, "ERR wrong number of arguments for '%s' command", r->command->name);
        return false;
    }
    if (!hash_open_write(r, &h))
        return false;
    bool ok = hash_edit(&h);
    if (ok) {
        ok = hash_prepare(&h, 2, r->argc - 1);
        for (int i = 2; ok && i < r->argc; i += 2) {
            bool is_new;
            ok = hash_set(&h, &r->argv[i], r->argv[i + 1].ptr, r->argv[i + 1].len, false, &is_new);
            *created += ok && is_new;
        }
        if (!hash_finish(&h, "hset"))
            return false;
    }
    if (!ok)
        request_error(r, ERR_OOM);
    return ok;
}

void hset_command(struct request *r)
{
    int64_t created;
    if (set_pairs(r, &created))
        reply_integer(r->out, created);
}

void hmset_command(struct request *r)
{
    int64_t created;
    if (set_pairs(r, &created))
        reply_status(r->out, "OK");
}

void hsetnx_command(struct request *r)
{
    struct hash h;
    struct field f;
    const struct arg *name = &r->argv[2], *value = &r->argv[3];
    if (!hash_open_write(r, &h))
        return;
    if (h.entry && hash_find(&h, name->ptr, name->len, &f)) {
        reply_integer(r->out, 0);
        return;
    }
    bool created, ok = hash_edit(&h);
    if (ok) {
        ok = hash_prepare(&h, 2, 3) && hash_set(&h, name, value->ptr, value->len, false, &created);
        if (!hash_finish(&h, "hset"))
            return;
    }
    if (ok)
        reply_integer(r->out, 1);
    else
        request_error(r, ERR_OOM);
}

void hdel_command(struct request *r)
{
    struct hash h;
    if (!hash_open_write(r, &h))
        return;
    if (!h.entry) {
        reply_integer(r->out, 0);
        return;
    }
    int64_t n = 0;
    hash_edit(&h);
    for (int i = 2; i < r->argc && hash_length(&h); i++)
        n += hash_remove(&h, r->argv[i].ptr, r->argv[i].len);
    if (hash_finish(&h, "hdel"))
        reply_integer(r->out, n);
}
