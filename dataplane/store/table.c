#include "dataplane/store/table.h"
#include "common/prefetch.h"
#include "dataplane/store/heap.h"

#include <assert.h>

enum {
    BUCKET_BYTES = BUCKET_WORDS * sizeof(uint64_t),
    UNIT_BYTES = TABLE_UNIT * BUCKET_BYTES,
    // Average load at which a table grows, in 1/32: 6.5, and up to 15/32 more by the slot's number,
    // so that the tables of all slots, which fill alike, do not grow at the same time.
    GROW_LOAD = 208,
    GROW_STAGGER = 15,
    SHRINK_LOAD = 104,   // below 3.25
    SHRINK_FILL = 176,   // to about 5.5
    TARGETS_MAX = 4,     // new buckets that one old bucket can be spread over, or fewer
    MOVED_ON_STACK = 64, // entries of a bucket that are moved without memory for their list
    STEP_ENTRIES = 32,   // so many of them count as one more step
};

static uint64_t *root_array(uintptr_t root)
{
    return (uint64_t *)(root & ~(uintptr_t)ROOT_FLAGS);
}

static uint32_t units_of(uint32_t buckets)
{
    return (buckets + TABLE_UNIT - 1) / TABLE_UNIT;
}

// Counts of buckets follow the allocator's size classes, four to an octave.
static uint32_t buckets_above(uint32_t n)
{
    if (n < 8)
        return n + 1;
    unsigned octave = 31 - (unsigned)__builtin_clz(n);
    return n + (1u << (octave - 2));
}

static uint32_t buckets_for(uint32_t at_least)
{
    uint32_t n = 1;
    if (at_least > 8)
        n = 1u << (31 - (unsigned)__builtin_clz(at_least));
    while (n < at_least)
        n = buckets_above(n);
    return n;
}

bool slot_need_ext(struct slot *slot)
{
    if (slot->ext)
        return true;
    slot->ext = mi_zalloc(sizeof(*slot->ext));
    if (!slot->ext)
        return false;
    slot->bytes += mi_usable_size(slot->ext);
    return true;
}

// The allocator lays blocks whose size is a multiple of a line out on lines. Where one does not,
// the aligned call, which rounds up to the next size class, does.
static uint64_t *array_new(struct slot *slot, uint32_t buckets)
{
    size_t bytes = (size_t)buckets * BUCKET_BYTES;
    uint64_t *array = heap_hint(mi_zalloc(bytes));
    if ((uintptr_t)array % BUCKET_BYTES) {
        mi_free(array);
        array = mi_zalloc_aligned(bytes, BUCKET_BYTES);
    }
    if (array)
        slot->bytes += mi_usable_size(array);
    return array;
}

void slot_counted_free(struct slot *slot, void *p)
{
    if (!p)
        return;
    slot->bytes -= mi_usable_size(p);
    mi_free(p);
}

// --- nodes --------------------------------------------------------------------------------------

static unsigned node_room_for(unsigned count)
{
    if (count > NODE_WORDS_MAX)
        return (unsigned)(mi_good_size((count + (size_t)1) * sizeof(uint64_t)) / sizeof(uint64_t)) -
               1;
    size_t bytes = count * sizeof(uint64_t);
    bytes = bytes <= ENTRY_CLASSED_MAX ? entry_class_of(bytes) : mi_good_size(bytes);
    unsigned room = (unsigned)(bytes / sizeof(uint64_t));
    return room < NODE_WORDS_MAX ? room : NODE_WORDS_MAX;
}

static uint64_t node_word(uint64_t *words, unsigned room, unsigned count)
{
    uint64_t word = (uint64_t)(uintptr_t)words | 1;
    if (room <= NODE_WORDS_MAX)
        return word | (uint64_t)count << 48 | (uint64_t)(room / 2) << 56;
    words[-1] = (uint64_t)room << 32 | count;
    return word | (uint64_t)NODE_LARGE << 56;
}

static uint64_t *node_new(struct slot *slot, unsigned room)
{
    bool large = room > NODE_WORDS_MAX;
    uint64_t *words = heap_hint(mi_malloc((room + (size_t)large) * sizeof(uint64_t)));
    if (!words)
        return NULL;
    slot->bytes += mi_usable_size(words);
    return words + large;
}

static void node_free(struct slot *slot, uint64_t *words, unsigned room)
{
    if (words)
        slot_counted_free(slot, words - (room > NODE_WORDS_MAX));
}

