// The expiry index: in each slot a heap of (coarse due time, position), in each store a heap of
// slots by their first element. An element promises only that something at its position may be due
// then; it is checked against the entries there, so refreshing an expiry or deleting a key costs
// nothing.
#include <assert.h>

#include "dataplane/store/internal.h"

enum {
    DUE_ROOM_FIRST = 2,
    DUE_STALE_ALLOWED = 64, // beyond twice the volatile keys
};

// --- the heap of a slot -------------------------------------------------------------------------

static void due_sift_up(struct slot_ext *ext, uint32_t i)
{
    struct due x = *due_at(ext, i);
    for (uint32_t parent; i && due_at(ext, parent = (i - 1) / 2)->time > x.time; i = parent)
        *due_at(ext, i) = *due_at(ext, parent);
    *due_at(ext, i) = x;
}

static void due_sift_down(struct slot_ext *ext, uint32_t i)
{
    struct due x = *due_at(ext, i);
    for (uint32_t child; (child = 2 * i + 1) < ext->due_count; i = child) {
        struct due *least = due_at(ext, child);
        if (child + 1 < ext->due_count && due_at(ext, child + 1)->time < least->time)
            least = due_at(ext, ++child);
        if (least->time >= x.time)
            break;
        *due_at(ext, i) = *least;
    }
    *due_at(ext, i) = x;
}

// One more element's room while all of it is one allocation.
static bool due_grow_single(struct slot *slot)
{
    struct slot_ext *ext = slot->ext;
    size_t want = ext->due_room ? (size_t)ext->due_room + ext->due_room / 4 + 1 : DUE_ROOM_FIRST;
    size_t bytes = entry_class_of((want < DUE_CHUNK ? want : DUE_CHUNK) * sizeof(struct due));
    struct due *due = mi_malloc(bytes);
    if (!due)
        return false;
    slot->bytes += mi_usable_size(due);
    if (ext->due_count)
        memcpy(due, ext->due, ext->due_count * sizeof(*due));
    slot_counted_free(slot, ext->due);
    ext->due = due;
    ext->due_room = (uint32_t)(bytes / sizeof(*due));
    return true;
}

static bool due_grow_chunks(struct slot *slot)
{
    struct slot_ext *ext = slot->ext;
    size_t used = ext->due_room / DUE_CHUNK; // chunks that there are
    bool first = ext->due_room == DUE_CHUNK;
    struct due **chunks = first ? NULL : ext->chunks;
    if (first || used * sizeof(*chunks) == mi_usable_size(chunks)) {
        struct due **more = mi_malloc(mi_good_size((used + used / 4 + 1) * sizeof(*chunks)));
        if (!more)
            return false;
        slot->bytes += mi_usable_size(more);
        if (first)
            more[0] = ext->due;
        else
            memcpy(more, chunks, used * sizeof(*chunks));
        slot_counted_free(slot, chunks);
        chunks = more;
    }
    struct due *chunk = mi_malloc(DUE_CHUNK * sizeof(*chunk));
    if (!chunk && first) { // one chunk stays one allocation
        slot_counted_free(slot, chunks);
        return false;
    }
    if (chunk) {
        slot->bytes += mi_usable_size(chunk);
        chunks[used] = chunk;
        ext->due_room += DUE_CHUNK;
    }
    ext->chunks = chunks;
    return chunk;
}

// Gives back room for elements that left: a chunk when another one is idle already, all when empty.
void due_shrink(struct slot *slot)
{
    struct slot_ext *ext = slot->ext;
    while (ext->due_room > 2 * DUE_CHUNK && ext->due_count + 2 * DUE_CHUNK <= ext->due_room) {
        slot_counted_free(slot, ext->chunks[ext->due_room / DUE_CHUNK - 1]);
        ext->due_room -= DUE_CHUNK;
    }
    if (ext->due_count)
        return;
    if (ext->due_room > DUE_CHUNK) {
        for (uint32_t i = 0; i < ext->due_room / DUE_CHUNK; i++)
            slot_counted_free(slot, ext->chunks[i]);
        slot_counted_free(slot, ext->chunks);
    } else {
        slot_counted_free(slot, ext->due);
    }
    ext->due = NULL;
    ext->due_room = 0;
}

void slot_drop_ext(struct slot *slot)
{
    if (!slot->ext)
        return;
    slot->ext->due_count = 0;
    due_shrink(slot);
    slot_counted_free(slot, slot->ext);
    slot->ext = NULL;
}

// Makes the heap anew from the entries. There is room: it held more elements than there are keys.
static void due_rebuild(struct store *s, struct slot *slot)
{
    struct slot_ext *ext = slot->ext;
    ext->due_count = 0;
    uint64_t start, end;
    for (uint64_t position = 0; position >> 32 == 0; position = end) {
        uint64_t *bucket = table_walk(slot, (uint32_t)position, &start, &end);
        unsigned n = bucket_count(bucket);
        for (unsigned i = 0; i < n; i++) {
            const struct entry *e = word_entry(*bucket_word(bucket, i));
            if (!entry_has_expiry(e))
                continue;
            struct entry_parts parts = entry_parts(e);
            assert(ext->due_count < ext->due_room);
            *due_at(ext, ext->due_count++) = (struct due){
                .time = coarse_time(s->ks, expiry_load(parts.expiry)),
                .position = hash_position(hash_key(&s->ks->secret, parts.key, parts.key_len)),
            };
        }
    }
    for (uint32_t i = ext->due_count / 2; i-- > 0;)
        due_sift_down(ext, i);
}

