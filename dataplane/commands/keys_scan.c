// Commands over many keys or all: SCAN, KEYS, RANDOMKEY, DBSIZE, and those that empty or swap
// databases. SCAN, KEYS and RANDOMKEY gather from all cores, the others borrow all or only count.
#include <string.h>
#include <strings.h>

#include "common/outbuf.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/scan.h"

// --- SCAN ----------------------------------------------------------------------------------------
// A walk goes over one core after the other. Its first call has a part from each, so that a
// database that COUNT covers is told at once on however many cores it lies; each later one goes on
// where the cursor says.

// A part is the names as bulk strings, followed by this.
struct scan_end {
    uint64_t cursor; // where the walk goes on
    uint64_t looked; // keys that count, whether they are told or not
    int64_t found;
    unsigned core;
    bool walked; // the walk came to this core
};

struct scan {
    struct scan_options options;
    struct out *out;
    struct scan_end end;
};

static void scan_entry(void *context, struct entry *e)
{
    struct scan *s = context;
    size_t len;
    const uint8_t *key = entry_key(e, &len);
    const struct arg *type = s->options.type;
    s->end.looked++;
    if (type) {
        const char *name = type_name(entry_type(e));
        if (strlen(name) != type->len || strncasecmp(name, (const char *)type->ptr, type->len) != 0)
            return;
    }
    if (!scan_matches(&s->options.pattern, key, len))
        return;
    reply_bulk(s->out, key, len);
    s->end.found++;
}

bool scan_start(struct request *r)
{
    uint64_t cursor;
    struct scan_options options;
    if (scan_parse_cursor(&r->argv[1], &cursor))
        return scan_parse_options(r, 2, SCAN_TYPE, &options);
    request_error(r, ERR_CURSOR);
    return false;
}

bool scan_core(const struct keyspace *ks, const struct arg *argv, int argc, unsigned *core)
{
    uint64_t cursor;
    if (argc < 2 || !scan_parse_cursor(&argv[1], &cursor) || !cursor)
        return false;
    *core = store_cursor_core(ks, cursor);
    return true;
}

void scan_part(struct request *r)
{
    uint64_t cursor;
    struct scan s = {.out = r->out, .end.core = r->core_index};
    if (!scan_parse_cursor(&r->argv[1], &cursor) ||
        !scan_parse_options(r, 2, SCAN_TYPE, &s.options))
        return; // scan_start has refused it
    s.end.walked = !cursor || store_cursor_core(store_keyspace(r->store), cursor) == r->core_index;
    if (s.end.walked)
        s.end.cursor = store_scan(r->store, r->session->db, cursor, (unsigned long)s.options.count,
                                  scan_entry, &s);
    out_write(r->out, &s.end, sizeof(s.end));
}

void scan_command(struct request *r)
{
    struct scan_options options;
    uint64_t cursor = 0, looked = 0;
    int64_t found = 0;
    bool begun = false;
    unsigned first = 0, end = 0; // parts that are told
    if (!scan_parse_options(r, 2, SCAN_TYPE, &options))
        return;
    for (unsigned i = 0; i < r->n_parts; i++) {
        struct scan_end part;
        if (r->parts[i].len < sizeof(part)) { // the core had no memory for it
            request_error(r, ERR_OOM);
            return;
        }
        memcpy(&part, r->parts[i].ptr + r->parts[i].len - sizeof(part), sizeof(part));
        // A later core is walked over only when those before it are done, and room is left.
        bool goes_on = begun && cursor && looked < (uint64_t)options.count &&
                       store_cursor_core(store_keyspace(r->store), cursor) == part.core;
        if (!part.walked || (begun && !goes_on))
            continue;
        if (!begun)
            first = i;
        begun = true;
        end = i + 1;
        cursor = part.cursor;
        looked += part.looked;
        found += part.found;
    }
    scan_reply_head(r, cursor, found);
    for (unsigned i = first; i < end; i++)
        out_write(r->out, r->parts[i].ptr, r->parts[i].len - sizeof(struct scan_end));
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
