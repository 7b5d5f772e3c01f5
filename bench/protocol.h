// RESP (2 and 3) and memcached's text protocol as a client speaks them, for speed: requests are
// images in which only some places change; replies are recognised where they lie, without a copy,
// and may be cut anywhere. What is common is inline here, the rest in protocol.c and replies.c. One
// thread uses it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bench/measurement.h"
#include "bench/presets.h"
#include "bench/template.h"
#include "bench/values.h"
#include "bench/workload.h"
#include "common/out.h"

#define PROTOCOL_KEY_SIZE VALUE_KEY // "key:" and twelve digits
#define PROTOCOL_LINE_MAX MEASUREMENT_TEXT_MAX
// How the evidence of a value of a length that --data-size has not begins, behind its request.
#define PROTOCOL_OTHER_SIZE "expected a value of "
#define PROTOCOL_COPY 64 // images are copied in pieces of so many bytes

// A request in which only the key changes.
struct protocol_image {
    uint8_t *bytes; // aligned; room for `padded`, which may be copied instead of `size`
    uint32_t
        padded; // `size` rounded up to PROTOCOL_COPY; UINT32_MAX: too long to be copied at once
    uint32_t size;
    uint32_t key; // where it stands
};

// The requests of one test, and what their replies look like.
struct protocol {
    bool memcache, verify;
    struct protocol_image set; // usable when `plain`: values of one length, which nobody looks into
    struct protocol_image get;
    bool plain;
    // The reply to SET, and how a reply to GET begins when all values are of one length
    // ("$64\r\n"), and how long it is in all. The lengths are UINT32_MAX when nothing can be said
    // at once.
    uint32_t ok, ok_size;
    uint32_t hit_size, hit_all, hit_min; // hit_min: of what must be there to compare
    uint64_t hit, hit_mask;
    uint64_t written; // bytes of requests since the beginning
    uint64_t state;   // for lengths of values
    uint32_t stamp;   // of the next value
    struct values values;
    unsigned n_commands;
    struct template commands[PRESET_COMMANDS_MAX]; // those of COMMAND_ANY
};

// Of one thread of o->threads. False with one line in `error`.
bool protocol_init(struct protocol *p, const struct preset *test, const struct options *o,
                   unsigned thread, char *error, size_t error_size);
void protocol_free(struct protocol *p);

// The slot of the request's key in a cluster; SLOTS (common/slot.h): it has no key, or one that is
// not known before it is written ({random} or {sequence} is part of it).
unsigned protocol_slot(const struct protocol *p, struct request r);

// The key of number `n` (< 10^12): PROTOCOL_KEY_SIZE bytes.
static inline void protocol_write_key(uint8_t *to, uint64_t n)
{
    memcpy(to, "key:", 4);
    template_digits(to + 4, n);
}

void protocol_write_other(struct protocol *p, struct out *out, struct request r);

static inline void protocol_write_image(struct protocol *p, const struct protocol_image *image,
                                        struct out *out, uint64_t key)
{
    typedef uint8_t piece __attribute__((vector_size(PROTOCOL_COPY), aligned(1), may_alias));
    uint8_t *to = out->pos;
    if (__builtin_expect((size_t)(out->end - to) >= image->padded, 1)) {
        uint32_t i = 0;
        do
            *(piece *)(to + i) = *(const piece *)(image->bytes + i);
        while ((i += PROTOCOL_COPY) < image->size);
    } else {
        to = out_room(out, image->size);
        memcpy(to, image->bytes, image->size);
    }
    template_digits(to + image->key + 4, key);
    out->pos = to + image->size;
    p->written += image->size;
}

// Writes the request `r`, counts it in `written`.
static inline void protocol_write(struct protocol *p, struct out *out, struct request r)
{
    if (r.op == COMMAND_GET)
        protocol_write_image(p, &p->get, out, r.key);
    else if (r.op == COMMAND_SET && p->plain)
        protocol_write_image(p, &p->set, out, r.key);
    else
        protocol_write_other(p, out, r);
}

// How far the present reply of one connection has come. Begins as zeros.
struct scanner {
    bool begun;         // something of the present reply was taken
    bool push;          // what comes is no reply, but stands before it (RESP3)
    uint8_t in;         // enum scanner_in of replies.c: what comes next
    uint8_t worst;      // enum reply_kind, of what has come of this reply
    uint16_t n_partial; // bytes of an unfinished line
    uint16_t n_line;    // bytes in `line`
    uint32_t replies;   // whole, of this request
    uint64_t left;      // bytes still to come of the bulk string under way, CRLF included
    uint64_t elements;  // missing from the aggregate that has begun
    char partial[PROTOCOL_LINE_MAX]; // the unfinished line
    char line[PROTOCOL_LINE_MAX];    // after REPLY_ERROR, WRONG and BROKEN: what came, for people
    struct value_check check;
};

enum reply_kind protocol_scan_other(const struct protocol *p, struct scanner *s, struct request r,
                                    const uint8_t *data, size_t len, size_t *used);

// Reads the reply to `r` from `data`; *used says how many bytes it took (all of them for
// REPLY_MORE). `r` stays the same until the reply is whole.
static inline enum reply_kind protocol_scan(const struct protocol *p, struct scanner *s,
                                            struct request r, const uint8_t *data, size_t len,
                                            size_t *used)
{
    if (__builtin_expect(!s->begun, 1)) {
        uint64_t word;
        uint32_t half;
        uint16_t end;
        if (r.op == COMMAND_GET && len >= p->hit_min) {
            memcpy(&word, data, sizeof(word));
            memcpy(&end, data + p->hit_all - 2, sizeof(end));
            if ((word & p->hit_mask) == p->hit && end == ('\r' | '\n' << 8)) {
                *used = p->hit_all;
                return REPLY_OK;
            }
        } else if (r.op == COMMAND_SET && len >= p->ok_size) {
            memcpy(&half, data, sizeof(half));
            if (half == p->ok && data[p->ok_size - 1] == '\n') {
                *used = p->ok_size;
                return REPLY_OK;
            }
        }
    }
    return protocol_scan_other(p, s, r, data, len, used);
}

// What was wrong with the reply to `r` that was REPLY_WRONG, for people: one line, with the key,
// what was expected, what came, and where.
void protocol_explain(const struct protocol *p, const struct scanner *s, struct request r,
                      char *text, size_t size);
