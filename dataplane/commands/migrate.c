// MIGRATE: keys go to another server. See migrate.h for how the core takes part.
#include "dataplane/commands/migrate.h"

#include <errno.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataplane/commands/dump.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"

#define TIMEOUT_DEFAULT_MS 1000
#define OPTIONS_FROM 6

struct options {
    bool copy, replace;
    const struct arg *user, *password;
    int first, n_keys; // arguments that are keys
    int64_t timeout_ms, db;
};

void migrate_free(struct migrate *m)
{
    if (!m)
        return;
    outbuf_clear(&m->out);
    mi_free(m->host);
    mi_free(m);
}

void migrate_reply(struct migrate *m, const char *line)
{
    unsigned i = m->replies++;
    bool refused = line[0] == '-';
    if (refused && i < m->greetings)
        m->greeting_failed = true;
    if (refused && !m->error[0])
        snprintf(m->error, sizeof(m->error), "%s", line + 1);
    if (i >= m->greetings)
        m->keys[i - m->greetings].accepted = !refused && !m->greeting_failed;
}

static bool is_word(const struct arg *a, const char *word)
{
    return a->len == strlen(word) && strncasecmp((const char *)a->ptr, word, a->len) == 0;
}

// The keys stand behind KEYS, where no other option takes that word as its value.
int migrate_keys(const struct arg *argv, int argc, int *positions, int max)
{
    int first = 3, n = 1;
    for (int i = OPTIONS_FROM; i < argc - 1; i++) {
        if (is_word(&argv[i], "keys")) {
            first = i + 1;
            n = argv[3].len ? -1 : argc - first;
            break;
        }
        i += is_word(&argv[i], "auth") ? 1 : is_word(&argv[i], "auth2") ? 2 : 0;
    }
    for (int i = 0; i < n && i < max; i++)
        positions[i] = first + i;
    return n;
}

