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

static void due_sift_up(struct due *heap, uint32_t i)
{
    struct due x = heap[i];
    for (uint32_t parent; i && heap[parent = (i - 1) / 2].time > x.time; i = parent)
        heap[i] = heap[parent];
    heap[i] = x;
}

static void due_sift_down(struct due *heap, uint32_t n, uint32_t i)
{
    struct due x = heap[i];
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1].time < heap[child].time)
            child++;
        if (heap[child].time >= x.time)
            break;
        heap[i] = heap[child];
    }
    heap[i] = x;
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
            ext->due[ext->due_count++] = (struct due){
                .time = coarse_time(s->ks, expiry_load(parts.expiry)),
                .position = hash_position(hash_key(&s->ks->secret, parts.key, parts.key_len)),
            };
        }
    }
    for (uint32_t i = ext->due_count / 2; i-- > 0;)
        due_sift_down(ext->due, ext->due_count, i);
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
    if (ext->due_room > UINT32_MAX / 2)
        return false;
    size_t want = ext->due_room ? (size_t)ext->due_room + ext->due_room / 4 + 1 : DUE_ROOM_FIRST;
    size_t before = ext->due ? mi_usable_size(ext->due) : 0;
    struct due *due = mi_realloc(ext->due, mi_good_size(want * sizeof(*due)));
    if (!due)
        return false;
    ext->due = due;
    ext->due_room = (uint32_t)(mi_usable_size(due) / sizeof(*due));
    slot->bytes += mi_usable_size(due) - before;
    return true;
}

void due_push(struct slot *slot, uint32_t time, uint32_t position)
{
    struct slot_ext *ext = slot->ext;
    assert(ext->due_count < ext->due_room);
    ext->due[ext->due_count] = (struct due){.time = time, .position = position};
    due_sift_up(ext->due, ext->due_count++);
}

static struct due due_pop(struct slot_ext *ext)
{
    struct due first = ext->due[0];
    if (--ext->due_count) {
        ext->due[0] = ext->due[ext->due_count];
        due_sift_down(ext->due, ext->due_count, 0);
    }
    return first;
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
        uint64_t x = (uint64_t)slot->ext->due[0].time << 32 | id;
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
            if ((uint64_t)expiry <= s->now_ms)
                s->stats.expired++;
            else
                s->stats.evicted++;
            s->stats.dirty++;
            change_remove(s, &c, hash, word);
            removed++;
        } else if (expiry < again) {
            again = expiry;
        }
    }
    // The entry was refreshed, or another one is at this position.
    if (again != INT64_MAX)
        due_push(slot, coarse_time(s->ks, again), due.position);
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
