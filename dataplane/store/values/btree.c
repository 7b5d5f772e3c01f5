// Every node but the root leaf of a small tree takes 1 KiB, a class of the allocator: 62 elements
// to a leaf, 31 children to an inner node. An inner node holds of each child its first element, so
// that a descent reads the node it is in and nothing else, and the number of elements below.
//
// A full leaf gives elements to a neighbour that has room before it is split, which leaves leaves
// four fifths full under random inserts; one that is filled at the tree's end stays full. Nodes
// that have become half empty are joined with a neighbour where both leave some room.
#include "dataplane/store/values/btree.h"
#include "dataplane/store/heap.h"

#include <assert.h>
#include <mimalloc.h>
#include <string.h>

#include "common/prefetch.h"
#include "dataplane/store/entry.h"

// The analysis does not know that a path has a node for each level of the tree.
// NOLINTBEGIN(clang-analyzer-core.NullDereference,clang-analyzer-core.uninitialized.Assign)

enum {
    LEAF_MAX = 62,
    LEAF_LEAST = 2,                 // capacity of the only leaf at first: 64 bytes
    LEAF_ROOM = 6,                  // a neighbour with so much room is given elements
    LEAF_JOINED_MAX = LEAF_MAX - 8, // two leaves with no more elements become one
    INNER_MAX = 31,
    INNER_JOINED_MAX = INNER_MAX - 4,
    CACHE_LINE_BYTES = 64,
    WALK_AHEAD = 6,  // items that are asked for before a walk comes to them
    HEIGHT_MAX = 16, // two neighbours have 28 children: more than any memory holds
};

struct element {
    uint64_t key;
    void *item;
};

// What both kinds of nodes begin with.
struct node {
    struct inner *parent; // NULL: the root
    uint32_t n;
    uint32_t limit; // of a leaf: its capacity; of an inner node: children that were freed already
};

struct btree_leaf {
    struct node node;
    struct btree_leaf *prev, *next;
    struct element elements[];
};

struct inner {
    struct node node;
    struct element least[INNER_MAX]; // the first element below each child
    struct node *children[INNER_MAX];
    uint64_t counts[INNER_MAX];
};

static_assert(sizeof(struct btree_leaf) + LEAF_MAX * sizeof(struct element) == 1024, "a class");
static_assert(sizeof(struct inner) <= 1024, "a class");

// The way from the root to a leaf; level 0 is the parent of the leaf.
struct path {
    struct btree_leaf *leaf;
    struct inner *node[HEIGHT_MAX];
    unsigned index[HEIGHT_MAX];
};

void btree_init(struct btree *t, btree_compare_fn *compare)
{
    *t = (struct btree){.compare = compare};
}

// --- nodes --------------------------------------------------------------------------------------

static void *node_new(struct btree *t, size_t size)
{
    struct node *node = mi_malloc(size);
    if (!node)
        return NULL;
    heap_hint(node);
    *node = (struct node){0};
    t->bytes += mi_usable_size(node);
    return node;
}

static void node_free(struct btree *t, void *node)
{
    t->bytes -= mi_usable_size(node);
    mi_free(node);
}

static struct btree_leaf *leaf_new(struct btree *t, uint32_t capacity)
{
    struct btree_leaf *leaf =
        node_new(t, sizeof(struct btree_leaf) + capacity * sizeof(struct element));
    if (leaf) {
        leaf->node.limit = capacity;
        leaf->prev = leaf->next = NULL;
    }
    return leaf;
}

static void leaf_link(struct btree *t, struct btree_leaf *left, struct btree_leaf *leaf)
{
    leaf->prev = left;
    leaf->next = left->next;
    left->next = leaf;
    if (leaf->next)
        leaf->next->prev = leaf;
    else
        t->last = leaf;
}

static void leaf_unlink(struct btree *t, struct btree_leaf *leaf)
{
    if (leaf->prev)
        leaf->prev->next = leaf->next;
    else
        t->first = leaf->next;
    if (leaf->next)
        leaf->next->prev = leaf->prev;
    else
        t->last = leaf->prev;
}

