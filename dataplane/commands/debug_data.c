// DEBUG: values, digests and keys. See debug.h.
#include "dataplane/commands/debug.h"

#include <inttypes.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/digest.h"
#include "dataplane/commands/families.h"
#include "dataplane/store/object.h"
#include "dataplane/store/rdb/rdb.h"
#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/quicklist.h"

#define THRESHOLD_MAX (1ull << 32)
#define VALUE_TEXT_MAX 32

// --- one key -------------------------------------------------------------------------------------

static bool is_here(const struct request *r, const struct key *key)
{
    return keyspace_core(store_keyspace(r->store), key->slot) == r->core_index;
}

static struct entry *peek(struct request *r, const struct key *key)
{
    return store_find(r->store, r->session->db, key, LOOKUP_NO_TOUCH | LOOKUP_NO_STATS);
}

void debug_key_part(struct request *r, debug_tell_fn *tell)
{
    struct key key = request_key(r, 2);
    if (!is_here(r, &key))
        return;
    const struct entry *e = peek(r, &key);
    if (e)
        tell(r, &key, e);
    else
        reply_error(r->out, ERR_NO_KEY);
}

void debug_key_reply(struct request *r)
{
    for (unsigned i = 0; i < r->n_parts; i++)
        if (r->parts[i].len) {
            const char *text = (const char *)r->parts[i].ptr;
            if (*text == '-') // without its sign and its end
                request_errorf(r, "%.*s", (int)(r->parts[i].len - 3), text + 1);
            else
                out_write(r->out, text, r->parts[i].len);
            return;
        }
    request_error(r, ERR_OOM); // the core that has the key could not write its part
}

static uint64_t serialized_length(const struct request *r, const struct entry *e)
{
    struct outbuf file;
    outbuf_init(&file);
    rdb_write_value(&file.out, e, r->limits->rdb_compression);
    uint64_t n = outbuf_size(&file);
    outbuf_clear(&file);
    return n;
}

static uint64_t list_bytes(const struct quicklist *ql)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < quicklist_nodes(ql); i++) {
        struct quicklist_node node;
        if (quicklist_node_begin(&node, ql, i))
            n += node.bytes;
        quicklist_node_end(&node);
    }
    return n;
}

void debug_tell_object(struct request *r, const struct key *key, const struct entry *e)
{
    (void)key;
    uint64_t idle_s = entry_idle_ms(r->store, e) / 1000;
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "Value at:%p refcount:1 encoding:%s serializedlength:%" PRIu64 " lru:%" PRIu64
                     " lru_seconds_idle:%" PRIu64,
                     (const void *)e, encoding_name(entry_encoding(e)), serialized_length(r, e),
                     (r->now_ms / 1000 - idle_s) & 0xffffff, idle_s);
    if (entry_encoding(e) == ENC_QUICKLIST) {
        const struct quicklist *ql = entry_object(e);
        snprintf(text + n, sizeof(text) - (size_t)n,
                 " ql_nodes:%" PRIu32 " ql_avg_node:%.2f ql_listpack_max:%d ql_compressed:%d "
                 "ql_uncompressed_size:%" PRIu64,
                 quicklist_nodes(ql), (double)quicklist_count(ql) / quicklist_nodes(ql),
                 r->limits->list_max_listpack_size, r->limits->list_compress_depth != 0,
                 list_bytes(ql));
    }
    reply_status(r->out, text);
}

static void tell_elements(struct out *o, const uint8_t *lp)
{
    unsigned i = 0;
    for (const uint8_t *p = lp_first(lp); p; p = lp_next(lp, p), i++) {
        char scratch[24];
        size_t len;
        const uint8_t *text = lp_text(p, scratch, &len);
        text_add(o, "{%u: at %zu, %s, %zu bytes} ", i, (size_t)(p - lp),
                 lp_get(p).ptr ? "text" : "integer", len);
        out_write(o, text, len);
        out_write(o, "\n", 1);
    }
}

// A bulk string of what was collected.
static void reply_collected(struct request *r, struct outbuf *text)
{
    struct block *all = outbuf_block(text);
    reply_bulk(r->out, all ? all->data : (const uint8_t *)"", all ? all->len : 0);
    block_release(all);
    outbuf_clear(text);
}

