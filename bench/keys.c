#include "bench/keys.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// --- zipfian -----------------------------------------------------------------------------------

#define ZIPF_EXACT 4096 // ranks below are summed one by one

// The sum of x^-theta over whole x from `from` to `to` - 1. For large x by the formula of Euler and
// Maclaurin, whose next term is below 10^-16 of the sum here.
static double zipf_sum(double from, double to, double theta)
{
    if (from < ZIPF_EXACT) {
        double sum = 0;
        for (double x = from; x < to; x++)
            sum += pow(x, -theta);
        return sum;
    }
    double log_ratio = log(to / from), exponent = (1 - theta) * log_ratio;
    double first = pow(from, -theta), last = pow(to, -theta);
    double integral = from * first * (exponent == 0 ? log_ratio : expm1(exponent) / (1 - theta));
    return integral + (first - last) / 2 + theta / 12 * (first / from - last / to);
}

static uint64_t bin_width(uint64_t first, uint64_t n)
{
    uint64_t width = first < ZIPF_SINGLE ? 1 : (first + 1) / ZIPF_WIDTH;
    return width < n - first ? width : n - first;
}

bool zipf_init(struct zipf *z, uint64_t n, double theta)
{
    *z = (struct zipf){0};
    for (uint64_t first = 0; first < n; first += bin_width(first, n))
        z->n_bins++;
    z->bins = calloc(z->n_bins, sizeof(*z->bins));
    z->alias = calloc(z->n_bins, sizeof(*z->alias));
    double *weights = calloc(z->n_bins, sizeof(*weights));
    if (!z->bins || !z->alias || !weights) {
        free(weights);
        zipf_free(z);
        return false;
    }
    uint64_t first = 0;
    for (uint32_t i = 0; i < z->n_bins; i++) {
        uint64_t width = bin_width(first, n);
        double w = (double)width, middle = (double)first + 1 + (w - 1) / 2;
        double fall = theta * w / (2 * middle); // of the density, from the middle to the edge
        weights[i] = zipf_sum((double)(first + 1), (double)(first + width + 1), theta);
        z->bins[i] = (struct zipf_bin){
            .first = first,
            .width = width,
            .keep = (uint64_t)(0x1p63 * (width > 1 ? 1 + fall * (1 - 1 / w) : 1)),
            .step = width > 1 ? (uint64_t)(0x1p64 * fall / w) : 0,
        };
        first += width;
    }
    alias_init(z->alias, weights, z->n_bins);
    free(weights);
    return true;
}

void zipf_free(struct zipf *z)
{
    free(z->bins);
    free(z->alias);
    *z = (struct zipf){0};
}

// --- all distributions -------------------------------------------------------------------------

static uint64_t common_factor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// What keys_scatter multiplies with: near the golden section, so that the first ranks lie far
// apart.
static unsigned __int128 scatter_factor(uint64_t n)
{
    uint64_t a = (uint64_t)((double)n * 0.6180339887498949);
    while (common_factor(a, n) != 1)
        a++;
    unsigned __int128 high = ((unsigned __int128)a << 64) / n;
    unsigned __int128 rest = ((unsigned __int128)a << 64) % n;
    // One more than the fraction, cut, is: products must not fall below the whole number.
    return ((high << 64) | (uint64_t)((rest << 64) / n)) + 1;
}

void keys_part(uint64_t n, unsigned thread, unsigned threads, uint64_t *begin, uint64_t *end)
{
    *begin = (uint64_t)((unsigned __int128)n * thread / threads);
    *end = (uint64_t)((unsigned __int128)n * (thread + 1) / threads);
}

bool keys_init(struct keys *k, enum bench_keys kind, const struct options *o, uint64_t n,
               uint64_t unsure, unsigned thread)
{
    *k = (struct keys){
        .kind = kind, .n = n, .thread = thread, .threads = o->threads, .unsure = unsure};
    keys_part(n, thread, o->threads, &k->begin, &k->end);
    if (k->begin == k->end) { // fewer keys than threads: they cannot have some of their own
        k->begin = 0;
        k->end = n;
    }
    k->next = k->begin;
    k->scatter = scatter_factor(n);
    double hot = (double)n * o->hot_keys + 0.5;
    k->hot = hot < 1 ? 1 : hot >= (double)n ? n : (uint64_t)hot;
    k->hot_requests = o->hot_share >= 1 || k->hot == n ? UINT64_MAX
                      : o->hot_share <= 0              ? 0
                                                       : (uint64_t)(o->hot_share * 0x1p64);
    if (kind == KEYS_ZIPFIAN || kind == KEYS_LATEST)
        return zipf_init(&k->zipf, n, o->theta);
    return true;
}

void keys_free(struct keys *k)
{
    zipf_free(&k->zipf);
}

// The newest keys are this thread's own insertions, before them the filled ones. What may still be
// under way is left out, for it would be missed.
static uint64_t next_latest(struct keys *k, uint64_t *state)
{
    uint64_t age = zipf_next(&k->zipf, state);
    uint64_t sure = k->inserted > k->unsure ? k->inserted - k->unsure : 0;
    if (age < sure)
        return k->n + (sure - 1 - age) * k->threads + k->thread;
    return k->n - 1 - (age - sure);
}

uint64_t keys_next_other(struct keys *k, uint64_t *state)
{
    uint64_t key, rank;
    switch (k->kind) {
    case KEYS_SEQUENTIAL:
        key = k->next++;
        if (k->next == k->end)
            k->next = k->begin;
        return key;
    case KEYS_HOT:
        if (random_next(state) <= k->hot_requests && k->hot_requests)
            rank = random_below(random_next(state), k->hot);
        else
            rank = k->hot + random_below(random_next(state), k->n - k->hot);
        return keys_scatter(k, rank);
    case KEYS_LATEST:
        return next_latest(k, state);
    default:
        return random_below(random_next(state), k->n);
    }
}
