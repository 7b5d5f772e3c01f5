// The server's protocol as a client speaks it, for speed: requests are templates in which only the key
// changes; replies are recognised where they lie, without a copy, and may be cut anywhere. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/measurement.h"
#include "bench/presets.h"
#include "bench/template.h"
#include "bench/workload.h"
#include "common/out.h"

#define PROTOCOL_KEY_SIZE 16 // "key:" and twelve digits
#define PROTOCOL_LINE_MAX 512

// The bytes of the requests of one test, and what their replies look like.
struct protocol {
    uint32_t data_size;
    uint8_t *set; // whole request; the key stands at set_key, the value at set_value
    uint32_t set_size, set_key, set_value;
    uint8_t get[64];
    uint32_t get_size, get_key;
    uint8_t hit[32]; // the header of a GET's reply, as "$64\r\n"
    uint32_t hit_size;
    bool verify;
    uint64_t written; // bytes of requests since the beginning
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
// What was wrong with the reply to `r` that was REPLY_WRONG, for people: one line.
void protocol_explain(const struct protocol *p, const struct scanner *s, struct request r, char *text,
                      size_t size);