void debug_tell_listpack(struct request *r, const struct key *key, const struct entry *e)
{
    (void)key;
    if (entry_encoding(e) != ENC_LISTPACK) {
        reply_error(r->out, "ERR Not a listpack encoded object.");
        return;
    }
    struct outbuf text;
    outbuf_init(&text);
    const uint8_t *lp = entry_object(e);
    text_add(&text.out, "{total bytes %zu} {num entries %zu}\n", (size_t)lp_bytes(lp),
             (size_t)lp_count(lp));
    tell_elements(&text.out, lp);
    reply_collected(r, &text);
}

void debug_tell_quicklist(struct request *r, const struct key *key, const struct entry *e)
{
    (void)key;
    if (entry_encoding(e) != ENC_QUICKLIST) {
        reply_error(r->out, "ERR Not a quicklist encoded object.");
        return;
    }
    const struct quicklist *ql = entry_object(e);
    bool full = r->argc == 4 && request_is(r, 3, "1");
    struct outbuf text;
    outbuf_init(&text);
    text_add(&text.out, "{count : %" PRIu64 "}\n{nodes : %" PRIu32 "}\n", quicklist_count(ql),
             quicklist_nodes(ql));
    for (uint32_t i = 0; i < quicklist_nodes(ql); i++) {
        struct quicklist_node node;
        if (quicklist_node_begin(&node, ql, i)) {
            text_add(&text.out,
                     "{quicklist node(%" PRIu32 ")}\n{container : %s, bytes: %zu, count: %zu}\n", i,
                     node.plain ? "PLAIN" : "PACKED", (size_t)node.bytes, (size_t)node.count);
            if (full && !node.plain)
                tell_elements(&text.out, node.data);
        }
        quicklist_node_end(&node);
    }
    reply_collected(r, &text);
}

// --- digests -------------------------------------------------------------------------------------

// Of one database and core.
struct database_digest {
    uint64_t keys;
    uint8_t digest[DIGEST_BYTES]; // of all keys, whose order means nothing
};

struct digest_walk {
    struct digester digester;
    struct database_digest here;
    int64_t now_ms;
};

static void digest_one(void *context, struct entry *e)
{
    struct digest_walk *w = context;
    uint8_t digest[DIGEST_BYTES] = {0};
    size_t len;
    const uint8_t *name = entry_key(e, &len);
    digest_mix(&w->digester, digest, name, len);
    digest_entry(&w->digester, digest, e, w->now_ms);
    digest_xor(&w->digester, w->here.digest, digest, DIGEST_BYTES);
    w->here.keys++;
}

// For each database that has keys its number, and their digest.
void debug_digest_part(struct request *r)
{
    struct digest_walk w = {.now_ms = (int64_t)r->now_ms};
    unsigned databases = keyspace_databases(store_keyspace(r->store));
    if (digester_begin(&w.digester)) {
        for (unsigned db = 0; db < databases && !w.digester.failed; db++) {
            w.here = (struct database_digest){0};
            store_each(r->store, db, digest_one, &w);
            out_write(r->out, &w.here, sizeof(w.here));
        }
    }
    digester_end(&w.digester);
}

static void reply_digest(struct request *r, const uint8_t digest[DIGEST_BYTES])
{
    char text[2 * DIGEST_BYTES + 1];
    for (int i = 0; i < DIGEST_BYTES; i++)
        snprintf(text + 2 * (size_t)i, 3, "%02x", digest[i]);
    reply_status(r->out, text);
}

