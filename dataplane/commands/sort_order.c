// Sorting by a key of 64 bits, digit by digit from the last, then those of equal keys by merging.
// Both keep the order of equals, and nothing is recursive.
#include "dataplane/commands/sort_order.h"

#include <errno.h>
#include <math.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

enum {
    RUN = 12,              // items that insertion sorts
    RADIX_MIN = 256,       // items from which on digits are counted
    PIECE = 1024,          // items sorted at once by sort_items_step
    DIGITS = 8,            // of a key, a byte each
    VALUES = 256,          // of a digit
    NUMBER_SHORT_MAX = 63, // bytes of a number that need no allocation
};

bool sort_score(const struct sort_text *text, double *score)
{
    char small[NUMBER_SHORT_MAX + 1], *copy = small, *end;
    if (text->len > NUMBER_SHORT_MAX && !(copy = mi_malloc(text->len + 1)))
        return false;
    if (text->len)
        memcpy(copy, text->ptr, text->len);
    copy[text->len] = '\0';
    errno = 0;
    *score = strtod(copy, &end);
    bool ok = *end == '\0' && errno != ERANGE && !isnan(*score);
    if (copy != small)
        mi_free(copy);
    return ok;
}

uint64_t sort_key_of_text(const struct sort_text *text)
{
    uint8_t bytes[sizeof(uint64_t)] = {0};
    uint64_t key;
    if (text->len)
        memcpy(bytes, text->ptr, text->len < sizeof(bytes) ? text->len : sizeof(bytes));
    memcpy(&key, bytes, sizeof(key));
    return __builtin_bswap64(key);
}

static int compare_texts(const struct sort_text *a, const struct sort_text *b)
{
    if (!a->ptr || !b->ptr)
        return !!a->ptr - !!b->ptr;
    size_t len = a->len < b->len ? a->len : b->len;
    int order = len ? memcmp(a->ptr, b->ptr, len) : 0;
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

// Whether b must stand before a.
static bool before(const struct sort_item *b, const struct sort_item *a, unsigned flags)
{
    if (flags & SORT_DESCENDING) {
        const struct sort_item *swap = a;
        a = b;
        b = swap;
    }
    if (a->key != b->key)
        return b->key < a->key;
    if (flags & SORT_BY_TEXT)
        return compare_texts(&b->by, &a->by) < 0;
    return compare_texts(&b->element, &a->element) < 0;
}

static void insertion(struct sort_item *items, size_t n, unsigned flags)
{
    for (size_t i = 1; i < n; i++) {
        struct sort_item item = items[i];
        size_t at = i;
        for (; at && before(&item, &items[at - 1], flags); at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

static void merge(const struct sort_item *from, struct sort_item *to, size_t middle, size_t n,
                  unsigned flags)
{
    size_t a = 0, b = middle;
    for (size_t i = 0; i < n; i++) {
        bool second = b < n && (a == middle || before(&from[b], &from[a], flags));
        to[i] = second ? from[b++] : from[a++];
    }
}

static void merge_sort(struct sort_item *items, struct sort_item *other, size_t n, unsigned flags)
{
    for (size_t i = 0; i < n; i += RUN)
        insertion(items + i, n - i < RUN ? n - i : RUN, flags);
    struct sort_item *from = items, *to = other;
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t all = n - i < 2 * width ? n - i : 2 * width;
            merge(from + i, to + i, all < width ? all : width, all, flags);
        }
        struct sort_item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, n * sizeof(*items));
}

static unsigned digit_of(uint64_t key, unsigned digit, bool descending)
{
    return (unsigned)((descending ? ~key : key) >> (8 * digit) & (VALUES - 1));
}

static void radix_sort(struct sort_item *items, struct sort_item *other, size_t n, bool descending)
{
    struct sort_item *from = items, *to = other;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        size_t at[VALUES] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++)
            at[digit_of(from[i].key, digit, descending)]++;
        if (at[digit_of(from[0].key, digit, descending)] == n)
            continue; // all alike
        for (unsigned v = 0; v < VALUES; v++) {
            size_t count = at[v];
            at[v] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            to[at[digit_of(from[i].key, digit, descending)]++] = from[i];
        struct sort_item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, n * sizeof(*items));
}

static void sort_with(struct sort_item *items, struct sort_item *other, size_t n, unsigned flags)
{
    if (n < RADIX_MIN) {
        merge_sort(items, other, n, flags);
        return;
    }
    radix_sort(items, other, n, flags & SORT_DESCENDING);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && items[end].key == items[i].key; end++)
            ;
        if (end - i > 1)
            merge_sort(items + i, other, end - i, flags);
    }
}

bool sort_items(struct sort_item *items, size_t n, unsigned flags)
{
    if (n <= RUN) {
        insertion(items, n, flags);
        return true;
    }
    struct sort_item *other = mi_mallocn(n, sizeof(*other));
    if (!other)
        return false;
    sort_with(items, other, n, flags);
    mi_free(other);
    return true;
}

// Merges pairs of `width` items each from `items` to `other`, at most `most` items. True: all.
static bool merge_some(struct sort_progress *p, size_t most)
{
    for (; p->done < p->n && most; most--) {
        size_t left = p->n - p->base;
        size_t middle = left < p->width ? left : p->width;
        size_t end = left < 2 * p->width ? left : 2 * p->width;
        const struct sort_item *from = p->items + p->base;
        size_t b = p->b + middle;
        bool second = b < end && (p->a == middle || before(&from[b], &from[p->a], p->flags));
        p->other[p->done++] = second ? from[b] : from[p->a];
        if (second)
            p->b++;
        else
            p->a++;
        if (p->a + p->b == end) {
            p->base += end;
            p->a = p->b = 0;
        }
    }
    return p->done == p->n;
}

enum sort_state sort_items_step(struct sort_progress *p, size_t most)
{
    if (!p->other && !(p->other = mi_mallocn(p->n ? p->n : 1, sizeof(*p->other))))
        return SORT_NO_MEMORY;
    if (!p->width) {
        for (size_t done = 0; p->done < p->n && done < most; done += PIECE) {
            size_t n = p->n - p->done < PIECE ? p->n - p->done : PIECE;
            sort_with(p->items + p->done, p->other, n, p->flags);
            p->done += n;
        }
        if (p->done < p->n)
            return SORT_MORE;
        p->width = PIECE;
    } else if (merge_some(p, most)) {
        struct sort_item *swap = p->items;
        p->items = p->other;
        p->other = swap;
        p->width *= 2;
    } else {
        return SORT_MORE;
    }
    p->done = p->base = p->a = p->b = 0;
    return p->width < p->n ? SORT_MORE : SORT_DONE;
}