// Gives the only leaf another capacity, where it can be had.
static struct btree_leaf *leaf_resize(struct btree *t, uint32_t capacity)
{
    struct btree_leaf *from = t->first, *to = leaf_new(t, capacity);
    if (!to)
        return NULL;
    to->node.n = from->node.n;
    memcpy(to->elements, from->elements, from->node.n * sizeof(struct element));
    node_free(t, from);
    t->root = t->first = t->last = to;
    return to;
}

static void elements_open(struct btree_leaf *leaf, unsigned at, unsigned n)
{
    memmove(&leaf->elements[at + n], &leaf->elements[at],
            (leaf->node.n - at) * sizeof(struct element));
    leaf->node.n += n;
}

static void elements_close(struct btree_leaf *leaf, unsigned at, unsigned n)
{
    leaf->node.n -= n;
    memmove(&leaf->elements[at], &leaf->elements[at + n],
            (leaf->node.n - at) * sizeof(struct element));
}

static void child_put(struct inner *node, unsigned at, struct node *child, struct element least,
                      uint64_t count)
{
    unsigned behind = node->node.n++ - at;
    memmove(&node->least[at + 1], &node->least[at], behind * sizeof(node->least[0]));
    memmove(&node->children[at + 1], &node->children[at], behind * sizeof(node->children[0]));
    memmove(&node->counts[at + 1], &node->counts[at], behind * sizeof(node->counts[0]));
    node->least[at] = least;
    node->children[at] = child;
    node->counts[at] = count;
    child->parent = node;
}

static void child_remove(struct inner *node, unsigned at)
{
    unsigned behind = --node->node.n - at;
    memmove(&node->least[at], &node->least[at + 1], behind * sizeof(node->least[0]));
    memmove(&node->children[at], &node->children[at + 1], behind * sizeof(node->children[0]));
    memmove(&node->counts[at], &node->counts[at + 1], behind * sizeof(node->counts[0]));
}

// Moves children from `at` on to the end of another node. Returns how many elements that are.
static uint64_t children_move(struct inner *from, unsigned at, struct inner *to)
{
    unsigned n = from->node.n - at, end = to->node.n;
    uint64_t count = 0;
    memcpy(&to->least[end], &from->least[at], n * sizeof(from->least[0]));
    memcpy(&to->children[end], &from->children[at], n * sizeof(from->children[0]));
    memcpy(&to->counts[end], &from->counts[at], n * sizeof(from->counts[0]));
    for (unsigned i = end; i < end + n; i++) {
        to->children[i]->parent = to;
        count += to->counts[i];
    }
    to->node.n += n;
    from->node.n -= n;
    return count;
}

static unsigned child_index(const struct inner *node, const void *child)
{
    unsigned i = 0;
    while ((const void *)node->children[i] != child)
        i++;
    return i;
}

// --- searching ----------------------------------------------------------------------------------

// How many of the elements have a key below this one.
static unsigned keys_below(const struct element *e, unsigned n, uint64_t key)
{
    const struct element *base = e;
    if (!n)
        return 0;
    while (n > 1) {
        unsigned half = n / 2;
        base += base[half - 1].key < key ? half : 0;
        n -= half;
    }
    return (unsigned)(base - e) + (base->key < key);
}

