// Strings: bytes in the entry, a 64-bit integer, or a block of their own.
#include <assert.h>

#include "common/arg.h"
#include "dataplane/store/internal.h"

static int64_t expiry_wanted(const struct entry *at, int64_t expiry_ms, unsigned flags)
{
    if (flags & SET_KEEP_TTL)
        return at ? entry_expiry(at) : -1;
    if (expiry_ms == -1)
        return -1;
    if (expiry_ms < 0)
        return 0;
    return expiry_ms < ENTRY_EXPIRY_MAX ? expiry_ms : ENTRY_EXPIRY_MAX;
}

// Puts a value under a key: into the memory of `at` where it fits, else into a new entry. The
// value's block, if any, is taken over when it succeeds.
static struct entry *put(struct store *s, unsigned db, const struct key *key, struct entry *at,
                         const struct entry_value *value, int64_t expiry_ms)
{
    uint32_t access = at ? head_access(at->head) : access_initial(s);
    if (at && !entry_is_block(at) && !entry_is_object(at) && !value->block) {
        int64_t before = entry_expiry(at);
        // The index needs nothing when no expiry comes, goes, or moves nearer.
        if (before == expiry_ms || (before >= 0 && expiry_ms > before)) {
            if (entry_fits(at, entry_size(key->len, value->len, expiry_ms >= 0))) {
                entry_write(at, key->ptr, key->len, value, expiry_ms, s->epoch, access);
                s->stats.dirty++;
                return at;
            }
        }
    }
    struct entry *fresh = entry_new(key->ptr, key->len, value, expiry_ms, s->epoch, access);
    if (!fresh)
        return NULL;
    struct change c = change_begin(s, db, key->slot);
    bool ok = change_put(s, &c, key, at, fresh);
    change_end(s, &c);
    if (!ok) {
        mi_free(fresh); // without the block
        return NULL;
    }
    s->stats.dirty++;
    return fresh;
}

static struct entry *put_integer(struct store *s, unsigned db, const struct key *key,
                                 struct entry *at, int64_t value, int64_t expiry_ms)
{
    struct entry_value v = {
        .type = OBJ_STRING, .encoding = ENC_INT, .ptr = &value, .len = sizeof(value)};
    return put(s, db, key, at, &v, expiry_ms);
}

struct entry *store_set_string(struct store *s, unsigned db, const struct key *key,
                               struct entry *at, const struct arg *value, int64_t expiry_ms,
                               unsigned flags)
{
    expiry_ms = expiry_wanted(at, expiry_ms, flags);
    int64_t integer;
    if (flags & SET_INTEGER_TRY && !(flags & SET_RAW) &&
        integer_parse(value->ptr, value->len, &integer))
        return put_integer(s, db, key, at, integer, expiry_ms);
    bool raw = flags & SET_RAW || value->len > STRING_EMBSTR_MAX;
    struct entry_value v = {
        .type = OBJ_STRING,
        .encoding = raw ? ENC_RAW : ENC_EMBSTR,
        .ptr = value->ptr,
        .len = value->len,
    };
    if (value->len < BLOCK_VALUE_MIN)
        return put(s, db, key, at, &v, expiry_ms);
    if (value->block && value->ptr == value->block->data && value->len == value->block->len) {
        v.block = block_retain(value->block);
    } else {
        v.block = block_new(value->len);
        if (!v.block)
            return NULL;
        memcpy(v.block->data, value->ptr, value->len);
        v.block->len = value->len;
    }
    struct entry *e = put(s, db, key, at, &v, expiry_ms);
    if (!e)
        block_release(v.block);
    return e;
}

struct entry *store_set_integer(struct store *s, unsigned db, const struct key *key,
                                struct entry *at, int64_t value, int64_t expiry_ms, unsigned flags)
{
    return put_integer(s, db, key, at, value, expiry_wanted(at, expiry_ms, flags));
}

// --- writing at an offset -----------------------------------------------------------------------

