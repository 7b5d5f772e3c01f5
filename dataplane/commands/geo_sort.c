// Sorting by distance. Members at the same distance are common (they lie in one place), and their
// order can be seen; so can which of them COUNT leaves out. Both are those of Redis: the whole
// array is sorted with equal ones left in order; of a part, the order is what the quicksort of
// Bentley and McIlroy ("Engineering a sort function", 1993) makes when it leaves out the parts of
// the array that nobody asked for.
#include <stdlib.h>

#include "dataplane/commands/geo_commands.h"

#define INSERTION_MAX 6 // elements that are sorted by insertion
#define NINTHER_MIN 40  // more than this: the pivot is a median of three medians
// Elements that are split, for each element and each halving that is enough when all goes well,
// before quicksort counts as led astray and another sort takes over.
#define PATIENCE 4

typedef int compare_fn(const struct geo_hit *a, const struct geo_hit *b);

static int ascending(const struct geo_hit *a, const struct geo_hit *b)
{
    return (a->distance > b->distance) - (a->distance < b->distance);
}
static int descending(const struct geo_hit *a, const struct geo_hit *b)
{
    return ascending(b, a);
}

static int stable_ascending(const void *a, const void *b)
{
    const struct geo_hit *x = a, *y = b;
    int order = ascending(x, y);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}
static int stable_descending(const void *a, const void *b)
{
    const struct geo_hit *x = a, *y = b;
    int order = descending(x, y);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

static void swap(struct geo_hit *a, struct geo_hit *b)
{
    struct geo_hit t = *a;
    *a = *b;
    *b = t;
}
static void swap_runs(struct geo_hit *a, struct geo_hit *b, size_t n)
{
    while (n--)
        swap(a++, b++);
}

static struct geo_hit *median(struct geo_hit *a, struct geo_hit *b, struct geo_hit *c,
                              compare_fn *compare)
{
    if (compare(a, b) < 0)
        return compare(b, c) < 0 ? b : compare(a, c) < 0 ? c : a;
    return compare(b, c) > 0 ? b : compare(a, c) < 0 ? a : c;
}

static struct geo_hit *pivot(struct geo_hit *a, size_t n, compare_fn *compare)
{
    struct geo_hit *low = a, *middle = a + n / 2, *high = a + n - 1;
    if (n > NINTHER_MIN) {
        size_t d = n / 8;
        low = median(low, low + d, low + 2 * d, compare);
        middle = median(middle - d, middle, middle + d, compare);
        high = median(high - 2 * d, high - d, high, compare);
    }
    return n > INSERTION_MAX + 1 ? median(low, middle, high, compare) : middle;
}

static void sort_by_insertion(struct geo_hit *a, size_t n, compare_fn *compare)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k && compare(&a[k - 1], &a[k]) > 0; k--)
            swap(&a[k - 1], &a[k]);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

// Splits into less, equal, greater. Equal ones are collected at both ends first. *less and *greater
// become how many there are.
static void split(struct geo_hit *a, size_t n, compare_fn *compare, size_t *less, size_t *greater)
{
    swap(a, pivot(a, n, compare));
    size_t equal_low = 1, low = 1, high = n - 1, equal_high = high;
    for (;;) {
        int order;
        while (low <= high && (order = compare(&a[low], a)) <= 0) {
            if (order == 0)
                swap(&a[equal_low++], &a[low]);
            low++;
        }
        while (low <= high && (order = compare(&a[high], a)) >= 0) {
            if (order == 0)
                swap(&a[high], &a[equal_high--]);
            high--;
        }
        if (low > high)
            break;
        swap(&a[low++], &a[high--]);
    }
    size_t m = least(equal_low, low - equal_low);
    swap_runs(a, a + low - m, m);
    m = least(equal_high - high, n - equal_high - 1);
    swap_runs(a + low, a + n - m, m);
    *less = low - equal_low;
    *greater = equal_high - high;
}

static void sort_front(struct geo_hit *all, size_t n, size_t wanted, bool backwards)
{
    compare_fn *compare = backwards ? descending : ascending;
    struct {
        size_t start, n;
    } later[64]; // the longer part waits, so they halve at least
    unsigned waiting = 0;
    size_t patience = 0, start = 0;
    for (size_t rest = n; rest; rest /= 2)
        patience += PATIENCE * n;
    for (;;) {
        if (n <= INSERTION_MAX) {
            sort_by_insertion(all + start, n, compare);
            n = 0;
        } else if (patience < n) {
            qsort(all + start, n, sizeof(*all), backwards ? stable_descending : stable_ascending);
            n = 0;
        } else {
            patience -= n;
            size_t less, greater;
            split(all + start, n, compare, &less, &greater);
            size_t right = start + n - greater;
            if (greater <= 1 || right >= wanted)
                greater = 0;
            if (less <= 1)
                less = 0;
            bool left_first = less && (!greater || less < greater);
            if (less && greater) {
                later[waiting].start = left_first ? right : start;
                later[waiting++].n = left_first ? greater : less;
            }
            start = left_first ? start : right;
            n = left_first ? less : greater;
        }
        if (n == 0) {
            if (!waiting)
                return;
            start = later[--waiting].start;
            n = later[waiting].n;
        }
    }
}

void geo_sort(struct geo_hit *hits, size_t n, size_t wanted, bool backwards)
{
    if (wanted < n)
        sort_front(hits, n, wanted, backwards);
    else
        qsort(hits, n, sizeof(*hits), backwards ? stable_descending : stable_ascending);
}