// Makes the bucket able to take one more. False: memory is short.
static bool bucket_reserve(const struct table_env *env, struct slot *slot, uint64_t *bucket,
                           unsigned count)
{
    if (count < BUCKET_WORDS)
        return true;
    uint64_t *last = &bucket[BUCKET_WORDS - 1];
    if (!word_is_node(*last)) {
        unsigned room = node_room_for(2);
        uint64_t *words = node_new(slot, room);
        if (!words)
            return false;
        words[0] = *last;
        *last = node_word(words, room, 1);
        env->stats->overflow_nodes++;
        return true;
    }
    unsigned held = node_count(*last);
    if (held < node_room(*last))
        return true;
    unsigned room = node_room_for(held + 1);
    uint64_t *words = node_new(slot, room);
    if (!words)
        return false;
    memcpy(words, node_words(*last), held * sizeof(uint64_t));
    node_free(slot, node_words(*last), node_room(*last));
    *last = node_word(words, room, held);
    return true;
}

// Into room that is there.
static void bucket_append(uint64_t *bucket, uint64_t word)
{
    uint64_t *last = &bucket[BUCKET_WORDS - 1];
    if (word_is_node(*last)) {
        unsigned held = node_count(*last);
        assert(held < node_room(*last));
        node_words(*last)[held] = word;
        *last = node_word(node_words(*last), node_room(*last), held + 1);
        return;
    }
    unsigned used = bucket_used(bucket);
    assert(used < BUCKET_WORDS);
    bucket[used] = word;
}

// Takes the last word out of a bucket and gives up a node that is no longer needed, or half of one.
static uint64_t bucket_pop(const struct table_env *env, struct slot *slot, uint64_t *bucket)
{
    uint64_t *last = &bucket[BUCKET_WORDS - 1];
    if (!word_is_node(*last)) {
        unsigned used = bucket_used(bucket);
        uint64_t word = bucket[used - 1];
        bucket[used - 1] = 0;
        return word;
    }
    uint64_t *words = node_words(*last);
    unsigned held = node_count(*last) - 1, room = node_room(*last);
    uint64_t word = words[held];
    if (held <= 1) {
        assert(held == 1);
        *last = words[0];
        node_free(slot, words, room);
        env->stats->overflow_nodes--;
        return word;
    }
    if (held * 2 <= room) {
        unsigned smaller = node_room_for(held);
        uint64_t *moved = smaller < room ? node_new(slot, smaller) : NULL;
        if (moved) {
            memcpy(moved, words, held * sizeof(uint64_t));
            node_free(slot, words, room);
            words = moved;
            room = smaller;
        }
    }
    *last = node_word(words, room, held);
    return word;
}

// --- resizing -----------------------------------------------------------------------------------

// Enlarges the memory of the table to `buckets` (more than it has). New buckets are empty; the
// units of a segmented table come as the frontier needs them.
static bool memory_enlarge(struct slot *slot, uint32_t from, uint32_t buckets)
{
    if (buckets <= TABLE_SINGLE_MAX) {
        uint64_t *array = array_new(slot, buckets);
        if (!array)
            return false;
        memcpy(array, root_array(slot->root), (size_t)from * BUCKET_BYTES);
        slot_counted_free(slot, root_array(slot->root));
        slot->root = (uintptr_t)array | (slot->root & ROOT_FLAGS);
        return true;
    }
    uint64_t **units = mi_zalloc(units_of(buckets) * sizeof(*units));
    if (!units)
        return false;
    slot->bytes += mi_usable_size(units);
    if (slot->root & ROOT_SEGMENTED) {
        memcpy(units, root_array(slot->root), units_of(from) * sizeof(*units));
        slot_counted_free(slot, root_array(slot->root));
    } else {
        // The single array becomes the first units, in one piece.
        assert(from == TABLE_SINGLE_MAX);
        for (uint32_t i = 0; i < TABLE_SINGLE_MAX / TABLE_UNIT; i++)
            units[i] = root_array(slot->root) + (size_t)i * TABLE_UNIT * BUCKET_WORDS;
    }
    slot->root = (uintptr_t)units | (slot->root & ROOT_FLAGS) | ROOT_SEGMENTED;
    return true;
}

