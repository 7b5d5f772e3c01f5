// RESP as a client speaks it, for speed: requests are templates in which only the key changes;
// replies are recognised where they lie, without a copy, and may be cut anywhere.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/template.h"
#include "bench/workload.h"
#include "common/out.h"

#define PROTOCOL_KEY_SIZE 16 // "key:" and twelve digits
#define PROTOCOL_LINE_MAX 512

// The bytes of a SET or GET of any key, and what their replies look like.
struct protocol {
    uint32_t data_size;
    uint8_t *set; // whole request; the key stands at set_key, the value at set_value
    uint32_t set_size, set_key, set_value;
    uint8_t get[64];
    uint32_t get_size, get_key;
    uint8_t hit[32]; // the header of a GET's reply, as "$64\r\n"
    uint32_t hit_size;
    bool verify;
    struct template *command; // of WORKLOAD_COMMAND; the caller's
};

// False when memory is short.
bool protocol_init(struct protocol *p, uint32_t data_size, bool verify);
void protocol_free(struct protocol *p);

// The key of number `n` (< 10^12): PROTOCOL_KEY_SIZE bytes.
void protocol_write_key(uint8_t *to, uint64_t n);
// Writes the request `r`.
void protocol_write(struct protocol *p, struct out *out, struct request r);

enum reply_kind {
    REPLY_OK,    // as the request deserves
    REPLY_MISS,  // GET of a key that does not exist
    REPLY_ERROR, // the server's error
    REPLY_WRONG, // another type, another length, or with `verify` another value
    REPLY_KINDS,
    REPLY_MORE,  // the reply is not complete
    REPLY_BROKEN // not RESP: the connection is of no more use
};

// How far the present reply of one connection has come.
struct scanner {
    uint64_t left;     // bytes of the bulk still to come, CRLF included
    uint64_t at;       // bytes of the bulk seen
    uint64_t elements; // of the reply to any command: elements that are missing, 0: none begun
    bool in_bulk, mismatch;
    uint16_t n_line;              // bytes of an unfinished line
    char line[PROTOCOL_LINE_MAX]; // also the text of the last error reply
};

// Reads the reply to `r` from `data`; *used says how many bytes it took (all of them for
// REPLY_MORE).
enum reply_kind protocol_scan(const struct protocol *p, struct scanner *s, struct request r,
                              const uint8_t *data, size_t len, size_t *used);
