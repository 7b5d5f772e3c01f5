// Consumer groups: XGROUP, XACK.
#include "dataplane/commands/streams_commands.h"

#include "dataplane/commands/effects.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/streams_value.h"

struct group_options {
    bool create, setid; // the subcommand
    bool mkstream;
    int64_t entries_read;
};

static void refuse(struct request *r)
{
    const struct arg *name = &r->argv[1];
    request_errorf(r,
                   "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try XGROUP "
                   "HELP.",
                   stream_text_len(name) > 128 ? 128 : stream_text_len(name), name->ptr);
}

static bool parse_options(struct request *r, struct group_options *o)
{
    o->entries_read = STREAM_ENTRIES_READ_UNKNOWN;
    for (int i = 5; i < r->argc; i++) {
        if (o->create && request_is(r, i, "mkstream")) {
            o->mkstream = true;
        } else if ((o->create || o->setid) && request_is(r, i, "entriesread") && i + 1 < r->argc) {
            if (!request_integer(r, ++i, &o->entries_read))
                return false;
            if (o->entries_read < 0 && o->entries_read != STREAM_ENTRIES_READ_UNKNOWN) {
                request_error(r, "ERR value for ENTRIESREAD must be positive or -1");
                return false;
            }
        } else {
            refuse(r);
            return false;
        }
    }
    return true;
}

// The stream, which must be there. False: answered.
static bool open_stream(struct request *r, struct skey *k, bool mkstream)
{
    if (!skey_open_write(r, 2, k))
        return false;
    if (k->x || mkstream)
        return true;
    request_error(r, "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE "
                     "you may want to use the MKSTREAM option to create an empty stream "
                     "automatically.");
    return false;
}

// The group, which must be there. NULL: answered.
static struct stream_group *open_group(struct request *r, struct skey *k)
{
    if (!open_stream(r, k, false))
        return NULL;
    struct stream_group *g = stream_group_of(k, 3);
    if (!g)
        request_errorf(r, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                       stream_text_len(&r->argv[3]), r->argv[3].ptr, stream_text_len(&r->argv[2]),
                       r->argv[2].ptr);
    return g;
}

static bool is_last(const struct arg *a)
{
    return a->len && a->ptr[0] == '$' && (a->len == 1 || !a->ptr[1]);
}

void xgroup_create_command(struct request *r)
{
    struct group_options o = {.create = true};
    struct skey k;
    if (!parse_options(r, &o) || !open_stream(r, &k, o.mkstream))
        return;
    if (r->argc > 8) {
        refuse(r);
        return;
    }
    struct stream_id id = k.x ? k.x->last : STREAM_ID_MIN;
    if (!is_last(&r->argv[4]) && !stream_parse_id(r, 4, &id, NULL))
        return;
    bool made = !k.x;
    if (made) {
        struct stream_value *x = stream_new();
        if (!x)
            request_error(r, ERR_OOM);
        if (!x || !skey_create(&k, x))
            return;
    }
    if (stream_group_of(&k, 3)) {
        request_error(r, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    skey_edit(&k);
    bool done = stream_group_add(k.x, r->argv[3].ptr, r->argv[3].len, id, o.entries_read) != NULL;
    skey_edit_end(&k, done);
    if (!done) {
        request_error(r, ERR_OOM);
        return;
    }
    reply_status(r->out, "OK");
    request_changed(r, &k.key, made ? EVENT_STREAM : EVENT_STREAM | EVENT_ASIDE, "xgroup-create");
}

void xgroup_setid_command(struct request *r)
{
    struct group_options o = {.setid = true};
    struct skey k;
    if (!parse_options(r, &o))
        return;
    struct stream_group *g = open_group(r, &k);
    if (!g)
        return;
    if (r->argc != 5 && r->argc != 7) {
        refuse(r);
        return;
    }
    struct stream_id id = k.x->last;
    if (!is_last(&r->argv[4]) && !stream_parse_any_id(r, 4, &id))
        return;
    skey_edit(&k);
    g->last = id;
    g->entries_read = o.entries_read;
    skey_edit_end(&k, 1);
    reply_status(r->out, "OK");
    request_changed(r, &k.key, EVENT_STREAM | EVENT_ASIDE, "xgroup-setid");
}

void xgroup_destroy_command(struct request *r)
{
    struct skey k;
    if (!open_stream(r, &k, false))
        return;
    struct stream_group *g = stream_group_of(&k, 3);
    reply_integer(r->out, g != NULL);
    if (!g)
        return;
    skey_edit(&k);
    struct stream_value *rest = stream_group_detach(k.x, g);
    if (!rest)
        stream_group_remove(k.x, g); // at once, since it frees memory
    skey_edit_end(&k, 1);
    if (rest)
        store_discard_object(r->store, OBJ_STREAM, ENC_STREAM, rest);
    request_changed(r, &k.key, EVENT_STREAM | EVENT_ASIDE, "xgroup-destroy");
}

void xgroup_createconsumer_command(struct request *r)
{
    struct skey k;
    struct stream_group *g = open_group(r, &k);
    if (!g)
        return;
    if (stream_consumer_find(g, r->argv[4].ptr, r->argv[4].len)) {
        reply_integer(r->out, 0);
        return;
    }
    bool created;
    skey_edit(&k);
    bool done = stream_consumer_of(&k, g, 4, &created) != NULL;
    skey_edit_end(&k, done);
    if (!done) {
        request_error(r, ERR_OOM);
        return;
    }
    reply_integer(r->out, 1);
    request_changed(r, &k.key, EVENT_STREAM | EVENT_ASIDE, "xgroup-createconsumer");
}

void xgroup_delconsumer_command(struct request *r)
{
    struct skey k;
    struct stream_group *g = open_group(r, &k);
    if (!g)
        return;
    struct stream_consumer *c = stream_consumer_find(g, r->argv[4].ptr, r->argv[4].len);
    reply_integer(r->out, c ? (int64_t)c->pending.count : 0);
    if (!c)
        return;
    skey_edit(&k);
    stream_consumer_remove(k.x, g, c);
    skey_edit_end(&k, 1);
    request_changed(r, &k.key, EVENT_STREAM | EVENT_ASIDE, "xgroup-delconsumer");
}

void xgroup_help_command(struct request *r)
{
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Makes a group that has been given all entries up to the id. Options are:",
        "    * MKSTREAM",
        "      Makes the stream where there is none.",
        "    * ENTRIESREAD entries_read",
        "      How many entries the group has read.",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Makes a consumer.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Removes a consumer and its pending entries.",
        "DESTROY <key> <groupname>",
        "    Removes a group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Sets the id that the group was given last, and how many entries it has read.",
        NULL,
    };
    request_help(r, "XGROUP", lines);
}

void xack_command(struct request *r)
{
    struct skey k;
    struct stream_id id;
    if (!skey_open_read(r, 1, &k))
        return;
    struct stream_group *g = stream_group_of(&k, 2);
    if (!g) {
        reply_integer(r->out, 0);
        return;
    }
    for (int i = 3; i < r->argc; i++)
        if (!stream_parse_id(r, i, &id, NULL))
            return;
    uint64_t done = 0;
    skey_edit(&k);
    for (int i = 3; i < r->argc; i++) {
        struct stream_nack *nack = NULL;
        if (stream_read_id(&r->argv[i], &id, 0, NULL))
            nack = stream_nack_find(&g->pending, id);
        if (!nack)
            continue;
        stream_nack_remove(k.x, g, nack);
        done++;
    }
    skey_edit_end(&k, done);
    reply_integer(r->out, (int64_t)done);
}
