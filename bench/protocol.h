// RESP (2 and 3) and memcached's text protocol as a client speaks them, for speed: requests are
// images in which only some places change; replies are recognised where they lie, without a copy,
// and may be cut anywhere. One thread uses it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/measurement.h"
#include "bench/presets.h"
#include "bench/template.h"
#include "bench/values.h"
#include "bench/workload.h"
#include "common/out.h"

#define PROTOCOL_KEY_SIZE VALUE_KEY // "key:" and twelve digits
#define PROTOCOL_LINE_MAX 512

// A SET or GET of which the key changes, and with --verify the value.
struct protocol_image {
    uint8_t *bytes; // room for `padded`, which may be copied instead of `size`
    uint32_t size, padded;
    uint32_t key, value; // where they stand
};

// The requests of one test, and what their replies look like.
struct protocol {
    bool memcache, verify;
    bool plain; // SET: values of one length that need not be recognised
    struct protocol_image set, get;
    // How the reply to a GET begins when all values are of one length, as "$64\r\n", and its length
    // in all; hit_size 0: nothing can be told at once.
    uint64_t hit, hit_mask;
    uint32_t hit_size, hit_all;
    uint32_t stamp;   // of the next value
    uint64_t state;   // for lengths of values
    uint64_t written; // bytes of requests since the beginning
    struct values values;
    unsigned n_commands;
    struct template commands[PRESET_COMMANDS_MAX]; // those of COMMAND_ANY
};

// Of one thread of o->threads. False with one line in `error`.
bool protocol_init(struct protocol *p, const struct preset *test, const struct options *o,
                   unsigned thread, char *error, size_t error_size);
void protocol_free(struct protocol *p);

// The key of number `n` (< 10^12): PROTOCOL_KEY_SIZE bytes.
void protocol_write_key(uint8_t *to, uint64_t n);
// Writes the request `r`, counts it in `written`.
void protocol_write(struct protocol *p, struct out *out, struct request r);
// The slot of its key in a cluster; SLOTS (common/slot.h): it has no key, or one that is not known
// before it is written ({random} or {sequence} is part of it).
unsigned protocol_slot(const struct protocol *p, struct request r);

// How far the present reply of one connection has come. Begins as zeros.
struct scanner {
    uint64_t left;     // bytes of the bulk under way that are still to come, CRLF included
    uint64_t elements; // missing from an aggregate that has begun
    uint8_t in;        // what the bulk is
    uint8_t worst;     // enum reply_kind, of what has come so far
    bool push;         // the aggregate is no reply (RESP3)
    uint32_t replies;  // of this request, complete
    uint16_t n_line;   // bytes of an unfinished line
    char line[PROTOCOL_LINE_MAX]; // after REPLY_ERROR, WRONG, BROKEN: one line that says what
    struct value_check check;
};

// Reads the reply to `r` from `data`; *used says how many bytes it took (all of them for
// REPLY_MORE). `r` must be the same until the reply is whole.
enum reply_kind protocol_scan(const struct protocol *p, struct scanner *s, struct request r,
                              const uint8_t *data, size_t len, size_t *used);
// What was wrong with the reply to `r` that was REPLY_WRONG, for people: one line, with the key,
// what was expected, what came, and where.
void protocol_explain(const struct protocol *p, const struct scanner *s, struct request r,
                      char *text, size_t size);
