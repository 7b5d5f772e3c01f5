#include "dataplane/store/members.h"
#include "dataplane/store/heap.h"

#include <assert.h>

#include "common/prefetch.h"
#include "dataplane/store/internal.h"

enum {
    SCAN_BUCKETS_PER_MEMBER = 10, // buckets looked at for each member asked for, at most
    RANDOM_PLACES = 256,          // places drawn; one in eight is taken where fewest are
    PLACES_EACH = 16,             // of a bucket; more than nearly all hold
};

// Tables of different objects grow at different loads, as those of slots do.
static unsigned stagger(const struct members *m)
{
    return (unsigned)((uintptr_t)m >> 5);
}

static struct hash_secret secret_of(const struct store *s, const struct members *m)
{
    struct hash_secret secret = s->ks->secret;
    secret.word[0] ^= (uint64_t)m->salt << 32 | m->salt;
    return secret;
}

static uint64_t hash_of(const struct store *s, const struct members *m, const struct entry *e)
{
    struct entry_parts parts = entry_parts(e);
    struct hash_secret secret = secret_of(s, m);
    return hash_key(&secret, parts.key, parts.key_len);
}

struct members *members_new(void)
{
    return heap_hint(mi_zalloc(sizeof(struct members)));
}

void members_init(struct members *m)
{
    *m = (struct members){0};
}

size_t members_memory(const struct members *m)
{
    return mi_good_size(sizeof(*m)) +
           m->table.bytes; // a class of its own: no look at the allocator
}

struct entry *members_find(const struct store *s, const struct members *m, const void *name,
                           size_t len)
{
    if (len > UINT32_MAX)
        return NULL;
    struct hash_secret secret = secret_of(s, m);
    struct key key = {.ptr = name, .len = (uint32_t)len, .hash = hash_key(&secret, name, len)};
    uint64_t *word = table_find(&m->table, &key);
    return word ? word_entry(*word) : NULL;
}

struct entry *members_add(struct store *s, struct members *m, const void *name, size_t len,
                          const void *value, size_t value_len)
{
    struct entry_value v = {
        .type = OBJ_STRING, .encoding = ENC_RAW, .ptr = value ? value : "", .len = value_len};
    struct entry *e = entry_new(name, len, &v, -1, 0, 0);
    if (!e)
        return NULL;
    if (!m->table.root)
        m->salt = (uint32_t)store_random(s);
    struct hash_secret secret = secret_of(s, m);
    struct table_env env = {.secret = &secret, .stats = &s->stats};
    if (!table_insert(&env, &m->table, hash_key(&secret, name, len), e)) {
        entry_free(e);
        return NULL;
    }
    m->table.bytes += entry_allocated(e);
    table_step(&env, &m->table, stagger(m), TABLE_STEPS_PER_WRITE);
    return e;
}

bool members_prefetch(const struct store *s, const struct members *m, const void *name, size_t len,
                      unsigned depth)
{
    if (!m->table.root)
        return false;
    struct hash_secret secret = secret_of(s, m);
    uint64_t hash = hash_key(&secret, name, len);
    const uint64_t *bucket = table_locate(&m->table, hash_position(hash));
    if (depth == 1) {
        prefetch(bucket);
        return true;
    }
    unsigned match = bucket_match(bucket, hash_tag(hash));
    if (match)
        prefetch(word_entry(bucket[__builtin_ctz(match)]));
    return false;
}

// Puts `fresh` where `e` is.
static void replace(struct store *s, struct members *m, struct entry *e, struct entry *fresh)
{
    uint64_t hash = hash_of(s, m, fresh);
    *table_word(&m->table, hash, e) = word_make(fresh, hash);
    m->table.bytes += entry_allocated(fresh) - entry_allocated(e);
    entry_free(e);
}

