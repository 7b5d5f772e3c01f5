#include "dataplane/commands/streams_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/store/values/listpack.h"

enum { ID_READ_MAX = 127 };

// --- the key -------------------------------------------------------------------------------------

static bool opened(struct skey *k)
{
    if (!lookup_type_is(k->r, k->entry, OBJ_STREAM))
        return false;
    k->x = k->entry ? entry_object(k->entry) : NULL;
    return true;
}

bool skey_open_read(struct request *r, int i, struct skey *k)
{
    *k = (struct skey){.r = r, .key = request_key(r, i)};
    k->entry = lookup_read(r, &k->key);
    return opened(k);
}

bool skey_open_write(struct request *r, int i, struct skey *k)
{
    *k = (struct skey){.r = r, .key = request_key(r, i)};
    k->entry = lookup_write(r, &k->key);
    return opened(k);
}

void skey_edit(struct skey *k)
{
    k->edit = edit_begin(k->r->store, k->r->session->db, &k->key, k->entry);
}

void skey_edit_end(struct skey *k, uint64_t changes)
{
    edit_end(&k->edit, changes);
}

bool skey_create(struct skey *k, struct stream_value *x)
{
    k->entry = store_put_object(k->r->store, k->r->session->db, &k->key, k->entry, OBJ_STREAM,
                                ENC_STREAM, x, -1);
    if (k->entry) {
        k->x = x;
        return true;
    }
    stream_free(x);
    request_error(k->r, ERR_OOM);
    return false;
}

// --- ids -----------------------------------------------------------------------------------------

static bool read_number(const char *text, uint64_t *value)
{
    int64_t number;
    if (parse_int64((const uint8_t *)text, strlen(text), &number)) {
        *value = (uint64_t)number;
        return number >= 0;
    }
    // What is no strict integer is read as the C library reads one, as Redis has it.
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return !errno && *text && !*end;
}

bool stream_read_id(const struct arg *a, struct stream_id *id, uint64_t missing, bool *seq_given)
{
    char text[ID_READ_MAX + 1];
    if (a->len > ID_READ_MAX)
        return false;
    memcpy(text, a->ptr, a->len);
    text[a->len] = '\0';
    if (seq_given)
        *seq_given = true;
    char *dash = strchr(text, '-');
    if (dash)
        *dash++ = '\0';
    if (!read_number(text, &id->ms))
        return false;
    id->seq = missing;
    if (!dash)
        return true;
    if (seq_given && !strcmp(dash, "*")) {
        id->seq = 0;
        *seq_given = false;
        return true;
    }
    return read_number(dash, &id->seq);
}

bool stream_id_is(const struct arg *a, char c)
{
    return a->len && a->ptr[0] == (uint8_t)c && (a->len == 1 || !a->ptr[1]);
}

