// Commands over many keys or all: SCAN, KEYS, RANDOMKEY, DBSIZE, and those that empty or swap
// databases. SCAN runs on one core a call, KEYS and RANDOMKEY gather from all, the others borrow
// all or only count.
#include <stdio.h>
#include <strings.h>

#include "common/glob.h"
#include "common/outbuf.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"

#define SCAN_COUNT_DEFAULT 10
#define CURSOR_DIGITS_MAX 20

struct pattern {
    const struct arg *arg; // NULL: matches everything
};

static struct pattern pattern_of(const struct arg *arg)
{
    bool all = arg->len == 1 && arg->ptr[0] == '*';
    return (struct pattern){.arg = all ? NULL : arg};
}

// To Redis no star but the lone one matches the empty key.
static bool pattern_matches(const struct pattern *p, const uint8_t *key, size_t len)
{
    if (p->arg && len == 0)
        return p->arg->len == 0;
    return !p->arg ||
           glob_match((const char *)p->arg->ptr, p->arg->len, (const char *)key, len, false);
}

// --- SCAN ----------------------------------------------------------------------------------------

// A decimal number of 64 bits as C's strtoul reads it, since Redis does: a sign is allowed (and a
// negative number wraps round), a zero byte ends it, and the empty text is 0.
static bool parse_cursor(const struct arg *a, uint64_t *cursor)
{
    size_t i = a->len && (a->ptr[0] == '-' || a->ptr[0] == '+'), first = i;
    uint64_t v = 0;
    for (; i < a->len && a->ptr[i]; i++) {
        unsigned digit = (unsigned)a->ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    if (first && i == first)
        return false;
    *cursor = first && a->ptr[0] == '-' ? 0 - v : v;
    return true;
}

unsigned scan_core(struct request *r)
{
    uint64_t cursor;
    if (r->argc < 2 || !parse_cursor(&r->argv[1], &cursor))
        return r->core_index; // wherever the error is written
    return store_cursor_core(store_keyspace(r->store), cursor);
}

struct scan {
    struct pattern pattern;
    const struct arg *type; // name of a type, NULL: any
    int64_t count;
    int64_t found;
    struct outbuf names;
};

static bool parse_scan_options(struct request *r, struct scan *s)
{
    for (int i = 2; i < r->argc; i += 2) {
        bool has_value = i + 1 < r->argc;
        if (has_value && request_is(r, i, "count")) {
            if (!request_integer(r, i + 1, &s->count))
                return false;
            if (s->count < 1) {
                request_error(r, ERR_SYNTAX);
                return false;
            }
        } else if (has_value && request_is(r, i, "match")) {
            s->pattern = pattern_of(&r->argv[i + 1]);
        } else if (has_value && request_is(r, i, "type")) {
            s->type = &r->argv[i + 1];
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void scan_entry(void *context, struct entry *e)
{
    struct scan *s = context;
    size_t len;
    const uint8_t *key = entry_key(e, &len);
    if (s->type) {
        const char *name = type_name(entry_type(e));
        if (strlen(name) != s->type->len ||
            strncasecmp(name, (const char *)s->type->ptr, s->type->len) != 0)
            return;
    }
    if (!pattern_matches(&s->pattern, key, len))
        return;
    reply_bulk(&s->names.out, key, len);
    s->found++;
}

void scan_command(struct request *r)
{
    struct scan s = {.count = SCAN_COUNT_DEFAULT};
    uint64_t cursor;
    if (!parse_cursor(&r->argv[1], &cursor)) {
        request_error(r, "ERR invalid cursor");
        return;
    }
    if (!parse_scan_options(r, &s))
        return;
    outbuf_init(&s.names);
    cursor = store_scan(r->store, r->session->db, cursor, (unsigned long)s.count, scan_entry, &s);
    char text[CURSOR_DIGITS_MAX + 1];
    int n = snprintf(text, sizeof(text), "%lu", (unsigned long)cursor);
    reply_array(r->out, 2);
    reply_bulk(r->out, text, (size_t)n);
    reply_array(r->out, s.found);
    outbuf_move(&s.names, r->out);
}

// --- KEYS and RANDOMKEY: a part from each core ---------------------------------------------------

// A part is the names as bulk strings, followed by their number.
struct keys_found {
    struct pattern pattern;
    struct out *out;
    uint64_t n;
};

static void keys_entry(void *context, struct entry *e)
{
    struct keys_found *found = context;
    size_t len;
    const uint8_t *key = entry_key(e, &len);
    if (!pattern_matches(&found->pattern, key, len))
        return;
    reply_bulk(found->out, key, len);
    found->n++;
}

void keys_part(struct request *r)
{
    struct keys_found found = {.pattern = pattern_of(&r->argv[1]), .out = r->out};
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

void dbsize_command(struct request *r)
{
    reply_integer(r->out, (int64_t)keyspace_keys(store_keyspace(r->store), r->session->db));
}

// Memory is given back in the background either way, so SYNC and ASYNC mean the same.
static void flush(struct request *r, int db)
{
    if (r->argc > 2 || (r->argc == 2 && !request_is(r, 1, "sync") && !request_is(r, 1, "async"))) {
        request_error(r, ERR_SYNTAX);
        return;
    }
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
    if (a != b)
        store_swap_databases(r->store, (unsigned)a, (unsigned)b);
    reply_status(r->out, "OK");
}