// Gives back what lies beyond `buckets`. Where memory is short for the smaller copy, the larger
// stays.
static void memory_reduce(struct slot *slot, uint32_t from, uint32_t buckets)
{
    if (slot->root & ROOT_SEGMENTED) {
        uint64_t **units = (uint64_t **)root_array(slot->root);
        uint32_t keep = units_of(buckets);
        if (keep < TABLE_SINGLE_MAX / TABLE_UNIT)
            keep = TABLE_SINGLE_MAX / TABLE_UNIT;
        for (uint32_t i = keep; i < units_of(from); i++) {
            slot_counted_free(slot, units[i]);
            units[i] = NULL;
        }
        if (buckets > TABLE_SINGLE_MAX)
            return;
        slot->root = (uintptr_t)units[0];
        slot_counted_free(slot, units);
        from = TABLE_SINGLE_MAX;
    }
    if (buckets == from)
        return;
    uint64_t *array = array_new(slot, buckets);
    if (!array)
        return;
    memcpy(array, root_array(slot->root), (size_t)buckets * BUCKET_BYTES);
    slot_counted_free(slot, root_array(slot->root));
    slot->root = (uintptr_t)array | (slot->root & ROOT_FLAGS);
}

static void resize_begin(struct slot *slot, uint32_t buckets)
{
    if (!slot_need_ext(slot))
        return;
    bool growing = buckets > slot->buckets;
    if (growing && !memory_enlarge(slot, slot->buckets, buckets))
        return;
    slot->ext->old_buckets = slot->buckets;
    slot->ext->frontier = growing ? slot->buckets : 0;
    slot->buckets = buckets;
    slot->root |= ROOT_RESIZING;
}

static void resize_end(struct slot *slot)
{
    slot->root &= ~(uintptr_t)ROOT_RESIZING;
    if (slot->buckets < slot->ext->old_buckets)
        memory_reduce(slot, slot->ext->old_buckets, slot->buckets);
}

// Makes sure that a bucket of a segmented table has memory.
static bool unit_need(struct slot *slot, uint32_t bucket)
{
    if (!(slot->root & ROOT_SEGMENTED))
        return true;
    uint64_t **unit = (uint64_t **)root_array(slot->root) + bucket / TABLE_UNIT;
    if (!*unit)
        *unit = array_new(slot, TABLE_UNIT);
    return *unit;
}

// An entry of a bucket that is moved, and where it goes.
struct moved {
    uint64_t word;
    uint32_t target;
};

// Moves the `n` entries of bucket `from`, which are listed in `moved`, to their new buckets. All
// memory is taken first, so that it happens or does not.
static bool bucket_spread(const struct table_env *env, struct slot *slot, uint32_t from,
                          struct moved *moved, unsigned n)
{
    uint64_t *bucket = table_bucket(slot->root, from);
    uint64_t node = bucket_node(bucket);
    uint32_t old = slot->ext->old_buckets;
    for (unsigned i = 0; i < n; i++) {
        moved[i].word = *bucket_word(bucket, i);
        prefetch(word_entry(moved[i].word));
    }

    uint32_t first = table_cut((uint32_t)table_start(from, old), slot->buckets);
    uint32_t last = table_cut((uint32_t)(table_start(from + 1, old) - 1), slot->buckets);
    unsigned incoming[TARGETS_MAX] = {0};
    uint64_t *nodes[TARGETS_MAX] = {0};
    unsigned rooms[TARGETS_MAX] = {0};
    assert(last - first < TARGETS_MAX);
    for (uint32_t b = first; b <= last; b++)
        if (!unit_need(slot, b))
            return false;
    for (unsigned i = 0; i < n; i++) {
        struct entry_parts parts = entry_parts(word_entry(moved[i].word));
        uint64_t hash = hash_key(env->secret, parts.key, parts.key_len);
        moved[i].target = table_cut(hash_position(hash), slot->buckets);
        incoming[moved[i].target - first]++;
    }

    for (uint32_t b = first; b <= last; b++) {
        uint64_t *to = table_bucket(slot->root, b);
        uint64_t present = b == from ? 0 : bucket_node(to);
        unsigned total = incoming[b - first] + (b == from ? 0 : bucket_count(to));
        if (total <= BUCKET_WORDS)
            continue;
        unsigned need = total - (BUCKET_WORDS - 1);
        if (present && need <= node_room(present))
            continue;
        rooms[b - first] = node_room_for(need);
        nodes[b - first] = node_new(slot, rooms[b - first]);
        if (!nodes[b - first]) {
            for (unsigned i = 0; i < TARGETS_MAX; i++)
                node_free(slot, nodes[i], rooms[i]);
            return false;
        }
    }