void debug_digest_reply(struct request *r)
{
    unsigned databases = keyspace_databases(store_keyspace(r->store));
    struct digester d;
    uint8_t digest[DIGEST_BYTES] = {0};
    bool ok = digester_begin(&d);
    for (unsigned i = 0; i < r->n_parts; i++)
        ok &= r->parts[i].len == databases * sizeof(struct database_digest);
    for (unsigned db = 0; ok && db < databases; db++) {
        struct database_digest all = {0};
        for (unsigned i = 0; i < r->n_parts; i++) {
            struct database_digest one;
            memcpy(&one, r->parts[i].ptr + db * sizeof(one), sizeof(one));
            all.keys += one.keys;
            for (int b = 0; b < DIGEST_BYTES; b++)
                all.digest[b] ^= one.digest[b];
        }
        if (!all.keys)
            continue;
        uint8_t number[4] = {(uint8_t)(db >> 24), (uint8_t)(db >> 16), (uint8_t)(db >> 8),
                             (uint8_t)db};
        digest_mix(&d, digest, number, sizeof(number));
        for (int b = 0; b < DIGEST_BYTES; b++)
            digest[b] ^= all.digest[b];
    }
    ok &= !d.failed;
    digester_end(&d);
    if (ok)
        reply_digest(r, digest);
    else
        request_error(r, ERR_OOM);
}

struct value_digest {
    int at; // of the argument
    uint8_t digest[DIGEST_BYTES];
};

void debug_digest_value_part(struct request *r)
{
    struct digester d;
    bool ok = digester_begin(&d);
    for (int i = 2; ok && i < r->argc; i++) {
        struct key key = request_key(r, i);
        struct value_digest v = {.at = i};
        const struct entry *e = is_here(r, &key) ? peek(r, &key) : NULL;
        if (!e)
            continue;
        digest_entry(&d, v.digest, e, (int64_t)r->now_ms);
        ok = !d.failed;
        if (ok)
            out_write(r->out, &v, sizeof(v));
    }
    // Else its digests would be those of values that are not there.
    out_write(r->out, ok ? "+" : "-", 1);
    digester_end(&d);
}

void debug_digest_value_reply(struct request *r)
{
    static const uint8_t none[DIGEST_BYTES];
    const uint8_t **digests = mi_calloc((size_t)r->argc, sizeof(*digests));
    bool ok = digests;
    for (unsigned p = 0; ok && p < r->n_parts; p++) {
        size_t n = r->parts[p].len;
        ok = n && r->parts[p].ptr[n - 1] == '+';
        for (size_t at = 0; ok && at + sizeof(struct value_digest) < n;
             at += sizeof(struct value_digest)) {
            struct value_digest v;
            memcpy(&v, r->parts[p].ptr + at, sizeof(v));
            digests[v.at] = r->parts[p].ptr + at + offsetof(struct value_digest, digest);
        }
    }
    if (ok) {
        reply_array(r->out, r->argc - 2);
        for (int i = 2; i < r->argc; i++)
            reply_digest(r, digests[i] ? digests[i] : none);
    } else {
        request_error(r, ERR_OOM);
    }
    mi_free(digests);
}

// --- HTSTATS -------------------------------------------------------------------------------------

static bool database_of(struct request *r, unsigned *db)
{
    int64_t value;
    if (!request_integer(r, 2, &value))
        return false;
    if (value < 0 || value >= keyspace_databases(store_keyspace(r->store))) {
        request_error(r, "ERR Out of range database");
        return false;
    }
    *db = (unsigned)value;
    return true;
}

bool debug_htstats_start(struct request *r)
{
    unsigned db;
    return database_of(r, &db);
}

void debug_htstats_part(struct request *r)
{
    (void)r; // counts of all cores can be read at home
}

static void table_lines(struct out *o, const char *name, uint64_t n)
{
    text_add(o, "[%s HT]\nHash table 0 stats (main hash table):\n", name);
    if (n)
        text_add(o, " number of elements: %" PRIu64 "\n", n);
    else
        text_add(o, "No stats available for empty dictionaries\n");
}

void debug_htstats_reply(struct request *r)
{
    const struct keyspace *ks = store_keyspace(r->store);
    unsigned db;
    if (!database_of(r, &db))
        return;
    struct outbuf text;
    outbuf_init(&text);
    table_lines(&text.out, "Dictionary", keyspace_keys(ks, db));
    table_lines(&text.out, "Expires", keyspace_volatile_keys(ks, db));
    request_reply_text(r, &text);
}

// --- POPULATE ------------------------------------------------------------------------------------

struct population {
    uint64_t count;
    const char *prefix;
    size_t prefix_len, size;
};

