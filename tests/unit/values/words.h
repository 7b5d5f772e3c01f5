// A plain array of byte strings, the model of listpacks and quicklists, and random strings of every
// size and kind that they keep in another way.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct word {
    size_t len;
    char *data;
};
struct words {
    struct word *at;
    size_t n, cap;
};

static uint64_t words_state;

static inline uint64_t draw(void)
{
    uint64_t z = words_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline size_t below(size_t n)
{
    return (size_t)(draw() % n);
}

static inline int64_t draw_integer(void)
{
    static const int64_t edges[] = {0,
                                    127,
                                    128,
                                    -1,
                                    4095,
                                    4096,
                                    -4096,
                                    -4097,
                                    32767,
                                    32768,
                                    -32768,
                                    -32769,
                                    8388607,
                                    8388608,
                                    -8388608,
                                    -8388609,
                                    INT32_MAX,
                                    INT32_MIN,
                                    INT32_MAX + INT64_C(1),
                                    INT32_MIN - INT64_C(1),
                                    INT64_MAX,
                                    INT64_MIN};
    if (below(2))
        return edges[below(sizeof(edges) / sizeof(edges[0]))];
    return (int64_t)draw() >> below(64);
}

// A word of at most `most` bytes (at least 24), in `to`.
static inline size_t draw_word(char *to, size_t most)
{
    static const size_t sizes[] = {0,   1,   5,   62,   63,   64,   65,   125,
                                   126, 127, 128, 4094, 4095, 4096, 16380};
    size_t len = sizes[below(sizeof(sizes) / sizeof(sizes[0]))];
    switch (below(8)) {
    case 0:
    case 1:
        return (size_t)snprintf(to, 24, "%lld", (long long)draw_integer());
    case 2: // nearly integers
        return (size_t)snprintf(to, 24, "%s%d",
                                below(2)   ? "0"
                                : below(2) ? "+"
                                           : "-0",
                                (int)below(9));
    case 3:
        break;
    default:
        len = below(24);
    }
    len = len < most ? len : most;
    for (size_t i = 0; i < len; i++)
        to[i] = (char)(below(4) ? 'a' + below(3) : below(256));
    return len;
}

static inline void words_insert(struct words *w, size_t i, const void *data, size_t len)
{
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 16;
        w->at = realloc(w->at, w->cap * sizeof(*w->at));
        assert_non_null(w->at);
    }
    memmove(w->at + i + 1, w->at + i, (w->n - i) * sizeof(*w->at));
    w->at[i] = (struct word){len, malloc(len + 1)};
    assert_non_null(w->at[i].data);
    memcpy(w->at[i].data, data, len);
    w->n++;
}

static inline void words_delete(struct words *w, size_t i, size_t n)
{
    if (i >= w->n)
        return;
    n = n < w->n - i ? n : w->n - i;
    for (size_t j = i; j < i + n; j++)
        free(w->at[j].data);
    memmove(w->at + i, w->at + i + n, (w->n - i - n) * sizeof(*w->at));
    w->n -= n;
}

static inline void words_free(struct words *w)
{
    words_delete(w, 0, w->n);
    free(w->at);
    *w = (struct words){0};
}
