// Elements of listpacks as bulk strings. On the hot path of LRANGE and ZRANGE, and so inline.
#pragma once

#include <string.h>

#include "dataplane/resp/reply.h"
#include "dataplane/store/values/listpack.h"

static inline void listpack_reply_item(struct out *o, const struct lp_item *item)
{
    if (item->ptr)
        reply_bulk(o, item->ptr, item->len);
    else
        reply_bulk_integer(o, item->value);
}

// A string of less than 64 bytes, of which 64 can be read: its header and those 64 at once; what is
// beyond it is written over.
static inline void listpack_reply_short(struct out *o, const uint8_t *ptr, uint32_t len)
{
    enum { ROOM = 1 + 2 + 2 + 64 + 2 };
    uint8_t *to = out_room(o, ROOM);
    *to++ = '$';
    if (len >= 10)
        *to++ = (uint8_t)('0' + len / 10);
    *to++ = (uint8_t)('0' + len % 10);
    memcpy(to, "\r\n", 2);
    memcpy(to + 2, ptr, 64);
    memcpy(to + 2 + len, "\r\n", 2);
    o->pos = to + 2 + len + 2;
}

// At most `most` elements from `*at` on, each `stride`th; `*at` becomes the next, or the end.
// `end` is the end of the listpack. Returns how many were written.
static inline uint64_t listpack_reply(struct out *o, const uint8_t **at, const uint8_t *end,
                                      uint64_t most, unsigned stride)
{
    uint64_t n = 0;
    const uint8_t *p = *at;
    for (; n < most && *p != LP_END; n++) {
        struct lp_item item, passed;
        p = lp_step(p, &item);
        if (item.ptr && item.len < 64 && end - item.ptr >= 64)
            listpack_reply_short(o, item.ptr, item.len);
        else
            listpack_reply_item(o, &item);
        for (unsigned i = 1; i < stride && *p != LP_END; i++)
            p = lp_step(p, &passed);
    }
    *at = p;
    return n;
}