// How many of the elements come before (key, probe), or with `after` before or with it.
static unsigned search(const struct btree *t, const struct element *e, unsigned n, uint64_t key,
                       const void *probe, bool after)
{
    unsigned low = keys_below(e, n, key);
    if (low == n || e[low].key != key)
        return low;
    bool compared = t->compare && probe;
    if (!compared && !after)
        return low;
    unsigned high = key == UINT64_MAX ? n : low + keys_below(e + low, n - low, key + 1);
    if (!compared)
        return high;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order = t->compare(probe, e[middle].item);
        if (order > 0 || (order == 0 && after))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// A binary search of a leaf that is not in the cache waits for four lines, one after the other, and
// a change of it for more: they are asked for all at once.
static void prefetch_leaf(const struct node *leaf)
{
    for (unsigned i = 0; i < 1024; i += CACHE_LINE_BYTES)
        prefetch((const uint8_t *)leaf + i);
}

// Asks for items that a walk will come to.
static void prefetch_item(const struct btree_leaf *leaf, unsigned index)
{
    if (index < leaf->node.n)
        prefetch(leaf->elements[index].item);
}

// To the leaf that (key, probe) lies in or belongs into; `after` decides between two leaves.
static void descend(const struct btree *t, uint64_t key, const void *probe, bool after,
                    struct path *path)
{
    struct node *node = t->root;
    for (unsigned level = t->height; level-- > 0;) {
        struct inner *inner = (struct inner *)node;
        unsigned i = search(t, inner->least, inner->node.n, key, probe, after);
        i = i ? i - 1 : 0;
        path->node[level] = inner;
        path->index[level] = i;
        node = inner->children[i];
        if (!level)
            prefetch_leaf(node);
    }
    path->leaf = (struct btree_leaf *)node;
}

// To the element of this rank, which must be there. Returns its index in the leaf.
static unsigned descend_to_rank(const struct btree *t, uint64_t rank, struct path *path)
{
    struct node *node = t->root;
    for (unsigned level = t->height; level-- > 0;) {
        struct inner *inner = (struct inner *)node;
        unsigned i = 0;
        while (rank >= inner->counts[i])
            rank -= inner->counts[i++];
        path->node[level] = inner;
        path->index[level] = i;
        node = inner->children[i];
    }
    path->leaf = (struct btree_leaf *)node;
    return (unsigned)rank;
}

static void climb(struct btree_leaf *leaf, struct path *path)
{
    path->leaf = leaf;
    const void *child = leaf;
    unsigned level = 0;
    for (struct inner *node = leaf->node.parent; node; node = node->node.parent) {
        path->node[level] = node;
        path->index[level++] = child_index(node, child);
        child = node;
    }
}

// The index of an element in its leaf, -1: it is not there.
static int find(const struct btree *t, uint64_t key, const void *probe, struct path *path)
{
    assert(probe || !t->compare);
    if (!t->root)
        return -1;
    descend(t, key, probe, true, path);
    struct btree_leaf *leaf = path->leaf;
    unsigned i = search(t, leaf->elements, leaf->node.n, key, probe, false);
    if (i == leaf->node.n || leaf->elements[i].key != key)
        return -1;
    return t->compare && t->compare(probe, leaf->elements[i].item) ? -1 : (int)i;
}

void *btree_find(const struct btree *t, uint64_t key, const void *probe)
{
    struct path path;
    int i = find(t, key, probe, &path);
    return i < 0 ? NULL : path.leaf->elements[i].item;
}

static struct btree_at bound(const struct btree *t, uint64_t key, const void *probe, bool after)
{
    struct path path;
    if (!t->root)
        return (struct btree_at){0};
    descend(t, key, probe, after, &path);
    struct btree_leaf *leaf = path.leaf;
    unsigned i = search(t, leaf->elements, leaf->node.n, key, probe, after);
    if (i == leaf->node.n)
        return (struct btree_at){.leaf = leaf->next};
    return (struct btree_at){.leaf = leaf, .index = i};
}

struct btree_at btree_lower(const struct btree *t, uint64_t key, const void *probe)
{
    return bound(t, key, probe, false);
}

struct btree_at btree_upper(const struct btree *t, uint64_t key, const void *probe)
{
    return bound(t, key, probe, true);
}

uint64_t btree_count_before(const struct btree *t, uint64_t key, const void *probe, bool after)
{
    struct path path;
    if (!t->root)
        return 0;
    descend(t, key, probe, after, &path);
    uint64_t rank = search(t, path.leaf->elements, path.leaf->node.n, key, probe, after);
    for (unsigned level = 0; level < t->height; level++)
        for (unsigned i = 0; i < path.index[level]; i++)
            rank += path.node[level]->counts[i];
    return rank;
}

// --- changes ------------------------------------------------------------------------------------

// Tells the nodes above that the leaf has another first element.
static void least_changed(const struct btree *t, const struct path *path)
{
    for (unsigned level = 0; level < t->height; level++) {
        path->node[level]->least[path->index[level]] = path->leaf->elements[0];
        if (path->index[level])
            return;
    }
}

// Moves half of the room that the left leaf has from the front of the right one to it.
static unsigned give_left(struct btree_leaf *left, struct btree_leaf *right)
{
    unsigned n = (LEAF_MAX - left->node.n + 1) / 2;
    memcpy(&left->elements[left->node.n], right->elements, n * sizeof(struct element));
    left->node.n += n;
    elements_close(right, 0, n);
    return n;
}

static unsigned give_right(struct btree_leaf *left, struct btree_leaf *right)
{
    unsigned n = (LEAF_MAX - right->node.n + 1) / 2;
    elements_open(right, 0, n);
    left->node.n -= n;
    memcpy(right->elements, &left->elements[left->node.n], n * sizeof(struct element));
    return n;
}

// Makes room for an element at `*index` of a full leaf by giving some to a neighbour with the same
// parent. False: neither has room.
static bool spill(struct path *path, unsigned *index)
{
    struct inner *parent = path->node[0];
    unsigned i = path->index[0];
    uint64_t left_n = i ? parent->counts[i - 1] : LEAF_MAX;
    uint64_t right_n = i + 1 < parent->node.n ? parent->counts[i + 1] : LEAF_MAX;
    bool to_left = left_n <= right_n;
    if ((to_left ? left_n : right_n) > LEAF_MAX - LEAF_ROOM)
        return false;
    unsigned left_i = to_left ? i - 1 : i;
    struct btree_leaf *left = (struct btree_leaf *)parent->children[left_i];
    struct btree_leaf *right = (struct btree_leaf *)parent->children[left_i + 1];
    unsigned at = to_left ? left->node.n + *index : *index; // as if both were one
    if (to_left)
        give_left(left, right);
    else
        give_right(left, right);
    parent->counts[left_i] = left->node.n;
    parent->counts[left_i + 1] = right->node.n;
    parent->least[left_i + 1] = right->elements[0];
    bool in_left = at <= left->node.n;
    *index = in_left ? at : at - left->node.n;
    path->index[0] = in_left ? left_i : left_i + 1;
    path->leaf = in_left ? left : right;
    return true;
}

// Puts a new node on the right of the path's node at each level, splitting full parents. `spare`
// are as many inner nodes as that takes.
static void put_beside(struct btree *t, const struct path *path, struct node *right,
                       struct element least, uint64_t count, bool at_end, struct inner **spare)
{
    for (unsigned level = 0; level < t->height; level++) {
        struct inner *node = path->node[level];
        unsigned i = path->index[level];
        node->counts[i] -= count;
        if (node->node.n < INNER_MAX) {
            child_put(node, i + 1, right, least, count);
            return;
        }
        struct inner *half = *spare++;
        unsigned at = at_end ? INNER_MAX : (INNER_MAX + 1) / 2;
        uint64_t moved = children_move(node, at, half);
        if (i + 1 > at || at_end) {
            child_put(half, i + 1 - at, right, least, count);
            moved += count;
        } else {
            child_put(node, i + 1, right, least, count);
        }
        // The count of the node in its parent is that of before, without what was split off below.
        right = &half->node;
        least = half->least[0];
        count = moved;
    }
    struct inner *root = *spare;
    struct node *left = t->root;
    struct element first =
        t->height ? ((struct inner *)left)->least[0] : ((struct btree_leaf *)left)->elements[0];
    child_put(root, 0, left, first, t->count - count);
    child_put(root, 1, right, least, count);
    t->root = root;
    t->height++;
}

// Splits the path's leaf, which is full, around the place of a new element. False: memory is short.
static bool split(struct btree *t, struct path *path, unsigned *index, struct element fresh)
{
    struct inner *spare[HEIGHT_MAX + 1];
    unsigned needed = 0, got = 0;
    while (needed < t->height && path->node[needed]->node.n == INNER_MAX)
        needed++;
    needed += needed == t->height;
    assert(t->height + 1 < HEIGHT_MAX);
    struct btree_leaf *left = path->leaf, *right = leaf_new(t, LEAF_MAX);
    while (right && got < needed && (spare[got] = node_new(t, sizeof(struct inner))))
        got++;
    if (!right || got < needed) {
        while (got)
            node_free(t, spare[--got]);
        if (right)
            node_free(t, right);
        return false;
    }
    bool at_end = left == t->last && *index == LEAF_MAX;
    unsigned at = at_end ? LEAF_MAX : left == t->first && *index == 0 ? 1 : LEAF_MAX / 2;
    right->node.n = LEAF_MAX - at;
    left->node.n = at;
    memcpy(right->elements, &left->elements[at], right->node.n * sizeof(struct element));
    leaf_link(t, left, right);
    put_beside(t, path, &right->node, at_end ? fresh : right->elements[0], right->node.n, at_end,
               spare);
    if (*index > at || at_end) {
        *index -= at;
        climb(right, path);
    } else {
        climb(left, path);
    }
    return true;
}

bool btree_insert(struct btree *t, uint64_t key, const void *probe, void *item)
{
    struct path path = {0};
    struct element fresh = {.key = key, .item = item};
    unsigned index = 0;
    if (t->root) {
        descend(t, key, probe, true, &path);
        index = search(t, path.leaf->elements, path.leaf->node.n, key, probe, true);
    } else {
        t->root = t->first = t->last = path.leaf = leaf_new(t, LEAF_LEAST);
        if (!t->root)
            return false;
    }
    if (path.leaf->node.n == path.leaf->node.limit) {
        if (path.leaf->node.limit < LEAF_MAX) { // 2, 6, 14, 30, 62: with the head, 2^k bytes
            path.leaf = leaf_resize(t, 2 * path.leaf->node.limit + 2);
            if (!path.leaf)
                return false;
        } else {
            bool at_end = path.leaf == t->last && index == LEAF_MAX;
            if ((at_end || !t->height || !spill(&path, &index)) && !split(t, &path, &index, fresh))
                return false;
        }
    }
    elements_open(path.leaf, index, 1);
    path.leaf->elements[index] = fresh;
    t->count++;
    for (unsigned level = 0; level < t->height; level++)
        path.node[level]->counts[path.index[level]]++;
    if (!index)
        least_changed(t, &path);
    return true;
}

static void join(struct btree *t, struct inner *parent, unsigned i, bool leaves)
{
    struct node *left = parent->children[i], *right = parent->children[i + 1];
    if (leaves) {
        struct btree_leaf *a = (struct btree_leaf *)left, *b = (struct btree_leaf *)right;
        memcpy(&a->elements[a->node.n], b->elements, b->node.n * sizeof(struct element));
        a->node.n += b->node.n;
        leaf_unlink(t, b);
    } else {
        children_move((struct inner *)right, 0, (struct inner *)left);
    }
    parent->counts[i] += parent->counts[i + 1];
    node_free(t, right);
    child_remove(parent, i + 1);
}

// Joins a child that is half empty with a neighbour.
static void join_if_small(struct btree *t, struct inner *parent, unsigned i, bool leaves)
{
    unsigned n = parent->children[i]->n;
    unsigned most = leaves ? LEAF_JOINED_MAX : INNER_JOINED_MAX;
    if (n > most / 2)
        return;
    if (i + 1 < parent->node.n && n + parent->children[i + 1]->n <= most)
        join(t, parent, i, leaves);
    else if (i && n + parent->children[i - 1]->n <= most)
        join(t, parent, i - 1, leaves);
}

static void root_lost(struct btree *t)
{
    struct node *root = t->root;
    while (t->height && root->n == 1) {
        struct node *child = ((struct inner *)root)->children[0];
        node_free(t, root);
        child->parent = NULL;
        t->root = root = child;
        t->height--;
    }
    if (!root->n) {
        node_free(t, root);
        t->root = NULL;
        t->first = t->last = NULL;
        t->height = 0;
    } else if (!t->height && root->limit > LEAF_LEAST && root->n <= root->limit / 4) {
        leaf_resize(t, root->limit / 2 - 1); // or else it stays larger than it need be
    }
}

// Takes `n` elements out of the path's leaf.
static void take_out(struct btree *t, const struct path *path, unsigned index, unsigned n)
{
    struct btree_leaf *leaf = path->leaf;
    elements_close(leaf, index, n);
    t->count -= n;
    if (!leaf->node.n)
        leaf_unlink(t, leaf);
    else if (!index)
        least_changed(t, path);
    struct node *child = &leaf->node;
    for (unsigned level = 0; level < t->height; level++) {
        struct inner *node = path->node[level];
        unsigned i = path->index[level];
        node->counts[i] -= n;
        if (!child->n) {
            node_free(t, child);
            child_remove(node, i);
        } else {
            if (level)
                node->least[i] = ((struct inner *)child)->least[0];
            join_if_small(t, node, i, level == 0);
        }
        child = &node->node;
    }
    root_lost(t);
}

void *btree_remove(struct btree *t, uint64_t key, const void *probe)
{
    struct path path;
    int i = find(t, key, probe, &path);
    if (i < 0)
        return NULL;
    void *item = path.leaf->elements[i].item;
    take_out(t, &path, (unsigned)i, 1);
    return item;
}

uint64_t btree_remove_range(struct btree *t, uint64_t rank, uint64_t n,
                            void (*gone)(void *context, uint64_t key, void *item), void *context)
{
    uint64_t removed = 0;
    while (removed < n && rank < t->count) {
        struct path path;
        unsigned index = descend_to_rank(t, rank, &path);
        unsigned here = path.leaf->node.n - index;
        if (here > n - removed)
            here = (unsigned)(n - removed);
        for (unsigned i = index; gone && i < index + here; i++)
            gone(context, path.leaf->elements[i].key, path.leaf->elements[i].item);
        take_out(t, &path, index, here);
        removed += here;
    }
    return removed;
}

bool btree_free_step(struct btree *t, unsigned *budget, void (*gone)(void *context, void *item),
                     void *context)
{
    while (t->first && *budget) {
        struct btree_leaf *leaf = t->first;
        struct inner *parent = leaf->node.parent;
        for (unsigned i = 0; gone && i < leaf->node.n; i++)
            gone(context, leaf->elements[i].item);
        *budget -= *budget < leaf->node.n ? *budget : leaf->node.n;
        t->count -= leaf->node.n;
        t->first = leaf->next;
        node_free(t, leaf);
        while (parent && ++parent->node.limit == parent->node.n) {
            struct inner *above = parent->node.parent;
            node_free(t, parent);
            parent = above;
        }
    }
    if (t->first)
        return false;
    t->root = NULL;
    t->last = NULL;
    t->height = 0;
    return true;
}

// --- places -------------------------------------------------------------------------------------

struct btree_at btree_first(const struct btree *t)
{
    return (struct btree_at){.leaf = t->first};
}

struct btree_at btree_last(const struct btree *t)
{
    return (struct btree_at){.leaf = t->last, .index = t->last ? t->last->node.n - 1 : 0};
}

struct btree_at btree_at_rank(const struct btree *t, uint64_t rank)
{
    struct path path;
    if (rank >= t->count)
        return (struct btree_at){0};
    unsigned index = descend_to_rank(t, rank, &path);
    for (unsigned i = 0; i < WALK_AHEAD; i++)
        prefetch_item(path.leaf, index + i);
    return (struct btree_at){.leaf = path.leaf, .index = index};
}

uint64_t btree_rank(const struct btree *t, struct btree_at at)
{
    if (!at.leaf)
        return t->count;
    uint64_t rank = at.index;
    const void *child = at.leaf;
    for (const struct inner *node = at.leaf->node.parent; node; node = node->node.parent) {
        for (unsigned i = 0; (const void *)node->children[i] != child; i++)
            rank += node->counts[i];
        child = node;
    }
    return rank;
}

bool btree_next(struct btree_at *at)
{
    if (!at->leaf)
        return false;
    prefetch_item(at->leaf, at->index + WALK_AHEAD);
    if (++at->index == at->leaf->node.n)
        *at = (struct btree_at){.leaf = at->leaf->next};
    return at->leaf != NULL;
}

bool btree_prev(struct btree_at *at)
{
    if (!at->leaf)
        return false;
    if (at->index) {
        prefetch_item(at->leaf, at->index - WALK_AHEAD); // none where that wraps round
        at->index--;
        return true;
    }
    struct btree_leaf *prev = at->leaf->prev;
    *at = (struct btree_at){.leaf = prev, .index = prev ? prev->node.n - 1 : 0};
    return prev != NULL;
}

uint64_t btree_key(struct btree_at at)
{
    return at.leaf->elements[at.index].key;
}

void *btree_item(struct btree_at at)
{
    return at.leaf->elements[at.index].item;
}
// NOLINTEND(clang-analyzer-core.NullDereference,clang-analyzer-core.uninitialized.Assign)
