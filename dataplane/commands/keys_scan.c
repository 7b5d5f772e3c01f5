// Commands over many keys or all: SCAN, KEYS, RANDOMKEY, DBSIZE, and those that empty or swap
// databases. SCAN runs on one core a call, KEYS and RANDOMKEY gather from all, the others borrow
// all or only count.
#include <string.h>
#include <strings.h>

#include "common/outbuf.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/scan.h"

// --- SCAN ----------------------------------------------------------------------------------------

unsigned scan_core(struct request *r)
{
    uint64_t cursor;
    if (r->argc < 2 || !scan_parse_cursor(&r->argv[1], &cursor))
        return r->core_index; // wherever the error is written
    return store_cursor_core(store_keyspace(r->store), cursor);
}

struct scan {
    struct scan_options options;
    int64_t found;
    struct outbuf names;
};

static void scan_entry(void *context, struct entry *e)
{
    struct scan *s = context;
    size_t len;
    const uint8_t *key = entry_key(e, &len);
    const struct arg *type = s->options.type;
    if (type) {
        const char *name = type_name(entry_type(e));
        if (strlen(name) != type->len || strncasecmp(name, (const char *)type->ptr, type->len) != 0)
            return;
    }
    if (!scan_matches(&s->options.pattern, key, len))
        return;
    reply_bulk(&s->names.out, key, len);
    s->found++;
}

void scan_command(struct request *r)
{
    struct scan s;
    uint64_t cursor;
    if (!scan_parse_cursor(&r->argv[1], &cursor)) {
        request_error(r, ERR_CURSOR);
        return;
    }
    if (!scan_parse_options(r, 2, SCAN_TYPE, &s.options))
        return;
    s.found = 0;
    outbuf_init(&s.names);
    cursor = store_scan(r->store, r->session->db, cursor, (unsigned long)s.options.count,
                        scan_entry, &s);
    scan_reply(r, cursor, s.found, &s.names);
}

// --- KEYS and RANDOMKEY: a part from each core ---------------------------------------------------

// A part is the names as bulk strings, followed by their number.
struct keys_found {
    struct scan_pattern pattern;
    struct out *out;
    uint64_t n;
};

static void keys_entry(void *context, struct entry *e)
{
    struct keys_found *found = context;
    size_t len;
    const uint8_t *key = entry_key(e, &len);
    if (!scan_matches(&found->pattern, key, len))
        return;
    reply_bulk(found->out, key, len);
    found->n++;
}

void keys_part(struct request *r)
{
    struct keys_found found = {.pattern = scan_pattern_of(&r->argv[1]), .out = r->out};
    store_each(r->store, r->session->db, keys_entry, &found);
    memcpy(out_room(r->out, sizeof(found.n)), &found.n, sizeof(found.n));
    r->out->pos += sizeof(found.n);
}

void keys_command(struct request *r)
{
    uint64_t total = 0, n;
    for (unsigned i = 0; i < r->n_parts; i++) {
        if (r->parts[i].len < sizeof(n)) { // the core had no memory for it
            request_error(r, ERR_OOM);
            return;
        }
        memcpy(&n, r->parts[i].ptr + r->parts[i].len - sizeof(n), sizeof(n));
        total += n;
    }
    reply_array(r->out, (int64_t)total);
    for (unsigned i = 0; i < r->n_parts; i++)
        out_write(r->out, r->parts[i].ptr, r->parts[i].len - sizeof(n));
}

// A part is one random key of the core behind a byte that tells the empty name from none.
void randomkey_part(struct request *r)
{
    struct key key;
    if (!store_random_key(r->store, r->session->db, &key))
        return;
    *out_room(r->out, 1) = '$';
    r->out->pos++;
    out_write(r->out, key.ptr, key.len);
}

// Slots, and with them keys, are spread evenly over cores, so each core that has keys weighs the
// same.
void randomkey_command(struct request *r)
{
    unsigned filled = 0;
    for (unsigned i = 0; i < r->n_parts; i++)
        filled += r->parts[i].len > 0;
    if (!filled) {
        reply_null(r->out, r->session->resp);
        return;
    }
    unsigned chosen = filled > 1 ? (unsigned)(r->services->random(r->core) % filled) : 0;
    for (unsigned i = 0; i < r->n_parts; i++) {
        if (r->parts[i].len && chosen-- == 0) {
            reply_bulk(r->out, r->parts[i].ptr + 1, r->parts[i].len - 1);
            return;
        }
    }
}

// --- whole databases -----------------------------------------------------------------------------

// Each core tells its count itself, between two commands: while one runs, a key that it renames
// counts twice or not at all.
void dbsize_part(struct request *r)
{
    int64_t n = store_keys_counted(r->store, r->session->db);
    memcpy(out_room(r->out, sizeof(n)), &n, sizeof(n));
    r->out->pos += sizeof(n);
}

void dbsize_command(struct request *r)
{
    int64_t total = 0, n;
    for (unsigned i = 0; i < r->n_parts; i++) {
        if (r->parts[i].len != sizeof(n)) { // the core had no memory for it
            request_error(r, ERR_OOM);
            return;
        }
        memcpy(&n, r->parts[i].ptr, sizeof(n));
        total += n;
    }
    reply_integer(r->out, total > 0 ? total : 0);
}

// Memory is given back in the background either way, so SYNC and ASYNC mean the same.
static void flush(struct request *r, int db)
{
    if (r->argc > 2 || (r->argc == 2 && !request_is(r, 1, "sync") && !request_is(r, 1, "async"))) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    r->services->keys_replaced(r, db, -1);
    store_flush(r->store, db);
    reply_status(r->out, "OK");
}

void flushdb_command(struct request *r)
{
    flush(r, (int)r->session->db);
}

void flushall_command(struct request *r)
{
    flush(r, -1);
}

void swapdb_command(struct request *r)
{
    int32_t a, b;
    if (!keys_parse_index(r, 1, "ERR invalid first DB index", &a) ||
        !keys_parse_index(r, 2, "ERR invalid second DB index", &b) || !keys_check_database(r, a) ||
        !keys_check_database(r, b))
        return;
    if (a != b) {
        r->services->keys_replaced(r, a, b);
        r->services->keys_replaced(r, b, a);
        store_swap_databases(r->store, (unsigned)a, (unsigned)b);
    }
    reply_status(r->out, "OK");
}