struct entry *members_set_value(struct store *s, struct members *m, struct entry *e,
                                const void *value, size_t value_len)
{
    struct entry_parts parts = entry_parts(e);
    struct entry_value v = {
        .type = OBJ_STRING, .encoding = ENC_RAW, .ptr = value ? value : "", .len = value_len};
    int64_t expiry = entry_expiry(e);
    if (entry_fits(e, entry_size(parts.key_len, value_len, expiry >= 0))) {
        size_t before = entry_allocated(e);
        entry_write(e, parts.key, parts.key_len, &v, expiry, 0, 0);
        m->table.bytes += entry_allocated(e) - before;
        return e;
    }
    struct entry *fresh = entry_new(parts.key, parts.key_len, &v, expiry, 0, 0);
    if (fresh)
        replace(s, m, e, fresh);
    return fresh;
}

void members_remove(struct store *s, struct members *m, struct entry *e)
{
    struct hash_secret secret = secret_of(s, m);
    struct table_env env = {.secret = &secret, .stats = &s->stats};
    uint64_t hash = hash_of(s, m, e);
    table_remove(&env, &m->table, hash, table_word(&m->table, hash, e));
    if (entry_has_expiry(e))
        m->table.ext->volatile_keys--;
    m->table.bytes -= entry_allocated(e);
    entry_free(e);
    if (m->table.keys)
        table_step(&env, &m->table, stagger(m), TABLE_STEPS_PER_WRITE);
}

// --- expiry -------------------------------------------------------------------------------------

struct entry *members_set_expiry(struct store *s, struct members *m, struct entry *e,
                                 int64_t expiry_ms)
{
    int64_t before = entry_expiry(e);
    if (expiry_ms > ENTRY_EXPIRY_MAX)
        expiry_ms = ENTRY_EXPIRY_MAX;
    bool push = expiry_ms >= 0 && (before < 0 || expiry_ms < before);
    struct hash_secret secret = secret_of(s, m);
    if (push && !due_reserve(s, &secret, &m->table))
        return NULL;
    uint64_t hash = hash_of(s, m, e);
    if (before >= 0 && expiry_ms >= 0) {
        expiry_save(entry_parts(e).expiry, expiry_ms);
    } else if (before >= 0 || expiry_ms >= 0) {
        struct entry_parts parts = entry_parts(e);
        struct entry_value v = {
            .type = OBJ_STRING, .encoding = ENC_RAW, .ptr = parts.value, .len = parts.value_len};
        struct entry *fresh = entry_new(parts.key, parts.key_len, &v, expiry_ms, 0, 0);
        if (!fresh)
            return NULL;
        replace(s, m, e, fresh);
        e = fresh;
        if (expiry_ms >= 0)
            m->table.ext->volatile_keys++;
        else
            m->table.ext->volatile_keys--;
    }
    if (push)
        due_push(&m->table, coarse_time(s->ks, expiry_ms), hash_position(hash));
    return e;
}

int64_t members_next_due(const struct store *s, const struct members *m)
{
    const struct slot_ext *ext = m->table.ext;
    if (!ext || !ext->due_count)
        return INT64_MAX;
    return (int64_t)(s->ks->epoch_ms + (uint64_t)due_at(ext, 0)->time * COARSE_MS);
}

bool members_any_over(const struct store *s, const struct members *m)
{
    // Elements of the heap are rounded up.
    return members_volatile(m) && members_next_due(s, m) < (int64_t)s->now_ms + COARSE_MS;
}

// Buckets that were looked at already: open addressing, a quarter full at most.
struct seen {
    const uint64_t *bucket[4 * MEMBERS_OVER_MAX];
};

static bool seen_before(struct seen *seen, const uint64_t *bucket)
{
    enum { PLACES = sizeof(seen->bucket) / sizeof(seen->bucket[0]) };
    for (size_t at = (uintptr_t)bucket / sizeof(uint64_t[BUCKET_WORDS]);; at++) {
        const uint64_t **place = &seen->bucket[at % PLACES];
        if (*place == bucket)
            return true;
        if (!*place) {
            *place = bucket;
            return false;
        }
    }
}

static uint32_t over_in_bucket(const struct store *s, uint64_t *bucket)
{
    uint32_t n = 0;
    for (unsigned i = 0, held = bucket_count(bucket); i < held; i++)
        n += entry_is_expired(s, word_entry(*bucket_word(bucket, i)));
    return n;
}

