// DUMP and RESTORE: a value as bytes that another server takes.
#include "dataplane/commands/dump.h"

#include <endian.h>

#include "common/block.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/store/rdb/crc64.h"
#include "dataplane/store/rdb/rdb.h"

void dump_footer(struct outbuf *out, unsigned version)
{
    uint16_t little = htole16((uint16_t)version);
    out_write(&out->out, &little, sizeof(little));
    outbuf_finish(out);
    uint64_t crc = 0;
    for (const struct outbuf_piece *p = out->first; p; p = p->next)
        crc = crc64(crc, p->block->data + p->offset, p->len);
    crc = htole64(crc);
    out_write(&out->out, &crc, sizeof(crc));
}

bool dump_payload(const struct request *r, const struct entry *e, struct outbuf *out)
{
    unsigned version;
    uint8_t type = (uint8_t)rdb_type_of(e, &version);
    out_write(&out->out, &type, sizeof(type));
    rdb_write_value(&out->out, e, r->limits->rdb_compression);
    dump_footer(out, version);
    return !out->out.failed;
}

void dump_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!e) {
        reply_null(r->out, r->session->resp);
        return;
    }
    struct outbuf payload;
    outbuf_init(&payload);
    if (dump_payload(r, e, &payload)) {
        text_add(r->out, "$%zu\r\n", outbuf_size(&payload));
        outbuf_move(&payload, r->out);
        out_write(r->out, "\r\n", 2);
    } else {
        outbuf_clear(&payload);
        request_error(r, ERR_OOM);
    }
}

// --- RESTORE ------------------------------------------------------------------------------------

struct restore {
    bool replace, absolute;
    int64_t idle_s;    // -1: not told
    int64_t frequency; // -1: not told
    int64_t ttl_ms;
};

static bool parse_options(struct request *r, struct restore *o)
{
    *o = (struct restore){.idle_s = -1, .frequency = -1};
    for (int i = 4; i < r->argc; i++) {
        bool more = i + 1 < r->argc;
        if (request_is(r, i, "replace")) {
            o->replace = true;
        } else if (request_is(r, i, "absttl")) {
            o->absolute = true;
        } else if (request_is(r, i, "idletime") && more && o->frequency == -1) {
            if (!request_integer(r, ++i, &o->idle_s))
                return false;
            if (o->idle_s < 0) {
                request_error(r, "ERR Invalid IDLETIME value, must be >= 0");
                return false;
            }
        } else if (request_is(r, i, "freq") && more && o->idle_s == -1) {
            if (!request_integer(r, ++i, &o->frequency))
                return false;
            if (o->frequency < 0 || o->frequency > 255) {
                request_error(r, "ERR Invalid FREQ value, must be >= 0 and <= 255");
                return false;
            }
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

bool dump_footer_is_right(const struct arg *payload)
{
    uint16_t version;
    uint64_t crc;
    if (payload->len < DUMP_FOOTER_BYTES)
        return false;
    memcpy(&version, payload->ptr + payload->len - DUMP_FOOTER_BYTES, sizeof(version));
    memcpy(&crc, payload->ptr + payload->len - sizeof(crc), sizeof(crc));
    return le16toh(version) <= RDB_VERSION_MAX &&
           le64toh(crc) == crc64(0, payload->ptr, payload->len - sizeof(crc));
}

static bool read_payload(struct request *r, const struct arg *payload, struct rdb_value *value)
{
    const struct value_limits *l = r->limits;
    struct rdb_limits limits = {
        .hash_max_listpack_entries = l->hash_max_listpack_entries,
        .hash_max_listpack_value = l->hash_max_listpack_value,
        .set_max_intset_entries = l->set_max_intset_entries,
        .set_max_listpack_entries = l->set_max_listpack_entries,
        .set_max_listpack_value = l->set_max_listpack_value,
        .zset_max_listpack_entries = l->zset_max_listpack_entries,
        .zset_max_listpack_value = l->zset_max_listpack_value,
        .list_max_listpack_size = l->list_max_listpack_size,
        .list_compress_depth = l->list_compress_depth,
    };
    struct rdb_reader reader = rdb_reader(payload->ptr, payload->len - DUMP_FOOTER_BYTES);
    const uint8_t *type = rdb_read_bytes(&reader, 1);
    if (type && rdb_read_value(&reader, r->store, &limits, (enum rdb_type) * type, value))
        return true;
    request_error(r, reader.error == RDB_NO_MEMORY ? ERR_OOM : "ERR Bad data format");
    return false;
}

static void tell(struct request *r, int64_t expiry_ms)
{
    if (!effect_begin(r, "RESTORE", (unsigned)r->argc + 1))
        return;
    effect_arg(r, 1);
    effect_integer(r, expiry_ms);
    for (int i = 3; i < r->argc; i++)
        effect_arg(r, i);
    effect_text(r, "ABSTTL");
}

// A value whose time is over already only takes the place of the old one.
static void restore_nothing(struct request *r, const struct key *key, struct entry *at)
{
    if (at && store_delete(r->store, r->session->db, key)) {
        request_changed(r, key, EVENT_GENERIC, "del");
        if (effect_begin(r, "DEL", 2))
            effect_arg(r, 1);
    }
    reply_status(r->out, "OK");
}

static void restore(struct request *r, const struct key *key, struct entry *at,
                    const struct restore *o, struct rdb_value *value)
{
    int64_t expiry_ms = o->ttl_ms ? o->ttl_ms : -1;
    // Redis adds the clock without a look at the sum; what passes its end is long over.
    if (o->ttl_ms && !o->absolute)
        expiry_ms = (int64_t)((uint64_t)o->ttl_ms + r->now_ms);
    if (o->ttl_ms && expiry_ms <= (int64_t)r->now_ms) {
        rdb_value_clear(value);
        restore_nothing(r, key, at);
        return;
    }
    struct entry *e = rdb_put_value(r->store, r->session->db, key, at, value, expiry_ms);
    if (!e) {
        rdb_value_clear(value);
        request_error(r, ERR_OOM);
        return;
    }
    int64_t idle_s = o->idle_s < INT64_MAX / 1000 ? o->idle_s : INT64_MAX / 1000;
    if (idle_s >= 0 || o->frequency >= 0)
        entry_set_access(r->store, e, idle_s < 0 ? -1 : idle_s * 1000, (int)o->frequency);
    if (at) // to Redis it goes, and a new one comes
        request_changed(r, key, EVENT_NEW | EVENT_ASIDE, "new");
    request_changed(r, key, EVENT_GENERIC, "restore");
    if (o->ttl_ms && !o->absolute)
        tell(r, expiry_ms);
    reply_status(r->out, "OK");
}

void restore_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct restore options;
    struct rdb_value value;
    if (!parse_options(r, &options))
        return;
    struct entry *at = lookup_write(r, &key);
    if (at && !options.replace) {
        request_error(r, "BUSYKEY Target key name already exists.");
        return;
    }
    if (!request_integer(r, 2, &options.ttl_ms))
        return;
    if (options.ttl_ms < 0)
        request_error(r, "ERR Invalid TTL value, must be >= 0");
    else if (!dump_footer_is_right(&r->argv[3]))
        request_error(r, "ERR DUMP payload version or checksum are wrong");
    else if (read_payload(r, &r->argv[3], &value))
        restore(r, &key, at, &options, &value);
}