// Room for blocks that are written to piece by piece grows by half, so that n appends copy O(n)
// bytes.
static size_t room_for(size_t len, size_t present)
{
    return len <= present || len < BLOCK_VALUE_MIN ? len : len + len / 2;
}

static void fill(uint8_t *to, size_t held, size_t offset, const void *data, size_t len)
{
    if (offset > held)
        memset(to + held, 0, offset - held);
    if (len)
        memcpy(to + offset, data, len);
}

static struct entry *stamp_raw(struct store *s, struct entry *e)
{
    e->head = head_make(OBJ_STRING, ENC_RAW, head_flags(e->head), s->epoch, head_access(e->head));
    s->stats.dirty++;
    return e;
}

// Of a value that is a block already, held by nobody else: in place.
static struct entry *write_block(struct store *s, unsigned db, const struct key *key,
                                 struct entry *e, size_t total, size_t offset, const void *data,
                                 size_t len)
{
    struct entry_parts parts = entry_parts(e);
    struct block *b = entry_block(&parts);
    if (total > b->cap) {
        struct change c = change_begin(s, db, key->slot);
        size_t before = block_memory(b);
        b = block_grow(b, room_for(total, b->cap));
        if (!b)
            return NULL;
        memcpy(parts.value, (void *)&b, sizeof(b));
        c.slot->bytes += block_memory(b) - before;
        c.values += block_memory(b) - before;
        change_end(s, &c);
    }
    fill(b->data, b->len, offset, data, len);
    b->len = total;
    return stamp_raw(s, e);
}

// In an entry that has the room: only the length changes and the bytes behind it.
static struct entry *write_inline(struct store *s, struct entry *e, size_t total, size_t offset,
                                  const void *data, size_t len)
{
    struct entry_parts parts = entry_parts(e);
    fill(parts.value, parts.value_len, offset, data, len);
    uint32_t value_len = (uint32_t)total;
    if (head_flags(e->head) & ENTRY_LONG)
        memcpy(e->body + 4, &value_len, sizeof(value_len));
    else
        e->body[1] = (uint8_t)value_len;
    return stamp_raw(s, e);
}

struct entry *store_write_range(struct store *s, unsigned db, const struct key *key,
                                struct entry *at, size_t offset, const void *data, size_t len)
{
    size_t held = 0;
    char scratch[24];
    struct string_view view = {0};
    if (at) {
        view = entry_string(at, scratch);
        held = view.len;
    }
    if (len > SIZE_MAX / 4 || offset > SIZE_MAX / 4)
        return NULL;
    size_t total = offset + len > held ? offset + len : held;
    if (view.block && !block_is_shared(view.block))
        return write_block(s, db, key, at, total, offset, data, len);
    int64_t expiry_ms = at ? entry_expiry(at) : -1;
    if (at && !view.block && entry_encoding(at) != ENC_INT && total < BLOCK_VALUE_MIN &&
        entry_needs_long(key->len, held) == entry_needs_long(key->len, total) &&
        entry_fits(at, entry_size(key->len, total, expiry_ms >= 0)))
        return write_inline(s, at, total, offset, data, len);

    struct entry_value value = {.type = OBJ_STRING, .encoding = ENC_RAW};
    uint8_t small[512];
    uint8_t *bytes = small;
    if (total >= BLOCK_VALUE_MIN) {
        value.block = block_new(at ? room_for(total, 0) : total);
        if (!value.block)
            return NULL;
        value.block->len = total;
        bytes = value.block->data;
    } else if (total > sizeof(small)) {
        bytes = mi_malloc(total);
        if (!bytes)
            return NULL;
    }
    if (held)
        memcpy(bytes, view.ptr, held);
    fill(bytes, held, offset, data, len);
    value.ptr = bytes;
    value.len = total;
    struct entry *e = put(s, db, key, at, &value, expiry_ms);
    if (value.block && !e)
        block_release(value.block);
    if (!value.block && bytes != small)
        mi_free(bytes);
    return e;
}