// The next element of a heap in the order parent, left, right, below `i` or beside it; `count` at
// the end.
static uint32_t heap_next(uint32_t i, uint32_t count, bool below)
{
    if (below && 2 * (uint64_t)i + 1 < count)
        return 2 * i + 1;
    while (i && (i % 2 == 0 || i + 1 == count)) // the right one, or there is none
        i = (i - 1) / 2;
    return i ? i + 1 : count;
}

bool members_over(const struct store *s, const struct members *m, uint32_t *over)
{
    *over = 0;
    if (!members_any_over(s, m))
        return true;
    // Every member that is over has an element that is due by now, or would be if its time were not
    // rounded up. Some elements are stale, and several may mean one member.
    struct seen seen = {0};
    const struct slot_ext *ext = m->table.ext;
    unsigned left = MEMBERS_OVER_MAX;
    for (uint32_t i = 0; i < ext->due_count;) {
        const struct due *due = due_at(ext, i);
        bool may_be = due->time <= s->now_coarse + 1;
        if (may_be && !left--)
            return false;
        if (may_be) {
            uint64_t *bucket = table_locate(&m->table, due->position);
            if (!seen_before(&seen, bucket))
                *over += over_in_bucket(s, bucket);
        }
        i = heap_next(i, ext->due_count, may_be);
    }
    return true;
}

unsigned members_expire(struct store *s, struct members *m, unsigned max,
                        void (*each)(void *context, struct entry *e), void *context)
{
    struct slot_ext *ext = m->table.ext;
    unsigned removed = 0;
    while (removed < max && m->table.keys && ext && ext->due_count &&
           due_at(ext, 0)->time <= s->now_coarse) {
        uint32_t position = due_at(ext, 0)->position;
        uint64_t *bucket = table_locate(&m->table, position);
        struct entry *over = NULL;
        int64_t again = INT64_MAX;
        unsigned live = 0;
        for (unsigned i = 0; i < bucket_count(bucket); i++) {
            struct entry *e = word_entry(*bucket_word(bucket, i));
            if (!entry_has_expiry(e) || hash_position(hash_of(s, m, e)) != position)
                continue;
            int64_t expiry = entry_expiry(e);
            if ((uint64_t)expiry <= s->now_ms) {
                over = e;
            } else {
                live++;
                if (expiry < again)
                    again = expiry;
            }
        }
        if (over) { // the element stays until nothing at its position is over
            if (each)
                each(context, over);
            members_remove(s, m, over);
            removed++;
            continue;
        }
        due_first_done(&m->table);
        if (live)
            due_push(&m->table, coarse_time(s->ks, again), position);
        due_shrink(&m->table);
    }
    return removed;
}

// --- walking ------------------------------------------------------------------------------------

struct members_iterator members_begin(const struct members *m)
{
    return (struct members_iterator){.members = m};
}

struct entry *members_next(struct members_iterator *it)
{
    const struct slot *table = &it->members->table;
    while (it->index == it->held) {
        if (!table->root || it->next >> 32)
            return NULL;
        uint64_t start;
        it->bucket = table_walk(table, (uint32_t)it->next, &start, &it->next);
        it->held = bucket_count(it->bucket);
        it->index = 0;
        if (it->next >> 32 == 0)
            prefetch(table_locate(table, (uint32_t)it->next));
        for (unsigned i = 0; i < it->held; i++)
            prefetch(word_entry(*bucket_word(it->bucket, i)));
    }
    return word_entry(*bucket_word(it->bucket, it->index++));
}

uint64_t members_scan(struct store *s, const struct members *m, uint64_t cursor,
                      unsigned long count, void (*each)(void *context, struct entry *e),
                      void *context)
{
    if (!m->table.root || cursor >> 32)
        return 0;
    if (!count)
        count = 1;
    uint64_t work =
        count < UINT32_MAX ? count * SCAN_BUCKETS_PER_MEMBER + SCAN_BUCKETS_PER_MEMBER : UINT64_MAX;
    unsigned long given = 0;
    uint64_t at = cursor;
    while (at >> 32 == 0) {
        if (given >= count || !work--)
            return at;
        uint64_t start, end;
        uint64_t *bucket = table_walk(&m->table, (uint32_t)at, &start, &end);
        unsigned held = bucket_count(bucket);
        for (unsigned i = 0; i < held; i++) {
            struct entry *e = word_entry(*bucket_word(bucket, i));
            if (at > start && hash_position(hash_of(s, m, e)) < at)
                continue; // the bucket begins before the cursor
            if (entry_is_expired(s, e))
                continue;
            each(context, e);
            given++;
        }
        at = end;
    }
    return 0;
}

