// The expiry index: in each slot a heap of (coarse due time, position), in each store a heap of
// slots by their first element. An element promises only that something at its position may be due
// then; it is checked against the entries there, so refreshing an expiry or deleting a key costs
// nothing. A hash whose fields expire has elements like a key that does: its fields have a heap of
// their own, and the slot's element is due no later than the first of them.
#include <assert.h>

#include "dataplane/store/internal.h"
#include "dataplane/store/members.h"

enum {
    DUE_ROOM_FIRST = 2,
    DUE_STALE_ALLOWED = 64, // beyond twice the volatile keys
    DUE_PRUNE_TRIES = 4,    // elements looked at for one that comes
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

bool slot_drop_ext_step(struct slot *slot, unsigned *steps)
{
    struct slot_ext *ext = slot->ext;
    if (!ext)
        return true;
    ext->due_count = 0;
    while (ext->due_room > 2 * DUE_CHUNK) {
        if (!*steps)
            return false;
        --*steps;
        slot_counted_free(slot, ext->chunks[ext->due_room / DUE_CHUNK - 1]);
        ext->due_room -= DUE_CHUNK;
    }
    due_shrink(slot);
    slot_counted_free(slot, ext);
    slot->ext = NULL;
    return true;
}

void slot_drop_ext(struct slot *slot)
{
    unsigned steps = UINT32_MAX;
    while (!slot_drop_ext_step(slot, &steps))
        steps = UINT32_MAX;
}

// Makes the heap anew from the entries. There is room: it held more elements than there are keys.
static void due_rebuild(struct store *s, const struct hash_secret *secret, struct slot *slot)
{
    struct slot_ext *ext = slot->ext;
    ext->due_count = 0;
    uint64_t start, end;
    for (uint64_t position = 0; position >> 32 == 0; position = end) {
        uint64_t *bucket = table_walk(slot, (uint32_t)position, &start, &end);
        unsigned n = bucket_count(bucket);
        for (unsigned i = 0; i < n; i++) {
            const struct entry *e = word_entry(*bucket_word(bucket, i));
            int64_t first = entry_first_due(s, e);
            if (first == INT64_MAX)
                continue;
            struct entry_parts parts = entry_parts(e);
            assert(ext->due_count < ext->due_room);
            *due_at(ext, ext->due_count++) = (struct due){
                .time = coarse_time(s->ks, first),
                .position = hash_position(hash_key(secret, parts.key, parts.key_len)),
            };
        }
    }
    for (uint32_t i = ext->due_count / 2; i-- > 0;)
        due_sift_down(ext, i);
}

// Whether an element promises something that is still to come: an entry at its position that is
// due no earlier.
static bool due_is_needed(const struct store *s, const struct hash_secret *secret,
                          const struct slot *slot, struct due due)
{
    uint64_t *bucket = table_locate(slot, due.position);
    unsigned n = bucket_count(bucket);
    for (unsigned i = 0; i < n; i++) {
        const struct entry *e = word_entry(*bucket_word(bucket, i));
        int64_t first = entry_first_due(s, e);
        if (first == INT64_MAX || coarse_time(s->ks, first) < due.time)
            continue;
        struct entry_parts parts = entry_parts(e);
        if (hash_position(hash_key(secret, parts.key, parts.key_len)) == due.position)
            return true;
    }
    return false;
}

// Looks at a few elements at random and drops those that are stale, so that a heap of which most is
// stale gets smaller though elements come.
static void due_prune(struct store *s, const struct hash_secret *secret, struct slot *slot)
{
    struct slot_ext *ext = slot->ext;
    for (unsigned try = 0; try < DUE_PRUNE_TRIES && ext->due_count; try++) {
        uint32_t i = (uint32_t)store_random_below(s, ext->due_count);
        if (due_is_needed(s, secret, slot, *due_at(ext, i)))
            continue;
        if (i == --ext->due_count)
            continue;
        *due_at(ext, i) = *due_at(ext, ext->due_count);
        due_sift_up(ext, i);
        due_sift_down(ext, i);
    }
    due_shrink(slot);
}

bool due_reserve(struct store *s, const struct hash_secret *secret, struct slot *slot)
{
    if (!slot_need_ext(slot))
        return false;
    struct slot_ext *ext = slot->ext;
    uint64_t enough = 2 * ((uint64_t)ext->volatile_keys + ext->field_keys) + DUE_STALE_ALLOWED;
    if (ext->due_count > enough && slot->keys)
        due_prune(s, secret, slot);
    if (ext->due_count < ext->due_room)
        return true;
    if (ext->due_count > enough && slot->keys) { // those that are left promise the same again
        due_rebuild(s, secret, slot);
        return true;
    }
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

void store_on_gone(struct store *s, store_gone_fn *gone, void *context)
{
    s->gone = gone;
    s->gone_context = context;
}

void store_on_missed(struct store *s, store_heard_fn *missed, void *context)
{
    s->missed = missed;
    s->missed_context = context;
}

void store_on_added(struct store *s, store_heard_fn *added, void *context)
{
    s->added = added;
    s->added_context = context;
}

void gone_tell(struct store *s, enum store_gone why, const struct change *c, uint64_t hash,
               const struct entry *e, const struct entry *field)
{
    if (!s->gone)
        return;
    struct entry_parts parts = entry_parts(e);
    struct key key = {
        .ptr = parts.key, .len = parts.key_len, .slot = (uint16_t)c->number, .hash = hash};
    size_t len = 0;
    const uint8_t *name = field ? member_name(field, &len) : NULL;
    s->gone(s->gone_context, why, c->db, &key, name, len);
}

struct field_context {
    struct store *store;
    const struct change *change;
    uint64_t hash;
    const struct entry *entry;
};

static void field_gone(void *context, struct entry *field)
{
    struct field_context *f = context;
    gone_tell(f->store, GONE_FIELD, f->change, f->hash, f->entry, field);
}

unsigned fields_expire(struct store *s, const struct change *c, uint64_t hash, struct entry *e)
{
    struct field_context context = {s, c, hash, e};
    unsigned n = members_expire(s, entry_object(e), FIELDS_AT_ONCE, field_gone, &context);
    s->stats.expired_fields += n;
    return n;
}

// Takes out what is over in the hash of `word`. False: the entry went with the last field.
static bool expire_fields(struct store *s, struct change *c, uint64_t hash, uint64_t *word,
                          unsigned *removed)
{
    struct entry *e = word_entry(*word);
    struct members *fields = entry_object(e);
    size_t before = members_memory(fields);
    unsigned n = fields_expire(s, c, hash, e);
    c->slot->bytes += members_memory(fields) - before;
    c->values += members_memory(fields) - before;
    *removed += n;
    s->stats.dirty += n;
    if (entry_next_field(s, e) == INT64_MAX)
        c->slot->ext->field_keys--;
    if (members_count(fields))
        return true;
    change_remove(s, c, hash, word);
    return false;
}

static bool may_go(const struct store *s, int64_t expiry, bool evict, uint32_t time)
{
    return (uint64_t)expiry <= s->now_ms ||
           (evict && expiry < INT64_MAX && coarse_time(s->ks, expiry) <= time);
}

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
        struct entry *e = word_entry(*word);
        int64_t next = entry_first_due(s, e);
        if (next == INT64_MAX)
            continue;
        struct entry_parts parts = entry_parts(e);
        uint64_t hash = hash_key(&s->ks->secret, parts.key, parts.key_len);
        if (hash_position(hash) != due.position)
            continue;
        int64_t expiry = parts.expiry ? expiry_load(parts.expiry) : INT64_MAX;
        if (may_go(s, expiry, evict && !removed, due.time)) {
            bool over = (uint64_t)expiry <= s->now_ms;
            s->stats.expired += over;
            s->stats.evicted += !over;
            s->stats.dirty++;
            gone_tell(s, over ? GONE_EXPIRED : GONE_EVICTED, &c, hash, e, NULL);
            change_remove(s, &c, hash, word);
            removed++;
            continue;
        }
        if (next < expiry && !evict) {
            if (!expire_fields(s, &c, hash, word, &removed))
                continue;
            next = entry_first_due(s, e);
        }
        if (next < again)
            again = next;
    }
    // Refreshed, or another one is at this position, or a hash has further fields.
    bool stands = false;
    if (again != INT64_MAX) {
        uint32_t time = coarse_time(s->ks, again);
        stands = !removed && time <= due.time;
        due_push(slot, time, due.position);
    }
    due_shrink(slot);
    change_end(s, &c);
    return stands ? 0 : removed ? removed : 1;
}

bool expire_step(struct store *s, unsigned *budget)
{
    if (!s->active_expire || s->still)
        return false;
    while (s->queue_len && s->queue[0] >> 32 <= s->now_coarse) {
        if (!*budget)
            return true;
        unsigned done = expire_first(s, (uint32_t)s->queue[0], false);
        unsigned cost = done ? done : 1;
        *budget -= cost < *budget ? cost : *budget;
    }
    return false;
}

void store_stand_still(struct store *s, bool on)
{
    s->still = on;
}

void store_active_expire(struct store *s, bool on)
{
    s->active_expire = on;
}