bool due_reserve(struct store *s, struct slot *slot)
{
    if (!slot_need_ext(slot))
        return false;
    struct slot_ext *ext = slot->ext;
    if (ext->due_count > 2 * (uint64_t)ext->volatile_keys + DUE_STALE_ALLOWED)
        due_rebuild(s, slot);
    if (ext->due_count < ext->due_room)
        return true;
    if (ext->due_room > UINT32_MAX - DUE_CHUNK)
        return false;
    return ext->due_room < DUE_CHUNK ? due_grow_single(slot) : due_grow_chunks(slot);
}

void due_push(struct slot *slot, uint32_t time, uint32_t position)
{
    struct slot_ext *ext = slot->ext;
    assert(ext->due_count < ext->due_room);
    *due_at(ext, ext->due_count) = (struct due){.time = time, .position = position};
    due_sift_up(ext, ext->due_count++);
}

static struct due due_pop(struct slot_ext *ext)
{
    struct due first = *due_at(ext, 0);
    if (--ext->due_count) {
        *due_at(ext, 0) = *due_at(ext, ext->due_count);
        due_sift_down(ext, 0);
    }
    return first;
}

void due_first_done(struct slot *slot)
{
    due_pop(slot->ext);
}

// --- the queue of slots -------------------------------------------------------------------------

static void queue_place(struct store *s, uint32_t at, uint64_t element)
{
    s->queue[at] = element;
    s->queue_at[(uint32_t)element] = at + 1;
}

static void queue_settle(struct store *s, uint32_t i, uint64_t x)
{
    uint32_t parent;
    for (; i && s->queue[parent = (i - 1) / 2] > x; i = parent)
        queue_place(s, i, s->queue[parent]);
    for (uint32_t child; (child = 2 * i + 1) < s->queue_len; i = child) {
        if (child + 1 < s->queue_len && s->queue[child + 1] < s->queue[child])
            child++;
        if (s->queue[child] >= x)
            break;
        queue_place(s, i, s->queue[child]);
    }
    queue_place(s, i, x);
}

void queue_update(struct store *s, uint32_t id, const struct slot *slot)
{
    uint32_t at = s->queue_at[id];
    if (slot && slot->ext && slot->ext->due_count) {
        uint64_t x = (uint64_t)due_at(slot->ext, 0)->time << 32 | id;
        if (!at)
            queue_settle(s, s->queue_len++, x);
        else if (s->queue[at - 1] != x)
            queue_settle(s, at - 1, x);
        return;
    }
    if (!at)
        return;
    s->queue_at[id] = 0;
    uint64_t moved = s->queue[--s->queue_len];
    if (at - 1 < s->queue_len)
        queue_settle(s, at - 1, moved);
}

// --- what is due --------------------------------------------------------------------------------

unsigned expire_first(struct store *s, uint32_t id, bool evict)
{
    struct change c = change_begin(s, id / s->ks->per_core, slot_number(s, id));
    struct slot *slot = c.slot;
    struct due due = due_pop(slot->ext);
    uint64_t *bucket = table_locate(slot, due.position);
    int64_t again = INT64_MAX;
    unsigned removed = 0;
    for (unsigned i = bucket_count(bucket); i-- > 0;) {
        uint64_t *word = bucket_word(bucket, i);
        const struct entry *e = word_entry(*word);
        if (!entry_has_expiry(e))
            continue;
        struct entry_parts parts = entry_parts(e);
        uint64_t hash = hash_key(&s->ks->secret, parts.key, parts.key_len);
        if (hash_position(hash) != due.position)
            continue;
        int64_t expiry = expiry_load(parts.expiry);
        if ((uint64_t)expiry <= s->now_ms ||
            (evict && !removed && coarse_time(s->ks, expiry) <= due.time)) {
            bool expired = (uint64_t)expiry <= s->now_ms;
            if (expired)
                s->stats.expired++;
            else
                s->stats.evicted++;
            s->stats.dirty++;
            tell_gone(s, id / s->ks->per_core, slot_number(s, id), e, hash,
                      expired ? GONE_EXPIRED : GONE_EVICTED);
            change_remove(s, &c, hash, word);
            removed++;
        } else if (expiry < again) {
            again = expiry;
        }
    }
    // The entry was refreshed, or another one is at this position.
    if (again != INT64_MAX)
        due_push(slot, coarse_time(s->ks, again), due.position);
    due_shrink(slot);
    change_end(s, &c);
    return removed;
}

bool expire_step(struct store *s, unsigned *budget)
{
    if (!s->active_expire)
        return false;
    while (s->queue_len && s->queue[0] >> 32 <= s->now_coarse) {
        if (!*budget)
            return true;
        --*budget;
        expire_first(s, (uint32_t)s->queue[0], false);
    }
    return false;
}

void store_active_expire(struct store *s, bool on)
{
    s->active_expire = on;
}
