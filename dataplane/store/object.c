// Objects: what an entry's type and encoding say is behind its pointer, and changing one.
#include "dataplane/store/object.h"

#include <assert.h>

#include "dataplane/store/internal.h"
#include "dataplane/store/members.h"
#include "dataplane/store/values/intset.h"
#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/quicklist.h"
#include "dataplane/store/values/stream.h"
#include "dataplane/store/values/zset.h"

size_t object_memory(enum object_type type, enum object_encoding encoding, const void *object)
{
    (void)type;
    switch (encoding) {
    case ENC_LISTPACK:
        return lp_memory(object);
    case ENC_INTSET:
        return intset_memory(object);
    case ENC_QUICKLIST:
        return quicklist_memory(object);
    case ENC_HASHTABLE:
        return members_memory(object);
    case ENC_SKIPLIST:
        return zset_memory(object);
    case ENC_STREAM:
        return stream_memory(object);
    case ENC_RAW:
    case ENC_INT:
    case ENC_EMBSTR:
        break;
    }
    assert(!"an encoding of objects");
    return 0;
}

uint64_t object_length(enum object_type type, enum object_encoding encoding, const void *object)
{
    switch (encoding) {
    case ENC_LISTPACK:
        return lp_count(object) / (type == OBJ_SET ? 1 : 2);
    case ENC_INTSET:
        return intset_count(object);
    case ENC_QUICKLIST:
        return quicklist_count(object);
    case ENC_HASHTABLE:
        return members_count(object);
    case ENC_SKIPLIST:
        return zset_count(object);
    case ENC_STREAM:
        return stream_count(object);
    case ENC_RAW:
    case ENC_INT:
    case ENC_EMBSTR:
        break;
    }
    assert(!"an encoding of objects");
    return 0;
}

struct object_copying {
    enum object_type type;
    enum object_encoding encoding;
    const void *from;
    void *copy;
    bool over;
    union {
        struct members_iterator members;
        struct btree_at sorted;
        uint32_t node; // of a list
        struct stream_copying stream;
    };
};

struct object_copying *object_copy_begin(enum object_type type, enum object_encoding encoding,
                                         const void *object)
{
    struct object_copying *c = mi_zalloc(sizeof(*c));
    if (c)
        *c = (struct object_copying){.type = type, .encoding = encoding, .from = object};
    return c;
}

static bool copy_step(struct store *s, struct object_copying *c, unsigned *budget)
{
    bool over = true;
    switch (c->encoding) {
    case ENC_LISTPACK:
        c->copy = lp_copy(c->from);
        return true;
    case ENC_INTSET:
        c->copy = intset_copy(c->from);
        return true;
    case ENC_QUICKLIST: {
        struct quicklist *copy = c->copy;
        over = quicklist_copy_step(c->from, &copy, &c->node, budget);
        c->copy = copy;
        return over;
    }
    case ENC_HASHTABLE: {
        struct members *copy = c->copy;
        over = members_copy_step(s, c->from, &copy, &c->members, budget);
        c->copy = copy;
        return over;
    }
    case ENC_SKIPLIST: {
        struct zset *copy = c->copy;
        over = zset_copy_step(s, c->from, &copy, &c->sorted, budget);
        c->copy = copy;
        return over;
    }
    case ENC_STREAM:
        over = stream_copy_step(c->from, &c->stream, budget);
        c->copy = c->stream.copy;
        return over;
    case ENC_RAW:
    case ENC_INT:
    case ENC_EMBSTR:
        break;
    }
    assert(!"an encoding of objects");
    return true;
}

bool object_copy_step(struct store *s, struct object_copying *c, unsigned budget)
{
    c->over = c->over || copy_step(s, c, &budget);
    return c->over;
}

void *object_copy_end(struct object_copying *c)
{
    void *copy = c->copy;
    if (copy && !c->over) {
        object_free(c->type, c->encoding, copy);
        copy = NULL;
    }
    mi_free(c);
    return copy;
}

void *object_copy(struct store *s, enum object_type type, enum object_encoding encoding,
                  const void *object)
{
    struct object_copying c = {.type = type, .encoding = encoding, .from = object};
    unsigned budget = UINT32_MAX;
    while (!copy_step(s, &c, &budget))
        budget = UINT32_MAX;
    return c.copy;
}

bool object_free_step(enum object_type type, enum object_encoding encoding, void *object,
                      unsigned *budget)
{
    (void)type;
    switch (encoding) {
    case ENC_LISTPACK:
        lp_free(object);
        return true;
    case ENC_INTSET:
        intset_free(object);
        return true;
    case ENC_QUICKLIST:
        return quicklist_free_step(object, budget);
    case ENC_HASHTABLE:
        if (!members_free_step(object, budget))
            return false;
        mi_free(object);
        return true;
    case ENC_SKIPLIST:
        return zset_free_step(object, budget);
    case ENC_STREAM:
        return stream_free_step(object, budget);
    case ENC_RAW:
    case ENC_INT:
    case ENC_EMBSTR:
        break;
    }
    assert(!"an encoding of objects");
    return true;
}

void object_free(enum object_type type, enum object_encoding encoding, void *object)
{
    unsigned budget = UINT32_MAX;
    while (!object_free_step(type, encoding, object, &budget))
        budget = UINT32_MAX;
}