    memset(bucket, 0, BUCKET_BYTES);
    if (node) {
        node_free(slot, node_words(node), node_room(node));
        env->stats->overflow_nodes--;
    }
    for (uint32_t b = first; b <= last; b++) {
        if (!nodes[b - first])
            continue;
        uint64_t *end = &table_bucket(slot->root, b)[BUCKET_WORDS - 1];
        if (word_is_node(*end)) {
            unsigned held = node_count(*end);
            memcpy(nodes[b - first], node_words(*end), held * sizeof(uint64_t));
            node_free(slot, node_words(*end), node_room(*end));
            *end = node_word(nodes[b - first], rooms[b - first], held);
            nodes[b - first] = NULL;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t *to = table_bucket(slot->root, moved[i].target);
        unsigned t = moved[i].target - first;
        uint64_t *end = &to[BUCKET_WORDS - 1];
        if (nodes[t] && *end) {
            nodes[t][0] = *end;
            *end = node_word(nodes[t], rooms[t], 1);
            nodes[t] = NULL;
            env->stats->overflow_nodes++;
        }
        bucket_append(to, moved[i].word);
    }
    return true;
}

// Moves the entries of the next old bucket. Returns for how many steps that counts, 0 when memory
// is short.
static unsigned resize_bucket(const struct table_env *env, struct slot *slot)
{
    struct slot_ext *ext = slot->ext;
    bool growing = slot->buckets > ext->old_buckets;
    uint32_t from = growing ? ext->frontier - 1 : ext->frontier;
    unsigned n = bucket_count(table_bucket(slot->root, from));
    struct moved few[MOVED_ON_STACK];
    struct moved *moved = n <= MOVED_ON_STACK ? few : mi_malloc(n * sizeof(*moved));
    bool done = moved && bucket_spread(env, slot, from, moved, n);
    if (moved != few)
        mi_free(moved);
    if (!done)
        return 0;
    ext->frontier = growing ? from : from + 1;
    env->stats->resize_steps++;
    return 1 + n / STEP_ENTRIES;
}

void table_step(const struct table_env *env, struct slot *slot, unsigned slot_number,
                unsigned steps)
{
    if (!(slot->root & ROOT_RESIZING)) {
        uint64_t load = (uint64_t)slot->keys * 32;
        uint32_t n = slot->buckets;
        if (load > (uint64_t)n * (GROW_LOAD + (slot_number * 11 & GROW_STAGGER))) {
            if (n > UINT32_MAX / 2)
                return;
            resize_begin(slot, buckets_above(n));
        } else if (n > 1 && load < (uint64_t)n * SHRINK_LOAD) {
            uint32_t fit = buckets_for((uint32_t)(load / SHRINK_FILL) + 1);
            if (fit < n)
                resize_begin(slot, fit);
        }
        if (!(slot->root & ROOT_RESIZING))
            return;
    }
    uint32_t old = slot->ext->old_buckets;
    bool growing = slot->buckets > old;
    if (old <= TABLE_AT_ONCE && steps < old)
        steps = old;
    while (slot->ext->frontier != (growing ? 0 : old)) {
        unsigned taken = steps ? resize_bucket(env, slot) : 0;
        if (!taken)
            return;
        steps -= taken < steps ? taken : steps;
    }
    resize_end(slot);
}

// --- changes ------------------------------------------------------------------------------------

uint64_t *table_word(const struct slot *slot, uint64_t hash, const struct entry *e)
{
    uint64_t *bucket = table_locate(slot, hash_position(hash));
    unsigned n = bucket_count(bucket);
    for (unsigned i = 0; i < n; i++) {
        uint64_t *word = bucket_word(bucket, i);
        if (word_entry(*word) == e)
            return word;
    }
    assert(!"entry is not in its bucket");
    return NULL;
}

bool table_insert(const struct table_env *env, struct slot *slot, uint64_t hash, struct entry *e)
{
    if (!slot->root) {
        uint64_t *array = array_new(slot, 1);
        if (!array)
            return false;
        slot->root = (uintptr_t)array;
        slot->buckets = 1;
    }
    uint64_t *bucket = table_locate(slot, hash_position(hash));
    if (slot->keys == UINT32_MAX || !bucket_reserve(env, slot, bucket, bucket_count(bucket)))
        return false;
    bucket_append(bucket, word_make(e, hash));
    slot->keys++;
    return true;
}

void table_remove(const struct table_env *env, struct slot *slot, uint64_t hash, uint64_t *word)
{
    uint64_t *bucket = table_locate(slot, hash_position(hash));
    unsigned n = bucket_count(bucket);
    uint64_t *end = bucket_word(bucket, n - 1);
    *word = *end; // the hole is filled before the node may go
    bucket_pop(env, slot, bucket);
    slot->keys--;
}

// --- walking ------------------------------------------------------------------------------------

uint64_t *table_walk(const struct slot *slot, uint32_t position, uint64_t *start, uint64_t *end)
{
    uint32_t cut = slot->buckets;
    uint32_t index = table_index(slot, position);
    if (slot->root & ROOT_RESIZING) {
        const struct slot_ext *ext = slot->ext;
        uint32_t old = table_cut(position, ext->old_buckets);
        bool growing = slot->buckets > ext->old_buckets;
        if (growing ? old < ext->frontier : old >= ext->frontier)
            cut = ext->old_buckets;
        // What lies beyond the frontier is cut differently.
        uint64_t frontier = table_start(ext->frontier, ext->old_buckets);
        *start = table_start(index, cut);
        *end = table_start(index + 1, cut);
        if (position<frontier && * end> frontier)
            *end = frontier;
        if (position >= frontier && *start < frontier)
            *start = frontier;
    } else {
        *start = table_start(index, cut);
        *end = table_start(index + 1, cut);
    }
    return table_bucket(slot->root, index);
}

// Gives back a unit of a segmented table whose last bucket was met. The first ones are one piece.
static void unit_done(struct slot *slot, uint32_t bucket)
{
    uint32_t unit = bucket / TABLE_UNIT;
    if (!(slot->root & ROOT_SEGMENTED) || bucket % TABLE_UNIT != TABLE_UNIT - 1 ||
        unit < TABLE_SINGLE_MAX / TABLE_UNIT)
        return;
    uint64_t **units = (uint64_t **)root_array(slot->root);
    slot_counted_free(slot, units[unit]);
    units[unit] = NULL;
}

// Takes what a table held, from the unit of bucket `at` on: those before are gone.
static void table_drop_from(struct slot *slot, uint32_t n, uint32_t at)
{
    if (slot->root & ROOT_SEGMENTED) {
        uint64_t **units = (uint64_t **)root_array(slot->root);
        uint32_t first = at / TABLE_UNIT;
        if (first < TABLE_SINGLE_MAX / TABLE_UNIT)
            first = TABLE_SINGLE_MAX / TABLE_UNIT;
        slot_counted_free(slot, units[0]);
        for (uint32_t i = first; i < units_of(n); i++)
            slot_counted_free(slot, units[i]);
    }
    slot_counted_free(slot, root_array(slot->root));
    slot->root = 0;
    slot->buckets = 0;
}

static uint32_t buckets_in_memory(const struct slot *slot)
{
    uint32_t n = slot->buckets;
    if (slot->root & ROOT_RESIZING && slot->ext->old_buckets > n)
        n = slot->ext->old_buckets;
    return n;
}

void table_drop(struct slot *slot)
{
    table_drop_from(slot, buckets_in_memory(slot), 0);
}

bool table_free_step(struct slot *slot, uint32_t *at, unsigned *steps,
                     void (*discard)(void *context, struct entry *e), void *context)
{
    uint32_t n = buckets_in_memory(slot);
    while (*at < n) {
        if (slot->root & ROOT_SEGMENTED &&
            !((uint64_t **)root_array(slot->root))[*at / TABLE_UNIT]) {
            *at = (*at / TABLE_UNIT + 1) * TABLE_UNIT; // growing has not come here
            continue;
        }
        if (!*steps)
            return false;
        uint64_t *bucket = table_bucket(slot->root, *at);
        unsigned count = bucket_count(bucket);
        for (unsigned i = 0; i < count; i++) {
            struct entry *e = word_entry(*bucket_word(bucket, i));
            slot->bytes -= entry_bytes(e);
            discard(context, e);
        }
        uint64_t node = bucket_node(bucket);
        if (node)
            node_free(slot, node_words(node), node_room(node));
        memset(bucket, 0, BUCKET_BYTES);
        unit_done(slot, *at);
        ++*at;
        *steps -= count + 1 < *steps ? count + 1 : *steps;
    }
    table_drop_from(slot, n, *at);
    return true;
}
