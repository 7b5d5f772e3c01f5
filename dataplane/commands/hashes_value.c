#include "dataplane/commands/hashes_value.h"

#include <assert.h>
#include <string.h>

#include "dataplane/commands/lookup.h"
#include "dataplane/store/values/listpack.h"

static bool is_table(const struct hash *h)
{
    return h->encoding == ENC_HASHTABLE;
}

static bool is_over(const struct hash *h, const struct entry *member)
{
    int64_t expiry = entry_expiry(member);
    return expiry >= 0 && expiry <= h->now_ms;
}

static bool open_entry(struct request *r, struct hash *h, const struct key *key, struct entry *e)
{
    *h = (struct hash){.r = r, .key = *key, .now_ms = (int64_t)store_time(r->store)};
    if (!lookup_type_is(r, e, OBJ_HASH))
        return false;
    if (e)
        e = store_settle_fields(r->store, r->session->db, key, e);
    if (e) {
        h->entry = e;
        h->object = entry_object(e);
        h->encoding = entry_encoding(e);
    }
    return true;
}

bool hash_open_read(struct request *r, struct hash *h)
{
    struct key key = request_key(r, 1);
    return open_entry(r, h, &key, lookup_read(r, &key));
}

bool hash_open_peek(struct request *r, struct hash *h)
{
    struct key key = request_key(r, 1);
    return open_entry(r, h, &key, lookup_peek(r, &key));
}

bool hash_open_write(struct request *r, struct hash *h)
{
    struct key key = request_key(r, 1);
    return open_entry(r, h, &key, lookup_write(r, &key));
}

bool hash_edit(struct hash *h)
{
    if (h->entry) {
        h->edit = edit_begin(h->r->store, h->r->session->db, &h->key, h->entry);
        return true;
    }
    h->object = lp_new(0);
    h->encoding = ENC_LISTPACK;
    return h->object;
}

bool hash_reserve_due(struct hash *h)
{
    return !h->entry || edit_reserve_due(&h->edit); // putting a new one does it
}

enum hash_end hash_edit_end(struct hash *h)
{
    struct store *s = h->r->store;
    if (h->entry) {
        h->edit.object = h->object;
        h->edit.encoding = h->encoding;
        return edit_end(&h->edit, h->changes) ? HASH_STAYS : HASH_GONE;
    }
    if (!h->changes) { // nothing came into the new one
        object_free(OBJ_HASH, h->encoding, h->object);
        return HASH_GONE;
    }
    h->entry =
        store_put_object(s, h->r->session->db, &h->key, NULL, OBJ_HASH, h->encoding, h->object, -1);
    if (h->entry)
        return HASH_STAYS;
    object_free(OBJ_HASH, h->encoding, h->object);
    return HASH_FAILED;
}

bool hash_finish(struct hash *h, const char *event)
{
    bool changed = h->changes;
    enum hash_end end = hash_edit_end(h);
    if (end == HASH_FAILED) {
        request_error(h->r, ERR_OOM);
        return false;
    }
    if (changed)
        request_changed(h->r, &h->key, EVENT_HASH, event);
    if (changed && end == HASH_GONE)
        request_changed(h->r, &h->key, EVENT_GENERIC, "del");
    return true;
}

uint64_t hash_length(const struct hash *h)
{
    return object_length(OBJ_HASH, h->encoding, h->object);
}

// --- one field ----------------------------------------------------------------------------------

// The place of a field's name, or NULL.
static uint8_t *find_name(const struct hash *h, const void *name, size_t len)
{
    uint8_t *first = lp_first(h->object);
    return first ? lp_find(h->object, first, name, len, 1) : NULL;
}

bool hash_find(const struct hash *h, const void *name, size_t len, struct field *f)
{
    if (is_table(h)) {
        f->member = members_find(h->r->store, h->object, name, len);
        if (!f->member || is_over(h, f->member))
            return false;
        f->ptr = member_value(f->member, &f->len);
        return true;
    }
    uint8_t *at = find_name(h, name, len);
    if (!at)
        return false;
    f->member = NULL;
    f->place = lp_next(h->object, at);
    f->ptr = lp_text(f->place, f->scratch, &f->len);
    return true;
}

int64_t field_expiry(const struct field *f)
{
    return f->member ? entry_expiry(f->member) : -1;
}

bool hash_to_table(struct hash *h)
{
    if (is_table(h))
        return true;
    struct members *table = members_new();
    struct hash_iterator it = hash_begin(h);
    while (table && hash_next(&it)) {
        if (!members_add(h->r->store, table, it.name, it.name_len, it.value.ptr, it.value.len)) {
            members_free(table);
            table = NULL;
        }
    }
    if (!table)
        return false;
    lp_free(h->object);
    h->object = table;
    h->encoding = ENC_HASHTABLE;
    return true;
}

bool hash_prepare(struct hash *h, int first, int last)
{
    if (is_table(h))
        return true;
    size_t sum = 0;
    for (int i = first; i <= last; i++) {
        size_t len = h->r->argv[i].len;
        if (len > h->r->limits->hash_max_listpack_value)
            return hash_to_table(h);
        sum += len;
    }
    return lp_takes(h->object, sum) || hash_to_table(h);
}