struct entry *store_put_object(struct store *s, unsigned db, const struct key *key,
                               struct entry *at, enum object_type type,
                               enum object_encoding encoding, void *object, int64_t expiry_ms)
{
    struct entry_value value = {.type = type, .encoding = encoding, .object = object};
    uint32_t access = at ? head_access(at->head) : access_initial(s);
    if (expiry_ms > ENTRY_EXPIRY_MAX)
        expiry_ms = ENTRY_EXPIRY_MAX;
    struct entry *fresh = entry_new(key->ptr, key->len, &value, expiry_ms, s->epoch, access);
    if (!fresh)
        return NULL;
    struct change c = change_begin(s, db, key->slot);
    bool ok = change_put(s, &c, key, at, fresh);
    change_end(s, &c);
    if (!ok) {
        mi_free(fresh); // without the object
        return NULL;
    }
    s->stats.dirty++;
    return fresh;
}

int64_t object_next_due(const struct store *s, enum object_type type, enum object_encoding encoding,
                        const void *object)
{
    if (type != OBJ_HASH || encoding != ENC_HASHTABLE || !members_volatile(object))
        return INT64_MAX;
    return members_next_due(s, object);
}

struct edit edit_begin(struct store *s, unsigned db, const struct key *key, struct entry *e)
{
    enum object_type type = entry_type(e);
    enum object_encoding encoding = entry_encoding(e);
    void *object = entry_object(e);
    return (struct edit){
        .store = s,
        .db = db,
        .key = key,
        .entry = e,
        .object = object,
        .encoding = encoding,
        .before = object_memory(type, encoding, object),
        .next_due = object_next_due(s, type, encoding, object),
    };
}

bool edit_reserve_due(struct edit *edit)
{
    struct store *s = edit->store;
    struct change c = change_begin(s, edit->db, edit->key->slot);
    bool ok = due_reserve(s, &s->ks->secret, c.slot);
    change_end(s, &c);
    return ok;
}

// Keeps the slot's count of hashes whose fields expire, and the promise that an element of its heap
// is due no later than the first of them. edit_reserve_due has made room.
static void note_fields(struct store *s, struct slot *slot, const struct edit *edit,
                        int64_t next_due)
{
    if (edit->next_due < INT64_MAX)
        slot->ext->field_keys--;
    if (next_due < INT64_MAX)
        slot->ext->field_keys++;
    if (next_due < edit->next_due)
        due_push(slot, coarse_time(s->ks, next_due), hash_position(edit->key->hash));
}

static bool object_is_empty(enum object_type type, enum object_encoding encoding,
                            const void *object)
{
    if (type == OBJ_STREAM) // one without entries is still there
        return false;
    if (encoding == ENC_LISTPACK) // counting may be a walk
        return lp_bytes(object) == LP_EMPTY_BYTES;
    return !object_length(type, encoding, object);
}

bool edit_end(struct edit *edit, uint64_t changes)
{
    struct store *s = edit->store;
    struct entry *e = edit->entry;
    enum object_type type = entry_type(e);
    size_t after = object_memory(type, edit->encoding, edit->object);
    int64_t next_due = object_next_due(s, type, edit->encoding, edit->object);
    e->head = head_make(type, edit->encoding, head_flags(e->head), s->epoch, head_access(e->head));
    memcpy(entry_parts(e).value, (const void *)&edit->object, sizeof(edit->object));
    s->stats.dirty += changes;
    bool empty = object_is_empty(type, edit->encoding, edit->object);
    if (after == edit->before && next_due == edit->next_due && !empty)
        return true;
    if (!empty && next_due == edit->next_due) { // only bytes: nothing else is touched
        slot_of(s->ks, edit->db, edit->key->slot)->bytes += after - edit->before;
        counts_add(s, edit->db, 0, 0, (int64_t)(after - edit->before));
        index_add_bytes(s, edit->key->slot, after - edit->before);
        return true;
    }
    struct change c = change_begin(s, edit->db, edit->key->slot);
    c.slot->bytes += after - edit->before;
    c.values += after - edit->before;
    note_fields(s, c.slot, edit, next_due);
    if (empty)
        change_remove(s, &c, edit->key->hash, table_word(c.slot, edit->key->hash, e));
    change_end(s, &c);
    return !empty;
}

void edit_expire_field(struct edit *edit, struct entry *field)
{
    struct store *s = edit->store;
    struct change c = change_begin(s, edit->db, edit->key->slot); // where it is; edit_end counts
    gone_tell(s, GONE_FIELD, &c, edit->key->hash, edit->entry, field);
    members_remove(s, edit->object, field);
    s->stats.expired_fields++;
    s->stats.dirty++;
}

struct entry *store_settle_fields(struct store *s, unsigned db, const struct key *key,
                                  struct entry *e)
{
    if (entry_next_field(s, e) > (int64_t)s->now_ms)
        return e;
    struct edit edit = edit_begin(s, db, key, e);
    struct change c = change_begin(s, db, key->slot); // where it is; edit_end counts
    unsigned n = fields_expire(s, &c, key->hash, e);
    return edit_end(&edit, n) ? e : NULL;
}