static bool parse_options(struct request *r, struct options *o)
{
    *o = (struct options){.first = 3, .n_keys = 1};
    for (int i = OPTIONS_FROM; i < r->argc; i++) {
        int more = r->argc - 1 - i;
        if (request_is(r, i, "copy")) {
            o->copy = true;
        } else if (request_is(r, i, "replace")) {
            o->replace = true;
        } else if (request_is(r, i, "auth") && more) {
            o->password = &r->argv[++i];
        } else if (request_is(r, i, "auth2") && more > 1) {
            o->user = &r->argv[++i];
            o->password = &r->argv[++i];
        } else if (request_is(r, i, "keys")) {
            if (r->argv[3].len) {
                request_error(r, "ERR When using MIGRATE KEYS option, the key argument must be set "
                                 "to the empty string");
                return false;
            }
            o->first = i + 1;
            o->n_keys = more;
            break;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    if (!request_integer(r, 5, &o->timeout_ms) || !request_integer(r, 4, &o->db))
        return false;
    if (o->timeout_ms <= 0)
        o->timeout_ms = TIMEOUT_DEFAULT_MS;
    return true;
}

static struct migrate *migrate_new(const struct request *r, const struct options *o)
{
    struct migrate *m = mi_zalloc(sizeof(*m) + (size_t)o->n_keys * sizeof(m->keys[0]));
    if (!m)
        return NULL;
    outbuf_init(&m->out);
    m->host = mi_strndup((const char *)r->argv[1].ptr, r->argv[1].len);
    char port[16];
    snprintf(port, sizeof(port), "%.*s", (int)r->argv[2].len, (const char *)r->argv[2].ptr);
    long number = strtol(port, NULL, 10);
    m->port = number > 0 && number <= UINT16_MAX ? (uint16_t)number : 0;
    bool bounded = o->timeout_ms < INT64_MAX / 1000;
    m->timeout_us = (uint64_t)(bounded ? o->timeout_ms * 1000 : INT64_MAX);
    if (m->host)
        return m;
    migrate_free(m);
    return NULL;
}

static void greet(struct migrate *m, const struct options *o)
{
    struct out *out = &m->out.out;
    if (o->password) {
        reply_array(out, o->user ? 3 : 2);
        reply_bulk_string(out, "AUTH");
        if (o->user)
            reply_bulk(out, o->user->ptr, o->user->len);
        reply_bulk(out, o->password->ptr, o->password->len);
        m->greetings++;
    }
    reply_array(out, 2);
    reply_bulk_string(out, "SELECT");
    reply_bulk_integer(out, o->db);
    m->greetings++;
}

// Adds a RESTORE of the entry. False: memory is short.
static bool add_key(struct request *r, struct migrate *m, const struct options *o, int i,
                    const struct entry *e)
{
    struct out *out = &m->out.out;
    int64_t expiry = entry_expiry(e), ttl = expiry < 0 ? 0 : expiry - (int64_t)r->now_ms;
    struct outbuf payload;
    outbuf_init(&payload);
    if (!dump_payload(r, e, &payload)) {
        outbuf_clear(&payload);
        return false;
    }
    reply_array(out, o->replace ? 5 : 4);
    reply_bulk_string(out, "RESTORE");
    reply_bulk(out, r->argv[i].ptr, r->argv[i].len);
    reply_bulk_integer(out, expiry >= 0 && ttl < 1 ? 1 : ttl);
    char head[32];
    out_write(out, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", outbuf_size(&payload)));
    outbuf_move(&payload, out);
    out_write(out, "\r\n", 2);
    if (o->replace)
        reply_bulk_string(out, "REPLACE");
    m->keys[m->n_keys++].argument = i;
    return !out->failed;
}

// The first run: what is there of the keys goes to the core.
static void migrate_begin(struct request *r, const struct options *o)
{
    struct migrate *m = migrate_new(r, o);
    bool ok = m;
    if (ok)
        greet(m, o);
    for (int i = o->first; ok && i < o->first + o->n_keys; i++) {
        struct key key = request_key(r, i);
        struct entry *e = lookup_read(r, &key);
        if (e)
            ok = add_key(r, m, o, i, e);
    }
    if (ok && !m->n_keys)
        reply_status(r->out, "NOKEY");
    else if (ok && !r->may_migrate)
        request_error(r, "ERR MIGRATE cannot wait for another server here");
    else if (ok && r->services->migrate(r, m))
        return;
    else
        request_error(r, ERR_OOM);
    migrate_free(m);
}

// The second run: what the target accepted is gone from here.
static void migrate_end(struct request *r, const struct options *o, const struct migrate *m)
{
    unsigned gone = 0;
    for (unsigned i = 0; i < m->n_keys; i++)
        gone += m->keys[i].accepted;
    bool told = !o->copy && gone && effect_begin(r, "DEL", gone + 1);
    for (unsigned i = 0; !o->copy && i < m->n_keys; i++) {
        if (!m->keys[i].accepted)
            continue;
        struct key key = request_key(r, m->keys[i].argument);
        if (store_delete(r->store, r->session->db, &key))
            request_changed(r, &key, EVENT_GENERIC, "del");
        if (told)
            effect_arg(r, m->keys[i].argument);
    }
    if (m->error[0])
        request_errorf(r, "ERR Target instance replied with error: %s", m->error);
    else if (m->failure == MIGRATE_CONNECTING && m->connect_error)
        request_errorf(r, "IOERR error or timeout connecting to the client: %s",
                       m->connect_error == EADDRNOTAVAIL
                           ? "all local ports are in use towards this target"
                           : strerror(m->connect_error));
    else if (m->failure == MIGRATE_CONNECTING)
        request_error(r, "IOERR error or timeout connecting to the client");
    else if (m->failure != MIGRATE_DONE)
        request_errorf(r, "IOERR error or timeout %s to target instance",
                       m->failure == MIGRATE_WRITING ? "writing" : "reading");
    else
        reply_status(r->out, "OK");
}

void migrate_command(struct request *r)
{
    struct options options;
    if (!parse_options(r, &options))
        return;
    if (r->n_parts)
        migrate_end(r, &options, (const struct migrate *)(const void *)r->parts->ptr);
    else if (options.n_keys)
        migrate_begin(r, &options);
    else
        reply_status(r->out, "NOKEY");
}