static bool set_in_listpack(struct hash *h, const struct arg *name, const void *value, size_t len,
                            bool *created)
{
    uint8_t *at = find_name(h, name->ptr, name->len), *lp;
    *created = !at;
    if (at) {
        lp = lp_insert(h->object, lp_next(h->object, at), LP_REPLACE, value, len, NULL);
        if (lp)
            h->object = lp;
        return lp;
    }
    if (name->len > LP_BYTES_MAX || len > LP_BYTES_MAX)
        return false;
    struct lp_encoded pair[2];
    lp_encode(&pair[0], name->ptr, name->len);
    lp_encode(&pair[1], value, len);
    lp = lp_insert_many(h->object, NULL, pair, 2);
    if (lp)
        h->object = lp;
    return lp;
}

static bool set_in_table(struct hash *h, const struct arg *name, const void *value, size_t len,
                         bool keep, bool *created)
{
    struct store *s = h->r->store;
    struct entry *e = members_find(s, h->object, name->ptr, name->len);
    if (e && is_over(h, e)) {
        edit_expire_field(&h->edit, e);
        e = NULL;
    }
    *created = !e;
    if (!e)
        return members_add(s, h->object, name->ptr, name->len, value, len);
    if (!keep && entry_expiry(e) >= 0) {
        e = members_set_expiry(s, h->object, e, -1);
        if (!e)
            return false;
    }
    return members_set_value(s, h->object, e, value, len);
}

bool hash_set(struct hash *h, const struct arg *name, const void *value, size_t len, bool keep,
              bool *created)
{
    const struct value_limits *limits = h->r->limits;
    bool too_long =
        name->len > limits->hash_max_listpack_value || len > limits->hash_max_listpack_value;
    if (too_long && !hash_to_table(h))
        return false;
    if (is_table(h)) {
        if (!set_in_table(h, name, value, len, keep, created))
            return false;
    } else if (!set_in_listpack(h, name, value, len, created)) {
        return false;
    }
    h->changes++;
    // Where memory is short, the conversion waits for the next field.
    if (!is_table(h) && hash_length(h) > limits->hash_max_listpack_entries)
        hash_to_table(h);
    return true;
}

bool hash_remove(struct hash *h, const void *name, size_t len)
{
    if (is_table(h)) {
        struct entry *e = members_find(h->r->store, h->object, name, len);
        if (e && is_over(h, e)) {
            edit_expire_field(&h->edit, e);
            return false;
        }
        if (e)
            members_remove(h->r->store, h->object, e);
        h->changes += e != NULL;
        return e;
    }
    uint8_t *at = find_name(h, name, len);
    uint8_t *lp = at ? lp_delete_from(h->object, at, 2, NULL) : NULL;
    if (!lp)
        return false;
    h->object = lp;
    h->changes++;
    return true;
}

bool hash_set_expiry(struct hash *h, const void *name, size_t len, int64_t expiry_ms)
{
    if (!is_table(h) && (expiry_ms < 0 || !hash_to_table(h)))
        return expiry_ms < 0;
    struct entry *e = members_find(h->r->store, h->object, name, len);
    assert(e);
    if (!members_set_expiry(h->r->store, h->object, e, expiry_ms))
        return false;
    h->changes++;
    return true;
}

// --- all of them --------------------------------------------------------------------------------

struct hash_iterator hash_begin(const struct hash *h)
{
    struct hash_iterator it = {.h = h};
    if (is_table(h))
        it.members = members_begin(h->object);
    else
        it.next = lp_first(h->object);
    return it;
}

bool hash_next(struct hash_iterator *it)
{
    const struct hash *h = it->h;
    if (is_table(h)) {
        struct entry *e;
        do
            e = members_next(&it->members);
        while (e && is_over(h, e));
        if (!e)
            return false;
        it->name = member_name(e, &it->name_len);
        it->value.member = e;
        it->value.ptr = member_value(e, &it->value.len);
        return true;
    }
    if (!it->next)
        return false;
    it->name = lp_text(it->next, it->scratch, &it->name_len);
    uint8_t *value = lp_next(h->object, it->next);
    it->value.ptr = lp_text(value, it->value.scratch, &it->value.len);
    it->next = lp_next(h->object, value);
    return true;
}

bool hash_any_over(const struct hash *h)
{
    return is_table(h) && members_any_over(h->r->store, h->object);
}

bool hash_count(const struct hash *h, uint64_t *live)
{
    uint32_t over = 0;
    bool counted = !is_table(h) || members_over(h->r->store, h->object, &over);
    *live = hash_length(h) - over;
    return counted;
}

uint64_t hash_live(const struct hash *h)
{
    uint64_t n = 0;
    if (hash_count(h, &n))
        return n;
    n = 0;
    for (struct hash_iterator it = hash_begin(h); hash_next(&it);)
        n++;
    return n;
}