static bool population_of(struct request *r, struct population *p)
{
    int64_t count, size = 0;
    *p = (struct population){.prefix = "key", .prefix_len = 3};
    if (!parse_int64(r->argv[2].ptr, r->argv[2].len, &count) || count < 0) {
        request_error(r, "ERR value is out of range, must be positive");
        return false;
    }
    if (r->argc == 5 && !request_integer(r, 4, &size))
        return false;
    if (size < 0 || (uint64_t)size > r->limits->bulk_max) {
        request_error(r, ERR_NOT_INTEGER);
        return false;
    }
    if (r->argc > 3) {
        p->prefix = (const char *)r->argv[3].ptr;
        p->prefix_len = r->argv[3].len;
    }
    p->count = (uint64_t)count;
    p->size = (size_t)size;
    return true;
}

bool debug_populate_start(struct request *r)
{
    struct population p;
    return population_of(r, &p);
}

// Each core makes those that are its own; one that is there stays.
void debug_populate_part(struct request *r)
{
    struct population p;
    if (!population_of(r, &p))
        return;
    char *name = mi_malloc(p.prefix_len + VALUE_TEXT_MAX);
    char *value = mi_zalloc(p.size + VALUE_TEXT_MAX);
    bool ok = name && value;
    if (ok)
        memcpy(name, p.prefix, p.prefix_len);
    for (uint64_t i = 0; ok && i < p.count; i++) {
        int n = snprintf(name + p.prefix_len, VALUE_TEXT_MAX, ":%" PRIu64, i);
        struct key key =
            keyspace_key(store_keyspace(r->store), (const uint8_t *)name, p.prefix_len + (size_t)n);
        if (!is_here(r, &key) ||
            store_find(r->store, r->session->db, &key, LOOKUP_WRITE | LOOKUP_NO_STATS))
            continue;
        int len = snprintf(value, VALUE_TEXT_MAX, "value:%" PRIu64, i);
        // A size of its own cuts the text short, or leaves zeros behind it.
        if (p.size && p.size < (size_t)len)
            memset(value + p.size, 0, (size_t)len - p.size);
        struct arg arg = {.ptr = (const uint8_t *)value, .len = p.size ? p.size : (size_t)len};
        ok = store_set_string(r->store, r->session->db, &key, NULL, &arg, -1, 0) != NULL;
        if (ok)
            request_changed(r, &key, EVENT_NONE, "populate");
        memset(value, 0, VALUE_TEXT_MAX);
    }
    mi_free(name);
    mi_free(value);
    out_write(r->out, ok ? "+" : "-", 1);
}

void debug_populate_reply(struct request *r)
{
    bool ok = true;
    for (unsigned i = 0; i < r->n_parts; i++)
        ok &= r->parts[i].len == 1 && *r->parts[i].ptr == '+';
    if (ok)
        reply_status(r->out, "OK");
    else
        request_error(r, ERR_OOM);
}

// --- lists ---------------------------------------------------------------------------------------

// "100", "1k", "4kb" …: bytes.
static bool memory_value(const struct arg *a, uint64_t *bytes)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {{"", 1},        {"b", 1},         {"k", 1000},       {"kb", 1u << 10},
                 {"m", 1000000}, {"mb", 1u << 20}, {"g", 1000000000}, {"gb", 1u << 30}};
    size_t digits = 0;
    while (digits < a->len && a->ptr[digits] >= '0' && a->ptr[digits] <= '9')
        digits++;
    int64_t value;
    if (!parse_int64(a->ptr, digits, &value))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (strlen(units[i].unit) == a->len - digits &&
            strncasecmp(units[i].unit, (const char *)a->ptr + digits, a->len - digits) == 0)
            return !__builtin_mul_overflow((uint64_t)value, units[i].factor, bytes);
    return false;
}

void debug_packed_threshold(struct request *r)
{
    uint64_t bytes;
    if (!memory_value(&r->argv[2], &bytes) || bytes > THRESHOLD_MAX) {
        request_error(r, "ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        return;
    }
    quicklist_plain_from(bytes);
    reply_status(r->out, "OK");
}
