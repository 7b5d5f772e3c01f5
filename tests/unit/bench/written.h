// An output whose bytes a test can look at: spans of a chosen length, put one behind the other.
#pragma once

#include <string.h>

#include "common/out.h"

struct written {
    struct out out;
    uint8_t *bytes; // what was written
    uint8_t span[4096];
    size_t len, step;
};

static inline void written_take(struct written *w)
{
    size_t n = (size_t)(w->out.pos - w->span);
    memcpy(w->bytes + w->len, w->span, n);
    w->len += n;
    w->out.pos = w->span;
}

static inline void written_grow(struct out *o, size_t need)
{
    struct written *w = (struct written *)o;
    written_take(w);
    w->out.end = w->span + (need > w->step ? need : w->step);
}

// `bytes` has room for all that will be written; `step`: length of a span.
static inline void written_begin(struct written *w, uint8_t *bytes, size_t step)
{
    static const struct out_ops ops = {.grow = written_grow};
    w->bytes = bytes;
    w->len = 0;
    w->step = step;
    w->out = (struct out){.pos = w->span, .end = w->span + step, .ops = &ops};
}

// Ends it with a zero byte; returns how many bytes there are.
static inline size_t written_end(struct written *w)
{
    written_take(w);
    w->bytes[w->len] = 0;
    return w->len;
}