// In the middle of a resize, buckets that are cut by the smaller count are wider, so they are met
// more often: as much more as this is refused.
static bool width_refused(struct store *s, const struct slot *table, uint32_t position)
{
    if (!(table->root & ROOT_RESIZING))
        return false;
    uint32_t old = table->ext->old_buckets, fresh = table->buckets;
    bool growing = fresh > old;
    uint32_t at = table_cut(position, old);
    bool moved = growing ? at >= table->ext->frontier : at < table->ext->frontier;
    uint32_t wide = growing ? old : fresh, narrow = growing ? fresh : old;
    return moved != growing && store_random_below(s, narrow) >= wide;
}

struct entry *members_random(struct store *s, const struct members *m)
{
    if (!m->table.keys)
        return NULL;
    // A place of a bucket is drawn, taken or not, so that members in fuller ones are not rarer.
    for (unsigned try = 0; try < RANDOM_PLACES; try++) {
        uint32_t position = (uint32_t)store_random(s);
        if (width_refused(s, &m->table, position))
            continue;
        uint64_t *bucket = table_locate(&m->table, position);
        unsigned held = bucket_count(bucket);
        unsigned place = (unsigned)store_random_below(s, held > PLACES_EACH ? held : PLACES_EACH);
        if (place < held)
            return word_entry(*bucket_word(bucket, place));
    }
    // So unlucky: the first from a random place on.
    uint64_t at = (uint32_t)store_random(s);
    for (;;) {
        uint64_t start, end;
        uint64_t *bucket = table_walk(&m->table, (uint32_t)at, &start, &end);
        if (bucket_count(bucket))
            return word_entry(*bucket_word(bucket, 0));
        at = end >> 32 ? 0 : end;
    }
}

// --- all of them --------------------------------------------------------------------------------

static bool copy_member(struct store *s, struct members *copy, const struct entry *e)
{
    struct entry_parts parts = entry_parts(e);
    struct entry *c = members_add(s, copy, parts.key, parts.key_len, parts.value, parts.value_len);
    return c && (!parts.expiry || members_set_expiry(s, copy, c, expiry_load(parts.expiry)));
}

bool members_copy_step(struct store *s, const struct members *m, struct members **copy,
                       struct members_iterator *it, unsigned *budget)
{
    if (!*copy) {
        if (!(*copy = members_new()))
            return true;
        *it = members_begin(m);
    }
    for (struct entry *e;; --*budget) {
        if (!*budget)
            return false;
        if (!(e = members_next(it)))
            return true;
        if (!copy_member(s, *copy, e))
            break;
    }
    members_free(*copy);
    *copy = NULL;
    return true;
}

struct members *members_copy(struct store *s, const struct members *m)
{
    struct members *copy = NULL;
    struct members_iterator it;
    unsigned budget = UINT32_MAX;
    while (!members_copy_step(s, m, &copy, &it, &budget))
        budget = UINT32_MAX;
    return copy;
}

static void member_free(void *context, struct entry *e)
{
    (void)context;
    entry_free(e);
}

bool members_free_step(struct members *m, unsigned *budget)
{
    if (m->table.root && !table_free_step(&m->table, &m->free_at, budget, member_free, NULL))
        return false;
    m->table.keys = 0;
    if (!slot_drop_ext_step(&m->table, budget))
        return false;
    assert(!m->table.bytes);
    return true;
}

void members_clear(struct members *m)
{
    unsigned budget = UINT32_MAX;
    while (!members_free_step(m, &budget))
        budget = UINT32_MAX;
    members_init(m);
}

void members_free(struct members *m)
{
    members_clear(m);
    mi_free(m);
}