static bool read_any_id(const struct arg *a, struct stream_id *id, uint64_t missing)
{
    if (a->len > ID_READ_MAX)
        return false;
    if (stream_id_is(a, '-') || stream_id_is(a, '+')) {
        *id = a->ptr[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return true;
    }
    return stream_read_id(a, id, missing, NULL);
}

static bool id_read(struct request *r, bool ok)
{
    if (!ok)
        request_error(r, "ERR Invalid stream ID specified as stream command argument");
    return ok;
}

bool stream_parse_id(struct request *r, int i, struct stream_id *id, bool *seq_given)
{
    return id_read(r, stream_read_id(&r->argv[i], id, 0, seq_given));
}

bool stream_parse_any_id(struct request *r, int i, struct stream_id *id)
{
    return id_read(r, read_any_id(&r->argv[i], id, 0));
}

static bool parse_bound(struct request *r, int i, struct stream_id *id, uint64_t missing,
                        bool *exclusive)
{
    struct arg a = r->argv[i];
    *exclusive = a.len > 1 && a.ptr[0] == '(';
    if (!*exclusive)
        return id_read(r, read_any_id(&a, id, missing));
    a.ptr++;
    a.len--;
    return id_read(r, stream_read_id(&a, id, missing, NULL));
}

bool stream_parse_start(struct request *r, int i, struct stream_id *id)
{
    bool exclusive;
    if (!parse_bound(r, i, id, 0, &exclusive))
        return false;
    if (!exclusive || stream_id_increment(id))
        return true;
    request_error(r, "ERR invalid start ID for the interval");
    return false;
}

bool stream_parse_end(struct request *r, int i, struct stream_id *id)
{
    bool exclusive;
    if (!parse_bound(r, i, id, UINT64_MAX, &exclusive))
        return false;
    if (!exclusive || stream_id_decrement(id))
        return true;
    request_error(r, "ERR invalid end ID for the interval");
    return false;
}

static char *print_number(char *to, uint64_t value)
{
    char digits[20];
    unsigned n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *to++ = digits[--n];
    return to;
}

size_t stream_id_text(char text[STREAM_ID_TEXT_MAX], struct stream_id id)
{
    char *end = print_number(text, id.ms);
    *end++ = '-';
    return (size_t)(print_number(end, id.seq) - text);
}

// --- replies -------------------------------------------------------------------------------------

void stream_reply_id(struct out *o, struct stream_id id)
{
    char text[STREAM_ID_TEXT_MAX];
    reply_bulk(o, text, stream_id_text(text, id));
}

static void reply_element(struct out *o, const uint8_t *p)
{
    char scratch[24];
    size_t len;
    const uint8_t *text = lp_text(p, scratch, &len);
    reply_bulk(o, text, len);
}

void stream_reply_entry(struct out *o, struct stream_walk *w)
{
    reply_array(o, 2);
    stream_reply_id(o, w->id);
    reply_array(o, (int64_t)w->n * 2);
    for (uint64_t i = w->n; i > 0; i--) {
        const uint8_t *field, *value;
        stream_walk_field(w, &field, &value);
        reply_element(o, field);
        reply_element(o, value);
    }
}

uint64_t stream_reply_range(struct out *o, const struct stream_value *x, struct stream_id start,
                            struct stream_id end, uint64_t count, bool reverse)
{
    struct stream_walk w;
    uint64_t n = 0;
    stream_walk_begin(&w, x, start, end, reverse);
    while ((!count || n < count) && stream_walk_next(&w)) {
        stream_reply_entry(o, &w);
        n++;
    }
    return n;
}

void stream_reply_collected(struct out *o, uint64_t n, struct outbuf *body)
{
    reply_array(o, (int64_t)n);
    outbuf_move(body, o);
}

// --- groups --------------------------------------------------------------------------------------

int stream_text_len(const struct arg *a)
{
    size_t n = strnlen((const char *)a->ptr, a->len);
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

struct stream_group *stream_group_of(const struct skey *k, int i)
{
    const struct arg *a = &k->r->argv[i];
    return k->x ? stream_group_find(k->x, a->ptr, a->len) : NULL;
}

struct stream_consumer *stream_consumer_of(struct skey *k, struct stream_group *g, int i,
                                           bool *created)
{
    const struct arg *a = &k->r->argv[i];
    struct stream_consumer *c = stream_consumer_find(g, a->ptr, a->len);
    *created = !c;
    if (!c)
        c = stream_consumer_add(k->x, g, a->ptr, a->len, 0);
    if (c)
        c->seen_ms = (int64_t)k->r->now_ms;
    return c;
}

// --- effects -------------------------------------------------------------------------------------

void stream_effect_id(struct request *r, struct stream_id id)
{
    char text[STREAM_ID_TEXT_MAX];
    effect_bytes(r, text, stream_id_text(text, id));
}

void stream_effect_claim(struct skey *k, int group, const struct stream_group *g,
                         const struct stream_nack *nack)
{
    struct request *r = k->r;
    if (!effect_begin(r, "XCLAIM", 14))
        return;
    effect_bytes(r, k->key.ptr, k->key.len);
    effect_arg(r, group);
    effect_bytes(r, nack->consumer->name, nack->consumer->name_len);
    effect_text(r, "0");
    stream_effect_id(r, (struct stream_id){nack->ms, nack->seq});
    effect_text(r, "TIME");
    effect_integer(r, nack->delivered_ms);
    effect_text(r, "RETRYCOUNT");
    effect_integer(r, (int64_t)nack->deliveries);
    effect_text(r, "FORCE");
    effect_text(r, "JUSTID");
    effect_text(r, "LASTID");
    stream_effect_id(r, g->last);
}

void stream_effect_group(struct skey *k, int group, const struct stream_group *g)
{
    struct request *r = k->r;
    if (!effect_begin(r, "XGROUP", 7))
        return;
    effect_text(r, "SETID");
    effect_bytes(r, k->key.ptr, k->key.len);
    effect_arg(r, group);
    stream_effect_id(r, g->last);
    effect_text(r, "ENTRIESREAD");
    effect_integer(r, g->entries_read);
}

void stream_effect_consumer(struct skey *k, int group, const struct stream_consumer *c)
{
    struct request *r = k->r;
    if (!effect_begin(r, "XGROUP", 5))
        return;
    effect_text(r, "CREATECONSUMER");
    effect_bytes(r, k->key.ptr, k->key.len);
    effect_arg(r, group);
    effect_bytes(r, c->name, c->name_len);
}
